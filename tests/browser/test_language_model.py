"""The language models of the page against PyTorch, tokenizers and `rlhf_lab.generation`.

Every test runs in a browser, from a plain static server, in a folder, under the book's policy. Here
a header sends it with every file, which is stricter than the book's own meta element: it also binds
the worker.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import GPT2LMHeadModel

from rlhf_lab.browser_files import WHOLE, shipped_files, write_folder
from rlhf_lab.browser_model import export_difference, export_for_browser, restored_weights
from rlhf_lab.generation import choose, sample
from rlhf_lab.models import ASSETS, load_policy
from rlhf_lab.objectives import exact_kl
from rlhf_lab.pretrain import train_tokenizer
from rlhf_lab.widgets import token_inspector
from rlhf_lab.world import World
from tiny_models import causal_lm

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "rlhf_lab" / "widgets" / "static" / "language-model"
PUBLISHED = ROOT / "book" / "results" / "quickstart" / "models"
TRAINED = ("sft", "ppo", "ppo-ptx")
BASES = dict.fromkeys(TRAINED, "tiny") | {"odd-changed": "odd"}
PROMPT = "which colour does the frog have?\n"

Ask = Callable[..., Any]


# --- a page with models -----------------------------------------------------------------------


def book_policy(extension: Callable[[str], Any]) -> str:
    """The content security policy of the book's pages, for a page without inline scripts."""
    pytest.importorskip("sphinx", reason="needs the extra [book]")
    found = re.search(r'content="([^"]*)"', extension("html").policy(set(), set()))
    assert found is not None
    return html.unescape(found.group(1))


def shifted(model: Any, scale: float) -> Any:
    """Every weight moved by noise, biases and norms too, so that none is 0, 1 or a float16."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="session")
def small_tokenizer() -> Any:
    """Bytes and a handful of merges; 277 tokens."""
    return train_tokenizer(["the frog and the toad, 12 frogs: it's a frog's day"] * 3, 277)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, small_tokenizer: Any) -> Path:
    """Page, modules and models; a model is any folder in `models`.

    tiny: as shipped. exact, rounded: tiny moved off the float16 grid, in both precisions. odd: the
    exact GELU, sizes that no block of 4 divides, byte tokens. odd-changed: the difference of
    another one from odd. sft, ppo, ppo-ptx: as published, differences from tiny.
    """
    root = tmp_path_factory.mktemp("server") / "project" / "book"
    shutil.copytree(MODULES, root / "_static" / "language-model")
    shutil.copy(Path(__file__).with_name("language_model_probe.js"), root / "probe.js")
    page = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="probe.js">'
    (root / "page.html").write_text(f"{page}</script>", encoding="utf-8")
    policy, tokenizer = load_policy("tiny")
    models = root / "models"
    write_folder(models / "tiny", WHOLE, shipped_files(ASSETS / "tiny"))
    for name in TRAINED:
        shutil.copytree(PUBLISHED / name, models / name)
    shifted(policy, 1e-3)
    export_for_browser(policy, tokenizer, models / "exact", dtype=torch.float32)
    export_for_browser(policy, tokenizer, models / "rounded")
    for name, activation in (("odd", "gelu"), ("odd-tanh", "gelu_new")):
        sizes = {"width": 30, "heads": 5, "n_inner": 37, "positions": 64}
        odd = causal_lm(vocab_size=277, activation_function=activation, **sizes)
        export_for_browser(shifted(odd, 0.3), small_tokenizer, models / name, dtype=torch.float32)
    odd = causal_lm(vocab_size=277, activation_function="gelu", **sizes)
    export_difference(shifted(odd, 0.4), models / "odd", models / "odd-changed")
    return root


@pytest.fixture(scope="session")
def base_address(
    folder: Path, serve_folder: Callable[..., str], extension: Callable[[str], Any]
) -> str:
    policy = book_policy(extension)
    host = serve_folder(folder.parents[1], {"Content-Security-Policy": policy})
    return f"{host}/project/book"


@pytest.fixture
def ask(base_address: str, visit: Any) -> Ask:
    """Call a function of the probe. What goes wrong on the page is in ``ask.seen``."""
    seen = visit(f"{base_address}/page.html")
    seen.page.wait_for_function("window.probe !== undefined")

    def call(function: str, *arguments: Any) -> Any:
        # As text: Playwright takes numbers one by one, and would mend lone surrogates.
        run = f"async (given) => JSON.stringify(await probe.{function}(...JSON.parse(given)))"
        return json.loads(seen.page.evaluate(run, json.dumps(arguments)))

    call.seen = seen  # type: ignore[attr-defined]
    return call


@pytest.fixture(scope="session")
def reference(folder: Path) -> Callable[[str], Any]:
    """PyTorch's model on the weights of exported files, in float32."""

    def read(name: str) -> Any:
        model, _ = load_policy("tiny")
        models, whole = folder / "models", BASES.get(name, name)
        if name in BASES:
            state = restored_weights(models / name, models / whole)
        else:
            state = load_file(models / name / "model.safetensors")
        settings = json.loads((models / whole / "config.json").read_text())
        config = type(model.config)(**settings, bos_token_id=None)
        twin = GPT2LMHeadModel(config).eval()
        missing = twin.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        assert missing.missing_keys == ["lm_head.weight"]  # tied
        return twin

    return read


