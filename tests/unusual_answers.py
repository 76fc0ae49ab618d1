"""Right answers that are written otherwise than the solution: every check has to let them pass."""

from __future__ import annotations

UNUSUAL: dict[str, dict[str, str]] = {
    "shaped-rewards": {
        "the hint, word for word": """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    rewards = torch.where(mask.bool(), -beta * (logp - ref_logp), 0)
    rows, columns = torch.arange(len(scores)), mask.sum(1) - 1
    rewards[rows, columns] += scores
    return rewards
""",
        "a mask of the last tokens": """
def shaped_rewards(scores, logp, ref_logp, mask, beta):
    last = (mask.cumsum(1) == mask.sum(1, keepdim=True)) & (mask == 1)
    return -beta * (logp - ref_logp) * mask + last * scores[:, None]
""",
    },
    "gae": {
        "the definition as a matrix, in a list": """
def gae(rewards, values, mask, discount=1.0, lam=0.95):
    v, r = values * mask, rewards * mask
    later = torch.cat([v[:, 1:], torch.zeros_like(v[:, :1])], dim=1)
    k = torch.arange(v.shape[1])
    weight = ((discount * lam) ** (k - k[:, None]).clamp(min=0)).triu().to(v)
    advantages = (r + discount * later - v) @ weight.T * mask
    return [advantages, (advantages + v) * mask]
""",
    },
    "combined-gradient": {
        "a gradient for each micro-batch": """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    total = [torch.zeros_like(p) for p in parameters]
    for parts, weight in ((policy_parts, 1.0), (ptx_parts, gamma)):
        count = sum(int(mask.sum()) for _, mask in parts)
        for losses, mask in parts:
            loss = weight * losses[mask].sum() / count
            for x, g in zip(total, torch.autograd.grad(loss, parameters)):
                x += g
    return torch.cat([x.flatten() for x in total])
""",
        "backward, from nothing": """
def combined_gradient(policy_parts, ptx_parts, parameters, gamma):
    for p in parameters:
        p.grad = None
    for parts, weight in ((policy_parts, 1.0), (ptx_parts, gamma)):
        count = sum(mask.sum() for _, mask in parts)
        for losses, mask in parts:
            (weight * (losses * mask).sum() / count).backward()
    return torch.cat([p.grad.flatten() for p in parameters])
""",
    },
    "paired-difference": {
        "scipy's interval": """
def paired_difference(of, against):
    import numpy as np
    from scipy import stats
    d = np.subtract(of, against)
    ends = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    return [d.mean(), *ends]
""",
    },
    "tilt": {
        "the KL from log Z": """
def tilt(scores, beta):
    import math
    log_z = torch.logsumexp(scores / beta, dim=1) - math.log(scores.shape[1])
    score = (torch.softmax(scores / beta, dim=1) * scores).sum(1)
    return [score.mean(), (score / beta - log_z).mean()]
""",
    },
    "prediction": {
        "numbers of numpy": """
import numpy as np
prediction = dict(beta=0.1, gamma=0.5, kl=np.float32(1), rm_score=np.int64(0), loss=1)
""",
    },
    "kl-estimates": {
        "multiplied by the mask": """
def kl_estimates(logp, ref_logp, mask):
    d = (logp - ref_logp) * mask
    return {"k1": d.sum(1), "k2": d.square().sum(1) / 2, "k3": (torch.exp(-d) - 1 + d).sum(1)}
""",
    },
    "effect-of-gamma": {
        "a join, and scipy's interval": """
def effect_of_gamma(runs, measure):
    from scipy import stats
    ppo = runs[runs.policy == "ppo"]
    keys, rows = ["seed", "beta"], {}
    none = ppo[ppo.gamma == 0].set_index(keys)[measure]
    for gamma, part in ppo[ppo.gamma > 0].groupby("gamma"):
        d = (part.set_index(keys)[measure] - none).groupby("seed").mean()
        ends = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
        rows[gamma] = [d.mean(), *ends]
    return pd.DataFrame(rows, index=["mean", "low", "high"]).T
""",
    },
    "batch": {
        "torch's own filling, in a list": """
def batch(rows, pad):
    from torch.nn.utils.rnn import pad_sequence
    ids = [torch.tensor(row.ids) for row in rows]
    marks = [torch.tensor([0] * start + [1] * (len(i) - start)) for i, start in rows]
    fill = dict(batch_first=True)
    return [pad_sequence(ids, padding_value=pad, **fill), pad_sequence(marks, **fill).bool()]
""",
    },
    "sft-loss": {
        "labels that are ignored": """
def sft_loss(logits, tokens, counts):
    labels = torch.where(counts, tokens, -100)[:, 1:]
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels)
""",
        "in single precision, row by row": """
def sft_loss(logits, tokens, counts):
    total, n = 0, 0
    for z, y, m in zip(logits.float(), tokens, counts):
        for t in range(1, len(y)):
            if m[t]:
                total, n = total + torch.logsumexp(z[t - 1], 0) - z[t - 1, y[t]], n + 1
    return total / n
""",
    },
    "pack": {
        "blocks": """
def pack(rows):
    ids = [torch.tensor(row.ids) for row in rows]
    sees = torch.block_diag(*(torch.ones(len(i), len(i)).tril() for i in ids))
    counts = [torch.arange(len(i)) >= max(row.start, 1) for i, row in zip(ids, rows)]
    positions = torch.cat([torch.arange(len(i)) for i in ids])
    return [torch.cat(ids), positions, torch.cat(counts), sees == 1]
""",
    },
    "autopsy": {
        "tensors, from logarithms": """
def autopsy(logits, tokens):
    logp = torch.log_softmax(logits.float(), -1)
    came = logp[torch.arange(len(tokens)), tokens]
    rare = came < torch.log(torch.tensor(0.01))
    return dict(
        perplexity=torch.exp(-came.mean()), accuracy=(came == logp.amax(-1)).float().mean(),
        confidence=logp.amax(-1).exp().mean(), surprises=-came[rare].sum() / len(came),
    )
""",
    },
    "choices": {
        "sorted, and numbers with a point": """
def choices(looks):
    a = looks.sort_values("loss").groupby("seed").first()
    b = looks.sort_values("valid_score").groupby("seed").last()
    return pd.DataFrame(
        {"gain": b.gold - a.gold, "by_score": b.epoch * 1.0, "by_loss": a.epoch * 1.0}
    )
""",
    },
    "experiment": {
        "numbers of numpy": """
import numpy as np
experiment = dict(usual, learning_rate=1e-4, least_loss_at=np.int64(1))
""",
    },
    "company": {
        "numpy, and a number that it made": """
def company(score, items):
    import numpy as np
    return np.max(np.abs(np.array(score(items)) - [score([i])[0] for i in items]))
""",
        "lists, in a tensor": """
def company(score, items):
    together = score(list(items))
    changes = [abs(together[i] - score(items[i : i + 1])[0]) for i in range(len(items))]
    return torch.tensor(changes).max()
""",
    },
    "cut": {
        "single precision, and every cut in two": """
def cut(accumulate):
    tokens = torch.randn(9, 3)
    whole, worst = accumulate([tokens]), 0.0
    for n in range(1, 9):
        move = (accumulate([tokens[:n], tokens[n:]]) - whole).norm() / whole.norm()
        worst = max(worst, float(move))
    return worst
""",
    },
    "bias": {
        "single precision, by torch's distributions": """
def bias(estimate):
    from torch.distributions import Categorical, kl_divergence
    p, q = Categorical(torch.tensor([0.5, 0.5])), Categorical(torch.tensor([0.95, 0.05]))
    words = torch.arange(2)
    logp, ref = p.log_prob(words), q.log_prob(words)
    return abs((logp.exp() * estimate(logp, ref)).sum() - kl_divergence(p, q))
""",
        "a table of answers of two tokens": """
def bias(estimate):
    p, q = torch.tensor([0.6, 0.3, 0.1]).double(), torch.tensor([0.2, 0.5, 0.3]).double()
    a, b = torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij")
    y = torch.stack([a.flatten(), b.flatten()], 1)
    weight = p[y].prod(1)
    found = (weight * estimate(p[y].log(), q[y].log()).sum(1)).sum()
    return (found - 2 * (p * (p / q).log()).sum()).abs().item()
""",
    },
    "policy-loss": {
        "the log-ratio masked": """
def policy_loss(logp, old_logp, advantages, mask, clip=0.2):
    d = (logp - old_logp.detach()).masked_fill(mask == 0, 0)
    a = advantages.detach().masked_fill(mask == 0, 0)
    losses = torch.max(-a * d.exp(), -a * torch.clamp(d.exp(), 1 - clip, 1 + clip))
    return losses.sum() / mask.sum()
""",
    },
    "expand": {
        "padded tables": """
def expand(template, rows, i):
    import re
    n = len(rows)
    cells = {(k, c): row[c] for k, row in enumerate(rows) for c in range(len(row))}

    def cell(m):
        k, c = i + int(m[1]), int(m[2])
        return cells.get((k, c)) or ("_B%d" % k if k < 0 else "_B+%d" % (k - n + 1))

    return re.compile(r"%x\\[([+-]?[0-9]+),([0-9]+)\\]").sub(cell, template)
""",
    },
    "forward": {
        "the largest taken out by hand": """
def forward(e, a):
    alpha = torch.empty_like(e)
    alpha[0] = e[0]
    for t in range(1, len(e)):
        for j in range(e.shape[1]):
            s = alpha[t - 1] + a[:, j]
            alpha[t, j] = e[t, j] + s.max() + (s - s.max()).exp().sum().log()
    return alpha
""",
    },
    "viterbi": {
        "every path in turn": """
def viterbi(e, a):
    import itertools
    def score(p):
        return sum(e[t, k] for t, k in enumerate(p)) + sum(a[i, j] for i, j in zip(p, p[1:]))
    return torch.tensor(max(itertools.product(range(e.shape[1]), repeat=len(e)), key=score))
""",
    },
    "templates": {
        "single words far away": """
templates = "U0:%x[0,0]\\nU1:%x[-2,0]\\nU2:%x[-3,0]\\nU3:%x[-1,0]\\n# joined\\nB\\n"
""",
    },
    "passes": {
        "the problem's own way": """
def passes(problem, completion):
    return run(problem.program(completion)).passed
""",
    },
    "estimate": {
        "whole numbers": """
def estimate(n, c, k):
    from fractions import Fraction
    from math import comb
    return float(1 - Fraction(comb(n - c, k), comb(n, k)))
""",
        "the original's product": """
def estimate(n, c, k):
    import numpy as np
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))
""",
    },
    "benchmark": {
        "numpy's mean": """
def benchmark(counts, k):
    import numpy as np
    return np.mean([pass_at_k(*one, k) for one in counts])
""",
    },
    "choose": {
        "by hand": """
def choose(samples, fits):
    fitting = list(filter(fits, samples)) or samples
    return max(fitting, key=fitting.count)
""",
    },
}
