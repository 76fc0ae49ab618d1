"""Tests of the lab *Fine-tune a GPT by hand*: expected numbers stand here or are added up here."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from rlhf_lab.checks import called, check, near, returned, same
from rlhf_lab.paradigms import gpt

Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Streams = Callable[..., Sequence[Sequence[int]]]
Scores = Callable[[Tensor, Tensor, int, str, nn.Module], Tensor]
LoRA = Callable[[nn.Linear, int, float], nn.Module]
Trainable = Callable[[nn.Module, nn.Module, str], tuple[list[nn.Parameter], list[nn.Parameter]]]
Drift = Callable[[Tensor, Tensor, Tensor], float]


def _real(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# --- attention(q, k, v (B, H, T, d), visible) -> (B, H, T, d) -------------------------------------

# Three places of four numbers. As values, the rows of the identity show the weights themselves.
_Q = _real([[[[2, 0, 0, 0], [0, 2, 0, 0], [2, 2, 0, 0]]]])
_V = torch.eye(3, 4, dtype=torch.float64)[None, None]


def _weights(agreement: Sequence[float]) -> list[float]:
    """What a softmax of these scores leaves, and 0 in the fourth column."""
    total = sum(math.exp(a) for a in agreement)
    return [*(math.exp(a) / total for a in agreement), *[0.0] * (4 - len(agreement))]


@check
def weights_follow_agreement(attention: Attention) -> None:
    """Everybody sees everybody; products are 4, 0 or 8, divided by the root of 4."""
    found = called(attention, _Q, _Q, _V, torch.ones(3, 3, dtype=torch.bool))
    wanted = _real([[[_weights([2, 0, 2]), _weights([0, 2, 2]), _weights([2, 2, 4])]]])
    hint = (
        "the first place's products with the three keys are 4, 0, 4; divided by √4, its weights "
        "are e², 1 and e² over their sum"
    )
    same(found, wanted, "the mean", hint)


@check
def what_is_not_seen_has_no_weight(attention: Attention) -> None:
    """The causal table."""
    found = called(attention, _Q, _Q, _V, torch.ones(3, 3, dtype=torch.bool).tril())
    wanted = _real([[[_weights([2]), _weights([0, 2]), _weights([2, 2, 4])]]])
    hint = (
        "visible[t, s] is True where t may see s. What is not seen has a score of −∞ before the "
        "softmax, so the others' weights add up to 1; the first place here sees itself alone"
    )
    same(found, wanted, "the mean", hint)


@check
def every_head_place_by_place(attention: Attention) -> None:
    """Two texts, three heads, five places of 16 numbers, a table for each text."""
    q, k, v = (_drawn(2, 3, 5, 16, seed=seed) for seed in range(3))
    real = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    wanted = torch.zeros_like(v)
    for b in range(2):
        seen = [s for s in range(5) if real[b, s]]
        for head in range(3):
            for t in range(5):
                agreement = [float(q[b, head, t] @ k[b, head, s]) / 4 for s in seen]
                total = sum(math.exp(a) for a in agreement)
                for a, s in zip(agreement, seen, strict=True):
                    wanted[b, head, t] += math.exp(a) / total * v[b, head, s]
    hint = (
        "d is the number of numbers at one place of one head, 16 here, and its root is 4; a table "
        "(B, 1, T, T) has another mask for each text"
    )
    found = called(attention, q, k, v, real[:, None, None].expand(2, 1, 5, 5))
    same(found, wanted, "the mean", hint)


@check
def large_scores_stay_finite(attention: Attention) -> None:
    """Products of a hundred thousand, which no exponential survives."""
    q = 1000 * _Q
    found = called(attention, q, _Q, _V, torch.ones(3, 3, dtype=torch.bool).tril())
    wanted = _real([[[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]]])
    hint = "take torch's softmax: it subtracts the largest score before it exponentiates"
    same(found, wanted, "the mean", hint)


# --- streams(task, texts, encode, start, delimiter, extract) -> rows ------------------------------


def _encode(text: str) -> list[int]:
    """Letters by their numbers, and 90 + the length at the end: joined texts are told apart."""
    return [*(ord(letter) - 96 for letter in text), 90 + len(text)]


def _streams(streams: Streams, task: str, texts: tuple[str, ...], wanted: list[list[int]],
             hint: str, special: tuple[int, int, int] = (50, 60, 70)) -> None:  # fmt: skip
    found = streams(task, texts, _encode, *special)
    assert found is not None, "streams returns a list of rows, and returned None"
    found = list(found)
    assert all(hasattr(row, "__iter__") for row in found), (
        "streams returns a list of streams, and each is a list, also where there is one only: "
        f"[[…]]; for {task} it returned {found}"
    )
    rows = [[int(i) for i in row] for row in found]
    start, delimiter, extract = special
    assert rows == wanted, (
        f"{task} of {texts} should become {wanted}, and becomes {rows}: {hint}. Here start is "
        f"{start}, delimiter {delimiter}, extract {extract}, and the text 'ab' is {_encode('ab')}"
    )


@check
def one_stream_for_one_reading(streams: Streams) -> None:
    """Classification and entailment."""
    hint = "one stream: start, the text, extract"
    _streams(streams, "classification", ("ab",), [[50, 1, 2, 92, 70]], hint)
    hint = "one stream, with a delimiter between the two texts, and each text encoded by itself"
    _streams(streams, "entailment", ("ab", "c"), [[50, 1, 2, 92, 60, 3, 91, 70]], hint)


@check
def no_text_is_the_first(streams: Streams) -> None:
    """Similarity."""
    wanted = [[50, 1, 2, 92, 60, 3, 91, 70], [50, 3, 91, 60, 1, 2, 92, 70]]
    _streams(streams, "similarity", ("ab", "c"), wanted, "two streams, first in the order given")


@check
def every_option_has_its_stream(streams: Streams) -> None:
    """Choice with three options, and other special tokens."""
    wanted = [[7, 1, 91, 8, 2, 91, 8, option, 91, 9] for option in (3, 4, 5)]
    hint = "a stream for each option, however many there are: the text, the question, the option"
    _streams(streams, "choice", ("a", "b", "c", "d", "e"), wanted, hint, (7, 8, 9))


# --- scores(hidden (R, T, D), lengths (R,), each, task, head) -> (N, K) or (N, each) --------------


def _head(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    head = nn.Linear(len(weight[0]), len(weight)).double()
    head.weight.data, head.bias.data = _real(weight), _real(bias)
    return head


_HIDDEN = _real([[[r * 100 + t * 10, r + t] for t in range(4)] for r in range(6)])  # (6, 4, 2)
_LENGTHS = torch.tensor([2, 4, 1, 3, 4, 2])
_ENDS = [[r * 100 + (n - 1) * 10.0, r + n - 1.0] for r, n in enumerate(_LENGTHS.tolist())]


@check
def each_row_is_read_at_its_end(scores: Scores) -> None:
    """Classification; rows of different lengths in one rectangle."""
    head = _head([[1, 0], [0, 1], [1, -1]], [0.5, 0, 0])
    wanted = _real([[a + 0.5, b, a - b] for a, b in _ENDS])
    hint = (
        "a row of length n is read at place n − 1, whatever stands behind it: the last column is "
        "filling for all rows but the longest"
    )
    found = called(scores, _HIDDEN, _LENGTHS, 1, "classification", head)
    same(found, wanted, "scores", hint)


@check
def options_of_an_example_compete(scores: Scores) -> None:
    """Choice: three examples with two options each."""
    head = _head([[1, 2]], [0.25])
    each = [a + 2 * b + 0.25 for a, b in _ENDS]
    wanted = _real([each[0:2], each[2:4], each[4:6]])
    hint = "rows 0 and 1 are the options of the first example; the head gives one number for each"
    found = called(scores, _HIDDEN, _LENGTHS, 2, "choice", head)
    same(found, wanted, "scores", hint)


@check
def both_orders_are_added_before_the_head(scores: Scores) -> None:
    """Similarity, with a head that has a bias; and a choice of three."""
    head = _head([[1, 0], [0, 1]], [0.5, -0.5])
    pairs = [(_ENDS[i], _ENDS[i + 1]) for i in (0, 2, 4)]
    wanted = _real([[a[0] + b[0] + 0.5, a[1] + b[1] - 0.5] for a, b in pairs])
    hint = "the features of both streams are added, then the head is applied once, with one bias"
    found = called(scores, _HIDDEN, _LENGTHS, 2, "similarity", head)
    same(found, wanted, "scores", hint)
    head = _head([[1, 2]], [0.25])
    wanted = _real([[a + 2 * b + 0.25 for a, b in _ENDS[i : i + 3]] for i in (0, 3)])
    found = called(scores, _HIDDEN, _LENGTHS, 3, "choice", head)
    same(found, wanted, "scores", "here an example has three options: `each` says how many")


# --- LoRA(layer, rank, alpha) ---------------------------------------------------------------------


def _layer() -> nn.Linear:
    layer = nn.Linear(5, 3).double()
    layer.weight.data, layer.bias.data = _drawn(3, 5, seed=1), _drawn(3, seed=2)
    return layer


def _lora(LoRA: LoRA, layer: nn.Linear, alpha: float = 6.0) -> Any:
    """A module of rank 2 in double precision; asserts the shapes of its parameters."""
    module = LoRA(layer, 2, alpha).double()
    for name, shape in {"a": (2, 5), "b": (3, 2)}.items():
        own = getattr(module, name, None)
        assert isinstance(own, nn.Parameter), (
            f"self.{name} should be a torch.nn.Parameter, and is a {type(own).__name__}: only "
            "parameters are found by an optimiser"
        )
        assert tuple(own.shape) == shape, (
            f"for a layer of 5 inputs and 3 outputs at rank 2, {name} should have the shape "
            f"{shape}, and has {tuple(own.shape)}"
        )
    return module


@check
def it_begins_as_the_layer(LoRA: LoRA) -> None:
    """Before any step."""
    layer, x = _layer(), _drawn(4, 5)
    wanted = (x @ layer.weight.T + layer.bias).detach()
    hint = "before training the product BA is 0, and the layer's bias is part of what it computes"
    same(_lora(LoRA, layer)(x), wanted, "what it computes", hint)


@check
def a_product_is_added(LoRA: LoRA) -> None:
    """With numbers in both matrices, and α / r of 3."""
    layer, x = _layer(), _drawn(4, 5)
    module = _lora(LoRA, layer)
    module.a.data, module.b.data = _drawn(2, 5, seed=3), _drawn(3, 2, seed=4)
    weight = layer.weight.detach() + 3 * module.b.detach() @ module.a.detach()
    wanted = x @ weight.T + layer.bias.detach()
    hint = "it is the layer's result plus α/r · BAx, with α = 6 and r = 2 here"
    same(module(x), wanted, "what it computes", hint)


@check
def the_layer_takes_no_gradients(LoRA: LoRA) -> None:
    """2 · (5 + 3) numbers are trained."""
    module = _lora(LoRA, _layer())
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert trained == 16, (
        f"{trained} numbers take gradients, and 16 should: those of a and b. The layer's own 18 "
        "stay as they are, but the module still has to hold the layer, so that it is saved with it"
    )


@check
def the_first_step_can_change_something(LoRA: LoRA) -> None:
    """At least one of the two gradients is not 0 at the beginning."""
    module = _lora(LoRA, _layer())
    found = module(_drawn(4, 5))
    assert found.requires_grad, (
        "what forward computes has no gradient with respect to a and b: .data and .detach() cut "
        "them off, and nothing can be learned"
    )
    found.square().sum().backward()
    gradients = {name: getattr(module, name).grad for name in ("a", "b")}
    moved = [name for name, g in gradients.items() if g is not None and bool((g != 0).any())]
    assert moved, (
        "at the start both gradients are 0, and then they are 0 for ever: the gradient of B is a "
        "product with A, and that of A one with B. One of the two has to begin as noise"
    )


@check
def merged_is_one_layer_of_its_own(LoRA: LoRA) -> None:
    """It computes the same, and leaves the module as it was."""
    layer, x = _layer(), _drawn(4, 5)
    module = _lora(LoRA, layer)
    module.a.data, module.b.data = _drawn(2, 5, seed=3), _drawn(3, 2, seed=4)
    before = module(x).detach()
    merged = module.merged()
    assert isinstance(merged, nn.Linear), (
        f"merged returns a torch.nn.Linear, and returned a {type(merged).__name__}"
    )
    hint = "its weight is W₀ + α/r · BA, its bias the layer's"
    same(merged.double()(x), before, "what the merged layer computes", hint, 1e-5)
    hint = "the layer was changed by merged(): from now on the correction counts twice"
    same(module(x), before, "what the module computes after merged()", hint)
    merged.weight.data.zero_()
    hint = "the merged layer shares its tensor with the old one: give it one of its own"
    same(module(x), before, "what the module computes when the merged layer is changed", hint)


# --- trainable(body, head, way) -> two lists of parameters ----------------------------------------


class _LowRank(nn.Module):
    """A LoRA layer of these tests: ``a`` and ``b`` beside a layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.a = nn.Parameter(torch.ones(2, layer.in_features))
        self.b = nn.Parameter(torch.ones(layer.out_features, 2))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x) + x @ self.a.T @ self.b.T
        return found