# --- the same numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["tiny", "exact", "rounded", "odd", "odd-tanh", "odd-changed", *TRAINED]
)
def test_logits_agree_with_pytorch(
    ask: Ask, reference: Any, name: str, record_property: Any
) -> None:
    """Over a full context, read in one pass and token by token. Contract: 1e-3; measured: 3e-5."""
    model = reference(name)
    size, length = model.config.vocab_size, model.config.n_positions
    tokens = torch.randint(size, (1, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(tokens).logits[0].numpy()
    found = ask("logits", name, tokens[0].tolist(), BASES.get(name))
    whole = np.array(found["whole"]).reshape(length, size)
    steps = np.array(found["steps"]).reshape(-1, size)
    error = np.abs(whole - expected).max()
    record_property("largest_error", float(error))
    print(f"{name}: largest error {error:.1e}, largest logit {np.abs(expected).max():.1f}")
    assert error < 1e-4
    # The steps' first row is the whole first half's; its rows come before the single ones.
    assert np.abs(steps - whole).max() < 1e-5
    assert not ask.seen.errors  # type: ignore[attr-defined]
    assert not ask.seen.foreign  # type: ignore[attr-defined]


def test_erf_and_activations(ask: Ask) -> None:
    grid = np.concatenate([np.linspace(-12, 12, 2001), [1e-30, -1e-9, 5.99, 6.01, 40.0]])
    exact = [math.erf(x) for x in grid]
    assert np.abs(np.array(ask("erf", grid.tolist())) - exact).max() < 1e-14
    x = torch.tensor(grid)
    kinds = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
    for name, approximate in kinds.items():
        expected = torch.nn.functional.gelu(x, approximate=approximate).numpy()
        assert np.abs(np.array(ask("activation", name, grid.tolist())) - expected).max() < 1e-13


@pytest.mark.parametrize("name", ["tiny", *TRAINED])
def test_the_same_greedy_text_on_100_prompts(ask: Ask, reference: Any, name: str) -> None:
    model, (_, tokenizer) = reference(name), load_policy("tiny")
    prompts = [prompt.text for prompt in World(0).prompts("test", 100)]
    expected = answers(model, tokenizer, prompts, greedy=True)
    for each in dict.fromkeys(("tiny", name)):
        assert "error" not in ask("load", each, BASES.get(each))
    found = ask("generateAll", name, prompts, {"maxNewTokens": 24})
    assert [answer["tokens"] for answer in found] == expected
    assert [answer["text"] for answer in found] == [
        tokenizer.decode(ids, skip_special_tokens=True) for ids in expected
    ]
    ends = [ids[-1] == tokenizer.eos_token_id for ids in expected]
    assert [answer["finishReason"] == "eos" for answer in found] == ends


def test_the_same_seed_gives_the_same_answer(ask: Ask, reference: Any) -> None:
    model, (_, tokenizer) = reference("tiny"), load_policy("tiny")
    prompts = [prompt.text for prompt in World(0).prompts("test", 20)]
    seeds = [torch.Generator().manual_seed(i) for i in range(20)]
    uniform = torch.cat([torch.rand(1, 24, generator=g, dtype=torch.float64) for g in seeds])
    expected = answers(model, tokenizer, prompts, temperature=0.8, uniform=uniform)
    ask("load", "tiny")
    options = {"maxNewTokens": 24, "temperature": 0.8}
    found = ask("generateAll", "tiny", prompts, options)
    assert [answer["tokens"] for answer in found] == expected


def answers(model: Any, tokenizer: Any, prompts: list[str], **options: Any) -> list[list[int]]:
    """Response ids by `rlhf_lab.generation`, EOS included, at most 24."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    ids, mask, _ = sample(
        model,
        batch["input_ids"],
        batch["attention_mask"],
        max_new_tokens=24,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )
    return [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)]


def test_uniform_numbers_are_those_of_torch(ask: Ask) -> None:
    for seed in (0, 1, 12345, 2**31, 2**32 + 7):
        generator = torch.Generator().manual_seed(seed)
        expected = torch.rand(700, generator=generator, dtype=torch.float64).tolist()
        assert ask("uniforms", seed, 700) == expected


def test_choose_is_that_of_the_package(ask: Ask) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(50, generator=generator)
    uniform = torch.rand(200, generator=generator, dtype=torch.float64)
    uniform[:2] = torch.tensor([0.0, 1 - 2**-53])
    for temperature in (0.3, 1.0, 2.5):
        expected = choose(logits.expand(200, -1), uniform, temperature=temperature).tolist()
        assert ask("choose", logits.tolist(), uniform.tolist(), temperature) == expected
    # A token of probability 0 (here by underflow) is not chosen, not even at the edges.
    assert ask("choose", [-2000.0, 5.0, -2000.0], [0.0, 1 - 2**-53], 1) == [1, 1]


def test_log_probabilities_and_streamed_text(
    ask: Ask, reference: Any, small_tokenizer: Any
) -> None:
    """A model of random bytes: characters come in pieces, some of them no UTF-8 at all."""
    model = reference("odd")
    ask("load", "odd")
    answer = ask("generate", "odd", "the", {"maxNewTokens": 40, "temperature": 1.5, "seed": 5})
    tokens = answer["value"]["tokens"]
    assert len(tokens) == 40
    assert [token["id"] for token in answer["streamed"]] == tokens
    assert "".join(token["text"] for token in answer["streamed"]) == answer["value"]["text"]
    assert answer["value"]["text"] == ask("decode", "odd", tokens)
    assert answer["value"]["text"] == small_tokenizer.decode(tokens, skip_special_tokens=True)
    assert "\ufffd" in answer["value"]["text"]
    prompt = small_tokenizer.encode("the")
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).squeeze(1)
    found = torch.tensor([token["logprob"] for token in answer["streamed"]])
    assert (found - expected).abs().max() < 1e-4


def test_what_models_expect_along_an_answer(ask: Ask, reference: Any, small_tokenizer: Any) -> None:
    """Probabilities and KL at each token, against PyTorch and the package's exact KL."""
    names = ["odd", "odd-changed"]
    for name in names:
        ask("load", name, BASES.get(name))
    given = {"maxNewTokens": 20, "temperature": 1.5, "seed": 5}
    answer = ask("generate", "odd-changed", "the", given)["value"]["tokens"]
    places = ask("compare", names, "odd", "the", answer)["value"]
    assert len(places) == len(answer)
    prompt = small_tokenizer.encode("the")
    with torch.no_grad():
        own, other = (
            reference(name)(torch.tensor([prompt + answer])).logits[:, len(prompt) - 1 : -1]
            for name in names
        )
    kl = exact_kl(other, own)[0]
    for t, (place, token) in enumerate(zip(places, answer, strict=True)):
        chances = [logits[0, t].softmax(-1) for logits in (own, other)]
        likely = {i for p in chances for i in p.topk(3).indices.tolist() if p[i] > 0.01}
        expected = sorted({token} | likely, key=lambda i: -max(p[i].item() for p in chances))
        assert place["tokens"] == [token_inspector._token(small_tokenizer, i) for i in expected]
        assert expected[place["written"]] == token
        for found, p in zip(place["probabilities"], chances, strict=True):
            assert found == pytest.approx(p[expected].tolist(), abs=1e-5)
        assert place["kl"] == pytest.approx([0, kl[t].item()], abs=1e-4)
    assert ask("compare", ["odd", "absent"], "odd", "the", answer)["code"] == "not-loaded"


# --- the same tokens --------------------------------------------------------------------------

ADVERSARIAL = (
    "",
    " ",
    "\n\n \t x\r\n  y  ",
    "it's we'll I'VE they're 'd 's's ''ll",
    "<img src=x onerror=alert(1)></script><b>&amp;",
    "[link](javascript:alert(1)) **bold** `code`",
    "<|endoftext|>",
    "a<|endoftext|><|pad|> b <|endoftext| <|<|pad|>|>",
    "🐸 👩\u200d👩\u200d👧 🇨🇭 e\u0301 é ﬁ",
    "什么是青蛙？ 青蛙是绿色的。",
    "नमस्ते שלום עולם ١٢٣ Ⅷ ½ x²",
    "\x00\x01\x1b[31m\x7f\x80\x85 \u200b\u202e\u2028\u2029",
    "\ufeffa\ufeff b\u00a0 c\u0085d\u1680e\u3000f\u180e g",
    "constructor __proto__ toString hasOwnProperty",
    "\U0010ffff\ue000\ufffd\ufffe",
    "word" * 5000,
    "x y\n" * 5000,
    " " * 5000,
    "the frog" * 700 + "蛙" * 2000,
)


@pytest.mark.parametrize("name", ["tiny", "odd"])
def test_token_ids_are_those_of_tokenizers(ask: Ask, folder: Path, name: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "models" / name / "tokenizer.json"))
    letters = np.random.default_rng(0).choice(list("abcdefghijklmnopqrstuvwxyz'"), 20_000)
    texts = [*ADVERSARIAL, "".join(letters)]
    texts += [prompt.text for prompt in World(0).prompts("test", 100)]
    found = ask("tokenize", name, texts)
    for text, answer in zip(texts, found, strict=True):
        ids = tokenizer.encode(text).ids
        assert answer["ids"] == ids, text[:80]
        assert answer["text"] == tokenizer.decode(ids), text[:80]
        assert answer["exact"], text[:80]


def test_words_are_cut_where_tokenizers_cuts_them(ask: Ask) -> None:
    """Code points of the first two planes between letters, digits, signs and spaces.

    The shipped vocabularies are English, where a wrong cut in other scripts would not show. So the
    words themselves are compared.
    """
    from tokenizers import pre_tokenizers

    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    points = [*range(0x3100), *(p for p in range(0x3100, 0x20000, 7) if p >> 11 != 0x1B)]
    texts = [f"a{c}b 1{c}2 .{c}  {c}" for c in map(chr, points)]
    differing = [
        point
        for point, text, words in zip(points, texts, ask("words", texts), strict=True)
        if [text[a:b] for _, (a, b) in cut.pre_tokenize_str(text)] != words
    ]
    # tokenizers and the browser know different versions of Unicode: characters that are new in
    # one of them are letters or digits there, and unassigned in the other.
    assert len(differing) < 300
    assert not [point for point in differing if point < 0x250]


@pytest.mark.parametrize("name", ["tiny", "odd"])
def test_a_token_is_written_as_the_inspector_writes_it(
    ask: Ask, small_tokenizer: Any, name: str
) -> None:
    tokenizer = load_policy("tiny")[1] if name == "tiny" else small_tokenizer
    found = ask("pieces", name)
    assert found == [token_inspector._token(tokenizer, i) for i in range(len(found))]
    assert {next(iter(piece)) for piece in found} == {"text", "bytes", "special"}


def test_lone_surrogates_read_as_replacement_characters(ask: Ask) -> None:
    _, tokenizer = load_policy("tiny")
    (answer,) = ask("tokenize", "tiny", ["a\ud800b\udc00🐸\udbff"])
    assert answer["ids"] == tokenizer.encode("a\ufffdb\ufffd🐸\ufffd")
    assert answer["text"] == "a\ufffdb\ufffd🐸\ufffd"


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"normalizer": {"type": "NFC"}}, "unsupported", "normalizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "unsupported", "pre_tokenizer"),
        ({"pre_tokenizer": None}, "unsupported", "pre_tokenizer"),
        ({"decoder": {"type": "WordPiece"}}, "unsupported", "decoder"),
        ({"model": {"type": "WordPiece", "vocab": {}, "merges": []}}, "unsupported", "model"),
        ({"model": {"vocab": {"a": 0}, "merges": []}}, "unsupported", "byte 0"),
        ({"model": {"vocab": {"a": "x"}, "merges": []}}, "corrupt", "id"),
        ({"model": None}, "corrupt", "vocabulary"),
        ({"added_tokens": [{"id": 0, "content": "a", "lstrip": True}]}, "unsupported", "added"),
    ],
)
def test_other_tokenizers_are_refused(ask: Ask, change: Any, code: str, part: str) -> None:
    answer = ask("tokenizer", "tiny", change)
    assert answer.get("code") == code, answer
    assert part in answer["message"]


