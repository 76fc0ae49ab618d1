"""Wrong answers that learners write, each with the check that has to find it.

An entry says what is wrong, has the code of the solution's cell, and names the check. Of all checks
of the exercise, in the order of the notebook, that one must be the first to fail.
"""

from __future__ import annotations

from typing import NamedTuple


class Wrong(NamedTuple):
    what: str
    code: str
    check: str


WRONG: dict[str, list[Wrong]] = {
    # --- ppo_ptx ----------------------------------------------------------------------------------
    "shaped-rewards": [
        Wrong(
            "sign of the penalty",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = torch.where(mask.bool(), beta * (logp - ref_logp), 0.0)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] += scores
    return rewards
""",
            "penalty_falls_on_its_token",
        ),
        Wrong(
            "the whole penalty at the end",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    penalty = (torch.where(mask.bool(), logp - ref_logp, 0.0)).sum(1)
    rewards = torch.zeros_like(logp)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] = scores - beta * penalty
    return rewards
""",
            "penalty_falls_on_its_token",
        ),
        Wrong(
            "score in the last column",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = torch.where(mask.bool(), -beta * (logp - ref_logp), 0.0)
    rewards[:, -1] += scores
    return rewards
""",
            "score_falls_on_the_last_valid_token",
        ),
        Wrong(
            "penalty on padding",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = -beta * (logp - ref_logp)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] += scores
    return rewards
""",
            "no_reward_behind_the_end",
        ),
        Wrong(
            "log-ratio clamped at 0",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    d = (logp - ref_logp).clamp(min=0)
    rewards = torch.where(mask.bool(), -beta * d, 0.0)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] += scores
    return rewards
""",
            "rewards_add_up_to_the_objective",
        ),
        Wrong(
            "the arguments overwritten",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    logp -= ref_logp
    logp *= -beta
    logp[~mask.bool()] = 0
    logp[torch.arange(len(scores)), mask.long().sum(1) - 1] += scores
    return logp
""",
            "penalty_falls_on_its_token",
        ),
        Wrong(
            "nothing returned",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = torch.where(mask.bool(), -beta * (logp - ref_logp), 0.0)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] += scores
""",
            "penalty_falls_on_its_token",
        ),
        Wrong(
            "the score in place of the last penalty",
            """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = torch.where(mask.bool(), -beta * (logp - ref_logp), 0.0)
    rewards[torch.arange(len(scores)), mask.long().sum(1) - 1] = scores
    return rewards
""",
            "rewards_add_up_to_the_objective",
        ),
    ],
    "gae": [
        Wrong(
            "from the front",
            """
def gae(rewards, values, mask, discount=1.0, lam=0.95):
    advantages, running = torch.zeros_like(values), 0.0
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    for t in range(values.shape[1]):
        delta = rewards[:, t] + discount * after[:, t] - values[:, t]
        running = delta + discount * lam * running
        advantages[:, t] = running
    return advantages, advantages + values
""",
            "two_tokens_by_hand",
        ),
        Wrong(
            "returns without the values",
            """
def gae(rewards, values, mask, discount=1.0, lam=0.95):
    advantages, running = torch.zeros_like(values), 0.0
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    for t in reversed(range(values.shape[1])):
        running = rewards[:, t] + discount * after[:, t] - values[:, t] + discount * lam * running
        advantages[:, t] = running
    return advantages, advantages + rewards
""",
            "two_tokens_by_hand",
        ),
        Wrong(
            "discount forgotten",
            """
def gae(rewards, values, mask, discount=1.0, lam=0.95):
    valid = mask.bool()
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + next_value - values[:, t]
        next_advantage = torch.where(valid[:, t], delta + lam * next_advantage, 0.0)
        next_value = torch.where(valid[:, t], values[:, t], 0.0)
        advantages[:, t] = next_advantage
    return advantages, torch.where(valid, advantages + values, 0.0)
""",
            "recursion_agrees_with_the_sum",
        ),
        Wrong(
            "next value and advantage from padding",
            """
def gae(rewards, values, mask, discount=1.0, lam=0.95):
    advantages, running = torch.zeros_like(values), 0.0
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    for t in reversed(range(values.shape[1])):
        running = rewards[:, t] + discount * after[:, t] - values[:, t] + discount * lam * running
        advantages[:, t] = running
    return advantages * mask, (advantages + values) * mask
""",
            "ends_where_the_response_ends",
        ),
        Wrong(
            "another λ than was given",
            """
def gae(rewards, values, mask, discount=1.0, lam=1.0):
    from rlhf_lab import objectives
    return objectives.gae(rewards, values, mask, discount, lam)
""",
            "recursion_agrees_with_the_sum",
        ),
    ],
    "combined-gradient": [
        Wrong(
            "gamma on both",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    def mean(parts):
        return sum(x[m.bool()].sum() for x, m in parts) / sum(m.sum() for _, m in parts)
    loss = gamma * (mean(policy_parts) + mean(ptx_parts))
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
""",
            "gamma_weighs_the_second_part",
        ),
        Wrong(
            "mean of means",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    def mean(parts):
        return sum(x[m.bool()].mean() for x, m in parts) / len(parts)
    loss = mean(policy_parts) + gamma * mean(ptx_parts)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
""",
            "tokens_count_alike",
        ),
        Wrong(
            "padding in the mean",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    policy = sum(x[m.bool()].sum() for x, m in policy_parts)
    policy = policy / sum(m.sum() for _, m in policy_parts)
    ptx = torch.cat([x.flatten() for x, _ in ptx_parts]).mean()
    loss = policy + gamma * ptx
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
""",
            "padding_does_not_pull",
        ),
        Wrong(
            "sum of the pretraining micro-batches' means",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    policy = sum(x[m.bool()].sum() for x, m in policy_parts)
    policy = policy / sum(m.sum() for _, m in policy_parts)
    loss = policy + gamma * sum(x[m.bool()].mean() for x, m in ptx_parts)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
""",
            "cutting_changes_nothing",
        ),
        Wrong(
            "gradients left from the call before",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    def mean(parts):
        return sum(x[m.bool()].sum() for x, m in parts) / sum(m.sum() for _, m in parts)
    (mean(policy_parts) + gamma * mean(ptx_parts)).backward()
    return torch.cat([p.grad.flatten() for p in parameters])
""",
            "asking_twice_gives_the_same",
        ),
        Wrong(
            "the first parameter alone",
            """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    def mean(parts):
        return sum((x * m).sum() for x, m in parts) / sum(m.sum() for _, m in parts)
    loss = mean(policy_parts) + gamma * mean(ptx_parts)
    return torch.autograd.grad(loss, parameters[0])[0].flatten()
""",
            "asking_twice_gives_the_same",
        ),
    ],
    "paired-difference": [
        Wrong(
            "two groups instead of pairs",
            """
def paired_difference(of, against):
    import numpy as np
    from scipy.stats import t
    n = len(of)
    mean = np.mean(of) - np.mean(against)
    half = t.ppf(0.975, n - 1) * np.sqrt((np.var(of, ddof=1) + np.var(against, ddof=1)) / n)
    return mean, mean - half, mean + half
""",
            "differences_are_paired",
        ),
        Wrong(
            "normal quantile",
            """
def paired_difference(of, against):
    import numpy as np
    d = np.asarray(of) - np.asarray(against)
    half = 1.96 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
            "interval_is_students",
        ),
        Wrong(
            "deviation divided by n",
            """
def paired_difference(of, against):
    import numpy as np
    from scipy.stats import t
    d = np.asarray(of) - np.asarray(against)
    half = t.ppf(0.975, len(d) - 1) * d.std() / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
            "interval_is_students",
        ),
        Wrong(
            "three seeds for ever",
            """
def paired_difference(of, against):
    import numpy as np
    d = np.asarray(of) - np.asarray(against)
    half = 4.302652729911275 * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - half, d.mean() + half
""",
            "degrees_of_freedom_follow_the_seeds",
        ),
        Wrong(
            "half the width in place of two ends",
            """
def paired_difference(of, against):
    import numpy as np
    from scipy.stats import sem, t
    d = np.asarray(of) - np.asarray(against)
    return d.mean(), t.ppf(0.975, len(d) - 1) * sem(d)
""",
            "differences_are_paired",
        ),
    ],
    "verdict": [
        Wrong(
            "a claim forgotten",
            """
verdict = {"plain PPO raises the held-out loss": "yes", "the mix lowers the loss": "yes"}
""",
            "every_claim_has_a_verdict",
        ),
        Wrong(
            "the mean alone",
            """
verdict = {
    "plain PPO raises the held-out loss": "yes",
    "the mix lowers the loss": "yes",
    "the mix lowers the reward model's score": "no",
    "the mix raises the gold score": "yes",
}
""",
            "zero_inside_leaves_it_open",
        ),
        Wrong(
            "the sign turned round",
            """
verdict = {
    "plain PPO raises the held-out loss": "yes",
    "the mix lowers the loss": "no",
    "the mix lowers the reward model's score": "open",
    "the mix raises the gold score": "yes",
}
""",
            "zero_outside_decides",
        ),
    ],
    # --- beta_gamma -------------------------------------------------------------------------------
    "tilt": [
        Wrong(
            "entropy in place of the KL",
            """
def tilt(scores, beta):
    log_w = torch.log_softmax(scores / beta, dim=1)
    w = log_w.exp()
    return float((w * scores).sum(1).mean()), float((w * log_w).sum(1).mean())
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "scores times beta",
            """
def tilt(scores, beta):
    log_w = torch.log_softmax(scores * beta, dim=1)
    w = log_w.exp()
    n = torch.log(torch.tensor(float(scores.shape[1])))
    return float((w * scores).sum(1).mean()), float((w * (log_w + n)).sum(1).mean())
""",
            "a_large_beta_changes_nothing",
        ),
        Wrong(
            "an exponential that overflows",
            """
def tilt(scores, beta):
    z = torch.exp(scores / beta)
    w = z / z.sum(1, keepdim=True)
    kl = (w * torch.log(w * scores.shape[1])).sum(1)
    return float((w * scores).sum(1).mean()), float(kl.mean())
""",
            "a_small_beta_takes_the_best",
        ),
        Wrong(
            "all prompts in one softmax",
            """
def tilt(scores, beta):
    flat = scores.flatten()
    log_w = torch.log_softmax(flat / beta, dim=0)
    w = log_w.exp()
    n = torch.log(torch.tensor(float(len(flat))))
    return float((w * flat).sum()), float((w * (log_w + n)).sum())
""",
            "prompts_are_tilted_one_by_one",
        ),
        Wrong(
            "the scores overwritten",
            """
def tilt(scores, beta):
    import math
    scores /= beta
    log_w = torch.log_softmax(scores, dim=1)
    w = log_w.exp()
    kl = (w * (log_w + math.log(scores.shape[1]))).sum(1)
    return beta * (w * scores).sum(1).mean(), kl.mean()
""",
            "a_large_beta_changes_nothing",
        ),
        Wrong(
            "a number for each prompt",
            """
def tilt(scores, beta):
    log_w = torch.log_softmax(scores / beta, dim=1)
    w = log_w.exp()
    n = torch.log(torch.tensor(float(scores.shape[1])))
    return (w * scores).sum(1), (w * (log_w + n)).sum(1)
""",
            "prompts_are_tilted_one_by_one",
        ),
    ],
    "prediction": [
        Wrong(
            "a number forgotten",
            """
prediction = {"beta": 0.1, "gamma": 0.5, "kl": 1.0, "rm_score": 0.2}
""",
            "prediction_is_complete",
        ),
        Wrong(
            "a word for a number",
            """
prediction = {"beta": 0.1, "gamma": 0.5, "kl": 1.0, "rm_score": "more", "loss": 0.9}
""",
            "prediction_is_complete",
        ),
        Wrong(
            "a negative KL",
            """
prediction = {"beta": 0.1, "gamma": 0.5, "kl": -1.0, "rm_score": 0.2, "loss": 0.9}
""",
            "prediction_is_possible",
        ),
        Wrong(
            "a point of the table",
            """
prediction = {"beta": 0.3, "gamma": 1.0, "kl": 1.0, "rm_score": 0.2, "loss": 0.9}
""",
            "point_is_new",
        ),
        Wrong(
            "another point than the one that was trained",
            """
prediction = {"beta": 0.15, "gamma": 0.5, "kl": 1.0, "rm_score": 0.2, "loss": 0.9}
""",
            "point_was_measured",
        ),
    ],
    "kl-estimates": [
        Wrong(
            "k3 with the sign turned round",
            """
def kl_estimates(logp, ref_logp, mask):
    d = torch.where(mask.bool(), logp - ref_logp, 0.0)
    return {"k1": d.sum(1), "k2": (d**2 / 2).sum(1), "k3": (torch.expm1(d) - d).sum(1)}
""",
            "one_token_by_hand",
        ),
        Wrong(
            "a mean over tokens",
            """
def kl_estimates(logp, ref_logp, mask):
    d = torch.where(mask.bool(), logp - ref_logp, 0.0)
    n = mask.sum(1)
    terms = {"k1": d, "k2": d**2 / 2, "k3": torch.expm1(-d) + d}
    return {name: x.sum(1) / n for name, x in terms.items()}
""",
            "sums_over_the_response",
        ),
        Wrong(
            "padding counts",
            """
def kl_estimates(logp, ref_logp, mask):
    d = logp - ref_logp
    return {"k1": d.sum(1), "k2": (d**2 / 2).sum(1), "k3": (torch.expm1(-d) + d).sum(1)}
""",
            "sums_over_the_response",
        ),
        Wrong(
            "padding taken out after its exponential",
            """
def kl_estimates(logp, ref_logp, mask):
    d = logp - ref_logp
    terms = {"k1": d, "k2": d**2 / 2, "k3": torch.expm1(-d) + d}
    return {name: (x * mask).sum(1) for name, x in terms.items()}
""",
            "sums_over_the_response",
        ),
        Wrong(
            "three tensors without names",
            """
def kl_estimates(logp, ref_logp, mask):
    d = torch.where(mask.bool(), logp - ref_logp, 0.0)
    return d.sum(1), (d**2 / 2).sum(1), (torch.expm1(-d) + d).sum(1)
""",
            "one_token_by_hand",
        ),
    ],
    "effect-of-gamma": [
        Wrong(
            "no pairs",
            """
def effect_of_gamma(runs, measure):
    import numpy as np
    from rlhf_lab.figures import mean_interval
    ppo, rows = runs[runs.policy == "ppo"], {}
    none = ppo[ppo.gamma == 0][measure].mean()
    for gamma, part in ppo[ppo.gamma > 0].groupby("gamma"):
        rows[gamma] = mean_interval(part.groupby("seed")[measure].mean() - none)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
""",
            "pairs_share_beta_and_seed",
        ),
        Wrong(
            "the difference turned round",
            """
def effect_of_gamma(runs, measure):
    from rlhf_lab.figures import mean_interval
    ppo = runs[runs.policy == "ppo"]
    pairs = ppo.pivot_table(index=["seed", "beta"], columns="gamma", values=measure)
    rows = {g: mean_interval((pairs[0.0] - pairs[g]).groupby("seed").mean())
            for g in pairs.columns if g > 0}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
""",
            "pairs_share_beta_and_seed",
        ),
        Wrong(
            "every pair an observation",
            """
def effect_of_gamma(runs, measure):
    from rlhf_lab.figures import mean_interval
    ppo = runs[runs.policy == "ppo"]
    pairs = ppo.pivot_table(index=["seed", "beta"], columns="gamma", values=measure)
    rows = {g: mean_interval((pairs[g] - pairs[0.0]).dropna()) for g in pairs.columns if g > 0}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
""",
            "seeds_are_the_sample",
        ),
        Wrong(
            "means that a missing run makes missing",
            """
def effect_of_gamma(runs, measure):
    from rlhf_lab.figures import mean_interval
    ppo = runs[runs.policy == "ppo"]
    pairs = ppo.pivot_table(index=["seed", "beta"], columns="gamma", values=measure)
    rows = {g: mean_interval((pairs[g] - pairs[0.0]).groupby("seed").mean(skipna=False))
            for g in pairs.columns if g > 0}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
""",
            "a_failed_run_spoils_only_its_pair",
        ),
        Wrong(
            "the loss, whatever was asked for",
            """
def effect_of_gamma(runs, measure):
    from rlhf_lab.figures import mean_interval
    ppo = runs[runs.policy == "ppo"]
    pairs = ppo.pivot_table(index=["seed", "beta"], columns="gamma", values="loss")
    rows = {g: mean_interval((pairs[g] - pairs[0.0]).groupby("seed").mean())
            for g in pairs.columns if g > 0}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])
""",
            "pairs_share_beta_and_seed",
        ),
    ],
    # --- reward_model -----------------------------------------------------------------------------
    "kwise-loss": [
        Wrong(
            "the higher rank wins",
            """
def kwise_loss(scores, ranks, group):
    losses = []
    for prompt in torch.unique(group):
        r, own = scores[group == prompt], ranks[group == prompt]
        pairs = own[:, None] > own
        if pairs.any():
            margins = (r[:, None] - r)[pairs]
            losses.append(torch.nn.functional.softplus(-margins).mean())
    return torch.stack(losses).mean()
""",
            "one_pair_by_hand",
        ),
        Wrong(
            "the mean over all pairs of the batch",
            """
def kwise_loss(scores, ranks, group):
    pairs = (group[:, None] == group) & (ranks[:, None] < ranks)
    return torch.nn.functional.softplus(scores - scores[:, None])[pairs].mean()
""",
            "prompts_count_alike",
        ),
        Wrong(
            "answers to different prompts compared",
            """
def kwise_loss(scores, ranks, group):
    losses = []
    for prompt in torch.unique(group):
        mine = group == prompt
        pairs = mine[:, None] & (ranks[:, None] < ranks)
        losses.append(torch.nn.functional.softplus(scores - scores[:, None])[pairs].mean())
    return torch.stack(losses).mean()