def _network(low_rank: bool) -> tuple[gpt.GPT, nn.Linear]:
    """A body of width 4 with two layers, 11 tokens and 6 places; a head for three labels."""
    config = gpt.GPTConfig(11, 6, 4, 2, 2, "gelu", 1e-5)
    body, head = gpt.initialise(gpt.GPT(config), seed=0), nn.Linear(4, 3)
    if low_rank:
        for block in body.h:
            attn: Any = block.attn
            attn.c_attn = _LowRank(attn.c_attn)
    return body, head


# Embeddings, two layers of 12 · 4² + 13 · 4 numbers, the last norm; a and b of rank 2 on 4 → 12.
_BODY = 11 * 4 + 6 * 4 + 2 * (12 * 16 + 13 * 4) + 2 * 4
_TRAINED = {"all": _BODY, "head": 0, "lora": 2 * 2 * (4 + 12)}


def _chosen(trainable: Trainable, body: nn.Module, head: nn.Module, way: str) -> list[Any]:
    found = trainable(body, head, way)
    returned(found, 2, "trainable returns two lists: of the body, of the head")
    lists = [list(part) for part in found]
    for part in lists:
        assert all(isinstance(p, nn.Parameter) for p in part), (
            "the lists have parameters in them, as body.parameters() gives them, and no names"
        )
        assert len({id(p) for p in part}) == len(part), "a parameter is in a list twice"
    return lists