# --- files that are not what they should be ---------------------------------------------------


def test_a_model_arrives_once_with_progress(ask: Ask, folder: Path) -> None:
    answer = ask("load", "tiny")
    index = json.loads((folder / "models/tiny/index.json").read_text())
    total = sum(entry["bytes"] for entry in index["files"].values())
    loaded = [step[0] for step in answer["progress"]]
    assert loaded == sorted(loaded)
    assert loaded[0] == 0
    assert loaded[-1] == total
    assert {step[1] for step in answer["progress"]} == {total}
    weights = load_file(folder / "models/tiny/model.safetensors")
    assert answer["value"] == {
        "context": 256,
        "parameters": sum(w.numel() for w in weights.values()),
    }
    assert ask("load", "tiny")["progress"] == []
    assert not ask.seen.errors  # type: ignore[attr-defined]
    assert not ask.seen.foreign  # type: ignore[attr-defined]


def truncate(data: bytes) -> bytes:
    return data[:-1000]


def flip(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


BROKEN_FILES = {
    "truncated weights": ("model.safetensors", truncate, "corrupt", "bytes arrived, expected"),
    "one bit of the weights": ("model.safetensors", flip, "corrupt", "SHA-256"),
    "longer tokenizer": ("tokenizer.json", lambda b: b + b" ", "corrupt", "bytes arrived"),
    "no weights": ("model.safetensors", None, "network", "404"),
    "no index": ("index.json", None, "network", "404"),
    "index of a proxy": ("index.json", lambda b: b"<!doctype html>", "corrupt", "not JSON"),
    "other index": ("index.json", lambda b: b'{"format": "x"}', "unsupported", "format x"),
    "empty index": (
        "index.json",
        lambda b: b'{"format": "rlhf_lab.browser_model/1", "files": {}}',
        "corrupt",
        "config.json",
    ),
}


@pytest.mark.parametrize("what", BROKEN_FILES)
def test_a_broken_file_is_named(ask: Ask, folder: Path, what: str) -> None:
    name, change, code, part = BROKEN_FILES[what]
    model = copy_of(folder, "odd", what)
    path = model / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    answer = ask("load", model.name)
    assert answer.get("error") == "LanguageModelError", answer
    assert answer["code"] == code
    assert part in answer["message"]
    if name != "index.json":
        assert name in answer["message"]
    # A failure is not remembered: the model loads when its file is whole.
    shutil.copy(folder / "models/odd" / name, path)
    assert "value" in ask("load", model.name)


def copy_of(folder: Path, name: str, title: str) -> Path:
    target = folder / "models" / title.replace(" ", "-")
    shutil.copytree(folder / "models" / name, target)
    return target


def without(name: str, **changes: Tensor) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {k: v for k, v in state.items() if k != name} | changes


BROKEN_WEIGHTS = {
    "missing": (without("transformer.h.0.ln_1.bias"), "transformer.h.0.ln_1.bias"),
    "reshaped": (
        without("", **{"transformer.wpe.weight": torch.zeros(3, 30)}),
        "wpe.weight: shape [3,30], expected [64,30]",
    ),
}


@pytest.mark.parametrize("what", BROKEN_WEIGHTS)
def test_weights_that_do_not_fit_the_configuration(ask: Ask, folder: Path, what: str) -> None:
    change, part = BROKEN_WEIGHTS[what]
    model = copy_of(folder, "odd", what)
    data = save(change(load_file(model / "model.safetensors")))
    (model / "model.safetensors").write_bytes(data)
    index = json.loads((model / "index.json").read_text())
    index["files"]["model.safetensors"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (model / "index.json").write_text(json.dumps(index))
    answer = ask("load", model.name)
    assert answer.get("code") == "corrupt", answer
    assert part in answer["message"]


def test_numbers_of_a_file_are_read_exactly(ask: Ask) -> None:
    """All finite float16 values, subnormal ones and both zeros included."""
    halves = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16)
    halves = halves[halves.isfinite()].reshape(2, -1)
    singles = torch.tensor([1e-45, -3.4e38, 0.1])
    answer = ask("read", list(save({"a": halves, "b": singles, "c": torch.zeros(0, 4)})))
    found = {name: (shape, data) for name, shape, data in answer["value"]}
    assert found["a"] == ([2, halves.shape[1]], halves.flatten().float().tolist())
    assert found["b"] == ([3], singles.tolist())
    assert found["c"] == ([0, 4], [])


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


BROKEN_SAFETENSORS = {
    "empty": (b"", "corrupt", "8 bytes"),
    "header cut off": (file_of({"a": entry()})[:20], "corrupt", "cut off"),
    "huge header": (b"\xff" * 8 + b"{}", "corrupt", "cut off"),
    "not JSON": (file_of(b"{"), "corrupt", "not JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "corrupt", "not JSON"),
    "null": (file_of(b"null"), "corrupt", "not JSON"),
    "data cut off": (file_of({"a": entry()}, b"123"), "corrupt", "tensor a: the file ends"),
    "bytes behind": (file_of({"a": entry()}, b"12345"), "corrupt", "behind the last"),
    "hole": (file_of({"a": entry(offsets=(4, 8))}, b"12345678"), "corrupt", "tensor a"),
    "overlap": (file_of({"a": entry(), "b": entry()}, b"1234"), "corrupt", "tensor b"),
    "wrong size": (file_of({"a": entry(shape=(2,))}, b"1234"), "corrupt", "shape [2]"),
    "negative": (file_of({"a": entry(shape=(-1,))}, b"1234"), "corrupt", "tensor a"),
    "no entry": (file_of({"a": None}), "corrupt", "tensor a"),
    "offsets": (file_of({"a": entry(offsets=(0,))}, b"1234"), "corrupt", "tensor a"),
    "I8": (file_of({"a": entry("I8", (4,))}, b"1234"), "unsupported", "dtype I8"),
    "toString": (file_of({"a": entry("toString")}, b"1234"), "unsupported", "toString"),
    "NaN": (file_of({"a": entry("F16", (1,), (0, 2))}, b"\x00\x7e"), "corrupt", "finite"),
}


@pytest.mark.parametrize("what", BROKEN_SAFETENSORS)
def test_broken_safetensors(ask: Ask, what: str) -> None:
    data, code, part = BROKEN_SAFETENSORS[what]
    answer = ask("read", list(data))
    assert answer.get("code") == code, answer
    assert part in answer["message"]


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"n_head": 7}, "corrupt", "7 heads"),
        ({"n_layer": 1.5}, "corrupt", "n_layer is 1.5"),
        ({"vocab_size": None}, "corrupt", "vocab_size"),
        ({"layer_norm_epsilon": 0}, "corrupt", "layer_norm_epsilon"),
        ({"activation_function": "relu"}, "unsupported", "relu"),
    ],
)
def test_configurations_that_cannot_run(
    ask: Ask, folder: Path, change: dict[str, Any], code: str, part: str
) -> None:
    config = json.loads((folder / "models/odd/config.json").read_text()) | change
    answer = ask("build", config)
    assert answer.get("code") == code, answer
    assert part in answer["message"]