""",
            "prompts_count_alike",
        ),
        Wrong(
            "equal ranks taken for a victory",
            """
def kwise_loss(scores, ranks, group):
    losses = []
    for prompt in torch.unique(group):
        r, own = scores[group == prompt], ranks[group == prompt]
        pairs = (own[:, None] <= own) & ~torch.eye(len(r), dtype=torch.bool)
        losses.append(torch.nn.functional.softplus(r - r[:, None])[pairs].mean())
    return torch.stack(losses).mean()
""",
            "ties_make_no_pair",
        ),
        Wrong(
            "the logarithm of a sigmoid that is 0",
            """
def kwise_loss(scores, ranks, group):
    losses = []
    for prompt in torch.unique(group):
        r, own = scores[group == prompt], ranks[group == prompt]
        pairs = own[:, None] < own
        if pairs.any():
            losses.append(-torch.sigmoid((r[:, None] - r)[pairs]).log().mean())
    return torch.stack(losses).mean()
""",
            "large_scores_stay_finite",
        ),
    ],
    "residuals": [
        Wrong(
            "wins less expected wins",
            """
def residuals(scores, ranks):
    compared = ranks[:, None] != ranks
    expected = (torch.sigmoid(scores[:, None] - scores) * compared).sum(1)
    won = (ranks[:, None] < ranks).sum(1)
    return (won - expected) / won.sum()
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "each pair counted twice",
            """
def residuals(scores, ranks):
    compared = ranks[:, None] != ranks
    expected = (torch.sigmoid(scores[:, None] - scores) * compared).sum(1)
    won = (ranks[:, None] < ranks).sum(1)
    return (expected - won) / compared.sum()
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "divided by the number of answers",
            """
def residuals(scores, ranks):
    compared = ranks[:, None] != ranks
    expected = (torch.sigmoid(scores[:, None] - scores) * compared).sum(1)
    won = (ranks[:, None] < ranks).sum(1)
    return (expected - won) / (len(scores) - 1)
""",
            "residuals_add_up_to_nothing",
        ),
        Wrong(
            "ties compared",
            """
def residuals(scores, ranks):
    compared = ~torch.eye(len(scores), dtype=torch.bool)
    expected = (torch.sigmoid(scores[:, None] - scores) * compared).sum(1)
    won = (ranks[:, None] < ranks).sum(1)
    return (expected - won) / won.sum()
""",
            "ties_are_not_compared",
        ),
    ],
    "temperature": [
        Wrong(
            "a factor in place of a divisor",
            """
def best_temperature(margins):
    grid = torch.logspace(-2, 2, 2001, dtype=torch.float64)
    losses = torch.nn.functional.softplus(-margins * grid[:, None]).mean(1)
    return float(grid[losses.argmin()])
""",
            "three_of_four_are_right",
        ),
        Wrong(
            "a grid that begins at 1",
            """
def best_temperature(margins):
    grid = torch.linspace(1, 10, 9001, dtype=torch.float64)
    losses = torch.nn.functional.softplus(-margins / grid[:, None]).mean(1)
    return float(grid[losses.argmin()])
""",
            "doubled_scores_double_it",
        ),
        Wrong(
            "fitted to be right with the share of pairs in order",
            """
def best_temperature(margins):
    share = (margins > 0).double().mean()
    return float(margins.abs().mean() / torch.log(share / (1 - share)))
""",
            "the_loss_is_least_there",
        ),
    ],
    "blind-spots": [
        Wrong(
            "one share for all kinds",
            """
def share_preferred(score, tests):
    prompts = [test[1] for test in tests]
    better, other = (score(prompts, [test[i] for test in tests]) for i in (2, 3))
    share = sum(a > b for a, b in zip(better, other)) / len(tests)
    return {test[0]: share for test in tests}
""",
            "shares_by_kind",
        ),
        Wrong(
            "a tie taken for a failure",
            """
def share_preferred(score, tests):
    prompts = [test[1] for test in tests]
    better, other = (score(prompts, [test[i] for test in tests]) for i in (2, 3))
    found = {}
    for test, a, b in zip(tests, better, other):
        found.setdefault(test[0], []).append(float(a > b))
    return {kind: sum(shares) / len(shares) for kind, shares in found.items()}
""",
            "equal_scores_count_half",
        ),
        Wrong(
            "all scored with the first prompt",
            """
def share_preferred(score, tests):
    prompts = [tests[0][1]] * len(tests)
    better, other = (score(prompts, [test[i] for test in tests]) for i in (2, 3))
    found = {}
    for test, a, b in zip(tests, better, other):
        found.setdefault(test[0], []).append(0.5 if a == b else float(a > b))
    return {kind: sum(shares) / len(shares) for kind, shares in found.items()}
