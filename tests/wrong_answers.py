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
    "the mix lowers the reward model's score": "yes",
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
    "the mix lowers the reward model's score": "yes",
    "the mix raises the gold score": "open",
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
}