@check
def as_many_numbers_as_there_should_be(trainable: Trainable) -> None:
    """Counted from the shapes."""
    for way, wanted in _TRAINED.items():
        body, head = _network(way == "lora")
        own, of_head = _chosen(trainable, body, head, way)
        numbers = sum(p.numel() for p in own)
        assert numbers == wanted, (
            f'for "{way}" {numbers} numbers of the body are handed over, and {wanted} should be'
            + (": go by the ends of the names, .a and .b" if way == "lora" else "")
        )
        count = sum(p.numel() for p in of_head)
        assert count == 15, f"of the head 15 numbers are trained, and {count} were handed over"


@check
def a_step_leaves_the_rest_alone(trainable: Trainable) -> None:
    """AdamW with weight decay; then every tensor that was not chosen, bit by bit."""
    for way in _TRAINED:
        body, head = _network(way == "lora")
        own, of_head = _chosen(trainable, body, head, way)
        before = copy.deepcopy(body.state_dict())
        optimizer = torch.optim.AdamW([*own, *of_head], lr=0.1, weight_decay=0.1)
        head(body.hidden(torch.tensor([[1, 2, 3]]))[:, -1]).square().sum().backward()
        optimizer.step()
        named = dict(body.named_parameters())
        chosen = {id(p) for p in own}
        for name, now in named.items():
            wanted = id(now) in chosen
            assert now.requires_grad == wanted, (
                f'for "{way}" {name} is {"" if wanted else "not "}in the list, and its '
                f"requires_grad is {now.requires_grad}: whatever is not trained takes no gradient"
            )
            assert wanted or torch.equal(now, before[name]), f'for "{way}" a step moved {name}'