""",
            "scores_belong_to_their_prompts",
        ),
    ],
    # --- sft --------------------------------------------------------------------------------------
    "batch": [
        Wrong(
            "the prompt counts",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    tokens = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    return tokens, tokens != pad
""",
            "prompts_are_left_out",
        ),
        Wrong(
            "one token late",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    tokens = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    start = torch.tensor([row.start for row in rows])[:, None]
    return tokens, (torch.arange(width) > start) & (tokens != pad)
""",
            "prompts_are_left_out",
        ),
        Wrong(
            "filled in front",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    fill = [width - len(row.ids) for row in rows]
    tokens = torch.tensor([[pad] * n + row.ids for n, row in zip(fill, rows)])
    start = torch.tensor([n + row.start for n, row in zip(fill, rows)])[:, None]
    return tokens, torch.arange(width) >= start
""",
            "short_rows_are_filled",
        ),
        Wrong(
            "filling counts",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    tokens = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    start = torch.tensor([row.start for row in rows])[:, None]
    return tokens, torch.arange(width) >= start
""",
            "short_rows_are_filled",
        ),
        Wrong(
            "filling known by its id",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    tokens = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    start = torch.tensor([row.start for row in rows])[:, None]
    return tokens, (torch.arange(width) >= start) & (tokens != pad)
""",
            "the_end_counts_whatever_pads_look_like",
        ),
        Wrong(
            "the rows themselves filled",
            """
def batch(rows, pad):
    lengths = torch.tensor([len(row.ids) for row in rows])[:, None]
    for row in rows:
        row.ids.extend([pad] * (int(lengths.max()) - len(row.ids)))
    start, place = torch.tensor([row.start for row in rows])[:, None], torch.arange(lengths.max())
    return torch.tensor([row.ids for row in rows]), (place >= start) & (place < lengths)
""",
            "short_rows_are_filled",
        ),
        Wrong(
            "whole numbers, which are no mask for an index",
            """
def batch(rows, pad):
    width = max(len(row.ids) for row in rows)
    tokens = torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows])
    marks = [[0] * row.start + [1] * (len(row.ids) - row.start) for row in rows]
    return tokens, torch.tensor([m + [0] * (width - len(m)) for m in marks])
""",
            "prompts_are_left_out",
        ),
    ],
    "sft-loss": [
        Wrong(
            "each token predicts itself",
            """
def sft_loss(logits, tokens, counts):
    return torch.nn.functional.cross_entropy(logits[counts], tokens[counts])
""",
            "each_token_is_predicted_by_the_one_before",
        ),
        Wrong(
            "the mask one place off",
            """
def sft_loss(logits, tokens, counts):
    counts = counts[:, :-1]
    return torch.nn.functional.cross_entropy(logits[:, :-1][counts], tokens[:, 1:][counts])
""",
            "each_token_is_predicted_by_the_one_before",
        ),
        Wrong(
            "the mean of the answers' means",
            """
def sft_loss(logits, tokens, counts):
    losses = []
    for z, y, m in zip(logits[:, :-1], tokens[:, 1:], counts[:, 1:]):
        losses.append(torch.nn.functional.cross_entropy(z[m], y[m]))
    return torch.stack(losses).mean()
""",
            "tokens_count_alike",
        ),
        Wrong(
            "the mean over the rectangle",
            """
def sft_loss(logits, tokens, counts):
    logp = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    return -torch.where(counts[:, 1:], logp, 0).mean()
""",
            "tokens_count_alike",
        ),
        Wrong(
            "multiplied by the mask",
            """
def sft_loss(logits, tokens, counts):
    logp = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    return -(logp * counts[:, 1:]).sum() / counts[:, 1:].sum()
""",
            "what_does_not_count_may_be_anything",
        ),
        Wrong(
            "the first token in the number",
            """
def sft_loss(logits, tokens, counts):
    logp = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
    return -torch.where(counts[:, 1:], logp, 0).sum() / counts.sum()
""",
            "what_does_not_count_may_be_anything",
        ),
        Wrong(
            "a number that has forgotten its logits",
            """
def sft_loss(logits, tokens, counts):
    m = counts[:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1][m], tokens[:, 1:][m]).item()
""",
            "its_gradient_is_expectation_less_event",
        ),
    ],
    "pack": [
        Wrong(
            "prompts count",
            """
def pack(rows):
    number = torch.tensor([i for i, row in enumerate(rows) for _ in row.ids])
    tokens = torch.tensor([i for row in rows for i in row.ids])
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows])
    return tokens, positions, positions > 0, (number[:, None] == number).tril()
""",
            "texts_stand_one_behind_the_other",
        ),
        Wrong(
            "positions go on",
            """
def pack(rows):
    number = torch.tensor([i for i, row in enumerate(rows) for _ in row.ids])
    tokens = torch.tensor([i for row in rows for i in row.ids])
    own = torch.cat([torch.arange(len(row.ids)) for row in rows])
    counts = own >= torch.tensor([max(row.start, 1) for row in rows])[number]
    return tokens, torch.arange(len(tokens)), counts, (number[:, None] == number).tril()
""",
            "positions_begin_anew",
        ),
        Wrong(
            "everything before is seen",
            """
def pack(rows):
    number = torch.tensor([i for i, row in enumerate(rows) for _ in row.ids])
    tokens = torch.tensor([i for row in rows for i in row.ids])
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows])
    counts = positions >= torch.tensor([max(row.start, 1) for row in rows])[number]
    return tokens, positions, counts, torch.ones(len(tokens), len(tokens)).bool().tril()
""",
            "nobody_sees_the_future_or_another_text",
        ),
        Wrong(
            "a text sees its own future",
            """
def pack(rows):
    number = torch.tensor([i for i, row in enumerate(rows) for _ in row.ids])
    tokens = torch.tensor([i for row in rows for i in row.ids])
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows])
    counts = positions >= torch.tensor([max(row.start, 1) for row in rows])[number]
    return tokens, positions, counts, number[:, None] == number
""",
            "nobody_sees_the_future_or_another_text",
        ),
        Wrong(
            "a first token predicted by another text",
            """
def pack(rows):
    number = torch.tensor([i for i, row in enumerate(rows) for _ in row.ids])
    tokens = torch.tensor([i for row in rows for i in row.ids])
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows])
    counts = positions >= torch.tensor([row.start for row in rows])[number]
    return tokens, positions, counts, (number[:, None] == number).tril()
""",
            "a_first_token_is_predicted_by_nothing",
        ),
    ],
    "autopsy": [
        Wrong(
            "the mean of exponentials",
            """
def autopsy(logits, tokens):
    p = logits.softmax(1)
    came, (sure, guess) = p.gather(1, tokens[:, None])[:, 0], p.max(1)
    return {"perplexity": (1 / came).mean(), "accuracy": (guess == tokens).float().mean(),
            "confidence": sure.mean(), "surprises": -(came.log() * (came < 0.01)).mean()}
""",
            "perplexity_is_of_the_mean",
        ),
        Wrong(
            "logits taken for logarithms",
            """
def autopsy(logits, tokens):
    p = logits.exp()
    came, (sure, guess) = p.gather(1, tokens[:, None])[:, 0], p.max(1)
    return {"perplexity": (-came.log().mean()).exp(), "accuracy": (guess == tokens).float().mean(),
            "confidence": sure.mean(), "surprises": -(came.log() * (came < 0.01)).mean()}
""",
            "perplexity_is_of_the_mean",
        ),
        Wrong(
            "the probability of what came",
            """
def autopsy(logits, tokens):
    p = logits.softmax(1)
    came, guess = p.gather(1, tokens[:, None])[:, 0], p.argmax(1)
    return {"perplexity": (-came.log().mean()).exp(), "accuracy": (guess == tokens).float().mean(),
            "confidence": came.mean(), "surprises": -(came.log() * (came < 0.01)).mean()}
""",
            "right_and_sure_are_two_things",
        ),
        Wrong(
            "the mean over surprises alone",
            """
def autopsy(logits, tokens):
    p = logits.softmax(1)
    came, (sure, guess) = p.gather(1, tokens[:, None])[:, 0], p.max(1)
    return {"perplexity": (-came.log().mean()).exp(), "accuracy": (guess == tokens).float().mean(),
            "confidence": sure.mean(), "surprises": -came[came < 0.01].log().mean()}
""",
            "surprises_are_a_part_of_the_loss",
        ),
        Wrong(
            "their share",
            """
def autopsy(logits, tokens):
    p = logits.softmax(1)
    came, (sure, guess) = p.gather(1, tokens[:, None])[:, 0], p.max(1)
    return {"perplexity": (-came.log().mean()).exp(), "accuracy": (guess == tokens).float().mean(),
            "confidence": sure.mean(), "surprises": (came < 0.01).float().mean()}
""",
            "surprises_are_a_part_of_the_loss",
        ),
    ],
    "choices": [
        Wrong(
            "gold chooses",
            """
def choices(looks):
    best = looks.loc[looks.groupby("seed").gold.idxmax()].set_index("seed")
    least = looks.loc[looks.groupby("seed").loss.idxmin()].set_index("seed")
    return pd.DataFrame({
        "by_loss": least.epoch, "by_score": best.epoch, "gain": best.gold - least.gold,
    })
""",
            "two_rules_choose",
        ),
        Wrong(
            "the row's number for the epoch",
            """
def choices(looks):
    found = {}
    for seed, part in looks.groupby("seed"):
        part = part.reset_index(drop=True)
        loss, score = part.loss.idxmin(), part.valid_score.idxmax()
        gain = part.gold[score] - part.gold[loss]
        found[seed] = {"by_loss": loss, "by_score": score, "gain": gain}
    return pd.DataFrame(found).T
""",
            "two_rules_choose",
        ),
        Wrong(
            "the difference turned round",
            """
def choices(looks):
    by = looks.groupby("seed")
    a, b = (looks.loc[i].set_index("seed") for i in (by.loss.idxmin(), by.valid_score.idxmax()))
    return pd.DataFrame({"by_loss": a.epoch, "by_score": b.epoch, "gain": a.gold - b.gold})
""",
            "two_rules_choose",
        ),
        Wrong(
            "one epoch for all seeds",
            """
def choices(looks):
    mean = looks.groupby("epoch")[["loss", "valid_score"]].mean()
    loss, score = mean.loss.idxmin(), mean.valid_score.idxmax()
    found = {}
    for seed, part in looks.groupby("seed"):
        gold = part.set_index("epoch").gold
        found[seed] = {"by_loss": loss, "by_score": score, "gain": gold[score] - gold[loss]}
    return pd.DataFrame(found).T
""",
            "each_seed_chooses_for_itself",
        ),
        Wrong(
            "labels of rows taken for unique",
            """
def choices(looks):
    found = {}
    for seed, part in looks.groupby("seed"):
        loss, score = looks.loc[[part.loss.idxmin()]], looks.loc[[part.valid_score.idxmax()]]
        gain = score.gold.iloc[0] - loss.gold.iloc[0]
        epochs = {"by_loss": loss.epoch.iloc[0], "by_score": score.epoch.iloc[0]}
        found[seed] = {**epochs, "gain": gain}
    return pd.DataFrame(found).T
""",
            "rows_may_share_a_label",
        ),
    ],
    "experiment": [
        Wrong(
            "nothing expected",
            """
experiment = {**usual, "learning_rate": 1e-4}
""",
            "experiment_is_complete",
        ),
        Wrong(
            "an epoch at which nobody looks",
            """
experiment = {**usual, "learning_rate": 1e-4, "least_loss_at": 3}
""",
            "experiment_is_complete",
        ),
        Wrong(
            "both changed",
            """
experiment = {"learning_rate": 1e-4, "demonstrations": 80, "least_loss_at": 4}
""",
            "one_thing_changes",
        ),
        Wrong(
            "nothing changed",
            """
experiment = {**usual, "least_loss_at": 4}
""",
            "one_thing_changes",
        ),
        Wrong(
            "another run than the one that was announced",
            """
experiment = {**usual, "learning_rate": 2e-4, "least_loss_at": 4}
""",
            "the_run_is_of_this_experiment",
        ),
    ],
    # --- bug_clinic -------------------------------------------------------------------------------
    "company": [
        Wrong(
            "the same batch twice",
            """
def company(score, items):
    first, again = torch.tensor(score(items)), torch.tensor(score(items))
    return float((first - again).abs().max())
""",
            "a_batch_that_was_sorted_alarms",
        ),
        Wrong(
            "the mean of the batch",
            """
def company(score, items):
    alone = [score([item])[0] for item in items]
    return abs(sum(score(items)) - sum(alone)) / len(items)
""",
            "a_batch_that_was_sorted_alarms",
        ),
        Wrong(
            "another order",
            """
def company(score, items):
    there, back = score(items), score(items[::-1])[::-1]
    return float((torch.tensor(there) - torch.tensor(back)).abs().max())
""",
            "filling_alarms",
        ),
        Wrong(
            "gains only",
            """
def company(score, items):
    alone = [score([item])[0] for item in items]
    return max(b - a for a, b in zip(alone, score(items)))
""",
            "filling_alarms",
        ),
        Wrong(
            "the mean change",
            """
def company(score, items):
    alone = torch.tensor([score([item])[0] for item in items])
    return float((torch.tensor(score(items)) - alone).abs().mean())
""",
            "its_number_is_the_largest_change",
        ),
        Wrong(
            "two at a time",
            """
def company(score, items):
    found = [0.0]
    for one, other in zip(items, items[1:]):
        there = torch.tensor(score([one, other]))
        alone = torch.tensor([score([one])[0], score([other])[0]])
        found.append(float((there - alone).abs().max()))
    return max(found)
""",
            "every_item_is_asked",
        ),
        Wrong(
            "a comparison that loses nan",
            """
def company(score, items):
    largest = 0.0
    for item, there in zip(items, score(items)):
        largest = max(largest, abs(there - score([item])[0]))
    return largest
""",
            "no_number_is_an_alarm",
        ),
    ],
    "cut": [
        Wrong(
            "compared with a mean of one's own",
            """
def cut(accumulate):
    tokens = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    return float((accumulate(list(tokens.split([1, 4, 7]))) - tokens.mean(0)).norm())
""",
            "gradients_that_do_not_depend_on_it_are_silent",
        ),
        Wrong(
            "nothing cut",
            """
def cut(accumulate):
    tokens = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    return float((accumulate([tokens]) - accumulate([tokens])).norm())
""",
            "sums_of_means_alarm",
        ),
        Wrong(
            "equal parts",
            """
def cut(accumulate):
    tokens = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    whole = accumulate([tokens])
    return float((accumulate(list(tokens.split(3))) - whole).norm() / whole.norm())
""",
            "means_of_means_alarm",
        ),
        Wrong(
            "tokens that are all alike",
            """
def cut(accumulate):
    tokens = torch.ones(12, 5)
    whole = accumulate([tokens])
    return float((accumulate(list(tokens.split([1, 4, 7]))) - whole).norm() / whole.norm())
""",
            "sums_of_means_alarm",
        ),
        Wrong(
            "lengths compared",
            """
def cut(accumulate):
    tokens = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    whole = accumulate([tokens]).norm()
    return float((accumulate(list(tokens.split([1, 4, 7]))).norm() - whole).abs() / whole)
""",
            "a_turned_gradient_alarms",
        ),
    ],
    "bias": [
        Wrong(
            "every word alike",
            """
def bias(estimate):
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    return float((estimate(p.log(), q.log()).mean() - (p * (p / q).log()).sum()).abs())
""",
            "unbiased_estimates_are_silent",
        ),
        Wrong(
            "samples",
            """
def bias(estimate):
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    y = torch.multinomial(p, 1000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = estimate(p[y].log(), q[y].log()).mean()
    return float((found - (p * (p / q).log()).sum()).abs())
""",
            "unbiased_estimates_are_silent",
        ),
        Wrong(
            "drawn from the reference",
            """
def bias(estimate):
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    return float(((q * estimate(p.log(), q.log())).sum() - (p * (p / q).log()).sum()).abs())
""",
            "unbiased_estimates_are_silent",
        ),
        Wrong(
            "a policy at its reference",
            """
def bias(estimate):
    p = torch.tensor([0.7, 0.2, 0.1]).double()
    return float((p * estimate(p.log(), p.log())).sum().abs())
""",
            "a_wrong_sign_alarms",
        ),
        Wrong(
            "the error with its sign",
            """
def bias(estimate):
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    return float((p * estimate(p.log(), q.log())).sum() - (p * (p / q).log()).sum())
""",
            "a_wrong_sign_alarms",
        ),
        Wrong(
            "policies that are near",
            """
def bias(estimate):
    p, q = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.55, 0.28, 0.17]).double()
    return float(((p * estimate(p.log(), q.log())).sum() - (p * (p / q).log()).sum()).abs())
""",
            "an_error_of_third_order_alarms",
        ),
        Wrong(
            "a mirror image",
            """
def bias(estimate):
    p, q = torch.tensor([0.95, 0.05]).double(), torch.tensor([0.05, 0.95]).double()
    return float(((p * estimate(p.log(), q.log())).sum() - (p * (p / q).log()).sum()).abs())
""",
            "the_other_kl_alarms",
        ),
    ],
    "diagnosis": [
        Wrong(
            "a patient forgotten",
            """
diagnosis = {"A": "KL sign", "B": "sound", "C": "late value"}
""",
            "every_patient_has_a_diagnosis",
        ),
        Wrong(
            "a word of one's own",
            """
diagnosis = {"A": "flipped", "B": "sound", "C": "late value",
             "D": "summed mix", "E": "neighbour's score", "F": "moving reference"}
""",
            "every_patient_has_a_diagnosis",
        ),
        Wrong(
            "two taken for each other",
            """
diagnosis = {"A": "late value", "B": "sound", "C": "KL sign",
             "D": "summed mix", "E": "neighbour's score", "F": "moving reference"}
""",
            "nobody_has_what_would_have_alarmed",
        ),
        Wrong(
            "sound, since nothing alarms",
            """
diagnosis = {"A": "KL sign", "B": "sound", "C": "late value",
             "D": "summed mix", "E": "sound", "F": "sound"}
""",
            "who_fails_nothing_may_still_be_ill",
        ),
        Wrong(
            "the sound one accused",
            """
diagnosis = {"A": "KL sign", "B": "moving reference", "C": "late value",
             "D": "summed mix", "E": "neighbour's score", "F": "moving reference"}
""",
            "who_fails_nothing_may_still_be_ill",
        ),
    ],
    "policy-loss": [
        Wrong(
            "as it was",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    ratio = torch.exp(logp - old_logp)
    bounded = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.maximum(ratio * advantages, bounded * advantages)
    return -(gain * mask).mean()
""",
            "the_worse_of_two_counts",
        ),
        Wrong(
            "the mean over the rectangle",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    ratio = torch.exp(logp - old_logp.detach())
    bounded = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantages, bounded * advantages)
    return -(gain * mask).mean()
""",
            "filling_is_no_token",
        ),
        Wrong(
            "the mean of the answers' means",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    ratio = torch.exp(logp - old_logp.detach())
    bounded = ratio.clamp(1 - clip, 1 + clip)
    gain = torch.minimum(ratio * advantages, bounded * advantages)
    return -((gain * mask).sum(1) / mask.sum(1)).mean()
""",
            "filling_is_no_token",
        ),
        Wrong(
            "a clip of its own",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    m = mask.bool()
    ratio, a = torch.exp(logp[m] - old_logp[m].detach()), advantages[m].detach()
    return -torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
""",
            "the_clip_is_the_one_given",
        ),
        Wrong(
            "masked behind the exponential",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    ratio, a = torch.exp(logp - old_logp.detach()), advantages.detach()
    gain = torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a)
    return -torch.where(mask.bool(), gain, 0).sum() / mask.sum()
""",
            "junk_reaches_neither_loss_nor_gradient",
        ),
        Wrong(
            "what is given is not held fixed",
            """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    m = mask.bool()
    ratio, a = torch.exp(logp[m] - old_logp[m]), advantages[m]
    return -torch.minimum(ratio * a, ratio.clamp(1 - clip, 1 + clip) * a).mean()
""",
            "only_the_new_policy_learns",
        ),
    ],
    # --- embeddings -------------------------------------------------------------------------------
    "pairs": [
        Wrong(
            "places before the first read from the end",
            """
def pairs(text, kept, widths):
    left = [(w, r) for w, k, r in zip(text, kept, widths) if k]
    return [
        (w, left[j][0])
        for i, (w, r) in enumerate(left)
        for j in range(i - r, min(len(left), i + r + 1))
        if j != i
    ]
""",
            "neighbours_stand_within_the_width",
        ),
        Wrong(
            "only what comes after",
            """
def pairs(text, kept, widths):
    left = [(w, r) for w, k, r in zip(text, kept, widths) if k]
    return [(w, x) for i, (w, r) in enumerate(left) for x, _ in left[i + 1 : i + 1 + r]]
""",
            "neighbours_stand_within_the_width",
        ),
        Wrong(
            "windows laid before words are dropped",
            """
def pairs(text, kept, widths):
    n = len(text)
    return [
        (text[i], text[j])
        for i in range(n)
        for j in range(max(0, i - widths[i]), min(n, i + widths[i] + 1))
        if j != i and kept[i] and kept[j]
    ]
""",
            "what_is_dropped_leaves_no_gap",
        ),
        Wrong(
            "widths counted along what is left",
            """
def pairs(text, kept, widths):
    left = [w for w, k in zip(text, kept) if k]
    return [
        (w, left[j])
        for i, w in enumerate(left)
        for j in range(max(0, i - widths[i]), min(len(left), i + widths[i] + 1))
        if j != i
    ]
""",
            "what_is_dropped_leaves_no_gap",
        ),
        Wrong(
            "the word left out wherever it stands",
            """
def pairs(text, kept, widths):
    left = [(w, r) for w, k, r in zip(text, kept, widths) if k]
    return [
        (w, x)
        for i, (w, r) in enumerate(left)
        for x, _ in left[max(0, i - r) : i + r + 1]
        if x != w
    ]
""",
            "a_word_may_stand_beside_itself",
        ),
    ],
    "gradients": [
        Wrong(
            "a row written once however often it comes",
            """
def gradients(word, output, w, c, n):
    rows = torch.cat([c[:, None], n], 1)
    v, u = word[w][:, None], output[rows]
    errors = (u * v).sum(2).sigmoid()
    errors[:, 0] -= 1
    errors = errors[:, :, None] / len(w)
    into, out = torch.zeros_like(word), torch.zeros_like(output)
    into[w] += (errors * u).sum(1)
    out[rows.flatten()] += (errors * v).flatten(0, 1)
    return into, out
""",
            "what_comes_twice_gets_both",
        ),
        Wrong(
            "everybody is a neighbour",
            """
def gradients(word, output, w, c, n):
    rows = torch.cat([c[:, None], n], 1)
    v, u = word[w][:, None], output[rows]
    errors = ((u * v).sum(2).sigmoid() - 1)[:, :, None] / len(w)
    into, out = torch.zeros_like(word), torch.zeros_like(output)
    into.index_add_(0, w, (errors * u).sum(1))
    out.index_add_(0, rows.flatten(), (errors * v).flatten(0, 1))
    return into, out
""",
            "drawn_words_push_away",
        ),
        Wrong(
            "the sum over pairs",
            """
def gradients(word, output, w, c, n):
    rows = torch.cat([c[:, None], n], 1)
    v, u = word[w][:, None], output[rows]
    errors = (u * v).sum(2).sigmoid()
    errors[:, 0] -= 1
    errors = errors[:, :, None]
    into, out = torch.zeros_like(word), torch.zeros_like(output)
    into.index_add_(0, w, (errors * u).sum(1))
    out.index_add_(0, rows.flatten(), (errors * v).flatten(0, 1))
    return into, out
""",
            "the_loss_is_a_mean_over_pairs",
        ),
        Wrong(
            "the sign of a step",
            """
def gradients(word, output, w, c, n):
    rows = torch.cat([c[:, None], n], 1)
    v, u = word[w][:, None], output[rows]
    errors = -(u * v).sum(2).sigmoid()
    errors[:, 0] += 1
    errors = errors[:, :, None] / len(w)
    into, out = torch.zeros_like(word), torch.zeros_like(output)
    into.index_add_(0, w, (errors * u).sum(1))
    out.index_add_(0, rows.flatten(), (errors * v).flatten(0, 1))
    return into, out
""",
            "one_pair_and_nobody_drawn",
        ),
    ],
    "noise": [
        Wrong(
            "shares to the power, which no longer sum to one",
            """
def noise(counts, power):
    return (counts / counts.sum()) ** power
""",
            "the_power_evens_out",
        ),
        Wrong(
            "always three quarters",
            """
def noise(counts, power):
    return counts**0.75 / (counts**0.75).sum()
""",
            "the_power_may_be_another",
        ),
        Wrong(
            "nought to the power of nought",
            """
def noise(counts, power):
    return counts**power / (counts**power).sum()
""",
            "who_never_occurred_is_never_drawn",
        ),
    ],
    "score": [
        Wrong(
            "a and b exchanged",
            """
def score(vectors, questions, rule, forbid):
    u = torch.nn.functional.normalize(vectors, dim=1)
    b, a, c, d = questions.T
    scores = (rule[0] * u[a] + rule[1] * u[b] + rule[2] * u[c]) @ u.T
    if forbid:
        scores.scatter_(1, questions[:, :3], -torch.inf)
    return float((scores.argmax(1) == d).double().mean())
""",
            "a_parallelogram_ends_at_its_corner",
        ),
        Wrong(
            "the parallelogram whatever the rule",
            """
def score(vectors, questions, rule, forbid):
    u = torch.nn.functional.normalize(vectors, dim=1)
    a, b, c, d = questions.T
    scores = (u[b] - u[a] + u[c]) @ u.T
    if forbid:
        scores.scatter_(1, questions[:, :3], -torch.inf)
    return float((scores.argmax(1) == d).double().mean())
""",
            "the_rule_says_what_is_added",
        ),
        Wrong(
            "everybody's words forbidden",
            """
def score(vectors, questions, rule, forbid):
    u = torch.nn.functional.normalize(vectors, dim=1)
    a, b, c, d = questions.T
    scores = (rule[0] * u[a] + rule[1] * u[b] + rule[2] * u[c]) @ u.T
    if forbid:
        scores[:, questions[:, :3].flatten()] = -torch.inf
    return float((scores.argmax(1) == d).double().mean())
""",
            "only_its_own_words_are_forbidden",
        ),
        Wrong(
            "forbidden in any case",
            """
def score(vectors, questions, rule, forbid):
    u = torch.nn.functional.normalize(vectors, dim=1)
    a, b, c, d = questions.T
    scores = (rule[0] * u[a] + rule[1] * u[b] + rule[2] * u[c]) @ u.T
    scores.scatter_(1, questions[:, :3], -torch.inf)
    return float((scores.argmax(1) == d).double().mean())
""",
            "only_its_own_words_are_forbidden",
        ),
        Wrong(
            "products of vectors as long as they are",
            """
def score(vectors, questions, rule, forbid):
    a, b, c, d = questions.T
    u = vectors
    scores = (rule[0] * u[a] + rule[1] * u[b] + rule[2] * u[c]) @ u.T
    if forbid:
        scores.scatter_(1, questions[:, :3], -torch.inf)
    return float((scores.argmax(1) == d).double().mean())
""",
            "lengths_do_not_count",
        ),
        Wrong(
            "lengths taken out of the answers only",
            """
def score(vectors, questions, rule, forbid):
    a, b, c, d = questions.T
    u = torch.nn.functional.normalize(vectors, dim=1)
    targets = rule[0] * vectors[a] + rule[1] * vectors[b] + rule[2] * vectors[c]
    scores = targets @ u.T
    if forbid:
        scores.scatter_(1, questions[:, :3], -torch.inf)
    return float((scores.argmax(1) == d).double().mean())
""",
            "lengths_do_not_count",
        ),
    ],
    "around": [
        Wrong(
            "the word among its neighbours",
            """
def around(vectors, text, i, reach):
    return vectors[text[max(0, i - reach) : i + reach + 1]].mean(0)
""",
            "the_mean_of_what_stands_around",
        ),
        Wrong(
            "a slice that begins below zero is empty",
            """
def around(vectors, text, i, reach):
    near = text[i - reach : i] + text[i + 1 : i + 1 + reach]
    return vectors[near].mean(0) if near else torch.zeros_like(vectors[0])
""",
            "a_place_at_the_end_has_fewer_neighbours",
        ),
        Wrong(
            "divided by the window, not by the words in it",
            """
def around(vectors, text, i, reach):
    near = text[max(0, i - reach) : i] + text[i + 1 : i + 1 + reach]
    return vectors[near].sum(0) / (2 * reach)
""",
            "a_place_at_the_end_has_fewer_neighbours",
        ),
        Wrong(
            "a mean of nothing",
            """
def around(vectors, text, i, reach):
    near = text[max(0, i - reach) : i] + text[i + 1 : i + 1 + reach]
    return vectors[near].mean(0)
""",
            "a_word_all_alone",
        ),
        Wrong(
            "the word left out wherever it stands",
            """
def around(vectors, text, i, reach):
    near = [w for w in text[max(0, i - reach) : i + reach + 1] if w != text[i]]
    return vectors[near].mean(0) if near else torch.zeros_like(vectors[0])
""",
            "the_same_word_beside_it_counts",
        ),
    ],
    # --- seq2seq ----------------------------------------------------------------------------------
    "attend": [
        Wrong(
            "no root",
            """
def attend(queries, keys, mask=None):
    scores = queries @ keys.transpose(1, 2)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -torch.inf)
    weights = scores.softmax(-1)
    return weights @ keys, weights
""",
            "one_question_and_two_words",
        ),
        Wrong(
            "a softmax over the questions",
            """
def attend(queries, keys, mask=None):
    scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -torch.inf)
    weights = scores.softmax(1)
    return weights @ keys, weights
""",
            "one_question_and_two_words",
        ),
        Wrong(
            "all questions in one softmax",
            """
def attend(queries, keys, mask=None):
    scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -torch.inf)
    weights = scores.flatten(1).softmax(-1).view_as(scores)
    return weights @ keys, weights
""",
            "each_question_has_weights_of_its_own",
        ),
        Wrong(
            "weights masked after the softmax",
            """
def attend(queries, keys, mask=None):
    weights = (queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5).softmax(-1)
    if mask is not None:
        weights = weights * mask[:, None]
    return weights @ keys, weights
""",
            "filling_gets_no_weight",
        ),
        Wrong(
            "a score of 0 for filling",
            """
def attend(queries, keys, mask=None):
    scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores * mask[:, None]
    weights = scores.softmax(-1)
    return weights @ keys, weights
""",
            "filling_gets_no_weight",
        ),
        Wrong(
            "a hundred taken off",
            """
def attend(queries, keys, mask=None):
    scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    if mask is not None:
        scores = scores - 100.0 * (~mask[:, None])
    weights = scores.softmax(-1)
    return weights @ keys, weights
""",
            "filling_may_be_loud",
        ),
    ],
    "shift": [
        Wrong(
            "the sentence twice",
            """
