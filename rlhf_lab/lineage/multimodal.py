"""One stream of tokens for words, pictures and sounds, and one small transformer that reads it.

A picture is cut into patches and each patch becomes the number of the nearest entry of a
*codebook*; a frame of sound likewise. These numbers are tokens like the words' and stand in one
vocabulary, so a model that predicts the next token can read a picture, and can write one: the
codebook's entries, put back side by side, are the drawing. The other way, patches that go through a
linear map in place of an embedding, loses nothing of the picture and has no token to write.

Left out: codebooks learned together with an encoder and a decoder (VQ-VAE), and encoders of
pictures that are trained beforehand. Here k-means and raw pixels do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_lab.errors import InputError
from rlhf_lab.generation import sample
from rlhf_lab.lineage import scenes
from rlhf_lab.lineage.scenes import Question, Scene
from rlhf_lab.optimization import adamw, warmup_cosine

IGNORED = -100
SPECIAL = ("<pad>", "<end>", "<picture>", "</picture>", "<sound>", "</sound>", "<patch>")
_GRAMMAR = "? . , what colour is the how many things left of yes no bell strikes tune".split()
WORDS = tuple(
    dict.fromkeys(
        (*scenes.KINDS, *scenes.COLOURS, *scenes.PLACES, *scenes.NUMBERS, *scenes.STEPS, *_GRAMMAR)
    )
)
ABOUT = ("colour", "kind", "count", "side")
TASKS = {"answer": 0.4, "caption": 0.2, "draw": 0.3, "hear": 0.05, "play": 0.05}
QUESTIONS = 4  # about one picture, in one training row


# --- codebooks ------------------------------------------------------------------------------------


def patches(pixels: np.ndarray, size: int) -> np.ndarray:
    """Cut pictures into squares, row by row.

    Args:
        pixels: (..., H, W, C).
        size: of a square's side; H and W are multiples of it.

    Returns:
        (..., H/size * W/size, size * size * C).

    Raises:
        InputError: for sides that are no multiples.
    """
    *batch, height, width, channels = pixels.shape
    if height % size or width % size:
        raise InputError("size", size, f"a divisor of {height} and {width}", "use 2 or 4")
    grid = pixels.reshape(*batch, height // size, size, width // size, size, channels)
    return np.moveaxis(grid, -4, -3).reshape(*batch, -1, size * size * channels)


def unpatch(squares: np.ndarray, size: int, channels: int = 3) -> np.ndarray:
    """Put the squares of a square picture back: the inverse of :func:`patches`.

    Args:
        squares: (n * n, size * size * channels).

    Returns:
        (n * size, n * size, channels).
    """
    side = round(len(squares) ** 0.5)
    grid = squares.reshape(side, side, size, size, channels)
    return np.moveaxis(grid, 2, 1).reshape(side * size, side * size, channels)


@dataclass(frozen=True)
class Codebook:
    """K vectors; a vector is replaced by the number of the nearest one.

    Attributes:
        entries: (K, D) float32.
    """

    entries: np.ndarray

    @classmethod
    def fit(cls, data: np.ndarray, size: int, rounds: int = 5) -> Codebook:
        """k-means (Lloyd's algorithm) from entries that lie far apart.

        The first entry is the first vector, each next one the vector farthest from all before it
        (Gonzalez 1985): no random number, and no cluster that lies apart is left without an entry.

        Args:
            data: (N, D); size: K, at most the number of different vectors.
            rounds: of assigning and averaging.

        Raises:
            InputError: for fewer vectors than entries.
        """
        if len(data) < size:
            raise InputError("data", len(data), f"at least {size} vectors", "pass more, or lower K")
        chosen = [0]
        nearest = ((data - data[0]) ** 2).sum(1)
        for _ in range(size - 1):
            chosen.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, ((data - data[chosen[-1]]) ** 2).sum(1))
        book = cls(data[chosen].astype(np.float32))
        for _ in range(rounds):
            book = book.averaged(data)
        return book

    def averaged(self, data: np.ndarray) -> Codebook:
        """One round of Lloyd's algorithm: each entry moves to the mean of what is nearest to it."""
        codes = self.encode(data)
        entries = self.entries.copy()
        for code in np.unique(codes):
            entries[code] = data[codes == code].mean(0)
        return Codebook(entries)

    def encode(self, data: np.ndarray) -> np.ndarray:
        """(..., D) to (...): the number of the nearest entry (``eq-codebook``)."""
        flat = data.reshape(-1, data.shape[-1])
        scores = flat @ self.entries.T - (self.entries**2).sum(1) / 2  # the largest is the nearest
        return scores.argmax(1).reshape(data.shape[:-1])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(...) to (..., D): the entries."""
        return self.entries[codes]

    def error(self, data: np.ndarray) -> float:
        """Mean squared error of what is put back, per number."""
        return float(((self.decode(self.encode(data)) - data) ** 2).mean())


# --- the stream -----------------------------------------------------------------------------------


class Row(NamedTuple):
    """A sequence of tokens, and which of them carry loss.

    ``squares`` are the picture's patches, for models that read these and not their codes.
    """

    task: str
    ids: list[int]
    loss: list[bool]
    squares: np.ndarray | None = None


@dataclass(frozen=True)
class Stream:
    """One vocabulary for words, patches and frames: special tokens, words, patches, frames.

    Attributes:
        patch: side of a patch, in pixels.
        pictures: codebook of patches; None for a model that does not see patches as codes.
        sounds: codebook of spectra.
        blind: leave every picture out, marks and all.
    """

    patch: int
    pictures: Codebook | None
    sounds: Codebook
    blind: bool = False

    @classmethod
    def fit(
        cls, patch: int = 4, codes: int = 64, *, discrete: bool = True, blind: bool = False,
        examples: int = 600, seed: int = 0,
    ) -> Stream:  # fmt: skip
        """Codebooks learned on training scenes and sounds."""
        book = None
        if discrete:
            shown = np.stack(
                [scenes.picture(scenes.scene("train", i, seed=seed)) for i in range(examples)]
            )
            squares = patches(shown, patch)
            book = Codebook.fit(squares.reshape(-1, squares.shape[-1]), codes)
        heard = [scenes.spectrum(scenes.sound("train", i, seed=seed)) for i in range(120)]
        return cls(patch, book, Codebook.fit(np.concatenate(heard), 8), blind)

    @property
    def first_patch(self) -> int:
        """The token of the picture's code 0."""
        return len(SPECIAL) + len(WORDS)

    @property
    def first_frame(self) -> int:
        """The token of the sound's code 0."""
        return self.first_patch + (0 if self.pictures is None else len(self.pictures.entries))

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.first_frame + len(self.sounds.entries)

    @property
    def length(self) -> int:
        """Patches of a picture."""
        return int((scenes.SIDE // self.patch) ** 2)

    def words(self, text: str) -> list[int]:
        """Tokens of a text.

        Raises:
            InputError: for a word that is not in :data:`WORDS`.
        """
        parts = re.findall(r"[a-z-]+|[^a-z\s-]", text)
        unknown = [part for part in parts if part not in _WORD]
        if unknown:
            raise InputError("text", unknown[0], "words of the scenes", "say it in their words")
        return [_WORD[part] for part in parts]

    def picture(self, pixels: np.ndarray) -> list[int]:
        """Tokens of a picture with the marks around it; none at all for a blind model."""
        if self.blind:
            return []
        inside = [_MARK["<patch>"]] * self.length
        if self.pictures is not None:
            codes = self.pictures.encode(patches(pixels, self.patch))
            inside = [self.first_patch + int(code) for code in codes]
        return [_MARK["<picture>"], *inside, _MARK["</picture>"]]

    def sound(self, frames: np.ndarray) -> list[int]:
        """Tokens of a sound with the marks around it."""
        codes = self.sounds.encode(scenes.spectrum(frames))
        inside = [self.first_frame + int(code) for code in codes]
        return [_MARK["<sound>"], *inside, _MARK["</sound>"]]

    def drawn(self, ids: Sequence[int]) -> np.ndarray:
        """(12, 12, 3): the picture that tokens stand for. What is no patch shows bare ground.

        Args:
            ids: without marks; more or fewer than a picture has are cut or filled.

        Raises:
            InputError: when patches are no tokens here.
        """
        if self.pictures is None:
            raise InputError("stream", "continuous patches", "one with a codebook", "use codes")
        size = len(self.pictures.entries)
        ground = np.tile(np.array(scenes.GROUND, dtype=np.float32), self.patch**2)
        squares = np.tile(ground, (self.length, 1))
        for place, token in enumerate(ids[: self.length]):
            if 0 <= token - self.first_patch < size:
                squares[place] = self.pictures.entries[token - self.first_patch]
        return unpatch(squares, self.patch)

    def played(self, ids: Sequence[int]) -> np.ndarray:
        """(8, 17): the spectra that tokens stand for; silence for what is no frame."""
        size = len(self.sounds.entries)
        spectra = np.zeros((scenes.FRAMES, self.sounds.entries.shape[1]), dtype=np.float32)
        for place, token in enumerate(ids[: scenes.FRAMES]):
            if 0 <= token - self.first_frame < size:
                spectra[place] = self.sounds.entries[token - self.first_frame]
        return spectra

    def text(self, ids: Sequence[int]) -> str:
        """Words of tokens up to the end; tokens that are none are shown by number."""
        shown = []
        for token in ids:
            if token == _MARK["<end>"]:
                break
            inside = len(SPECIAL) <= token < self.first_patch
            shown.append(WORDS[token - len(SPECIAL)] if inside else f"[{token}]")
        return re.sub(r" (?=[?.,])", "", " ".join(shown))


_MARK = {name: number for number, name in enumerate(SPECIAL)}
_WORD = {word: len(SPECIAL) + number for number, word in enumerate(WORDS)}
END, PAD, PATCH = _MARK["<end>"], _MARK["<pad>"], _MARK["<patch>"]


def answer_row(stream: Stream, pixels: np.ndarray, asked: Sequence[Question]) -> Row:
    """A picture and questions about it, each with its answer; loss on the answers alone."""
    ids = stream.picture(pixels)
    loss = [False] * len(ids)
    for question in asked:
        ids += [*stream.words(question.text), *stream.words(question.answer)]
        loss += [False] * (len(ids) - len(loss) - 1) + [True]
    return Row("answer", ids, loss, _squares(stream, pixels))


def caption_row(stream: Stream, pixels: np.ndarray, text: str) -> Row:
    """A picture, then what it shows; loss on the text and its end."""
    start, said = stream.picture(pixels), [*stream.words(text), END]
    loss = [False] * len(start) + [True] * len(said)
    return Row("caption", start + said, loss, _squares(stream, pixels))


def draw_row(stream: Stream, pixels: np.ndarray, text: str) -> Row:
    """What a picture is to show, then the picture; loss on the patches."""
    said, shown = stream.words(text), stream.picture(pixels)
    loss = [False] * (len(said) + 1) + [True] * (len(shown) - 1)
    return Row("draw", said + shown, loss)


def sound_row(stream: Stream, frames: np.ndarray, text: str, task: str) -> Row:
    """A sound and its words ("hear"), or the other way round ("play"); loss on the second part."""
    heard, said = stream.sound(frames), stream.words(text)
    first, second = (heard, [*said, END]) if task == "hear" else ([*said, heard[0]], heard[1:])
    return Row(task, first + second, [False] * len(first) + [True] * len(second))


def _squares(stream: Stream, pixels: np.ndarray) -> np.ndarray | None:
    seen = stream.pictures is None and not stream.blind
    return patches(pixels, stream.patch) if seen else None


def training_row(stream: Stream, number: int, *, seed: int = 0) -> Row | None:
    """Row ``number`` of the stream; None for a drawing that this model has no tokens for."""
    rng = random.Random(f"row:{seed}:{number}")
    task = rng.choices(list(TASKS), list(TASKS.values()))[0]
    if task in ("hear", "play"):
        frames = scenes.sound("train", number, seed=seed)
        return sound_row(stream, frames, scenes.sound_caption(number), task)
    shown = scenes.scene("train", number, seed=seed)
    pixels = scenes.picture(shown)
    if task == "draw":
        can = stream.pictures is not None and not stream.blind
        return draw_row(stream, pixels, scenes.caption(shown)) if can else None
    if task == "caption":
        return caption_row(stream, pixels, scenes.caption(shown))
    return answer_row(stream, pixels, some_questions(shown, rng))


def some_questions(scene: Scene, rng: random.Random) -> list[Question]:
    """Up to :data:`QUESTIONS` different questions, of kinds drawn alike, as many yes as no."""
    asked: list[Question] = []
    for _ in range(3 * QUESTIONS):
        own = scenes.questions(scene, rng.choice(ABOUT))
        if own and own[0].about == "side":
            wanted = rng.choice(("yes", "no"))
            own = [q for q in own if q.answer == wanted]
        new = [q for q in own if q not in asked]
        if new and len(asked) < QUESTIONS:
            asked.append(rng.choice(new))
    return asked


# --- the model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """How a model is made and trained.

    Attributes:
        width, layers, heads: of the transformer.
        steps, batch_size: updates, and rows per update (those that a system has no tokens for are
            left out).
        learning_rate: at the peak; warm-up over 5 % of the steps, then half a cosine.
        seed: of weights, scenes and their order.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    steps: int = 1500
    batch_size: int = 32
    learning_rate: float = 3e-3
    seed: int = 0


class Reader(nn.Module):
    """A GPT-2 of ``transformers`` over the stream; patches that are no codes come in by a matrix.

    Attributes:
        stream: the vocabulary.
        lm: the transformer.
        look: (D to width) the linear map of patches; None for codes.
    """

    def __init__(self, stream: Stream, settings: Training) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        self.stream = stream
        self.lm = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=stream.size, n_positions=96, n_embd=settings.width,
                n_layer=settings.layers, n_head=settings.heads, resid_pdrop=0.0, embd_pdrop=0.0,
                attn_pdrop=0.0, activation_function="gelu_pytorch_tanh", bos_token_id=END,
                eos_token_id=END, pad_token_id=PAD,
            )
        )  # fmt: skip
        seen = stream.pictures is None and not stream.blind
        self.look = nn.Linear(3 * stream.patch**2, settings.width) if seen else None

    def embedded(self, ids: Tensor, squares: Tensor | None) -> Tensor:
        """(B, T, width): a row of the table for each token, and for a patch a linear map of it.

        ``eq-two-ways-in``.

        Args:
            ids: (B, T).
            squares: (P, D), the patches of all rows in order, one for each token ``<patch>``.
        """
        vectors = self.lm.transformer.wte(ids)
        if self.look is not None and squares is not None:
            vectors = vectors.masked_scatter((ids == PATCH)[..., None], self.look(squares))
        return cast(Tensor, vectors)

    def forward(self, ids: Tensor, squares: Tensor | None, at: Tensor) -> Tensor:
        """Logits (N, V) behind the flat positions ``at`` (N,) of right-padded rows (B, T)."""
        hidden = self.lm.transformer(
            inputs_embeds=self.embedded(ids, squares), use_cache=False
        ).last_hidden_state
        return cast(Tensor, self.lm.lm_head(hidden.flatten(0, 1)[at]))


class Batch(NamedTuple):
    """Rows of one length: ids (B, T), patches (P, D) or None, and what is to be predicted where."""

    ids: Tensor
    squares: Tensor | None
    at: Tensor  # (N,) flat positions whose next token carries loss
    targets: Tensor  # (N,)


def collate(rows: Sequence[Row]) -> Batch:
    """Pad rows on the right. A row's first token and patches that are no codes carry no loss."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), PAD)
    marked = torch.zeros((len(rows), length), dtype=torch.bool)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        marked[number, : len(row.ids)] = torch.tensor(row.loss)
    marked[:, 0] = False
    marked &= ids != PATCH
    squares = [row.squares for row in rows if row.squares is not None]
    at = marked[:, 1:].nonzero()
    return Batch(
        ids,
        torch.from_numpy(np.concatenate(squares)) if squares else None,
        at[:, 0] * length + at[:, 1],
        ids[:, 1:][marked[:, 1:]],
    )


def stream_loss(model: Reader, batch: Batch) -> Tensor:
    """Mean cross-entropy over the marked tokens, in nats (``eq-stream-loss``)."""
    return F.cross_entropy(model(batch.ids, batch.squares, batch.at), batch.targets)


def batches(stream: Stream, settings: Training) -> Iterator[list[Row]]:
    """The rows of each step."""
    for step in range(settings.steps):
        first = step * settings.batch_size
        made = (
            training_row(stream, i, seed=settings.seed)
            for i in range(first, first + settings.batch_size)
        )
        yield [row for row in made if row is not None]


def train(
    stream: Stream,
    settings: Training,
    *,
    every: Sequence[int] = (),
    measure: Callable[[int, Reader], None] | None = None,
) -> tuple[Reader, list[float]]:
    """Train a new model on rows that are made as they are needed; none comes twice.

    Args:
        every: steps after which ``measure(step, model)`` is called.

    Returns:
        The model in eval mode, and the loss of each step.
    """
    model = Reader(stream, settings)
    optimizer = adamw(model, settings.learning_rate, 0.01)
    warmup, losses = max(1, settings.steps // 20), []
    for step, rows in enumerate(batches(stream, settings)):
        share = warmup_cosine(step, settings.steps, warmup)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        loss = stream_loss(model, collate(rows))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if measure is not None and step + 1 in every:
            model.eval()
            measure(step + 1, model)
            model.train()
    return model.eval(), losses


# --- reading and writing --------------------------------------------------------------------------


@torch.no_grad()
def answer(model: Reader, pixels: Sequence[np.ndarray], asked: Sequence[Question]) -> list[str]:
    """The likeliest word after each question about each picture."""
    rows = [
        answer_row(model.stream, p, [question]) for p, question in zip(pixels, asked, strict=True)
    ]
    batch = collate(rows)
    words = slice(len(SPECIAL), model.stream.first_patch)
    best = model(batch.ids, batch.squares, batch.at)[:, words].argmax(1)
    return [WORDS[i] for i in best.tolist()]


def describe(model: Reader, pixels: Sequence[np.ndarray]) -> list[str]:
    """The likeliest caption of each picture, token by token."""
    stream = model.stream
    rows = [Row("", stream.picture(p), [], _squares(stream, p)) for p in pixels]
    longest = 4 * len(scenes.NUMBERS) + 1
    return [stream.text(ids) for ids in _continued(model, rows, longest)]


def draw(model: Reader, texts: Sequence[str]) -> list[np.ndarray]:
    """The likeliest picture of each caption, patch by patch: (12, 12, 3) each."""
    stream = model.stream
    rows = [Row("", [*stream.words(text), _MARK["<picture>"]], []) for text in texts]
    return [stream.drawn(ids) for ids in _continued(model, rows, stream.length)]


def hear(model: Reader, sounds: Sequence[np.ndarray]) -> list[str]:
    """The likeliest words about each sound."""
    rows = [Row("", model.stream.sound(frames), []) for frames in sounds]
    return [model.stream.text(ids) for ids in _continued(model, rows, 6)]


def play(model: Reader, texts: Sequence[str]) -> list[np.ndarray]:
    """The likeliest sound of each text: (8, 17) spectra each."""
    stream = model.stream
    rows = [Row("", [*stream.words(text), _MARK["<sound>"]], []) for text in texts]
    return [stream.played(ids) for ids in _continued(model, rows, scenes.FRAMES)]


@torch.no_grad()
def _continued(model: Reader, rows: Sequence[Row], longest: int) -> list[list[int]]:
    """The likeliest next tokens of each row."""
    if model.look is not None and any(row.squares is not None for row in rows):
        return _continued_by_patches(model, rows, longest)
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), PAD)
    for number, row in enumerate(rows):
        ids[number, width - len(row.ids) :] = torch.tensor(row.ids)
    written, _, _ = sample(
        model.lm, ids, (ids != PAD).long(), max_new_tokens=longest, greedy=True,
        eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    return cast(list[list[int]], written.tolist())


def _continued_by_patches(model: Reader, rows: Sequence[Row], longest: int) -> list[list[int]]:
    """The same where patches are no tokens; all rows are pictures, and so of one length."""
    batch = collate([row._replace(loss=[False] * len(row.ids)) for row in rows])
    ids = batch.ids
    for _ in range(longest):
        last = torch.arange(1, len(rows) + 1) * ids.shape[1] - 1
        ids = torch.cat([ids, model(ids, batch.squares, last).argmax(1)[:, None]], dim=1)
    return cast(list[list[int]], ids[:, batch.ids.shape[1] :].tolist())