@check
def it_can_be_asked_again(trainable: Trainable) -> None:
    """A network whose head was trained alone is trained as a whole, and the other way round."""
    for low_rank, ways in ((False, ("head", "all", "head")), (True, ("head", "lora"))):
        body, head = _network(low_rank)
        head.requires_grad_(False)
        for way in ways:
            own, of_head = _chosen(trainable, body, head, way)
            taking = sum(p.numel() for p in body.parameters() if p.requires_grad)
            assert taking == _TRAINED[way], (
                f'asked for "{way}" after another way, {taking} numbers of the body take gradients '
                f"and {_TRAINED[way]} should: set requires_grad both ways, whatever it was before"
            )
            assert sum(p.numel() for p in own) == taking, f'for "{way}" others were handed over'
            assert all(p.requires_grad for p in of_head), (
                "the head was frozen before, and is always trained: set its requires_grad, too"
            )


# --- drift(before, after (N, T, V), real (N, T)) -> nats ------------------------------------------


@check
def two_tokens_by_hand(drift: Drift) -> None:
    """Two words: p is 1/2, 1/2 and then 1/4, 3/4; q is 1/4, 3/4 and then the same."""
    before = _real([[[0.5, 0.5], [0.25, 0.75]]]).log()
    after = _real([[[0.25, 0.75], [0.25, 0.75]]]).log()
    wanted = (0.5 * math.log(2) + 0.5 * math.log(2 / 3)) / 2
    hint = (
        "at the first place it is ½ log(½ / ¼) + ½ log(½ / ¾), weighted by what was expected "
        "*before*, and at the second 0; the mean of both is taken"
    )
    near(called(drift, before, after, torch.ones(1, 2)), wanted, "the drift", hint)