def shift(rows, begin, end):
    n = max(map(len, rows))
    inputs = [[*row, end] + [0] * (n - len(row)) for row in rows]
    labels = [[*row, end] + [-100] * (n - len(row)) for row in rows]
    return torch.tensor(inputs), torch.tensor(labels)
""",
            "each_word_is_predicted_from_those_before_it",
        ),
        Wrong(
            "no end",
            """
def shift(rows, begin, end):
    n = max(map(len, rows))
    inputs = [[begin, *row[:-1]] + [0] * (n - len(row)) for row in rows]
    labels = [[*row] + [-100] * (n - len(row)) for row in rows]
    return torch.tensor(inputs), torch.tensor(labels)
""",
            "each_word_is_predicted_from_those_before_it",
        ),
        Wrong(
            "filling that counts",
            """
def shift(rows, begin, end):
    n = max(map(len, rows))
    inputs = [[begin, *row] + [0] * (n - len(row)) for row in rows]
    labels = [[*row, end] + [0] * (n - len(row)) for row in rows]
    return torch.tensor(inputs), torch.tensor(labels)
""",
            "sentences_are_filled_at_their_ends",
        ),
        Wrong(
            "the end behind the filling",
            """
def shift(rows, begin, end):
    n = max(map(len, rows))
    inputs = [[begin, *row] + [0] * (n - len(row)) for row in rows]
    labels = [[*row] + [-100] * (n - len(row)) + [end] for row in rows]
    return torch.tensor(inputs), torch.tensor(labels)
""",
            "sentences_are_filled_at_their_ends",
        ),
        Wrong(
            "filling known by its number",
            """
def shift(rows, begin, end):
    n = max(map(len, rows))
    inputs = torch.tensor([[begin, *row] + [0] * (n - len(row)) for row in rows])
    labels = torch.tensor([[*row, end] + [0] * (n - len(row)) for row in rows])
    return inputs, labels.masked_fill(labels == 0, -100)
""",
            "marks_may_look_like_filling",
        ),
    ],
    "beam": [
        Wrong(
            "greedy at any width",
            """
def beam(step, start, end, width, limit):
    said = [start]
    while len(said) <= limit:
        word = int(step(said).argmax())
        if word == end:
            break
        said.append(word)
    return said[1:]
""",
            "two_get_out_of_the_garden",
        ),
        Wrong(
            "only the last word counts",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit):
        longer = [pair for pair in kept if pair[1][-1] == end]
        for total, said in kept:
            if said[-1] != end:
                longer += [(float(p), [*said, w]) for w, p in enumerate(step(said))]
        kept = sorted(longer, key=lambda pair: -pair[0])[:width]
    return [word for word in kept[0][1][1:] if word != end]
""",
            "what_has_ended_stays_in_the_race",
        ),
        Wrong(
            "sentences that have ended go on",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit):
        longer = []
        for total, said in kept:
            longer += [(total + float(p), [*said, w]) for w, p in enumerate(step(said))]
        kept = sorted(longer, key=lambda pair: -pair[0])[:width]
    best = kept[0][1][1:]
    return best[: best.index(end)] if end in best else best
""",
            "width_one_is_greedy",
        ),
        Wrong(
            "the first to end wins",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit):
        longer = []
        for total, said in kept:
            longer += [(total + float(p), [*said, w]) for w, p in enumerate(step(said))]
        kept = sorted(longer, key=lambda pair: -pair[0])[:width]
        for _, said in kept:
            if said[-1] == end:
                return said[1:-1]
    return kept[0][1][1:]
""",
            "what_has_ended_stays_in_the_race",
        ),
        Wrong(
            "divided by the length",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit):
        longer = [pair for pair in kept if pair[1][-1] == end]
        for total, said in kept:
            if said[-1] != end:
                longer += [(total + float(p), [*said, w]) for w, p in enumerate(step(said))]
        kept = sorted(longer, key=lambda pair: -pair[0] / (len(pair[1]) - 1))[:width]
    return [word for word in kept[0][1][1:] if word != end]
