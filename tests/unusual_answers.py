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
    "pairs": {
        "a generator, with lists": """
def pairs(text, kept, widths):
    places = [i for i in range(len(text)) if kept[i]]
    for i, here in enumerate(places):
        for j, there in enumerate(places):
            if i != j and abs(i - j) <= widths[here]:
                yield [text[here], text[there]]
""",
        "one tensor": """
def pairs(text, kept, widths):
    t, w = (torch.tensor(x)[torch.tensor(kept)] for x in (text, widths))
    apart = (torch.arange(len(t)) - torch.arange(len(t))[:, None]).abs()
    i, j = torch.where((apart > 0) & (apart <= w[:, None]))
    return torch.stack([t[i], t[j]], 1)
""",
    },
    "gradients": {
        "tables of ones and zeros": """
def gradients(word, output, w, c, n):
    V, B = len(word), len(w)
    W = torch.nn.functional.one_hot(w, V).to(word)
    real = torch.nn.functional.one_hot(c, V).to(word)
    drawn = torch.nn.functional.one_hot(n, V).sum(1).to(word)
    s = torch.sigmoid(W @ word @ output.T)
    errors = ((real + drawn) * s - real) / B
    return [W.T @ errors @ output, errors.T @ W @ word]
""",
    },
    "noise": {
        "by logarithms, in double precision": """
def noise(counts, power):
    if not power:
        return (counts > 0) / (counts > 0).sum()
    return torch.softmax(power * counts.double().log(), 0)
""",
    },
    "score": {
        "question by question, a number of torch": """
def score(vectors, questions, rule, forbid):
    right = 0
    for a, b, c, d in questions.tolist():
        parts = [k * vectors[i] / vectors[i].norm() for k, i in zip(rule, (a, b, c))]
        cosines = torch.cosine_similarity(sum(parts)[None], vectors, dim=1)
        if forbid:
            cosines[[a, b, c]] = -2
        right += cosines.argmax() == d
    return right / len(questions)
""",
    },
    "around": {
        "weights for the whole text": """
def around(vectors, text, i, reach):
    apart = (torch.arange(len(text)) - i).abs()
    weight = ((apart > 0) & (apart <= reach)).to(vectors)
    return weight @ vectors[torch.tensor(text)] / weight.sum().clamp_min(1)
""",
    },
    "attend": {
        "the largest taken out by hand, in a list": """
def attend(queries, keys, mask=None):
    scores = torch.einsum("bth,bsh->bts", queries, keys) / queries.size(2) ** 0.5
    if mask is None:
        mask = torch.ones_like(keys[:, :, 0], dtype=torch.bool)
    scores = torch.where(mask[:, None], scores, torch.finfo(scores.dtype).min)
    parts = (scores - scores.amax(2, keepdim=True)).exp()
    weights = parts / parts.sum(2, keepdim=True)
    return [torch.bmm(weights, keys), weights]
""",
    },
    "shift": {
        "one row of both, cut twice": """
def shift(rows, begin, end):
    from torch.nn.utils.rnn import pad_sequence
    inputs = pad_sequence([torch.tensor([begin, *row]) for row in rows], batch_first=True)
    labels = [torch.tensor([*row, end]) for row in rows]
    return [inputs, pad_sequence(labels, batch_first=True, padding_value=-100)]
""",
    },
    "beam": {
        "ended sentences apart, stopped by a bound": """
def beam(step, start, end, width, limit):
    running, ended = [([start], torch.zeros(()))], []
    for _ in range(limit):
        longer = []
        for said, total in running:
            for word, gain in enumerate(step(said)):
                longer.append(([*said, word], total + gain))
        longer.sort(key=lambda pair: float(pair[1]), reverse=True)
        ended += [pair for pair in longer[: 2 * width] if pair[0][-1] == end]
        running = [pair for pair in longer if pair[0][-1] != end][:width]
        best = max((float(total) for _, total in ended), default=-torch.inf)
        running = [pair for pair in running if float(pair[1]) > best]
        if not running:
            break
    said, _ = max(running + ended, key=lambda pair: float(pair[1]))
    return torch.tensor([word for word in said[1:] if word != end])
""",
    },
    "used": {
        "a table filled column by column": """
def used(logp, length):
    full = logp(torch.ones(length) > 0)
    falls = torch.zeros(len(full), length)
    for s, mask in enumerate(~torch.eye(length).bool()):
        falls[:, s] = full - logp(mask)
    return falls
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
    "best-of-n": {
        "sorted levels, in numpy, as a list": """
def best_of_n(p, scores, n):
    import numpy as np
    q, s = p.numpy(), scores.numpy()
    levels, place = np.unique(s, return_inverse=True)
    mass = np.bincount(place, weights=q)
    upto = mass.cumsum() / mass.sum()
    won = upto**n - np.concatenate([[0.0], upto[:-1]]) ** n
    chosen = q / mass[place] * won[place]
    kl = sum(a * np.log(a / b) for a, b in zip(won, mass) if a > 0)
    return [list(chosen), kl]
""",
    },
    "curve": {
        "a product of fractions, from the best answer down": """
def curve(proxy, values, ns):
    levels, place = torch.unique(proxy, return_inverse=True)
    tied = torch.stack([values[place == k].mean() for k in range(len(levels))])[place]
    ordered = tied[proxy.argsort()]
    count, found = len(proxy), []
    for n in ns:
        weight, total = n / count, 0.0
        for i in range(count, n - 1, -1):
            total += weight * ordered[i - 1]
            weight *= (i - n) / (i - 1) if i > 1 else 0
        found.append(total)
    return torch.stack(found)
""",
        "logarithms of factorials": """
def curve(proxy, values, ns):
    def log_comb(m, n):
        m = torch.as_tensor(m, dtype=torch.float64)
        n = torch.tensor(float(n), dtype=torch.float64)
        found = torch.lgamma(m + 1) - torch.lgamma(n + 1) - torch.lgamma((m - n).clamp(min=0) + 1)
        return torch.where(m >= n, found, -torch.inf)
    m = (proxy <= proxy[:, None]).sum(1).double()
    k = (proxy < proxy[:, None]).sum(1).double()
    return [
        float((((log_comb(m, n) - log_comb(len(proxy), n)).exp()
                - (log_comb(k, n) - log_comb(len(proxy), n)).exp()) / (m - k) * values).sum())
        for n in ns
    ]
""",
    },
    "fit": {
        "normal equations, and lists": """
def fit(d, gain):
    kept = d != 0
    x, y = d[kept].numpy(), gain[kept].numpy()
    import numpy as np
    def solve(bent):
        a = np.array([[x @ x, -x @ bent], [-x @ bent, bent @ bent]])
        return np.linalg.solve(a, np.array([x @ y, -bent @ y]))
    a, b = solve(x**2)
    c, e = solve(x * np.log(x))
    up = float("inf")
    return dict(bon=[a, b, a / 2 / b if b > 0 else up],
                rl=np.array([c, e, np.exp(c / e - 1) if e > 0 else up]))
""",
    },
    "bootstrap": {
        "numpy, with a generator of its own": """
def bootstrap(tables, statistic, times=1000, seed=0):
    import numpy as np
    rng = np.random.default_rng(seed)
    n = len(tables[0])
    draws = [rng.choice(n, n) for _ in range(times)]
    found = [float(statistic(*(t[rows] for t in tables))) for rows in draws]
    return list(np.percentile(found, [2.5, 97.5]))
""",
    },
    "parting": {
        "prompt by prompt, in lists": """
def parting(proxy, gold):
    places, more, worth = [], [], []
    for i in range(len(gold)):
        others = torch.cat([gold[:i], gold[i + 1 :]]).mean(0)
        at = int(others.argmax())
        places.append(at)
        more.append(proxy[i, -1] - proxy[i, at])
        worth.append(gold[i, -1] - gold[i, at])
    return [places, more, worth]
""",
    },
    "skill": {
        "numpy, Student's quantile, a list": """
def skill(false, true):
    import numpy as np
    from scipy import stats
    took = [np.array([(p, False) in c for p, c in rows], dtype=int) for rows in (true, false)]
    d = took[0] - took[1]
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return [d.mean(), d.mean() - half, d.mean() + half]
""",
    },
    "caution": {
        "a table": """
def caution(answers):
    t = pd.DataFrame(answers)
    due = ~t.answerable.astype(bool) | (t.claim == "false")
    return float(t.cautious[~due].mean()), float(1 - t.cautious[due].mean())
""",
        "means of tensors": """
def caution(answers):
    due = torch.tensor([not a["answerable"] or a["claim"] == "false" for a in answers])
    cautious = torch.tensor([float(a["cautious"]) for a in answers])
    return cautious[~due].mean(), 1 - cautious[due].mean()
""",
    },
    "in-company": {
        "a loop over constraints": """
def company(rows, few, many):
    found = []
    for _, part in rows.groupby("constraint"):
        a, b = (part[part.number == n].met for n in (few, many))
        if len(a) and len(b):
            found.append(sum(b) / len(b) - sum(a) / len(a))
    return torch.tensor(found).double().mean()
""",
    },
    "taste": {
        "LBFGS, as the hint says": """
def taste(differences, ridge=0.01):
    w = torch.zeros(differences.shape[1], dtype=differences.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = torch.nn.functional.softplus(-(differences @ w))
        loss = losses.mean() + ridge / 2 * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach().tolist()
""",
    },
    "finding": {
        "scipy, in numpy": """
def finding(before, after):
    import numpy as np
    from scipy import stats
    d = np.subtract(after, before)
    low, high = d.mean() + np.array([-1, 1]) * stats.t.ppf(0.975, len(d) - 1) * stats.sem(d)
    word = {1: "better", -1: "worse", 0: "open"}[int(low > 0) - int(high < 0)]
    return [d.mean(), low, high, word]
""",
    },
    "attention": {
        "torch's own": """
def attention(q, k, v, visible):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
""",
        "in single precision, the mask added": """
def attention(q, k, v, visible):
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / q.size(-1) ** 0.5
    return torch.softmax(scores + visible.logical_not() * -1e9, dim=3).matmul(v)
""",
    },
    "streams": {
        "tuples, one text after the other": """
def streams(task, texts, encode, start, delimiter, extract):
    orders = {"similarity": [texts, (texts[-1], texts[0])],
              "choice": [(*texts[:2], o) for o in texts[2:]]}.get(task, [texts])
    def joined(parts):
        first, *more = parts
        return (*encode(first), delimiter, *joined(more)) if more else tuple(encode(first))
    return tuple((start, *joined(parts), extract) for parts in orders)
""",
    },
    "scores": {
        "gathered, and each option by itself": """
def scores(hidden, lengths, each, task, head):
    at = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
    h = hidden.gather(1, at).squeeze(1)
    if task == "choice":
        return torch.stack([head(h[i::each])[:, 0] for i in range(each)], dim=1)
    return head(sum(h[i::each] for i in range(each)))
""",
    },
    "lora": {
        "noise in b, a at 0, and a copy merged": """
class LoRA(torch.nn.Module):
    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer, self.rank, self.alpha = layer, rank, alpha
        for p in layer.parameters():
            p.requires_grad = False
        self.a = torch.nn.Parameter(torch.zeros(rank, layer.in_features))
        self.b = torch.nn.Parameter(torch.randn(layer.out_features, rank))
    def delta(self):
        return self.alpha / self.rank * self.b @ self.a
    def forward(self, x):
        weight = self.layer.weight + self.delta()
        return torch.nn.functional.linear(x, weight, self.layer.bias)
    def merged(self):
        import copy
        new = copy.deepcopy(self.layer)
        with torch.no_grad():
            new.weight += self.delta()
        return new
""",
    },
    "trainable": {
        "modules with an a of their own, in a list of generators": """
def trainable(body, head, way):
    body.requires_grad_(way == "all")
    if way == "lora":
        for module in body.modules():
            for name in ("a", "b"):
                if name in module._parameters:
                    getattr(module, name).requires_grad_()
    for p in head.parameters():
        p.requires_grad_()
    return [(p for p in body.parameters() if p.requires_grad), head.parameters()]
""",
    },
    "drift": {
        "torch's own": """
def drift(before, after, real):
    p, q = torch.log_softmax(before, -1), torch.log_softmax(after, -1)
    kl = torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    return (kl * real).sum() / real.sum()
""",
    },
    "mended": {
        "numbers of numpy": """
import numpy as np
mended = dict(usual, rate=np.float64(5e-3), way="lora", drift=np.int64(0))
""",
    },
    "word-logprobs": {
        "a call for each token, in single precision": """
def word_logprobs(logits_of, prompt, word):
    found = []
    for n, token in enumerate(word):
        z = logits_of([*prompt, *word[:n]])[-1].float()
        found.append(z[token] - z.logsumexp(0))
    return torch.stack(found)
""",
    },
    "word-score": {
        "a table by rows": """
def score(asked, unasked, way):
    def of(own, alone):
        if way == "mean":
            return own.sum() / len(own)
        return own.sum() - alone.sum() * (way == "gain")
    texts = range(len(asked[0]))
    return torch.tensor([[of(w[i], a) for w, a in zip(asked, unasked)] for i in texts])
""",
    },
    "verbaliser": {
        "a matrix of words and labels": """
def label_probabilities(scores, owner):
    belongs = torch.nn.functional.one_hot(torch.tensor(owner)).to(scores)
    return scores.softmax(1) @ belongs
""",
    },
    "calibrated": {
        "the paper's matrix": """
def calibrated(probabilities, content_free):
    prior = content_free.sum(0) / content_free.sum()
    W = torch.linalg.inv(torch.diag(prior))
    return torch.stack([torch.softmax(W @ p, dim=0) for p in probabilities])
""",
    },
    "order-report": {
        "lists and sets": """
def order_report(answers, truth):
    rows, goal = answers.tolist(), truth.tolist()
    half = len(goal) // 2
    def share(row, start=0, stop=None):
        pairs = list(zip(row, goal))[start:stop]
        return sum(a == b for a, b in pairs) / len(pairs)
    best = max(rows, key=lambda row: share(row, 0, half))
    every = [share(row) for row in rows]
    undecided = sum(len(set(column)) > 1 for column in zip(*rows)) / len(goal)
    return {"lowest": min(every), "highest": max(every), "undecided": undecided,
            "chosen": share(best, half)}
""",
    },
    "pull": {
        "numpy's polynomial": """
def pull(answers, share):
    import numpy as np
    return np.polyfit(share.numpy(), answers.numpy().mean(axis=1), 1)[0]
""",
    },
    "worth": {
        "numpy, size by size": """
def worth(runs, prompted):
    import numpy as np
    table = runs.pivot_table(index="labels", values="accuracy").sort_index()
    sizes, heights = table.index.to_numpy(float), table.accuracy.to_numpy()
    reached = np.flatnonzero(heights >= prompted)
    if not len(reached):
        return np.inf
    i = reached[0]
    if i == 0:
        return sizes[0]
    return np.exp(np.interp(prompted, heights[i - 1 : i + 1], np.log(sizes[i - 1 : i + 1])))
""",
    },
    "law-objective": {
        "scipy's Huber loss": """
def objective(signs, n, d, losses):
    from scipy.special import huber, logsumexp
    e, a, b, alpha, beta = signs
    terms = [np.full(len(n), e), a - alpha * np.log(n), b - beta * np.log(d)]
    return huber(1e-3, logsumexp(terms, axis=0) - np.log(losses)).sum()
""",
    },
    "law-fit": {
        "the package's": """
def fit(n, d, losses):
    from rlhf_lab.lineage.scaling_laws import fit_chinchilla
    return fit_chinchilla(n, d, losses)
""",
    },
    "law-plan": {
        "a search": """
def plan(flops, loss, low=1e3, high=1e13):
    from scipy.optimize import minimize_scalar
    found = minimize_scalar(
        lambda log_n: loss(np.exp(log_n), flops / 6 / np.exp(log_n)),
        bounds=(np.log(low), np.log(high)), method="bounded",
    )
    return [np.exp(found.x), flops / 6 / np.exp(found.x)]
""",
    },
    "law-finished": {
        "a question to the table": """
def finished(log):
    return log.query("step == steps")
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
    "may-tune": {
        "as sets, one kind at a time": """
def may_tune(clusters, held_out, near):
    touched = lambda c: c in held_out or any(c in p and set(p) & set(held_out) for p in near)
    return tuple(kind for kind in clusters if not touched(clusters[kind]))
""",
    },
    "mixing-rates": {
        "by pandas": """
def mixing_rates(sizes, maximum):
    counted = pd.Series(sizes).clip(upper=maximum)
    return (counted / counted.sum()).to_dict()
""",
    },
    "rouge-l": {
        "recursion": """
def rouge_l(first, second):
    from functools import cache
    a, b = tuple(first.split()), tuple(second.split())

    @cache
    def longest(i, j):
        if not i or not j:
            return 0
        if a[i - 1] == b[j - 1]:
            return longest(i - 1, j - 1) + 1
        return max(longest(i - 1, j), longest(i, j - 1))

    return 2 * longest(len(a), len(b)) / max(1, len(a) + len(b))
""",
    },
    "novel": {
        "a growing list of all": """
def novel(candidates, pool, like, limit=0.7):
    there = list(pool)
    for c in candidates:
        if max((like(c, other) for other in there), default=0) < limit:
            there.append(c)
    return there[len(pool):]
""",
    },
    "taken-apart": {
        "skill as what is left": """
def taken_apart(before, after):
    (n0, f0, r0), (n1, f1, r1) = before, after
    a = r0 / f0 if f0 else (r1 / f1 if f1 else 0)
    form = (f1 / n1 - f0 / n0) * a
    return {"form": form, "skill": r1 / n1 - r0 / n0 - form}
""",
    },
    "held-out-choice": {
        "the smallest": """
experiment = {"held_out": "translation", "tuned": 1, "expected": "fewer"}
""",
    },
    "accept": {
        "a regular expression": """
def accept(text, answer):
    import re
    found = re.fullmatch(r"(?:(?!so ).)*so ([0-9]{1,9})[.]", text, re.DOTALL)
    return found is not None and int(found[1]) == answer
""",
    },
    "group-advantages": {
        "a loop, and numpy's deviation": """
def advantages(rewards, size):
    import numpy as np
    found = []
    for group in rewards.split(size):
        row = group.numpy()
        found.append((row - row.mean()) / (np.std(row, ddof=1) + 1e-4))
    return torch.tensor(np.concatenate(found))
""",
    },
    "vote": {
        "pandas' mode": """
def vote(answers, right):
    best = pd.Series(answers, dtype="float64").dropna().mode().tolist()
    return best.count(right) / max(len(best), 1)
""",
    },
    "vote-curve": {
        "by indices, with numpy's mean": """
def curve(answers, right, k):
    import numpy as np
    sets = combinations(range(len(answers)), k)
    return np.mean([majority([answers[i] for i in some], right) for some in sets])
""",
    },
    "rubric-reward": {
        "a loop, in double precision": """
def rubric_reward(logits, must_refuse, points):
    found = []
    for row, refuse in zip(logits.double(), must_refuse.tolist()):
        chances = (row - torch.logsumexp(row, 0)).exp()
        found.append(float(chances @ points[1 if refuse else 0].double()))
    return torch.tensor(found)
""",
    },
    "total-reward": {
        "a copy with some places changed": """
def total_reward(scores, extra, graded, weight):
    total = scores.clone()
    total[graded] = scores[graded] + weight * extra[graded]
    return total
""",
    },
    "hinge": {
        "only the pairs that lack something, in a list": """
def hinge(scores, features, better, worse, weights, margin):
    total, count = scores + features @ weights, len(better)
    lack = margin - total[better] + total[worse]
    b, w = better[lack > 0], worse[lack > 0]
    return [float(lack[lack > 0].sum()) / count, (features[w] - features[b]).sum(0) / count]
""",
    },
    "rates": {
        "the roots of the quadratic": """
def rates(must_refuse, letters):
    import numpy as np

    def wilson(hits, n):
        share, z2 = hits / n, 1.96**2
        roots = np.roots([1 + z2 / n, -(2 * share + z2 / n), share**2])
        return [share, *sorted(roots.real)]

    refuse, letters = np.array(must_refuse), np.array(letters)
    safe, harmful = letters[~refuse], letters[refuse]
    return {"harm": wilson((harmful == "C").sum(), len(harmful)),
            "wrong refusals": wilson(np.isin(safe, ["A", "B"]).sum(), len(safe))}
""",
    },
    "cut-patches": {
        "one square after the other": """
def cut(pixels, size):
    height, width, _ = pixels.shape
    squares = []
    for y in range(0, height, size):
        for x in range(0, width, size):
            squares.append(pixels[y : y + size, x : x + size].flatten())
    return torch.stack(squares)
""",
    },
    "nearest-code": {
        "torch's own distance, and a loop": """
def codes_of(squares, entries):
    return torch.stack([torch.cdist(s[None], entries)[0].argmin() for s in squares])
""",
        "the longer formula's shorter half": """
def codes_of(squares, entries):
    return (squares @ entries.T - (entries**2).sum(1) / 2).argmax(1)
""",
    },
    "stream-row": {
        "targets as they are made, moved at the end": """
def row(picture, pairs):
    ids, targets = [*picture], [-100] * len(picture)
    for question, answer in pairs:
        ids.extend(question)
        targets.extend([-100] * len(question))
        ids.extend(answer)
        targets.extend(answer)
    return [ids, targets[1:] + [-100]]
""",
    },
    "patches-in": {
        "masked_scatter": """
def vectors_of(ids, table, squares, matrix, patch):
    return table[ids].masked_scatter((ids == patch)[:, None], squares @ matrix)
""",
        "token by token": """
def vectors_of(ids, table, squares, matrix, patch):
    seen = iter(squares)
    return torch.stack([next(seen) @ matrix if i == patch else table[i] for i in ids])
""",
    },
}
