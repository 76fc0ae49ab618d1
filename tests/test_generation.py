"""The sampler against a cache-free loop, the softmax, and its own invariances."""

from __future__ import annotations

import pytest
import torch

from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.generation import choose, sample, uniform_numbers
from tiny_models import EOS, FAMILIES, PAD, causal_lm

ENDS = {"eos_token_id": EOS, "pad_token_id": PAD}


def make(family: str) -> torch.nn.Module:
    grouped = {"num_key_value_heads": 1} if family == "llama" else {}
    model = causal_lm(family, vocab_size=8, **grouped)
    with torch.no_grad():  # far from uniform, and EOS likely enough that rows end apart
        model.get_output_embeddings().weight.mul_(5)
    return model.double()


@pytest.fixture(params=FAMILIES, scope="module")
def model(request):
    return make(request.param)


PROMPTS = [[7, 3, 2, 6, 5], [4], [4, 4, 6], [3, 5, 2, 7], [5, 2], [7, 7], [6], [2, 3, 4]]


def left(prompts, extra=0):
    width = max(map(len, prompts)) + extra
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, mask


def reference(model, prompt, uniform, steps, **how):
    """One row, no cache, no padding: the whole text again for every token."""
    text = list(prompt)
    for t in range(steps):
        logits = model(input_ids=torch.tensor([text])).logits[:, -1]
        text.append(int(choose(logits, uniform[t : t + 1], **how)))
        if text[-1] == EOS:
            break
    return text[len(prompt) :]


@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"top_k": 6}, {"greedy": True}], ids=str)
def test_equals_a_loop_without_cache_or_padding(model, how):
    uniform = torch.rand(8, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ids, mask, stopped = sample(
        model,
        *left(PROMPTS, extra=2),
        max_new_tokens=12,
        generator=torch.Generator().manual_seed(3),
        **ENDS,
        **how,
    )
    for row, prompt in enumerate(PROMPTS):
        wanted = reference(model, prompt, uniform[row], 12, **how)
        length = int(mask[row].sum())
        assert ids[row, :length].tolist() == wanted
        assert mask[row].tolist() == [1] * length + [0] * (12 - length)
        assert ids[row, length:].tolist() == [PAD] * (12 - length)
        assert bool(stopped[row]) == (wanted[-1] == EOS)
    if not how.get("greedy"):
        assert len({int(x) for x in mask.sum(1)}) > 1  # rows did end apart


def test_rows_do_not_notice_each_other(model):
    uniform = torch.rand(8, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    together = sample(model, *left(PROMPTS), max_new_tokens=10, uniform=uniform, **ENDS)
    for row, prompt in enumerate(PROMPTS):
        alone = sample(
            model, *left([prompt], extra=3), max_new_tokens=10, uniform=uniform[row : row + 1],
            **ENDS,
        )  # fmt: skip
        for a, b in zip(together, alone, strict=True):
            assert torch.equal(a[row : row + 1], b)


def test_seed_decides():
    model = make("gpt2")

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return sample(model, *left(PROMPTS), max_new_tokens=8, generator=generator, **ENDS)[0]

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    first = run(0)[:, 0]
    assert len(first.unique()) > 1  # parallel rows do not share their draw


def test_no_hidden_top_k():
    """Chi-square of 20,000 first tokens against the softmax of all 64 words.

    With transformers' default top-k of 50, fourteen words would never come.
    """
    model = causal_lm(vocab_size=64, layers=1, positions=8)
    n = 20_000
    ids, mask = torch.full((n, 1), 5), torch.ones(n, 1, dtype=torch.int64)
    drawn, _, _ = sample(
        model, ids, mask, max_new_tokens=1, generator=torch.Generator().manual_seed(0), **ENDS
    )
    p = model(ids[:1]).logits[0, -1].double().softmax(-1)
    counts = torch.bincount(drawn[:, 0], minlength=64)
    assert (counts > 0).all()
    statistic = ((counts - n * p).square() / (n * p)).sum().item()
    assert 25 < statistic < 120  # chi-square with 63 degrees: 0.0001 % below 25, 0.002 % above 120


def test_choose_inverts_the_distribution_function():
    logits = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64).log()
    for u, wanted in [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.2999, 1), (0.3001, 2), (0.9999999, 2)]:
        assert choose(logits, torch.tensor([u], dtype=torch.float64)).item() == wanted
    impossible = torch.tensor([[-torch.inf, 0.0, -torch.inf]])
    for u in (0.0, 1 - 2**-53):
        assert choose(impossible, torch.tensor([u], dtype=torch.float64)).item() == 1