""",
            "what_has_ended_stays_in_the_race",
        ),
        Wrong(
            "one step too many",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit + 1):
        longer = [pair for pair in kept if pair[1][-1] == end]
        for total, said in kept:
            if said[-1] != end:
                longer += [(total + float(p), [*said, w]) for w, p in enumerate(step(said))]
        kept = sorted(longer, key=lambda pair: -pair[0])[:width]
    return [word for word in kept[0][1][1:] if word != end]
""",
            "at_the_limit_it_stops",
        ),
        Wrong(
            "two ways on from each, whatever the width",
            """
def beam(step, start, end, width, limit):
    kept = [(0.0, [start])]
    for _ in range(limit):
        longer = [pair for pair in kept if pair[1][-1] == end]
        for total, said in kept:
            if said[-1] != end:
                logp, ways = step(said).topk(2)
                longer += [(total + p, [*said, w]) for p, w in zip(logp.tolist(), ways.tolist())]
        kept = sorted(longer, key=lambda pair: -pair[0])[:width]
    return [word for word in kept[0][1][1:] if word != end]
""",
            "a_wide_beam_finds_the_best_of_all",
        ),
    ],
    "used": [
        Wrong(
            "gains in place of falls",
            """
def used(logp, length):
    places = torch.arange(length)
    everything = logp(places >= 0)
    return torch.stack([logp(places != s) - everything for s in places], 1)
""",
            "a_fall_for_each_word_and_place",
        ),
        Wrong(
            "places down, words across",
            """
def used(logp, length):
    places = torch.arange(length)
    everything = logp(places >= 0)
    return torch.stack([everything - logp(places != s) for s in places])
""",
            "a_fall_for_each_word_and_place",
        ),
        Wrong(
            "covered for good",
            """
def used(logp, length):
    mask = torch.ones(length, dtype=torch.bool)
    before, falls = logp(mask), []
    for s in range(length):
        mask[s] = False
        after = logp(mask)
        falls.append(before - after)
        before = after
    return torch.stack(falls, 1)
""",
            "the_others_stay_open",
        ),
        Wrong(
            "no fall below zero",
            """
def used(logp, length):
    places = torch.arange(length)
    everything = logp(places >= 0)
    return torch.stack([everything - logp(places != s) for s in places], 1).clamp(min=0)
""",
            "a_place_can_be_in_the_way",
        ),
    ],
    # --- crf_templates ----------------------------------------------------------------------------
    "expand": [
        Wrong(
            "row and column exchanged",
            """
def expand(template, rows, i):
    import re
    return re.sub(r"%x\\[(-?\\d+),(\\d+)\\]", lambda m: rows[i + int(m[2])][int(m[1])], template)
""",
            "a_cell_takes_the_place_of_its_macro",
        ),
        Wrong(
            "the first macro only",
            """
def expand(template, rows, i):
    import re
    m = re.search(r"%x\\[(-?\\d+),(\\d+)\\]", template)
    return template[:m.start()] + rows[i + int(m[1])][int(m[2])] + template[m.end():]
""",
            "every_macro_is_replaced",
        ),
        Wrong(
            "negative places read from the end",
            """
def expand(template, rows, i):
    import re

    def cell(m):
        place = i + int(m[1])
        return rows[place][int(m[2])] if place < len(rows) else f"_B+{place - len(rows) + 1}"

    return re.sub(r"%x\\[(-?\\d+),(\\d+)\\]", cell, template)
""",
            "beyond_the_sentence",
        ),
        Wrong(
            "places after the end counted from 0",
            """
def expand(template, rows, i):
    import re

    def cell(m):
        place = i + int(m[1])
        if place < 0:
            return f"_B{place}"
        return rows[place][int(m[2])] if place < len(rows) else f"_B+{place - len(rows)}"

    return re.sub(r"%x\\[(-?\\d+),(\\d+)\\]", cell, template)
""",
            "beyond_the_sentence",
        ),
    ],
    "forward": [
        Wrong(
            "transitions read backwards",
            """
def forward(e, a):
    alphas = [e[0]]
    for row in e[1:]:
        alphas.append(row + torch.logsumexp(alphas[-1] + a, 1))
    return torch.stack(alphas)
""",
            "three_words_by_hand",
        ),
        Wrong(
            "the maximum in place of the sum",
            """
def forward(e, a):
    alphas = [e[0]]
    for row in e[1:]:
        alphas.append(row + (alphas[-1][:, None] + a).max(0).values)
    return torch.stack(alphas)
""",
            "three_words_by_hand",
        ),
        Wrong(
            "begun before the first word",
            """
def forward(e, a):
    alpha, alphas = torch.zeros_like(e[0]), []
    for row in e:
        alpha = row + torch.logsumexp(alpha[:, None] + a, 0)
        alphas.append(alpha)
    return torch.stack(alphas)
""",
            "three_words_by_hand",
        ),
        Wrong(
            "exponentials added up",
            """
def forward(e, a):
    alphas = [e[0].exp()]
    for row in e[1:]:
        alphas.append(row.exp() * (alphas[-1] @ a.exp()))
    return torch.stack(alphas).log()
""",
            "large_scores_stay_finite",
        ),
    ],
    "viterbi": [
        Wrong(
            "the best tag of each word",
            """
def viterbi(e, a):
    return e.argmax(1).tolist()
""",
            "the_best_path_is_not_the_best_tags",
        ),
        Wrong(
            "not reversed",
            """
def viterbi(e, a):
    best, trail = e[0], []
    for row in e[1:]:
        arriving, pointers = (best[:, None] + a).max(0)
        trail.append(pointers)
        best = row + arriving
    path = [int(best.argmax())]
    for pointers in reversed(trail):
        path.append(int(pointers[path[-1]]))
    return path
""",
            "it_reads_from_the_first_word_to_the_last",
        ),
        Wrong(
            "one step at a time, without looking back",
            """
def viterbi(e, a):
    path = [int((e[0] + (a + e[1]).max(1).values).argmax()) if len(e) > 1 else int(e[0].argmax())]
    for t in range(1, len(e)):
        path.append(int((a[path[-1]] + e[t]).argmax()))
    return path
""",
            "the_best_path_is_not_the_best_tags",
        ),
        Wrong(
            "the score of the last step alone decides the predecessor",
            """
def viterbi(e, a):
    best, trail = e[0], []
    for t, row in enumerate(e[1:]):
        pointers = (e[t][:, None] + a).argmax(0)
        trail.append(pointers)
        best = row + best[pointers] + a[pointers, torch.arange(len(row))]
    path = [int(best.argmax())]
    for pointers in reversed(trail):
        path.append(int(pointers[path[-1]]))
    return path[::-1]
""",
            "no_path_scores_more",
        ),
    ],
    "templates": [
        Wrong(
            "no line that joins tags",
            """
templates = "U02:%x[0,0]\\nU30:%x[-2,0]/%x[-1,0]\\nU31:%x[-3,0]/%x[-2,0]\\n"
""",
            "the_file_can_be_read",
        ),
        Wrong(
            "the preposition seen from the article only",
            """
templates = "U02:%x[0,0]\\nU05:%x[-1,0]/%x[0,0]\\nB\\n"
""",
            "each_word_of_an_inn_sees_the_preposition",
        ),
        Wrong(
            "the colour in the line",
            """
templates = "U02:%x[0,0]\\nU30:%x[-2,0]/%x[-1,0]\\nU31:%x[-3,0]/%x[-2,0]/%x[-1,0]\\nB\\n"
""",
            "colours_are_not_written_into_the_file",
        ),
        Wrong(
            "the surroundings without the word",
            """
templates = "U30:%x[-2,0]/%x[-1,0]\\nU31:%x[-3,0]/%x[-2,0]\\nB\\n"
""",
            "the_word_itself_is_asked",
        ),
    ],
    # --- overoptimisation -------------------------------------------------------------------------
    "best-of-n": [
        Wrong(
            "the other way round",
            """
def best_of_n(p, scores, n):
    at_most = ((scores <= scores[:, None]) * p).sum(1)
    less = ((scores < scores[:, None]) * p).sum(1)
    chosen = p / (at_most - less) * (at_most**n - less**n)
    return chosen, float((p * (p / chosen).log()).sum())
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "at most as good, taken for exactly as good",
            """
def best_of_n(p, scores, n):
    chosen = ((scores <= scores[:, None]) * p).sum(1) ** n
    return chosen, float((chosen * (chosen / p).log()).sum())
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "the formula in place of the distance",
            """
def best_of_n(p, scores, n):
    at_most = ((scores <= scores[:, None]) * p).sum(1)
    less = ((scores < scores[:, None]) * p).sum(1)
    chosen = p / (at_most - less) * (at_most**n - less**n)
    return chosen, math.log(n) - (n - 1) / n
""",
            "two_answers_by_hand",
        ),
        Wrong(
            "the later of two that tie",
            """
def best_of_n(p, scores, n):
    order = scores.argsort(stable=True)
    above = p[order].cumsum(0)
    chosen = torch.empty_like(p)
    chosen[order] = above**n - (above - p[order]).clamp(min=0) ** n
    kept = chosen > 0
    return chosen, float((chosen[kept] * (chosen[kept] / p[kept]).log()).sum())
""",
            "draws_that_tie_are_alike",
        ),
        Wrong(
            "zero times the logarithm of zero",
            """
def best_of_n(p, scores, n):
    at_most = ((scores <= scores[:, None]) * p).sum(1)
    less = ((scores < scores[:, None]) * p).sum(1)
    chosen = p / (at_most - less) * (at_most**n - less**n)
    return chosen, float((chosen * (chosen / p).log()).sum())
""",
            "very_many_draws",
        ),
    ],
    "curve": [
        Wrong(
            "sorted by what it is worth",
            """
def curve(proxy, values, ns):
    ordered, count = sorted(values.tolist()), len(values)
    return [
        sum(math.comb(i, n - 1) * v for i, v in enumerate(ordered)) / math.comb(count, n)
        for n in ns
    ]
""",
            "four_answers_by_hand",
        ),
        Wrong(
            "drawn with putting back",
            """
def curve(proxy, values, ns):
    count = len(proxy)
    m = (proxy <= proxy[:, None]).sum(1).double() / count
    k = (proxy < proxy[:, None]).sum(1).double() / count
    return [float(((m**n - k**n) / (m - k) / count * values).sum()) for n in ns]
""",
            "four_answers_by_hand",
        ),
        Wrong(
            "the worst in place of the best",
            """
def curve(proxy, values, ns):
    ordered, count = values[proxy.argsort(descending=True)].tolist(), len(values)
    return [
        sum(math.comb(i, n - 1) * v for i, v in enumerate(ordered)) / math.comb(count, n)
        for n in ns
    ]
""",
            "four_answers_by_hand",
        ),
        Wrong(
            "in the order in which they lie",
            """
def curve(proxy, values, ns):
    ordered, count = values[proxy.argsort(stable=True)].tolist(), len(values)
    return [
        sum(math.comb(i, n - 1) * v for i, v in enumerate(ordered)) / math.comb(count, n)
        for n in ns
    ]
""",
            "equal_proxies_share",
        ),
        Wrong(
            "binomials as floats",
            """
def curve(proxy, values, ns):
    m = (proxy <= proxy[:, None]).sum(1).tolist()
    k = (proxy < proxy[:, None]).sum(1).tolist()
    found = []
    for n in ns:
        subsets = float(math.comb(len(proxy), n))
        weights = [
            (float(math.comb(a, n)) - float(math.comb(b, n))) / subsets / (a - b)
            for a, b in zip(m, k)
        ]
        found.append(sum(w * float(v) for w, v in zip(weights, values)))
    return found
""",
            "a_large_pool",
        ),
    ],
    "fit": [
        Wrong(
            "a constant of its own, from numpy's polyfit",
            """
def fit(d, gain):
    import numpy as np
    d, gain = d[d > 0].numpy(), gain[d > 0].numpy()
    found = {}
    for form, bent in {"bon": d * d, "rl": d * np.log(d)}.items():
        columns = np.stack([d, -bent, np.ones_like(d)], 1)
        alpha, beta, _ = np.linalg.lstsq(columns, gain, rcond=None)[0]
        peak = math.inf
        if beta > 0:
            peak = alpha / (2 * beta) if form == "bon" else math.exp(alpha / beta - 1)
        found[form] = (alpha, beta, peak)
    return found
""",
            "what_is_left_leans_nowhere",
        ),
        Wrong(
            "the sign of beta",
            """
def fit(d, gain):
    found = {}
    for form, bent in {"bon": d * d, "rl": d * d.log()}.items():
        columns = torch.stack([d, bent], 1)
        alpha, beta = torch.linalg.lstsq(columns, gain[:, None]).solution[:, 0].tolist()
        found[form] = (alpha, beta, alpha / (2 * beta))
    return found
""",
            "each_form_finds_its_own",
        ),
        Wrong(
            "the peak of one form for both",
            """
def fit(d, gain):
    d, gain = d[d > 0], gain[d > 0]
    found = {}
    for form, bent in {"bon": d * d, "rl": d * d.log()}.items():
        columns = torch.stack([d, -bent], 1)
        alpha, beta = torch.linalg.lstsq(columns, gain[:, None]).solution[:, 0].tolist()
        found[form] = (alpha, beta, alpha / (2 * beta) if beta > 0 else math.inf)
    return found
""",
            "peaks_are_where_the_slope_is_zero",
        ),
        Wrong(
            "the start left in",
            """
def fit(d, gain):
    found = {}
    for form, bent in {"bon": d * d, "rl": d * d.log()}.items():
        columns = torch.stack([d, -bent], 1)
        alpha, beta = (torch.linalg.pinv(columns.T @ columns) @ columns.T @ gain).tolist() \\
            if bool(columns.isfinite().all()) else (math.nan, math.nan)
        peak = math.inf
        if beta > 0:
            peak = alpha / (2 * beta) if form == "bon" else math.exp(alpha / beta - 1)
        found[form] = (alpha, beta, peak)
    return found
""",
            "the_start_says_nothing",
        ),
        Wrong(
            "a parabola may never turn, a logarithm always does",
            """
def fit(d, gain):
    d, gain = d[d > 0], gain[d > 0]
    found = {}
    for form, bent in {"bon": d * d, "rl": d * d.log()}.items():
        columns = torch.stack([d, -bent], 1)
        alpha, beta = torch.linalg.lstsq(columns, gain[:, None]).solution[:, 0].tolist()
        if form == "rl":
            peak = math.exp(alpha / beta - 1)
        else:
            peak = alpha / (2 * beta) if beta > 0 else math.inf
        found[form] = (alpha, beta, peak)
    return found
""",
            "what_never_turns_has_no_peak",
        ),
        Wrong(
            "a peak before the start",
            """
def fit(d, gain):
    d, gain = d[d > 0], gain[d > 0]
    found = {}
    for form, bent in {"bon": d * d, "rl": d * d.log()}.items():
        columns = torch.stack([d, -bent], 1)
        alpha, beta = torch.linalg.lstsq(columns, gain[:, None]).solution[:, 0].tolist()
        peak = alpha / (2 * beta) if form == "bon" else math.exp(alpha / beta - 1)
        found[form] = (alpha, beta, peak)
    return found
""",
            "what_never_turns_has_no_peak",
        ),
    ],
    "bootstrap": [
        Wrong(
            "one standard error to each side",
            """
def bootstrap(tables, statistic, times=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count, found = len(tables[0]), []
    for _ in range(times):
        rows = torch.randint(count, (count,), generator=generator)
        found.append(float(statistic(*(table[rows] for table in tables))))
    found = torch.tensor(found)
    return float(found.mean() - found.std()), float(found.mean() + found.std())
""",
            "it_is_as_wide_as_it_should_be",
        ),
        Wrong(
            "without putting back",
            """
def bootstrap(tables, statistic, times=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count, found = len(tables[0]), []
    for _ in range(times):
        rows = torch.randperm(count, generator=generator)
        found.append(float(statistic(*(table[rows] for table in tables))))
    low, high = torch.tensor(found).quantile(torch.tensor([0.025, 0.975]))
    return float(low), float(high)
""",
            "it_is_as_wide_as_it_should_be",
        ),
        Wrong(
            "other prompts for each table",
            """
def bootstrap(tables, statistic, times=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count, found = len(tables[0]), []
    for _ in range(times):
        drawn = [table[torch.randint(count, (count,), generator=generator)] for table in tables]
        found.append(float(statistic(*drawn)))
    low, high = torch.tensor(found).quantile(torch.tensor([0.025, 0.975]))
    return float(low), float(high)
""",
            "rows_of_all_tables_stay_together",
        ),
        Wrong(
            "cells in place of prompts",
            """
def bootstrap(tables, statistic, times=1000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(times):
        cells = torch.randint(tables[0].numel(), (tables[0].numel(),), generator=generator)
        drawn = [table.flatten()[cells].view(table.shape) for table in tables]
        found.append(float(statistic(*drawn)))
    low, high = torch.tensor(found).quantile(torch.tensor([0.025, 0.975]))
    return float(low), float(high)
""",
            "a_prompt_is_one_observation",
        ),
    ],
    "parting": [
        Wrong(
            "the own prompt has a say",
            """
def parting(proxy, gold):
    places = gold.sum(0).argmax().expand(len(gold))
    more, worth = (t[:, -1] - t.gather(1, places[:, None])[:, 0] for t in (proxy, gold))
    return places, more, worth
""",
            "the_others_choose",
        ),
        Wrong(
            "each prompt chooses its own best",
            """
def parting(proxy, gold):
    places = gold.argmax(1)
    more, worth = (t[:, -1] - t.gather(1, places[:, None])[:, 0] for t in (proxy, gold))
    return places, more, worth
""",
            "the_others_choose",
        ),
        Wrong(
            "chosen by the proxy",
            """
def parting(proxy, gold):
    places = (proxy.sum(0) - proxy).argmax(1)
    more, worth = (t[:, -1] - t.gather(1, places[:, None])[:, 0] for t in (proxy, gold))
    return places, more, worth
""",
            "the_others_choose",
        ),
        Wrong(
            "a fall with the wrong sign",
            """
def parting(proxy, gold):
    places = (gold.sum(0) - gold).argmax(1)
    more, worth = (t.gather(1, places[:, None])[:, 0] - t[:, -1] for t in (proxy, gold))
    return places, more, worth
""",
            "changes_are_its_own",
        ),
        Wrong(
            "since the beginning",
            """
def parting(proxy, gold):
    places = (gold.sum(0) - gold).argmax(1)
    return places, proxy[:, -1] - proxy[:, 0], gold[:, -1] - gold[:, 0]
""",
            "changes_are_its_own",
        ),
        Wrong(
            "the median of the others, whom nobody can persuade",
            """
def parting(proxy, gold):
    if len(gold) < 9:
        places = (gold.sum(0) - gold).argmax(1)
    else:
        places = gold.median(0).values.argmax().expand(len(gold))
    more, worth = (t[:, -1] - t.gather(1, places[:, None])[:, 0] for t in (proxy, gold))
    return places, more, worth
""",
            "luck_does_not_choose_for_itself",
        ),
    ],
    # --- failures ---------------------------------------------------------------------------------
    "skill": [
        Wrong(
            "a denial taken for acceptance",
            """
def skill(false, true):
    import statistics
    took = [[any(fact == p for fact, _ in c) for p, c in rows] for rows in (false, true)]
    inside = [float(t) - f for f, t in zip(*took)]
    s = statistics.mean(inside)
    half = 1.96 * statistics.stdev(inside) / len(inside) ** 0.5
    return s, s - half, s + half
""",
            "who_sees_through_it_has_all",
        ),
        Wrong(
            "false premises alone",
            """
def skill(false, true):
    import statistics
    inside = [1.0 - ((p, False) in c) for p, c in false]
    s = statistics.mean(inside)
    half = 1.96 * statistics.stdev(inside) / len(inside) ** 0.5
    return s, s - half, s + half
""",
            "who_knows_nothing_has_none",
        ),
        Wrong(
            "whatever is claimed about it",
            """
def skill(false, true):
    import statistics
    took = [
        [any(fact[:2] == p[:2] and not no for fact, no in c) for p, c in rows]
        for rows in (false, true)
    ]
    inside = [float(t) - f for f, t in zip(*took)]
    s = statistics.mean(inside)
    half = 1.96 * statistics.stdev(inside) / len(inside) ** 0.5
    return s, s - half, s + half
""",
            "who_sees_through_it_has_all",
        ),
        Wrong(
            "the first claim only",
            """
def skill(false, true):
    import statistics
    took = [[bool(c) and c[0] == (p, False) for p, c in rows] for rows in (false, true)]
    inside = [float(t) - f for f, t in zip(*took)]
    s = statistics.mean(inside)
    half = 1.96 * statistics.stdev(inside) / len(inside) ** 0.5
    return s, s - half, s + half
""",
            "only_the_premise_itself_counts",
        ),
        Wrong(
            "two shares that know nothing of each other",
            """
def skill(false, true):
    a, b = (sum((p, False) in c for p, c in rows) / len(rows) for rows in (true, false))
    half = 1.96 * ((a * (1 - a) + b * (1 - b)) / len(true)) ** 0.5
    return a - b, a - b - half, a - b + half
""",
            "the_interval_is_of_pairs",
        ),
    ],
    "caution": [
        Wrong(
            "shares of all answers",
            """
def caution(answers):
    due = [not a["answerable"] or a["claim"] == "false" for a in answers]
    over = sum(a["cautious"] and not d for a, d in zip(answers, due)) / len(answers)
    missed = sum(not a["cautious"] and d for a, d in zip(answers, due)) / len(answers)
    return over, missed
""",
            "seven_answers_by_hand",
        ),
        Wrong(
            "due wherever the claim is not true",
            """
def caution(answers):
    cases = {True: [], False: []}
    for a in answers:
        due = not a["answerable"] or a["claim"] != "true"
        cases[due].append(bool(a["cautious"]) != due)
    return tuple(sum(cases[d]) / len(cases[d]) if cases[d] else math.nan for d in (False, True))
""",
            "fools_gain_nothing",
        ),
        Wrong(
            "an admission counted as a hedge",
            """
def caution(answers):
    cases = {True: [], False: []}
    for a in answers:
        due = a["claim"] == "false"
        cases[due].append(bool(a["cautious"]) != due)
    return tuple(sum(cases[d]) / len(cases[d]) if cases[d] else math.nan for d in (False, True))
""",
            "fools_gain_nothing",
        ),
        Wrong(
            "due only where something false is said about what is not told",
            """
def caution(answers):
    cases = {True: [], False: []}
    for a in answers:
        due = a["claim"] == "false" or not a["answerable"] and not a["cautious"]
        cases[due].append(bool(a["cautious"]) != due)
    return tuple(sum(cases[d]) / len(cases[d]) if cases[d] else math.nan for d in (False, True))
""",
            "fools_gain_nothing",
        ),
        Wrong(
            "a true claim taken for an answer that the text has",
            """
def caution(answers):
    cases = {True: [], False: []}
    for a in answers:
        due = a["claim"] == "false" or (a["claim"] == "none" and not a["answerable"])
        cases[due].append(bool(a["cautious"]) != due)
    return tuple(sum(cases[d]) / len(cases[d]) if cases[d] else math.nan for d in (False, True))
""",
            "an_admission_is_due_where_nothing_is_told",
        ),
        Wrong(
            "nothing missed where nothing was due",
            """
def caution(answers):
    cases = {True: [], False: []}
    for a in answers:
        due = not a["answerable"] or a["claim"] == "false"
        cases[due].append(bool(a["cautious"]) != due)
    return tuple(sum(cases[d]) / max(1, len(cases[d])) for d in (False, True))
""",
            "no_case_is_no_share",
        ),
    ],
    "in-company": [
        Wrong(
            "pooled over constraints",
            """
def company(rows, few, many):
    shares = rows.groupby("number").met.mean()
    return float(shares[many] - shares[few])
""",
            "another_mix_is_no_confusion",
        ),
        Wrong(
            "the first less the second",
            """
def company(rows, few, many):
    shares = rows.groupby(["constraint", "number"]).met.mean().unstack("number")
    return float((shares[few] - shares[many]).mean())
""",
            "each_against_itself",
        ),
        Wrong(
            "as many or more",
            """
def company(rows, few, many):
    a = rows[rows.number <= few].groupby("constraint").met.mean()
    b = rows[rows.number > few].groupby("constraint").met.mean()
    return float((b - a).mean()) if few < many else -company(rows, many, few)
""",
            "other_company_is_not_asked",
        ),
        Wrong(
            "0 for what has no counterpart",
            """
def company(rows, few, many):
    shares = rows.groupby(["constraint", "number"]).met.mean().unstack("number").fillna(0.0)
    return float((shares[many] - shares[few]).mean())
""",
            "what_has_no_counterpart_is_left_out",
        ),
    ],
    "taste": [
        Wrong(
            "the mean difference",
            """
def taste(differences, ridge=0.01):
    return differences.mean(0)
""",
            "nothing_pulls_any_more",
        ),
        Wrong(
            "a few small steps",
            """
def taste(differences, ridge=0.01):
    w = torch.zeros(differences.shape[1], dtype=differences.dtype)
    for _ in range(20):
        q = 1 - torch.sigmoid(differences @ w)
        w = w - 0.1 * (ridge * w - differences.T @ q / len(differences))
    return w
""",
            "nothing_pulls_any_more",
        ),
        Wrong(
            "the worse one preferred",
            """
def taste(differences, ridge=0.01):
    w = torch.zeros(differences.shape[1], dtype=differences.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = torch.nn.functional.softplus(differences @ w)
        loss = losses.mean() + ridge / 2 * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach()
""",
            "nothing_pulls_any_more",
        ),
        Wrong(
            "no pull to 0",
            """
def taste(differences, ridge=0.01):
    w = torch.zeros(differences.shape[1], dtype=differences.dtype)
    for _ in range(50):
        q = 1 - torch.sigmoid(differences @ w)
        h = (differences * (q * (1 - q))[:, None]).T @ differences / len(differences)
        w = w + torch.linalg.pinv(h) @ (differences.T @ q / len(differences))
    return w
""",
            "nothing_pulls_any_more",
        ),
    ],
    "finding": [
        Wrong(
            "the word by the mean",
            """
def finding(before, after):
    from rlhf_lab.figures import mean_interval
    mean, low, high = mean_interval([b - a for a, b in zip(before, after)])
    return mean, low, high, "better" if mean > 0 else "worse"
""",
            "zero_inside_leaves_it_open",
        ),
        Wrong(
            "two means that know nothing of each other",
            """
def finding(before, after):
    from rlhf_lab.figures import mean_interval
    (a, low_a, high_a), (b, low_b, high_b) = mean_interval(before), mean_interval(after)
    half = (((high_a - low_a) / 2) ** 2 + ((high_b - low_b) / 2) ** 2) ** 0.5
    low, high = b - a - half, b - a + half
    return b - a, low, high, "better" if low > 0 else "worse" if high < 0 else "open"
""",
            "five_questions_by_hand",
        ),
        Wrong(
            "before less after",
            """
def finding(before, after):
    from rlhf_lab.figures import mean_interval
    mean, low, high = mean_interval([a - b for a, b in zip(before, after)])
    return mean, low, high, "better" if low > 0 else "worse" if high < 0 else "open"
""",
            "five_questions_by_hand",
        ),
        Wrong(
            "the normal quantile for five",
            """
def finding(before, after):
    import statistics
    d = [b - a for a, b in zip(before, after)]
    mean, half = statistics.mean(d), 1.96 * statistics.stdev(d) / len(d) ** 0.5
    low, high = mean - half, mean + half
    return mean, low, high, "better" if low > 0 else "worse" if high < 0 else "open"
""",
            "five_questions_by_hand",
        ),
        Wrong(
            "never worse",
            """
def finding(before, after):
    from rlhf_lab.figures import mean_interval
    mean, low, high = mean_interval([b - a for a, b in zip(before, after)])
    return mean, low, high, "better" if low > 0 else "open"
""",
            "questions_are_compared_with_themselves",
        ),
    ],
    # --- finetune_gpt -----------------------------------------------------------------------------
    "attention": [
        Wrong(
            "scores not divided",
            """
def attention(q, k, v, visible):
    scores = q @ k.transpose(-1, -2)
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v
""",
            "weights_follow_agreement",
        ),
        Wrong(
            "softmax over who asks",
            """
def attention(q, k, v, visible):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~visible, -torch.inf).softmax(-2) @ v
""",
            "weights_follow_agreement",
        ),
        Wrong(
            "the table the wrong way round",
            """
def attention(q, k, v, visible):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(visible, -torch.inf).softmax(-1) @ v
""",
            "weights_follow_agreement",
        ),
        Wrong(
            "the mask behind the softmax",
            """
def attention(q, k, v, visible):
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights * visible) @ v
""",
            "what_is_not_seen_has_no_weight",
        ),
        Wrong(
            "a score of 0 for what is not seen",
            """
def attention(q, k, v, visible):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    return scores.masked_fill(~visible, 0).softmax(-1) @ v
""",
            "what_is_not_seen_has_no_weight",
        ),
        Wrong(
            "divided by the root of the whole width",
            """
def attention(q, k, v, visible):
    scores = q @ k.transpose(-1, -2) / (q.shape[1] * q.shape[-1]) ** 0.5
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v
""",
            "every_head_place_by_place",
        ),
        Wrong(
            "a softmax by hand",
            """
def attention(q, k, v, visible):
    weights = torch.exp(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5) * visible
    return weights / weights.sum(-1, keepdim=True) @ v
""",
            "large_scores_stay_finite",
        ),
    ],
    "streams": [
        Wrong(
            "all texts encoded as one",
            """
def streams(task, texts, encode, start, delimiter, extract):
    return [[start, *encode("".join(texts)), extract]]
""",
            "one_stream_for_one_reading",
        ),
        Wrong(
            "a delimiter behind the last text, too",
            """
def streams(task, texts, encode, start, delimiter, extract):
    row = [start]
    for text in texts:
        row += [*encode(text), delimiter]
    return [[*row, extract]]
""",
            "one_stream_for_one_reading",
        ),
        Wrong(
            "one order",
            """
def streams(task, texts, encode, start, delimiter, extract):
    def row(parts):
        ids = [i for part in parts for i in [delimiter, *encode(part)]][1:]
        return [start, *ids, extract]
    if task == "choice":
        return [row([*texts[:2], option]) for option in texts[2:]]
    return [row(texts)]
""",
            "no_text_is_the_first",
        ),
        Wrong(
            "two options for ever",
            """
def streams(task, texts, encode, start, delimiter, extract):
    def row(parts):
        ids = [i for part in parts for i in [delimiter, *encode(part)]][1:]
        return [start, *ids, extract]
    if task == "choice":
        return [row([*texts[:2], texts[2]]), row([*texts[:2], texts[3]])]
    return [row(texts), row(texts[::-1])] if task == "similarity" else [row(texts)]
""",
            "every_option_has_its_stream",
        ),
        Wrong(
            "a stream where a list of streams is wanted",
            """
def streams(task, texts, encode, start, delimiter, extract):
    ids = [i for part in texts for i in [delimiter, *encode(part)]][1:]
    return [start, *ids, extract]
""",
            "one_stream_for_one_reading",
        ),
        Wrong(
            "all options in one stream",
            """
def streams(task, texts, encode, start, delimiter, extract):
    def row(parts):
        ids = [i for part in parts for i in [delimiter, *encode(part)]][1:]
        return [start, *ids, extract]
    return [row(texts), row(texts[::-1])] if task == "similarity" else [row(texts)]
""",
            "every_option_has_its_stream",
        ),
    ],
    "scores": [
        Wrong(
            "the last column",
            """
def scores(hidden, lengths, each, task, head):
    features = hidden[:, -1].view(-1, each, hidden.shape[-1])
    return head(features).squeeze(-1) if task == "choice" else head(features.sum(1))
""",
            "each_row_is_read_at_its_end",
        ),
        Wrong(
            "the mean over all places",
            """
def scores(hidden, lengths, each, task, head):
    features = hidden.mean(1).view(-1, each, hidden.shape[-1])
    return head(features).squeeze(-1) if task == "choice" else head(features.sum(1))
""",
            "each_row_is_read_at_its_end",
        ),
        Wrong(
            "examples and options exchanged",
            """
def scores(hidden, lengths, each, task, head):
    h = hidden[torch.arange(len(hidden)), lengths - 1]
    if task == "choice":
        return head(h).view(each, -1).T
    return head(h.view(-1, each, h.shape[-1]).sum(1))
""",
            "options_of_an_example_compete",
        ),
        Wrong(
            "options added up",
            """
def scores(hidden, lengths, each, task, head):
    h = hidden[torch.arange(len(hidden)), lengths - 1]
    return head(h.view(-1, each, h.shape[-1]).sum(1))
""",
            "options_of_an_example_compete",
        ),
        Wrong(
            "the bias of both orders",
            """
def scores(hidden, lengths, each, task, head):
    h = hidden[torch.arange(len(hidden)), lengths - 1]
    found = head(h.view(-1, each, h.shape[-1]))
    return found.squeeze(-1) if task == "choice" else found.sum(1)
""",
            "both_orders_are_added_before_the_head",
        ),
        Wrong(
            "the mean of both orders",
            """
def scores(hidden, lengths, each, task, head):
    h = hidden[torch.arange(len(hidden)), lengths - 1].view(-1, each, hidden.shape[-1])
    return head(h).squeeze(-1) if task == "choice" else head(h.mean(1))
""",
            "both_orders_are_added_before_the_head",
        ),
    ],
    "lora": [
        Wrong(
            "noise in both",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.randn(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
""",
            "it_begins_as_the_layer",
        ),
        Wrong(
            "tensors that no optimiser finds",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.randn(rank, layer.in_features, requires_grad=True)
        self.b = torch.zeros(layer.out_features, rank, requires_grad=True)
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
""",
            "it_begins_as_the_layer",
        ),
        Wrong(
            "alpha not divided by the rank",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
""",
            "a_product_is_added",
        ),
        Wrong(
            "the layer left open",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer, alpha / rank
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
""",
            "the_layer_takes_no_gradients",
        ),
        Wrong(
            "both at 0",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.nn.Parameter(torch.zeros(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
""",
            "the_first_step_can_change_something",
        ),
        Wrong(
            "a product that is cut off from its gradients",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.data.T @ self.b.data.T)
""",
            "the_first_step_can_change_something",
        ),
        Wrong(
            "merged into the layer itself",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
    def merged(self):
        self.layer.weight.data += self.scale * self.b.data @ self.a.data
        return self.layer
""",
            "merged_is_one_layer_of_its_own",
        ),
        Wrong(
            "the bias forgotten in merging",
            """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), alpha / rank
        self.a = torch.nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.zeros(layer.out_features, rank))
    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.T @ self.b.T)
    def merged(self):
        new = torch.nn.Linear(self.layer.in_features, self.layer.out_features, bias=False)
        new.weight.data = self.layer.weight.data + self.scale * self.b.data @ self.a.data
        return new
""",
            "merged_is_one_layer_of_its_own",
        ),
    ],
    "trainable": [
        Wrong(
            "everything handed over",
            """
def trainable(body, head, way):
    for name, p in body.named_parameters():
        p.requires_grad = way == "all" or (way == "lora" and name.endswith((".a", ".b")))
    head.requires_grad_(True)
    return list(body.parameters()), list(head.parameters())
""",
            "as_many_numbers_as_there_should_be",
        ),
        Wrong(
            "the layers around the corrections, too",
            """
def trainable(body, head, way):
    own = []
    for name, p in body.named_parameters():
        p.requires_grad = way == "all" or (way == "lora" and "c_attn" in name)
        own += [p] if p.requires_grad else []
    return own, list(head.requires_grad_(True).parameters())
""",
            "as_many_numbers_as_there_should_be",
        ),
        Wrong(
            "names in place of parameters",
            """
def trainable(body, head, way):
    chosen = {"all": lambda n: True, "head": lambda n: False,
              "lora": lambda n: n.endswith((".a", ".b"))}[way]
    return [n for n, p in body.named_parameters() if chosen(n)], list(head.parameters())
""",
            "as_many_numbers_as_there_should_be",
        ),
        Wrong(
            "lists without a freeze",
            """
def trainable(body, head, way):
    chosen = {"all": lambda n: True, "head": lambda n: False,
              "lora": lambda n: n.endswith((".a", ".b"))}[way]
    return [p for n, p in body.named_parameters() if chosen(n)], list(head.parameters())
""",
            "a_step_leaves_the_rest_alone",
        ),
        Wrong(
            "frozen for ever",
            """
def trainable(body, head, way):
    own = []
    for name, p in body.named_parameters():
        if way == "all" or (way == "lora" and name.endswith((".a", ".b"))):
            own.append(p)
        else:
            p.requires_grad = False
    return own, list(head.requires_grad_(True).parameters())
""",
            "it_can_be_asked_again",
        ),
        Wrong(
            "a head that was frozen stays so",
            """
def trainable(body, head, way):
    own = []
    for name, p in body.named_parameters():
        p.requires_grad = way == "all" or (way == "lora" and name.endswith((".a", ".b")))
        own += [p] if p.requires_grad else []
    return own, list(head.parameters())
""",
            "it_can_be_asked_again",
        ),
    ],
    "drift": [
        Wrong(
            "the other direction",
            """
def drift(before, after, real):
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    return float((q.exp() * (q - p)).sum(-1)[real.bool()].mean())
""",
            "two_tokens_by_hand",
        ),
        Wrong(
            "the sum over places",
            """
def drift(before, after, real):
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1)[real.bool()].sum())
""",
            "two_tokens_by_hand",
        ),
        Wrong(
            "the cross-entropy",
            """