# --- differences ------------------------------------------------------------------------------


def test_sums_are_those_of_pytorch(ask: Ask) -> None:
    """Bit for bit: a rounding in double precision would differ in some of the last bits."""
    generator = torch.Generator().manual_seed(4)
    base = torch.randn(7, 300, generator=generator)
    change = torch.randint(-127, 128, (7, 300), generator=generator).float()
    scale = torch.rand(7, generator=generator) / 100
    bias = [torch.randn(300, generator=generator) for _ in range(2)]
    found = ask(
        "add",
        [["w", [7, 300], base.flatten().tolist()], ["b", [300], bias[0].tolist()]],
        [
            ["w.scale", [7], scale.tolist()],
            ["w", [7, 300], change.flatten().tolist()],
            ["b", [300], bias[1].tolist()],
        ],
    )["value"]
    expected = (base + scale[:, None] * change).flatten()
    assert found == [["w", expected.tolist()], ["b", (bias[0] + bias[1]).tolist()]]


MATRIX, SCALE = ["w", [2, 1], [1.0, 2.0]], ["w.scale", [2], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("difference", "part"),
    [
        ([], "no tensor w"),
        ([["w", [1, 2], [1, 2]], SCALE], "shape [1,2], expected [2,1]"),
        ([MATRIX], "scales [undefined], expected [2]"),
        ([MATRIX, ["w.scale", [1], [0.5]]], "scales [1], expected [2]"),
        ([MATRIX, SCALE, ["b", [1], [1]]], "tensors that the base has not"),
    ],
)
def test_differences_that_do_not_fit(ask: Ask, difference: Any, part: str) -> None:
    answer = ask("add", [MATRIX], difference)
    assert answer.get("code") == "corrupt", answer
    assert part in answer["message"]