@check
def logits_are_known_up_to_a_constant(drift: Drift) -> None:
    """The same distributions, with a number added to all logits of a place."""
    before, real = _drawn(2, 3, 5), torch.ones(2, 3)
    after = before + _drawn(2, 3, 1, seed=1)
    hint = "both are the same distributions: a softmax does not notice a constant"
    near(called(drift, before, after, real), 0.0, "the drift", hint)


@check
def filling_has_no_say(drift: Drift) -> None:
    """Rows of two tokens and of one, behind which everything is different."""
    before, after = _drawn(2, 3, 4), _drawn(2, 3, 4, seed=1)
    real = torch.tensor([[1, 1, 0], [1, 0, 0]])
    total = 0.0
    for row, place in ((0, 0), (0, 1), (1, 0)):
        p, q = ([math.exp(z) for z in x[row, place].tolist()] for x in (before, after))
        p, q = ([z / sum(x) for z in x] for x in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    hint = "three places are real, so three are added up and the sum is divided by three"
    near(called(drift, before, after, real), total / 3, "the drift", hint)


@check
def small_probabilities_are_no_trouble(drift: Drift) -> None:
    """A word with e^-800, which is 0 in every precision."""
    before, after = _real([[[0.0, -800.0]]]), _real([[[0.0, -1600.0]]])
    hint = "stay with log_softmax: the logarithm of a probability that was rounded to 0 is −∞"
    near(called(drift, before, after, torch.ones(1, 1)), 0.0, "the drift", hint)


# --- mended: one change, and what is expected of it -----------------------------------------------

WAYS = ("all", "lora", "head")


@check
def what_is_expected_is_written_down(mended: Mapping[str, Any]) -> None:
    """A way, a rate and a drift."""
    assert isinstance(mended, Mapping), f"mended is a dictionary, not a {type(mended).__name__}"
    for name in ("way", "rate", "drift"):
        assert name in mended, f"mended has no {name!r}; it has a way, a rate and a drift"
    assert mended["way"] in WAYS, f"the way is {mended['way']!r}: choose one of {', '.join(WAYS)}"
    for name in ("rate", "drift"):
        value = mended[name]
        known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        finite = known and math.isfinite(value)
        assert finite, f"mended[{name!r}] is {value!r}: write a number"
    assert mended["drift"] >= 0, (
        f"you expect a drift of {mended['drift']}: a KL divergence is never below 0"
    )


@check
def one_thing_changes(mended: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Another way or another rate, not both."""
    changed = [name for name in ("way", "rate") if mended[name] != usual[name]]
    assert len(changed) == 1, (
        f"{len(changed)} settings differ from the usual ones ({', '.join(changed) or 'none'}): "
        "change one of the two, or you cannot say what mended it"
    )
    assert 0 < mended["rate"] <= 0.02, f"a rate of {mended['rate']}: take one above 0, up to 0.02"


@check
def the_run_is_of_this_change(mended: Mapping[str, Any], own: pd.DataFrame) -> None:
    """What was trained is what was announced."""
    for name in ("way", "rate"):
        trained = own[name].tolist()
        assert trained == [mended[name]], (
            f"you announced {name} = {mended[name]}, and the run that was looked at has {trained}"
        )
    assert np.isfinite(own[["web_loss", "drift"]].to_numpy(dtype=float)).all(), (
        "the run's loss or its drift is no finite number: a rate at which training blows up"
    )