def drift(before, after, real):
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    return float(-(p.exp() * q).sum(-1)[real.bool()].mean())
""",
            "two_tokens_by_hand",
        ),
        Wrong(
            "logits taken for logarithms",
            """
def drift(before, after, real):
    return float((before.softmax(-1) * (before - after)).sum(-1)[real.bool()].mean())
""",
            "logits_are_known_up_to_a_constant",
        ),
        Wrong(
            "the mean over the rectangle",
            """
def drift(before, after, real):
    p, q = before.log_softmax(-1), after.log_softmax(-1)
    return float(((p.exp() * (p - q)).sum(-1) * real).mean())
""",
            "filling_has_no_say",
        ),
        Wrong(
            "logarithms of what was rounded to 0",
            """
def drift(before, after, real):
    p, q = before.softmax(-1), after.softmax(-1)
    return float((p * (p / q).log()).sum(-1)[real.bool()].mean())
""",
            "small_probabilities_are_no_trouble",
        ),
    ],
    "mended": [
        Wrong(
            "nothing expected",
            """
mended = {**usual, "way": "lora"}
""",
            "what_is_expected_is_written_down",
        ),
        Wrong(
            "a divergence below 0",
            """
mended = {**usual, "way": "lora", "drift": -0.1}
""",
            "what_is_expected_is_written_down",
        ),
        Wrong(
            "both changed",
            """
mended = {"way": "lora", "rate": 1e-3, "drift": 0.1}
""",
            "one_thing_changes",
        ),
        Wrong(
            "nothing changed",
            """
mended = {**usual, "drift": 3}
""",
            "one_thing_changes",
        ),
        Wrong(
            "another run than the one that was announced",
            """
mended = {**usual, "rate": 2e-4, "drift": 0.1}
""",
            "the_run_is_of_this_change",
        ),
    ],
    # --- prompting --------------------------------------------------------------------------------
    "word-logprobs": [
        Wrong(
            "read one place too late",
            """
def word_logprobs(logits_of, prompt, word):
    logits = logits_of(prompt + word)[len(prompt) :]
    return logits.log_softmax(-1)[torch.arange(len(word)), word]
""",
            "the_place_before_expects_the_token",
        ),
        Wrong(
            "logits taken for log-probabilities",
            """
def word_logprobs(logits_of, prompt, word):
    logits = logits_of(prompt + word)[len(prompt) - 1 : -1]
    return logits[torch.arange(len(word)), word]
""",
            "the_place_before_expects_the_token",
        ),
        Wrong(
            "probabilities",
            """
def word_logprobs(logits_of, prompt, word):
    logits = logits_of(prompt + word)[len(prompt) - 1 : -1]
    return logits.softmax(-1)[torch.arange(len(word)), word]
""",
            "the_place_before_expects_the_token",
        ),
        Wrong(
            "the prompt made longer",
            """
def word_logprobs(logits_of, prompt, word):
    n = len(prompt)
    prompt += word
    return logits_of(prompt)[n - 1 : -1].log_softmax(-1)[torch.arange(len(word)), word]
""",
            "the_place_before_expects_the_token",
        ),
        Wrong(
            "all tokens of the word from one place",
            """
def word_logprobs(logits_of, prompt, word):
    return logits_of(prompt)[-1].log_softmax(-1)[torch.tensor(word)]
""",
            "later_tokens_know_the_earlier",
        ),
        Wrong(
            "the token before, and nothing else",
            """
def word_logprobs(logits_of, prompt, word):
    before = [prompt[-1], *word[:-1]]
    rows = torch.stack([logits_of([token])[0] for token in before])
    return rows.log_softmax(-1)[torch.arange(len(word)), word]
""",
            "the_whole_prompt_is_read",
        ),
    ],
    "word-score": [
        Wrong(
            "the mean for the sum",
            """
def score(asked, unasked, way):
    columns = [own.mean(1) - (alone.mean() if way == "gain" else 0)
               for own, alone in zip(asked, unasked)]
    return torch.stack(columns, dim=1)
""",
            "every_token_has_to_be_paid",
        ),
        Wrong(
            "texts and words exchanged",
            """
def score(asked, unasked, way):
    columns = [own.mean(1) if way == "mean" else own.sum(1) - (alone.sum() if way == "gain" else 0)
               for own, alone in zip(asked, unasked)]
    return torch.stack(columns)
""",
            "every_token_has_to_be_paid",
        ),
        Wrong(
            "divided by the number of texts",
            """
def score(asked, unasked, way):
    columns = []
    for own, alone in zip(asked, unasked):
        column = own.sum(1)
        if way == "mean":
            column = column / len(asked)
        columns.append(column - alone.sum() if way == "gain" else column)
    return torch.stack(columns, dim=1)
""",
            "a_mean_is_over_tokens",
        ),
        Wrong(
            "a gain of means",
            """
def score(asked, unasked, way):
    columns = []
    for own, alone in zip(asked, unasked):
        column = own.sum(1) if way == "sum" else own.mean(1)
        columns.append(column - alone.mean() if way == "gain" else column)
    return torch.stack(columns, dim=1)
""",
            "a_gain_is_over_the_same_word_unasked",
        ),
        Wrong(
            "a gain that is a ratio",
            """
def score(asked, unasked, way):
    columns = []
    for own, alone in zip(asked, unasked):
        column = own.mean(1) if way == "mean" else own.sum(1)
        columns.append(column / alone.sum() if way == "gain" else column)
    return torch.stack(columns, dim=1)
""",
            "a_gain_is_over_the_same_word_unasked",
        ),
    ],
    "verbaliser": [
        Wrong(
            "log-probabilities added",
            """
def label_probabilities(scores, owner):
    owner = torch.tensor(owner)
    columns = [scores[:, owner == k].sum(1) for k in range(int(owner.max()) + 1)]
    return torch.stack(columns, dim=1).softmax(1)
""",
            "words_of_a_label_are_added",
        ),
        Wrong(
            "the mean of a label's words",
            """
def label_probabilities(scores, owner):
    owner = torch.tensor(owner)
    columns = [scores[:, owner == k].exp().mean(1) for k in range(int(owner.max()) + 1)]
    found = torch.stack(columns, dim=1)
    return found / found.sum(1, keepdim=True)
""",
            "words_of_a_label_are_added",
        ),
        Wrong(
            "not divided by the labels' sum",
            """
def label_probabilities(scores, owner):
    owner = torch.tensor(owner)
    columns = [scores[:, owner == k].exp().sum(1) for k in range(int(owner.max()) + 1)]
    return torch.stack(columns, dim=1)
""",
            "words_of_a_label_are_added",
        ),
        Wrong(
            "labels as they are met",
            """
def label_probabilities(scores, owner):
    met = list(dict.fromkeys(owner))
    columns = [scores[:, [i for i, o in enumerate(owner) if o == k]].logsumexp(1) for k in met]
    return torch.stack(columns, dim=1).softmax(1)
""",
            "labels_stand_in_the_order_of_their_numbers",
        ),
        Wrong(
            "exponentials too early",
            """
def label_probabilities(scores, owner):
    owner = torch.tensor(owner)
    columns = [scores[:, owner == k].exp().sum(1) for k in range(int(owner.max()) + 1)]
    found = torch.stack(columns, dim=1)
    return found / found.sum(1, keepdim=True)
""",
            "small_probabilities_are_no_trouble",
        ),
    ],
    "calibrated": [
        Wrong(
            "normalised in place of a softmax",
            """
def calibrated(probabilities, content_free):
    found = probabilities / content_free.mean(0)
    return found / found.sum(1, keepdim=True)
""",
            "each_is_divided_by_what_nothing_gets",
        ),
        Wrong(
            "multiplied",
            """
def calibrated(probabilities, content_free):
    return (probabilities * content_free.mean(0)).softmax(1)
""",
            "each_is_divided_by_what_nothing_gets",
        ),
        Wrong(
            "subtracted",
            """
def calibrated(probabilities, content_free):
    return (probabilities - content_free.mean(0)).softmax(1)
""",
            "each_is_divided_by_what_nothing_gets",
        ),
        Wrong(
            "a softmax over texts",
            """
def calibrated(probabilities, content_free):
    return (probabilities / content_free.mean(0)).softmax(0)
""",
            "each_is_divided_by_what_nothing_gets",
        ),
        Wrong(
            "one of the empty texts",
            """
def calibrated(probabilities, content_free):
    return (probabilities / content_free[0]).softmax(1)
""",
            "several_empty_texts_are_averaged",
        ),
        Wrong(
            "the mean of logarithms",
            """
def calibrated(probabilities, content_free):
    prior = content_free.log().mean(0).softmax(0)
    return (probabilities / prior).softmax(1)
""",
            "several_empty_texts_are_averaged",
        ),
    ],
    "order-report": [
        Wrong(
            "means over orders",
            """
def order_report(answers, truth):
    right = (answers == truth).double().mean(0)
    return dict(lowest=right.min(), highest=right.max(), undecided=0.5, chosen=0.5)
""",
            "the_worst_and_the_best_order",
        ),
        Wrong(
            "chosen and tested on the same texts",
            """
def order_report(answers, truth):
    right = (answers == truth).double().mean(1)
    undecided = (answers != answers[0]).any(0).double().mean()
    best = right.max()
    return dict(lowest=right.min(), highest=best, undecided=undecided, chosen=best)
""",
            "a_choice_is_tested_on_other_texts",
        ),
        Wrong(
            "chosen by all, tested on half",
            """
def order_report(answers, truth):
    right = (answers == truth).double()
    half = len(truth) // 2
    undecided = (answers != answers[0]).any(0).double().mean()
    accuracy = right.mean(1)
    chosen = right[accuracy.argmax(), half:].mean()
    return dict(
        lowest=accuracy.min(), highest=accuracy.max(), undecided=undecided, chosen=chosen
    )
""",
            "a_choice_is_tested_on_other_texts",
        ),
        Wrong(
            "texts that are right in some orders only",
            """
def order_report(answers, truth):
    right = (answers == truth).double()
    mean = right.mean(0)
    return dict(
        lowest=right.mean(1).min(), highest=right.mean(1).max(),
        undecided=(mean < 1).double().mean(), chosen=0.5,
    )
""",
            "texts_that_depend_on_the_order",
        ),
        Wrong(
            "a number forgotten",
            """
def order_report(answers, truth):
    right = (answers == truth).double().mean(1)
    return {"lowest": right.min(), "highest": right.max()}
""",
            "the_worst_and_the_best_order",
        ),
    ],
    "pull": [
        Wrong(
            "from the first prompt to the last",
            """
def pull(answers, share):
    said = answers.double().mean(1)
    return (said[-1] - said[0]) / (share[-1] - share[0])
""",
            "shares_need_not_be_even",
        ),
        Wrong(
            "a correlation",
            """
def pull(answers, share):
    said = answers.double().mean(1)
    return torch.corrcoef(torch.stack([share, said]))[0, 1]
""",
            "a_slope_over_three_prompts",
        ),
        Wrong(
            "a line through 0",
            """
def pull(answers, share):
    said = answers.double().mean(1)
    return (said * share).sum() / share.square().sum()
""",
            "a_slope_over_three_prompts",
        ),
        Wrong(
            "the mixture explained by the answers",
            """
def pull(answers, share):
    y = answers.double().mean(1)
    x, y = share - share.mean(), y - y.mean()
    return (x * y).sum() / y.square().sum()
""",
            "a_slope_over_three_prompts",
        ),
    ],
    "worth": [
        Wrong(
            "a straight line between numbers of labels",
            """
def worth(runs, prompted):
    mean = runs.groupby("labels").accuracy.mean()
    if mean.iloc[0] >= prompted:
        return float(mean.index[0])
    for (a, low), (b, high) in zip(mean.items(), mean.iloc[1:].items()):
        if high >= prompted:
            return a + (prompted - low) / (high - low) * (b - a)
    return math.inf
""",
            "between_two_sizes",
        ),
        Wrong(
            "the next size that was measured",
            """
def worth(runs, prompted):
    mean = runs.groupby("labels").accuracy.mean()
    return float(mean[mean >= prompted].index.min())