def test_top_k_keeps_the_k_best():
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    uniform = torch.linspace(0, 1 - 1e-9, 400, dtype=torch.float64)
    drawn = choose(logits.expand(400, -1), uniform, top_k=4)
    assert set(drawn.tolist()) == set(logits[0].topk(4).indices.tolist())
    assert len(choose(logits.expand(400, -1), uniform).unique()) > 15


def test_temperature_sharpens():
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(1000, -1)
    uniform = torch.linspace(0, 1 - 1e-9, 1000, dtype=torch.float64)
    for temperature in (0.5, 1.0, 2.0):
        share = choose(logits, uniform, temperature=temperature).double().mean()
        wanted = torch.sigmoid(torch.tensor(1 / temperature, dtype=torch.float64))
        assert share.item() == pytest.approx(wanted.item(), abs=2e-3)


def test_a_pad_that_the_policy_itself_draws_is_a_token_of_the_response():
    model = make("gpt2")
    uniform = torch.rand(64, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ids, mask, _ = sample(model, *left([[4]] * 64), max_new_tokens=6, uniform=uniform, **ENDS)
    inner = (ids == PAD) & (mask == 1)
    assert inner.any()


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"pad_token_id": EOS}, "pad_token_id"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"top_k": -1}, "top_k"),
        ({"prompt_mask": torch.tensor([[1, 0]])}, "prompt_mask"),
        ({"prompt_mask": torch.tensor([[0, 0]])}, "prompt_mask"),
    ],
)
def test_refuses(change, argument):
    arguments = {
        "prompt_ids": torch.tensor([[5, 6]]),
        "prompt_mask": torch.tensor([[1, 1]]),
        "max_new_tokens": 2,
        **ENDS,
    }
    with pytest.raises(InputError) as error:
        sample(make("gpt2"), **(arguments | change))
    assert error.value.argument == argument


def test_stops_at_logits_that_are_not_finite():
    model = make("gpt2")
    with torch.no_grad():
        model.transformer.ln_f.bias.fill_(float("nan"))
    with pytest.raises(DivergenceError, match="token 0"):
        sample(model, *left(PROMPTS), max_new_tokens=2, **ENDS)


def test_every_run_and_every_iteration_draws_with_numbers_of_its_own():
    """The 32 bits that a CPU generator reads hold both: all pairs differ, and repeat exactly."""
    drawn = {
        (seed, iteration): uniform_numbers(seed, iteration, (2, 3))
        for seed in (0, 1, 2, 7, 2**31 - 1)
        for iteration in (0, 1, 2, 90, 10_000)
    }
    assert all(x.dtype == torch.float64 and x.min() >= 0 and x.max() < 1 for x in drawn.values())
    assert len({tuple(x.flatten().tolist()) for x in drawn.values()}) == len(drawn)
    assert torch.equal(drawn[7, 2], uniform_numbers(7, 2, (2, 3)))
    own = [(2_654_435_761 * seed) % 2**32 for seed in range(1000)]
    gaps = [b - a for a, b in zip(sorted(own), [*sorted(own)[1:], 2**32], strict=True)]
    assert min(gaps) > 1_000_000  # iterations before a run would come to the numbers of another