def test_a_difference_from_another_base_is_refused(ask: Ask) -> None:
    base, own, foreign = ask("loadTogether", "exact", "odd-changed", "odd")
    assert "value" in base
    assert own["code"] == "corrupt"
    assert "other weights" in own["message"]
    assert foreign["code"] == "unsupported"  # a whole model


def test_a_base_that_fails_fails_its_differences(ask: Ask) -> None:
    answers = ask("loadTogether", "absent", "odd-changed")
    assert [answer["code"] for answer in answers] == ["network", "network"]
    # The page is told of the 404 by the browser; nothing else goes wrong.
    errors = ask.seen.errors  # type: ignore[attr-defined]
    assert all("absent/index.json" in error for error in errors), errors
    assert ask("load", "odd-changed", "nothing")["code"] == "not-loaded"


# --- asking, stopping, refusing ---------------------------------------------------------------


def test_several_models_answer_at_once(ask: Ask) -> None:
    for name in ("odd", "odd-tanh", "tiny"):
        ask("load", name)
    names = ["odd", "odd-tanh", "tiny"]
    order = ask("together", names, "what?\n", {"maxNewTokens": 64, "temperature": 1, "seed": 2})
    # A request may reach the worker a few tokens after another one; then they take turns.
    begun = max(order.index(name) for name in names)
    ended = min(len(order) - 1 - order[::-1].index(name) for name in names)
    turns = [order[i : i + 3] for i in range(begun, ended - 2)]
    assert len(turns) > 15
    assert all(sorted(turn) == names for turn in turns)