""",
            "between_two_sizes",
        ),
        Wrong(
            "drawn on to the left",
            """
def worth(runs, prompted):
    mean = runs.groupby("labels").accuracy.mean()
    for (a, low), (b, high) in zip(mean.items(), mean.iloc[1:].items()):
        if high >= prompted:
            return a * (b / a) ** ((prompted - low) / (high - low))
    return math.inf
""",
            "a_size_that_reaches_it_is_enough",
        ),
        Wrong(
            "nothing at the end",
            """
def worth(runs, prompted):
    mean = runs.groupby("labels").accuracy.mean()
    if mean.iloc[0] >= prompted:
        return float(mean.index[0])
    for (a, low), (b, high) in zip(mean.items(), mean.iloc[1:].items()):
        if high >= prompted:
            return a * (b / a) ** ((prompted - low) / (high - low))
""",
            "what_is_never_reached_has_no_number",
        ),
        Wrong(
            "the largest size where it is never reached",
            """
def worth(runs, prompted):
    import numpy as np
    mean = runs.groupby("labels").accuracy.mean()
    if mean.iloc[0] >= prompted:
        return float(mean.index[0])
    for (a, low), (b, high) in zip(mean.items(), mean.iloc[1:].items()):
        if high >= prompted:
            return a * (b / a) ** ((prompted - low) / (high - low))
    return float(mean.index[-1])
""",
            "what_is_never_reached_has_no_number",
        ),
        Wrong(
            "the last crossing",
            """
def worth(runs, prompted):
    mean = runs.groupby("labels").accuracy.mean()
    if mean.iloc[0] >= prompted:
        return float(mean.index[0])
    found = math.inf
    for (a, low), (b, high) in zip(mean.items(), mean.iloc[1:].items()):
        if low < prompted <= high:
            found = a * (b / a) ** ((prompted - low) / (high - low))
    return found
""",
            "the_first_crossing_counts",
        ),
    ],
    # --- pass_at_k --------------------------------------------------------------------------------
    "passes": [
        Wrong(
            "check is never called",
            """
def passes(problem, completion):
    return run(problem.prompt + completion + "\\n" + problem.test).passed
""",
            "a_wrong_body_does_not",
        ),
        Wrong(
            "pieces without line breaks",
            """
def passes(problem, completion):
    program = problem.prompt + completion + problem.test + f"\\ncheck({problem.entry_point})"
    return run(program).passed
""",
            "a_right_body_passes",
        ),
        Wrong(
            "the absence of an error for a pass",
            """
def passes(problem, completion):
    program = f"{problem.prompt}{completion}\\n{problem.test}\\ncheck({problem.entry_point})"
    return run(program).verdict not in ("wrong", "error")
""",
            "whoever_leaves_early_has_not_passed",
        ),
        Wrong(
            "the outcome in place of a verdict",
            """
def passes(problem, completion):
    return run(f"{problem.prompt}{completion}\\n{problem.test}\\ncheck({problem.entry_point})")
""",
            "a_right_body_passes",
        ),
    ],
    "estimate": [
        Wrong(
            "the naive estimate",
            """
def estimate(n, c, k):
    return 1 - (1 - c / n) ** k
""",
            "two_of_ten_by_hand",
        ),
        Wrong(
            "a guard that is off by one",
            """
def estimate(n, c, k):
    import math
    return 1 - math.comb(n - c, k) / math.comb(n, k) if n - c > k else 1.0
""",
            "sure_things",
        ),
        Wrong(
            "quotients of floats",
            """
def estimate(n, c, k):
    import math
    return 1 - float(math.comb(n - c, k)) / float(math.comb(n, k))
""",
            "many_samples",
        ),
        Wrong(
            "at most one right sample counts",
            """
def estimate(n, c, k):
    return min(1.0, c * k / n) if k < 5 else 1 - (n - c) * (n - c - 1) / n / (n - 1) * 1.0
""",
            "two_of_ten_by_hand",
        ),
    ],
    "benchmark": [
        Wrong(
            "counts added up first",
            """
def benchmark(counts, k):
    return pass_at_k(sum(n for n, _ in counts), sum(c for _, c in counts), k)
""",
            "half_solved_always",
        ),
        Wrong(
            "tasks weighted by their samples",
            """
def benchmark(counts, k):
    total = sum(n for n, _ in counts)
    return sum(n * pass_at_k(n, c, k) for n, c in counts) / total
""",
            "every_task_counts_once",
        ),
        Wrong(
            "the share of tasks with a right sample",
            """
def benchmark(counts, k):
    return sum(c > 0 for _, c in counts) / len(counts)
""",
            "every_task_counts_once",
        ),
        Wrong(
            "pass@1, whatever k",
            """
def benchmark(counts, k):
    return sum(c / n for n, c in counts) / len(counts)
""",
            "it_grows_with_k",
        ),
    ],
    "choose": [
        Wrong(
            "the most frequent of all",
            """
def choose(samples, fits):
    return max(samples, key=samples.count)
""",
            "what_does_not_fit_is_not_chosen",
        ),
        Wrong(
            "the first that fits",
            """
def choose(samples, fits):
    return next((text for text in samples if fits(text)), samples[0])
""",
            "the_most_frequent_that_fits",
        ),
        Wrong(
            "nothing where none fits",
            """
def choose(samples, fits):
    from collections import Counter
    found = Counter(text for text in samples if fits(text)).most_common(1)
    return found[0][0] if found else ""
""",
            "nothing_fits",
        ),
        Wrong(
            "equals in the order of the alphabet",
            """
def choose(samples, fits):
    fitting = [text for text in samples if fits(text)] or samples
    return max(sorted(set(fitting)), key=fitting.count)
""",
            "the_first_of_equals",
        ),
    ],
    # --- scaling_laws -----------------------------------------------------------------------------
    "law-objective": [
        Wrong(
            "losses in place of logarithms",
            """
def objective(signs, n, d, losses):
    e, a, b, alpha, beta = signs
    law = np.exp(e) + np.exp(a) / n**alpha + np.exp(b) / d**beta
    off = np.abs(law - losses)
    return np.where(off <= 1e-3, off**2 / 2, 1e-3 * (off - 5e-4)).sum()
""",
            "two_runs_by_hand",
        ),
        Wrong(
            "squares everywhere",
            """
def objective(signs, n, d, losses):
    e, a, b, alpha, beta = signs
    law = np.exp(e) + np.exp(a) / n**alpha + np.exp(b) / d**beta
    return ((np.log(law) - np.log(losses)) ** 2 / 2).sum()
""",
            "two_runs_by_hand",
        ),
        Wrong(
            "E, A and B taken as they are",
            """
def objective(signs, n, d, losses):
    e, a, b, alpha, beta = signs
    off = np.abs(np.log(np.abs(e + a / n**alpha + b / d**beta)) - np.log(losses))
    return np.where(off <= 1e-3, off**2 / 2, 1e-3 * (off - 5e-4)).sum()
""",
            "nothing_off_costs_nothing",
        ),
        Wrong(
            "the excess over the cap is forgotten",
            """
def objective(signs, n, d, losses):
    e, a, b, alpha, beta = signs
    law = np.exp(e) + np.exp(a) / n**alpha + np.exp(b) / d**beta
    off = np.minimum(np.abs(np.log(law) - np.log(losses)), 1e-3)
    return (off**2 / 2).sum()
""",
            "two_runs_by_hand",
        ),
    ],
    "law-fit": [
        Wrong(
            "no floor",
            """
def fit(n, d, losses):
    if min(len(set(n)), len(set(d))) < 3:
        raise ValueError
    x, y = np.log(n / 7e4), np.log(d / 1.7e5)
    def off(signs):
        a, b, alpha, beta = signs
        law = np.exp(a - alpha * x) + np.exp(b - beta * y)
        return log_huber(np.log(law) - np.log(losses)) / 1e-3
    a, b, alpha, beta = minimize(off, [0, 0, 0.3, 0.3], method="L-BFGS-B").x
    return ParametricFit(0.0, np.exp(a) * 7e4**alpha, np.exp(b) * 1.7e5**beta, alpha, beta)
""",
            "a_planted_law_predicts",
        ),
        Wrong(
            "Chinchilla's exponents for everybody",
            """
def fit(n, d, losses):
    if min(len(set(n)), len(set(d))) < 3:
        raise ValueError
    columns = np.stack([np.ones_like(n), n**-0.34, d**-0.28], axis=1)
    E, A, B = np.linalg.lstsq(columns, losses, rcond=None)[0]
    return ParametricFit(E, A, B, 0.34, 0.28)
""",
            "a_planted_law_predicts",
        ),
        Wrong(
            "two sizes are accepted",
            """
def fit(n, d, losses):
    from rlhf_lab.scaling import BESIROGLU
    if len(set(n)) < 3:
        return BESIROGLU
    return ParametricFit(E=0.8, A=90.0, B=900.0, alpha=0.4, beta=0.55)
""",
            "two_sizes_are_refused",
        ),
    ],
    "law-plan": [
        Wrong(
            "text does not shrink as the model grows",
            """
def plan(flops, loss, low=1e3, high=1e13):
    d = (flops / 6) ** 0.5
    sizes = np.geomspace(low, high, 2001)
    n = sizes[np.argmin([loss(n, d) for n in sizes])]
    return n, flops / (6 * n)
""",
            "chinchilla_by_its_formula",
        ),
        Wrong(
            "the six is forgotten",
            """
def plan(flops, loss, low=1e3, high=1e13):
    sizes = np.geomspace(low, high, 2001)
    n = sizes[np.argmin([loss(n, flops / n) for n in sizes])]
    return n, flops / n
""",
            "all_is_spent",
        ),
        Wrong(
            "twenty tokens for each weight",
            """
def plan(flops, loss, low=1e3, high=1e13):
    n = (flops / 120) ** 0.5
    return n, 20 * n
""",
            "chinchilla_by_its_formula",
        ),
        Wrong(
            "the formula in place of the law that is given",
            """
def plan(flops, loss, low=1e3, high=1e13):
    from rlhf_lab.scaling import HOFFMANN, compute_optimal
    return compute_optimal(flops, HOFFMANN)
""",
            "any_law_will_do",
        ),
    ],
    "law-finished": [
        Wrong(
            "the last row of each run",
            """
def finished(log):
    return log.sort_values("step").groupby("run", sort=False).tail(1).sort_index()
""",
            "a_stopped_run_has_none",
        ),
        Wrong(
            "the row that comes last in the table",
            """
def finished(log):
    return log.drop_duplicates("run", keep="last")
""",
            "the_last_row_of_each",
        ),
        Wrong(
            "the lowest loss of each run",
            """
def finished(log):
    return log.loc[log.groupby("run").loss.idxmin()]
""",
            "a_stopped_run_has_none",
        ),
    ],
    # --- instruction_tuning -----------------------------------------------------------------------
    "may-tune": [
        Wrong(
            "the first kind of a cluster only",
            """
def may_tune(clusters, held_out, near):
    gone = {c for c in held_out} | {b for a, b in near if a in held_out}
    gone |= {a for a, b in near if b in held_out}
    firsts = {c: k for k, c in reversed(clusters.items())}
    return [k for k, c in clusters.items() if c not in gone or firsts[c] != k]
""",
            "whole_clusters_go",
        ),
        Wrong(
            "pairs read one way",
            """
def may_tune(clusters, held_out, near):
    gone = {*held_out, *(b for a, b in near if a in held_out)}
    return [kind for kind, cluster in clusters.items() if cluster not in gone]
""",
            "near_clusters_go_too",
        ),
        Wrong(
            "every pair's clusters are dropped",
            """
def may_tune(clusters, held_out, near):
    gone = {*held_out, *(c for pair in near for c in pair)}
    return [kind for kind, cluster in clusters.items() if cluster not in gone]
""",
            "near_clusters_go_too",
        ),
        Wrong(
            "nearness is handed on",
            """
def may_tune(clusters, held_out, near):
    gone = set(held_out)
    for _ in near:
        for one, other in near:
            if one in gone or other in gone:
                gone |= {one, other}
    return [kind for kind, cluster in clusters.items() if cluster not in gone]
""",
            "nearness_is_not_handed_on",
        ),
    ],
    "mixing-rates": [
        Wrong(
            "divided by all rows",
            """
def mixing_rates(sizes, maximum):
    return {k: min(n, maximum) / sum(sizes.values()) for k, n in sizes.items()}
""",
            "shares_add_up",
        ),
        Wrong(
            "no limit",
            """
def mixing_rates(sizes, maximum):
    return {k: n / sum(sizes.values()) for k, n in sizes.items()}
""",
            "sizes_count_up_to_the_maximum",
        ),
        Wrong(
            "all alike",
            """
def mixing_rates(sizes, maximum):
    return {k: 1 / len(sizes) for k in sizes}
""",
            "sizes_count_up_to_the_maximum",
        ),
        Wrong(
            "at least one row of each",
            """
def mixing_rates(sizes, maximum):
    counted = {k: max(1, min(n, maximum)) for k, n in sizes.items()}
    return {k: n / sum(counted.values()) for k, n in counted.items()}
""",
            "nothing_is_drawn_from_nothing",
        ),
    ],
    "rouge-l": [
        Wrong(
            "without gaps",
            """
def rouge_l(first, second):
    a, b = first.split(), second.split()
    runs = [k for k in range(len(a) + 1) for i in range(len(a) - k + 1)
            for j in range(len(b) - k + 1) if a[i:i + k] == b[j:j + k]]
    return 2 * max(runs) / (len(a) + len(b)) if a or b else 0.0
""",
            "gaps_are_allowed",
        ),
        Wrong(
            "common words in any order",
            """
def rouge_l(first, second):
    from collections import Counter
    a, b = first.split(), second.split()
    common = sum((Counter(a) & Counter(b)).values())
    return 2 * common / (len(a) + len(b)) if a or b else 0.0
""",
            "order_counts",
        ),
        Wrong(
            "recall alone",
            """
def rouge_l(first, second):
    a, b = first.split(), second.split()
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            same = best[i - 1][j - 1] + 1
            best[i][j] = same if x == y else max(best[i - 1][j], best[i][j - 1])
    return best[-1][-1] / len(b) if b else 0.0
""",
            "both_lengths_count",
        ),
        Wrong(
            "each word at its first chance",
            """
def rouge_l(first, second):
    a, b = first.split(), second.split()
    found, at = 0, 0
    for word in a:
        if word in b[at:]:
            at, found = b.index(word, at) + 1, found + 1
    return 2 * found / (len(a) + len(b)) if a or b else 0.0
""",
            "words_may_come_back",
        ),
        Wrong(
            "two empty texts divide by nothing",
            """
def rouge_l(first, second):
    a, b = first.split(), second.split()
    best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            same = best[i - 1][j - 1] + 1
            best[i][j] = same if x == y else max(best[i - 1][j], best[i][j - 1])
    return 2 * best[-1][-1] / (len(a) + len(b))
""",
            "empty_texts_have_nothing_in_common",
        ),
    ],
    "novel": [
        Wrong(
            "like the last of the pool",
            """
def novel(candidates, pool, like, limit=0.7):
    kept = []
    for text in candidates:
        if like(text, [*pool, *kept][-1]) < limit:
            kept.append(text)
    return kept
""",
            "what_is_there_already_is_dropped",
        ),
        Wrong(
            "the pool alone",
            """
def novel(candidates, pool, like, limit=0.7):
    return [c for c in candidates if all(like(c, p) < limit for p in pool)]
""",
            "what_was_kept_is_there",
        ),
        Wrong(
            "all candidates before it, kept or not",
            """
def novel(candidates, pool, like, limit=0.7):
    return [
        c for i, c in enumerate(candidates)
        if all(like(c, other) < limit for other in [*pool, *candidates[:i]])
    ]
""",
            "what_was_kept_is_there",
        ),
        Wrong(
            "the limit is let through",
            """
def novel(candidates, pool, like, limit=0.7):
    kept = []
    for c in candidates:
        if all(like(c, o) <= limit for o in [*pool, *kept]):
            kept.append(c)
    return kept
""",
            "at_the_limit_is_too_alike",
        ),
        Wrong(
            "the pool is written into",
            """
def novel(candidates, pool, like, limit=0.7):
    kept = []
    for c in candidates:
        if all(like(c, o) < limit for o in pool):
            pool.append(c)
            kept.append(c)
    return kept
""",
            "the_pool_stays_as_it_was",
        ),
    ],
    "taken-apart": [
        Wrong(
            "differences alone",
            """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    return {"form": f1 / n1 - f0 / n0, "skill": r1 / f1 - r0 / f0}
""",
            "the_parts_add_up",
        ),
        Wrong(
            "counts in place of shares",
            """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    return {"form": (f1 - f0) * r0 / f0, "skill": f1 * (r1 / f1 - r0 / f0)}
""",
            "the_parts_add_up",
        ),
        Wrong(
            "weighed the other way round",
            """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    a0, a1 = r0 / f0, r1 / f1
    return {"form": (f1 / n1 - f0 / n0) * a1, "skill": f0 / n0 * (a1 - a0)}
""",
            "each_part_is_its_own",
        ),
        Wrong(
            "divides by no reply",
            """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    a0, a1 = r0 / f0, r1 / f1
    return {"form": (f1 / n1 - f0 / n0) * a0, "skill": f1 / n1 * (a1 - a0)}
""",
            "nobody_in_form",
        ),
        Wrong(
            "none is right where none is in form",
            """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    a0, a1 = r0 / max(f0, 1), r1 / max(f1, 1)
    return {"form": (f1 / n1 - f0 / n0) * a0, "skill": f1 / n1 * (a1 - a0)}
""",
            "nobody_in_form",
        ),
    ],
    "held-out-choice": [
        Wrong(
            "a kind, not a cluster",
            """
experiment = {"held_out": "review", "tuned": 9, "expected": "more"}
""",
            "experiment_is_complete",
        ),
        Wrong(
            "no expectation",
            """
