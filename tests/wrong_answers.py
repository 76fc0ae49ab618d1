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
}