def test_cancel(ask: Ask) -> None:
    ask("load", "tiny")
    answer = ask("cancel", "tiny", PROMPT)
    assert answer["tokens"] == 3
    assert answer["result"]["code"] == "cancelled"
    assert answer["never"]["code"] == "cancelled"
    assert "value" in ask("generate", "tiny", PROMPT, {"maxNewTokens": 3})
    assert ask("cancelLoad", "tiny")["code"] == "cancelled"


def test_the_worker_stops_computing(ask: Ask) -> None:
    messages = ask("cancelledMessages", "odd", "the frog")
    of_cancelled = [m for m in messages if m["id"] == 2]
    assert of_cancelled[-1] == {"type": "error", "id": 2, "code": "cancelled"}
    assert {m["type"] for m in of_cancelled[:-1]} == {"token"}
    assert len(of_cancelled) < 30
    assert messages.index(of_cancelled[-1]) == len(of_cancelled) - 1


def test_close_ends_what_is_under_way(ask: Ask) -> None:
    answer = ask("close", "odd")
    assert answer["answer"]["code"] == "cancelled"
    assert "value" in answer["again"]


def test_prompts_that_do_not_fit(ask: Ask) -> None:
    ask("load", "tiny")
    _, tokenizer = load_policy("tiny")
    assert len(tokenizer.encode(" the" * 256)) == 256
    for times in (256, 300_000):
        answer = ask("generate", "tiny", " the" * times)
        assert answer["code"] == "prompt-too-long"
        assert "at most 255" in answer["message"]
    answer = ask("generate", "tiny", " the" * 250, {"maxNewTokens": 64})
    assert answer["value"]["promptTokens"] == 250
    assert len(answer["value"]["tokens"]) <= 6