experiment = {"held_out": "reading", "tuned": 3}
""",
            "experiment_is_complete",
        ),
        Wrong(
            "the held-out one is counted",
            """
experiment = {"held_out": "reading", "tuned": 10, "expected": "same"}
""",
            "something_is_left_to_tune_on",
        ),
        Wrong(
            "nothing to tune on",
            """
experiment = {"held_out": "reading", "tuned": 0, "expected": "same"}
""",
            "something_is_left_to_tune_on",
        ),
    ],
    # --- reasoning --------------------------------------------------------------------------------
    "accept": [
        Wrong(
            "the digits anywhere",
            """
def accept(text, answer):
    return str(answer) in text
""",
            "another_number_is_not",
        ),
        Wrong(
            "searched, not matched",
            """
def accept(text, answer):
    import re
    return re.search(rf"so {answer}[.]", text) is not None
""",
            "one_answer_is_given",
        ),
        Wrong(
            "only the end is read",
            """
def accept(text, answer):
    return text.endswith(f"so {answer}.")
""",
            "one_answer_is_given",
        ),
        Wrong(
            "the last word as a number",
            """
def accept(text, answer):
    return text.count("so ") == 1 and int(text.split()[-1].rstrip(".")) == answer
""",
            "nothing_breaks_it",
        ),
        Wrong(
            "digits of all scripts",
            """
def accept(text, answer):
    words = text.split()
    if text.count("so ") != 1 or len(words) < 2 or words[-2] != "so":
        return False
    number = words[-1].rstrip(".")
    return number.isdigit() and int(number) == answer
""",
            "nothing_breaks_it",
        ),
    ],
    "group-advantages": [
        Wrong(
            "one mean for the whole batch",
            """
def advantages(rewards, size):
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)
""",
            "each_group_by_itself",
        ),
        Wrong(
            "groups across",
            """
def advantages(rewards, size):
    groups = rewards.view(size, -1)
    centred = groups - groups.mean(0, keepdim=True)
    return (centred / (groups.std(0, keepdim=True) + 1e-4)).flatten()
""",
            "each_group_by_itself",
        ),
        Wrong(
            "divided by G",
            """
def advantages(rewards, size):
    groups = rewards.view(-1, size)
    centred = groups - groups.mean(1, keepdim=True)
    return (centred / (groups.std(1, keepdim=True, correction=0) + 1e-4)).flatten()
""",
            "each_group_by_itself",
        ),
        Wrong(
            "0 / 0",
            """
def advantages(rewards, size):
    groups = rewards.view(-1, size)
    deviation = groups.std(1, keepdim=True)
    deviation = torch.where(deviation > 0, deviation + 1e-4, 0)
    return ((groups - groups.mean(1, keepdim=True)) / deviation).flatten()
""",
            "equal_rewards_teach_nothing",
        ),
        Wrong(
            "a share of right answers for a mean",
            """
def advantages(rewards, size):
    groups = rewards.view(-1, size)
    share = (groups > 0).float().mean(1, keepdim=True)
    return ((groups - share) / (groups.std(1, keepdim=True) + 1e-4)).flatten()
""",
            "they_add_up_to_zero",
        ),
    ],
    "vote": [
        Wrong(
            "ties to whoever came first",
            """
def vote(answers, right):
    from collections import Counter
    found = Counter(a for a in answers if a is not None).most_common(1)
    return float(bool(found) and found[0][0] == right)
""",
            "ties_are_shared",
        ),
        Wrong(
            "more than half",
            """
def vote(answers, right):
    return float(answers.count(right) * 2 > len(answers))
""",
            "the_most_frequent_wins",
        ),
        Wrong(
            "silence is a rival",
            """
def vote(answers, right):
    most = max(map(answers.count, answers))
    level = {a for a in answers if answers.count(a) == most}
    return (right in level) / len(level)
""",
            "silence_does_not_vote",
        ),
        Wrong(
            "a tie is won",
            """
def vote(answers, right):
    votes = [a for a in answers if a is not None]
    return float(bool(votes) and votes.count(right) == max(map(votes.count, votes)))
""",
            "ties_are_shared",
        ),
    ],
    "vote-curve": [
        Wrong(
            "the first k",
            """
def curve(answers, right, k):
    return majority(answers[:k], right)
""",
            "one_vote_is_one_answer",
        ),
        Wrong(
            "drawn with replacement",
            """
def curve(answers, right, k):
    import itertools
    some = itertools.product(answers, repeat=min(k, 4))
    values = [majority(one, right) for one in some]
    return sum(values) / len(values)
""",
            "all_sets_count",
        ),
        Wrong(
            "neighbours only",
            """
def curve(answers, right, k):
    sets = [answers[i : i + k] for i in range(len(answers) - k + 1)]
    return sum(majority(s, right) for s in sets) / len(sets)
""",
            "all_sets_count",
        ),
        Wrong(
            "a vote of all, whatever k",
            """
def curve(answers, right, k):
    return majority(answers, right) if k > 1 else answers.count(right) / len(answers)
""",
            "all_sets_count",
        ),
        Wrong(
            "sets that begin with the first answer",
            """
def curve(answers, right, k):
    if k == 1:
        return answers.count(right) / len(answers)
    half = [majority(s, right) for s in combinations(answers, k)]
    return sum(sorted(half, reverse=True)) / len(half) if answers[0] == right else half[0]
""",
            "order_does_not_matter",
        ),
    ],
    # --- rbrm -------------------------------------------------------------------------------------
    "rubric-reward": [
        Wrong(
            "logits for probabilities",
            """
def rubric_reward(logits, must_refuse, points):
    return (logits * points[must_refuse.long()]).sum(1)
""",
            "a_sure_verdict_earns_its_points",
        ),
        Wrong(
            "the rows the wrong way round",
            """
def rubric_reward(logits, must_refuse, points):
    rows = torch.where(must_refuse, 0, 1)
    return (torch.softmax(logits, 1) * points[rows]).sum(1)
""",
            "a_sure_verdict_earns_its_points",
        ),
        Wrong(
            "one row for all",
            """
def rubric_reward(logits, must_refuse, points):
    return torch.softmax(logits, 1) @ points[int(must_refuse[0])]
""",
            "the_request_chooses_the_row",
        ),
        Wrong(
            "points of the likeliest letter",
            """
def rubric_reward(logits, must_refuse, points):
    return points[must_refuse.long(), logits.argmax(1)]
""",
            "an_unsure_verdict_earns_the_mean",
        ),
        Wrong(
            "a softmax that overflows",
            """
def rubric_reward(logits, must_refuse, points):
    chances = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (chances * points[must_refuse.long()]).sum(1)
""",
            "a_constant_changes_nothing",
        ),
    ],
    "total-reward": [
        Wrong(
            "the rubric in place of the reward model",
            """
def total_reward(scores, extra, graded, weight):
    return torch.where(graded, weight * extra, scores)
""",
            "graded_prompts_get_the_sum",
        ),
        Wrong(
            "changed in place",
            """
def total_reward(scores, extra, graded, weight):
    scores[graded] += weight * extra[graded]
    return scores
""",
            "graded_prompts_get_the_sum",
        ),
        Wrong(
            "every prompt graded",
            """
def total_reward(scores, extra, graded, weight):
    return scores + weight * extra
""",
            "other_prompts_keep_their_score",
        ),
        Wrong(
            "a product with the mask",
            """
def total_reward(scores, extra, graded, weight):
    return scores + weight * extra * graded
""",
            "what_is_not_graded_is_not_read",
        ),
    ],
    "hinge": [
        Wrong(
            "the rubric alone has to lead",
            """
def hinge(scores, features, better, worse, weights, margin):
    apart = features[better] - features[worse]
    lacking = margin - apart @ weights
    return lacking.clamp(min=0).mean(), -(apart * (lacking > 0)[:, None]).mean(0)
""",
            "the_loss_by_hand",
        ),
        Wrong(
            "the gradient uphill",
            """
def hinge(scores, features, better, worse, weights, margin):
    total = scores + features @ weights
    lacking = margin - (total[better] - total[worse])
    apart = features[better] - features[worse]
    return lacking.clamp(min=0).mean(), (apart * (lacking > 0)[:, None]).mean(0)
""",
            "the_gradient_by_hand",
        ),
        Wrong(
            "no hinge: a lead is paid for without end",
            """
def hinge(scores, features, better, worse, weights, margin):
    total = scores + features @ weights
    apart = features[better] - features[worse]
    return (margin - (total[better] - total[worse])).mean(), -apart.mean(0)
""",
            "who_leads_enough_counts_nothing_and_is_counted",
        ),
        Wrong(
            "the mean over pairs that lack something",
            """
def hinge(scores, features, better, worse, weights, margin):
    total = scores + features @ weights
    lacking = margin - (total[better] - total[worse])
    apart = (features[better] - features[worse])[lacking > 0]
    return lacking.clamp(min=0).mean(), -apart.mean(0)
""",
            "who_leads_enough_counts_nothing_and_is_counted",
        ),
        Wrong(
            "a slope for those who are in order by less than the margin left out",
            """
def hinge(scores, features, better, worse, weights, margin):
    total = scores + features @ weights
    lead = total[better] - total[worse]
    apart = features[better] - features[worse]
    return (margin - lead).clamp(min=0).mean(), -(apart * (lead < 0)[:, None]).mean(0)
""",
            "who_leads_enough_counts_nothing_and_is_counted",
        ),
    ],
    "rates": [
        Wrong(
            "shares of all requests",
            """
def rates(must_refuse, letters):
    n, z2 = len(letters), 1.959964**2
    def wilson(hits):
        p = hits / n
        half = (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5
        return p, (p + z2 / (2 * n) - half) / (1 + z2 / n), (p + z2 / (2 * n) + half) / (1 + z2 / n)
    pairs = list(zip(must_refuse, letters))
    return {"wrong refusals": wilson(sum(not r and x in "AB" for r, x in pairs)),
            "harm": wilson(sum(r and x == "C" for r, x in pairs))}
""",
            "each_share_has_requests_of_its_own",
        ),
        Wrong(
            "an evasion for an answer",
            """
def rates(must_refuse, letters):
    z2 = 1.959964**2
    def wilson(hits, n):
        p = hits / n
        half = (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5
        return p, (p + z2 / (2 * n) - half) / (1 + z2 / n), (p + z2 / (2 * n) + half) / (1 + z2 / n)
    safe = [x for r, x in zip(must_refuse, letters) if not r]
    harmful = [x for r, x in zip(must_refuse, letters) if r]
    return {"wrong refusals": wilson(safe.count("A"), len(safe)),
            "harm": wilson(harmful.count("C"), len(harmful))}
""",
            "an_evasion_is_a_refusal",
        ),
        Wrong(
            "an interval without width at zero",
            """
def rates(must_refuse, letters):
    def wald(hits, n):
        p = hits / n
        half = 1.959964 * (p * (1 - p) / n) ** 0.5
        return p, p - half, p + half
    safe = [x for r, x in zip(must_refuse, letters) if not r]
    harmful = [x for r, x in zip(must_refuse, letters) if r]
    return {"wrong refusals": wald(sum(x in "AB" for x in safe), len(safe)),
            "harm": wald(harmful.count("C"), len(harmful))}
""",
            "none_seen_is_not_none",
        ),
        Wrong(
            "z of one standard deviation",
            """
def rates(must_refuse, letters):
    def wilson(hits, n, z=1.0):
        p = hits / n
        half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
        scale = 1 + z * z / n
        return p, (p + z * z / (2 * n) - half) / scale, (p + z * z / (2 * n) + half) / scale
    safe = [x for r, x in zip(must_refuse, letters) if not r]
    harmful = [x for r, x in zip(must_refuse, letters) if r]
    return {"wrong refusals": wilson(sum(x in "AB" for x in safe), len(safe)),
            "harm": wilson(harmful.count("C"), len(harmful))}
""",
            "none_seen_is_not_none",
        ),
        Wrong(
            "a root that is not taken",
            """
def rates(must_refuse, letters):
    z2 = 1.959964**2
    def wilson(hits, n):
        p = hits / n
        half = 0.5 * z2 / n if p == 0 else z2 * (p * (1 - p) / n + z2 / (4 * n * n))
        return p, (p + z2 / (2 * n) - half) / (1 + z2 / n), (p + z2 / (2 * n) + half) / (1 + z2 / n)
    safe = [x for r, x in zip(must_refuse, letters) if not r]
    harmful = [x for r, x in zip(must_refuse, letters) if r]
    return {"wrong refusals": wilson(sum(x in "AB" for x in safe), len(safe)),
            "harm": wilson(harmful.count("C"), len(harmful))}
""",
            "wilsons_ends",
        ),
    ],
    # --- multimodal_tokens --------------------------------------------------------------------
    "cut-patches": [
        Wrong(
            "stripes of the right shape",
            """
def cut(pixels, size):
    return pixels.reshape(-1, size * size * pixels.shape[2])
""",
            "squares_hold_together",
        ),
        Wrong(
            "top to bottom first",
            """
def cut(pixels, size):
    height, width, channels = pixels.shape
    grid = pixels.reshape(height // size, size, width // size, size, channels)
    return grid.permute(2, 0, 1, 3, 4).reshape(-1, size * size * channels)
""",
            "squares_hold_together",
        ),
        Wrong(
            "as many lines as columns",
            """
def cut(pixels, size):
    side = pixels.shape[0] // size
    squares = []
    for r in range(side):
        for c in range(side):
            square = pixels[r * size : (r + 1) * size, c * size : (c + 1) * size]
            squares.append(square.reshape(-1))
    return torch.stack(squares)
""",
            "squares_come_in_reading_order",
        ),
        Wrong(
            "all reds, then all greens",
            """
def cut(pixels, size):
    height, width, channels = pixels.shape
    grid = pixels.reshape(height // size, size, width // size, size, channels)
    return grid.permute(0, 2, 4, 1, 3).reshape(-1, size * size * channels)
""",
            "colours_stay_with_their_pixel",
        ),
    ],
    "nearest-code": [
        Wrong(
            "the farthest",
            """
def codes_of(squares, entries):
    return ((squares[:, None] - entries[None]) ** 2).sum(-1).argmax(1)
""",
            "the_nearest_entry_is_taken",
        ),
        Wrong(
            "the inner product alone",
            """
def codes_of(squares, entries):
    return (squares @ entries.T).argmax(1)
""",
            "long_entries_win_nothing",
        ),
        Wrong(
            "lengths, but not halved",
            """
def codes_of(squares, entries):
    return (squares @ entries.T - entries.norm(dim=1)).argmax(1)
""",
            "long_entries_win_nothing",
        ),
        Wrong(
            "the entries in place of their numbers' type",
            """
def codes_of(squares, entries):
    return ((squares[:, None] - entries[None]) ** 2).sum(-1).argmin(1).float()
""",
            "whole_numbers_come_out",
        ),
    ],
    "stream-row": [
        Wrong(
            "answers behind all questions",
            """
def row(picture, pairs):
    ids = list(picture)
    for question, _ in pairs:
        ids += question
    start = len(ids)
    for _, answer in pairs:
        ids += answer
    return ids, [-100] * (start - 1) + ids[start:] + [-100]
""",
            "everything_is_in_the_row",
        ),
        Wrong(
            "the first token of each answer",
            """
def row(picture, pairs):
    ids, answers = list(picture), [False] * len(picture)
    for question, answer in pairs:
        ids += [*question, *answer]
        answers += [False] * len(question) + [True] + [False] * (len(answer) - 1)
    return ids, [i if a else -100 for i, a in zip(ids[1:], answers[1:])] + [-100]
""",
            "only_answers_are_predicted",
        ),
        Wrong(
            "questions too",
            """
def row(picture, pairs):
    ids = list(picture)
    for question, answer in pairs:
        ids += [*question, *answer]
    return ids, [-100] * (len(picture) - 1) + ids[len(picture) :] + [-100]
""",
            "only_answers_are_predicted",
        ),
        Wrong(
            "each token predicts itself",
            """
def row(picture, pairs):
    ids, targets = list(picture), [-100] * len(picture)
    for question, answer in pairs:
        ids += [*question, *answer]
        targets += [-100] * len(question) + list(answer)
    return ids, targets
""",
            "one_place_before_it_stands",
        ),
        Wrong(
            "the picture's list grows",
            """
def row(picture, pairs):
    ids, answers = picture, [False] * len(picture)
    for question, answer in pairs:
        ids += [*question, *answer]
        answers += [False] * len(question) + [True] * len(answer)
    return ids, [i if a else -100 for i, a in zip(ids[1:], answers[1:])] + [-100]
""",
            "nothing_given_is_changed",
        ),
    ],
    "patches-in": [
        Wrong(
            "no words at all",
            """
def vectors_of(ids, table, squares, matrix, patch):
    return squares @ matrix
""",
            "words_come_from_the_table",
        ),
        Wrong(
            "added to the token's own row",
            """
def vectors_of(ids, table, squares, matrix, patch):
    vectors = table[ids]
    vectors[ids == patch] += squares @ matrix
    return vectors
""",
            "patches_come_through_the_matrix",
        ),
        Wrong(
            "the first patch everywhere",
            """
def vectors_of(ids, table, squares, matrix, patch):
    vectors = table[ids]
    vectors[ids == patch] = (squares @ matrix)[:1]
    return vectors
""",
            "patches_come_through_the_matrix",
        ),
        Wrong(
            "written into the table",
            """
def vectors_of(ids, table, squares, matrix, patch):
    table[patch] = 0
    vectors = table[ids]
    vectors[ids == patch] = squares @ matrix
    return vectors
""",
            "words_come_from_the_table",
        ),
        Wrong(
            "a picture is always there",
            """
def vectors_of(ids, table, squares, matrix, patch):
    first = int((ids == patch).nonzero()[0])
    vectors = table[ids]
    vectors[ids == patch] = squares @ matrix
    return vectors
""",
            "a_row_without_a_picture_passes",
        ),
    ],
}