@pytest.mark.parametrize(
    ("prompt", "options", "code", "part"),
    [
        ("", {}, "empty-prompt", "empty"),
        ("a", {"maxNewTokens": 0}, "invalid-option", "maxNewTokens"),
        ("a", {"maxNewTokens": 1.5}, "invalid-option", "maxNewTokens"),
        ("a", {"temperature": -1}, "invalid-option", "temperature"),
        ("a", {"temperature": "hot"}, "invalid-option", "temperature"),
        ("a", {"seed": -1}, "invalid-option", "seed"),
    ],
)
def test_requests_that_cannot_be_answered(
    ask: Ask, prompt: str, options: dict[str, Any], code: str, part: str
) -> None:
    ask("load", "odd")
    answer = ask("generate", "odd", prompt, options)
    assert answer.get("code") == code, answer
    assert part in answer["message"]


def test_a_model_that_was_not_loaded(ask: Ask) -> None:
    assert ask("generate", "base", PROMPT)["code"] == "not-loaded"


def test_a_worker_that_does_not_start(folder: Path, serve_folder: Any, visit: Any) -> None:
    broken = folder.parents[1] / "broken"
    shutil.copytree(folder, broken)
    (broken / "_static/language-model/worker.js").unlink()
    seen = visit(f"{serve_folder(broken)}/page.html")
    seen.page.wait_for_function("window.probe !== undefined")
    assert seen.page.evaluate("probe.load('odd')")["code"] == "worker"
