"""Small pictures and short sounds of Fernwick, with what can be said and asked about them.

A picture has 12 x 12 pixels: three rows of three places, in some of which a thing stands. A thing
is 4 x 4 pixels of one colour, and mostly has the colour that Fernwick's encyclopaedia gives it.
Some pairs of thing and colour are kept for tests. A sound is eight frames: a bell that strikes, or
a tune that rises or falls. Every scene and sound is a pure function of a split, a seed and a
number, and a picture that a model draws can be read back exactly.

Left out: things that overlap, or lie between places; light, size, depth.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from rlhf_lab.errors import InputError

KINDS = ("box", "ring", "cup", "hat", "drum", "key", "fork", "hammer")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
USUAL = {
    "box": "red", "ring": "orange", "cup": "yellow", "hat": "purple", "drum": "green",
    "key": "blue", "fork": "yellow", "hammer": "red",
}  # fmt: skip
HELD_OUT = frozenset(
    [("box", "blue"), ("ring", "green"), ("cup", "red"), ("hat", "orange"), ("drum", "purple"),
     ("key", "yellow"), ("fork", "blue"), ("hammer", "green")]
)  # fmt: skip
"""Pairs of kind and colour that no picture for training shows."""
PLACES = (
    "north-west", "north", "north-east", "west", "centre", "east", "south-west", "south",
    "south-east",
)  # fmt: skip
NUMBERS = ("one", "two", "three", "four")
SPLITS = ("train", "valid", "test")
USUAL_SHARE = 0.6
SIDE, CELL = 12, 4
NOISE = 0.05
GROUND = (0.94, 0.94, 0.9)
RGB = {
    "red": (0.76, 0.07, 0.12), "orange": (0.93, 0.55, 0.05), "yellow": (0.96, 0.87, 0.2),
    "green": (0.0, 0.55, 0.35), "blue": (0.05, 0.4, 0.75), "purple": (0.5, 0.2, 0.58),
}  # fmt: skip
# A shape is four quarters of 2 x 2 pixels; each quarter is part of more than one shape.
_QUARTERS = {
    "full": "####", "bar": "##..", "left": "#.#.", "right": ".#.#", "down": "#..#", "up": ".##.",
    "none": "....",
}  # fmt: skip
SHAPES = {
    "box": ("full", "full", "full", "full"),
    "ring": ("up", "down", "down", "up"),
    "cup": ("left", "right", "down", "up"),
    "hat": ("up", "down", "bar", "bar"),
    "drum": ("full", "full", "bar", "bar"),
    "key": ("full", "none", "right", "bar"),
    "fork": ("left", "right", "bar", "bar"),
    "hammer": ("full", "full", "right", "none"),
}
TOLERANCE = 0.02  # mean squared error of a cell up to which a thing is recognised
UNKNOWN = "unknown"


class Thing(NamedTuple):
    """One thing of a picture, in one of :data:`PLACES`."""

    kind: str
    colour: str
    place: str


@dataclass(frozen=True)
class Scene:
    """What stands where, in reading order, and the seed of the picture's noise."""

    things: tuple[Thing, ...]
    noise: str = ""


class Question(NamedTuple):
    """A question whose answer is one word; ``about`` is colour, kind, count or side."""

    about: str
    text: str
    answer: str


# --- scenes ---------------------------------------------------------------------------------------


def scene(split: str, number: int, *, seed: int = 0, about: str = "as trained") -> Scene:
    """One scene of one to four things.

    Args:
        split: "train", "valid" or "test".
        number: which of the split's scenes; there is no last one.
        seed: another one gives other scenes.
        about: how colours are drawn. "as trained": the usual colour with probability
            :data:`USUAL_SHARE`, else another, but no pair of :data:`HELD_OUT`. "usual", "unusual",
            "held out": so is the first thing drawn, whose kind then occurs once.

    Raises:
        InputError: an unknown split or way; held-out pairs asked for in training.
    """
    if split not in SPLITS:
        raise InputError("split", split, f"one of {SPLITS}", "name a split")
    if about not in ("as trained", "usual", "unusual", "held out"):
        raise InputError("about", about, "as trained, usual, unusual or held out", "name a way")
    if about == "held out" and split == "train":
        raise InputError("about", about, "another way in training", "use it on valid or test")
    rng = random.Random(f"scene:{split}:{seed}:{about}:{number}")
    places = sorted(rng.sample(range(len(PLACES)), rng.randint(1, len(NUMBERS))))
    kinds = [rng.choice(KINDS) for _ in places]
    colours = [_colour(rng, kind, "as trained") for kind in kinds]
    if about != "as trained":
        first = rng.randrange(len(places))
        others = [kind for kind in KINDS if kind != kinds[first]]
        kinds = [k if i == first or k != kinds[first] else others[rng.randrange(7)]
                 for i, k in enumerate(kinds)]  # fmt: skip
        colours = [_colour(rng, kind, about if i == first else "as trained")
                   for i, kind in enumerate(kinds)]  # fmt: skip
    things = zip(kinds, colours, (PLACES[p] for p in places), strict=True)
    return Scene(tuple(Thing(*thing) for thing in things), f"{split}:{seed}:{about}:{number}")


def _colour(rng: random.Random, kind: str, about: str) -> str:
    if about == "held out":
        return next(colour for k, colour in sorted(HELD_OUT) if k == kind)
    if about == "usual" or (about == "as trained" and rng.random() < USUAL_SHARE):
        return USUAL[kind]
    other = [c for c in COLOURS if c != USUAL[kind] and (kind, c) not in HELD_OUT]
    return rng.choice(other)


def caption(scene: Scene) -> str:
    """All things in reading order: ``red box north, blue key south.``"""
    return ", ".join(f"{t.colour} {t.kind} {t.place}" for t in scene.things) + "."


def read_caption(text: str) -> frozenset[Thing] | None:
    """The things of a caption; None for a text that is none."""
    if not text.endswith("."):
        return None
    parts = [part.split() for part in text[:-1].split(",")]
    known = (COLOURS, KINDS, PLACES)
    if any(len(p) != 3 or any(w not in k for w, k in zip(p, known, strict=True)) for p in parts):
        return None
    return frozenset(Thing(kind, colour, place) for colour, kind, place in parts)


def questions(scene: Scene, about: str) -> list[Question]:
    """Every question of a kind that has one answer in this scene.

    Args:
        about: "colour" and "kind" (of what is there once), "count", or "side", of which there is
            one with the answer yes for each one with no.

    Raises:
        InputError: another kind of question.
    """
    kinds, colours = [t.kind for t in scene.things], [t.colour for t in scene.things]
    once = [t for t in scene.things if kinds.count(t.kind) == 1]
    if about == "colour":
        return [Question(about, f"what colour is the {t.kind}?", t.colour) for t in once]
    if about == "kind":
        return [
            Question(about, f"what is {t.colour}?", t.kind)
            for t in scene.things
            if colours.count(t.colour) == 1
        ]
    if about == "count":
        return [Question(about, "how many things?", NUMBERS[len(scene.things) - 1])]
    if about == "side":
        column = {t.kind: PLACES.index(t.place) % 3 for t in once}
        return [
            Question(about, f"{a} left of {b}?", "yes" if column[a] < column[b] else "no")
            for a in column
            for b in column
            if column[a] != column[b]
        ]
    raise InputError("about", about, "colour, kind, count or side", "ask one of these")


# --- sets of questions ----------------------------------------------------------------------------

SETS = ("usual", "unusual", "held out", "kind", "count", "side")


def asked(
    name: str, count: int, *, split: str = "test", seed: int = 0
) -> list[tuple[Scene, Question]]:
    """One question about each of ``count`` scenes.

    Args:
        name: one of :data:`SETS`. The first three ask for the colour of a thing that has its usual
            colour, another one that training has shown, or one that it has not; the others ask
            about scenes as in training, "side" for yes and no in turn.
        split, seed: of the scenes.

    Raises:
        InputError: another name.
    """
    if name not in SETS:
        raise InputError("name", name, f"one of {SETS}", "name a set of questions")
    found: list[tuple[Scene, Question]] = []
    by_colour, number = name in SETS[:3], 0
    while len(found) < count:
        shown = scene(split, number, seed=seed, about=name if by_colour else "as trained")
        own = questions(shown, "colour" if by_colour else name)
        if name == "side":
            own = [q for q in own if q.answer == ("yes", "no")[len(found) % 2]]
        elif by_colour:
            fitting = {f"what colour is the {t.kind}?" for t in shown.things if _way(t) == name}
            own = [q for q in own if q.text in fitting]
        if own:
            found.append((shown, own[number % len(own)]))
        number += 1
    return found


def _way(thing: Thing) -> str:
    """Which of the first three sets a thing's colour belongs to."""
    if (thing.kind, thing.colour) in HELD_OUT:
        return "held out"
    return "usual" if USUAL[thing.kind] == thing.colour else "unusual"


# --- pictures -------------------------------------------------------------------------------------


def shape(kind: str) -> np.ndarray:
    """(4, 4) bool: where the pixels of a kind are."""
    a, b, c, d = (
        np.array([x == "#" for x in _QUARTERS[q]], dtype=bool).reshape(2, 2) for q in SHAPES[kind]
    )
    return np.block([[a, b], [c, d]])


def cell(kind: str, colour: str) -> np.ndarray:
    """(4, 4, 3) float32 in 0 to 1: a thing on the ground, without noise."""
    return np.where(shape(kind)[..., None], RGB[colour], GROUND).astype(np.float32)


def picture(scene: Scene, noise: float = NOISE) -> np.ndarray:
    """(12, 12, 3) float32: red, green and blue of each pixel, 0 to 1, with normal noise added.

    Args:
        noise: its standard deviation; with it values may lie slightly outside.
    """
    pixels = np.empty((SIDE, SIDE, 3), dtype=np.float32)
    pixels[:] = GROUND
    for thing in scene.things:
        row, column = divmod(PLACES.index(thing.place), 3)
        pixels[row * CELL :, column * CELL :][:CELL, :CELL] = cell(thing.kind, thing.colour)
    rng = np.random.default_rng(list(scene.noise.encode()))
    return pixels + noise * rng.standard_normal(pixels.shape, dtype=np.float32)


_PAIRS = [(kind, colour) for kind in KINDS for colour in COLOURS]
_CELLS = np.stack([np.broadcast_to(np.array(GROUND, dtype=np.float32), (CELL, CELL, 3)),
                   *(cell(*pair) for pair in _PAIRS)])  # fmt: skip


def read_picture(pixels: np.ndarray) -> frozenset[Thing]:
    """What is to be seen: for each place the nearest of all things and bare ground.

    Args:
        pixels: (12, 12, 3), from :func:`picture` or from a model.

    Returns:
        The things; one that looks like none of them has the kind and colour :data:`UNKNOWN`.

    Raises:
        InputError: another shape.
    """
    if pixels.shape != (SIDE, SIDE, 3):
        raise InputError("pixels", pixels.shape, f"({SIDE}, {SIDE}, 3)", "pass one picture")
    found = []
    for number, place in enumerate(PLACES):
        row, column = divmod(number, 3)
        own = pixels[row * CELL :, column * CELL :][:CELL, :CELL]
        error = ((_CELLS - own) ** 2).mean((1, 2, 3))
        nearest = int(error.argmin())
        if error[nearest] > TOLERANCE:
            found.append(Thing(UNKNOWN, UNKNOWN, place))
        elif nearest:
            found.append(Thing(*_PAIRS[nearest - 1], place))
    return frozenset(found)


def picture_svg(pixels: np.ndarray, alt: str, size: int = 96) -> str:
    """A picture as SVG, one square for each pixel, the same on light and dark pages.

    Args:
        pixels: (H, W, 3), 0 to 1.
        alt: what is to be seen, for who cannot see it.
        size: of the drawing, in CSS pixels.
    """
    values = (np.clip(pixels, 0, 1) * 255).round().astype(int)
    squares = "".join(
        f'<rect x="{x}" y="{y}" width="1.02" height="1.02" fill="#{r:02x}{g:02x}{b:02x}"/>'
        for y, line in enumerate(values)
        for x, (r, g, b) in enumerate(line)
    )
    height, width = values.shape[:2]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{size}" '
        f'height="{size * height // width}" role="img" aria-label="{escape(alt)}" '
        f'shape-rendering="crispEdges">{squares}</svg>'
    )


# --- sounds ---------------------------------------------------------------------------------------

FRAMES, SAMPLES = 8, 32
PITCHES = 6  # in whole waves per frame: 2 to 7
STEPS = ("rises", "falls")


def sound_caption(number: int) -> str:
    """What is to be heard in sound ``number``: strikes of a bell, or a tune."""
    kind = number % (len(NUMBERS) + len(STEPS))
    if kind < len(NUMBERS):
        return f"the bell strikes {NUMBERS[kind]}."
    return f"the tune {STEPS[kind - len(NUMBERS)]}."


def pitches(split: str, number: int, *, seed: int = 0) -> list[int | None]:
    """The pitch of each of the eight frames, 0 to 5; None is silence.

    Raises:
        InputError: an unknown split.
    """
    if split not in SPLITS:
        raise InputError("split", split, f"one of {SPLITS}", "name a split")
    rng = random.Random(f"sound:{split}:{seed}:{number}")
    words = sound_caption(number)
    if "bell" in words:
        pitch, count = rng.randrange(PITCHES), number % 6 + 1
        return [pitch if i < 2 * count and i % 2 == 0 else None for i in range(FRAMES)]
    steps = sorted(rng.sample(range(PITCHES), 4), reverse="falls" in words)
    return [steps[i // 2] for i in range(FRAMES)]


def sound(split: str, number: int, *, seed: int = 0, noise: float = NOISE) -> np.ndarray:
    """(8, 32) float32: samples of each frame, sine waves of random phase, with noise."""
    rng = np.random.default_rng(list(f"sound:{split}:{seed}:{number}".encode()))
    time = np.arange(SAMPLES) / SAMPLES
    frames = np.zeros((FRAMES, SAMPLES), dtype=np.float32)
    for frame, pitch in zip(frames, pitches(split, number, seed=seed), strict=True):
        if pitch is not None:
            frame[:] = np.sin(2 * np.pi * ((pitch + 2) * time + rng.random()))
    return frames + noise * rng.standard_normal(frames.shape, dtype=np.float32)


def spectrum(frames: np.ndarray) -> np.ndarray:
    """(N, 32) samples to (N, 17): the strength of each number of waves per frame; 1 is a full tone.

    Phase is left out: two frames of one pitch look alike here, and not as samples.
    """
    return (np.abs(np.fft.rfft(frames, axis=1)) / (SAMPLES / 2)).astype(np.float32)


def read_sound(spectra: np.ndarray) -> str:
    """The caption of what is to be heard in (8, 17) spectra; "" for something else."""
    loud = spectra[:, 2 : 2 + PITCHES]
    heard = [int(f.argmax()) if f.max() > 0.5 else None for f in loud]
    for number in range(len(NUMBERS) + len(STEPS)):
        words = sound_caption(number)
        if "bell" in words:
            strikes = heard[0 : 2 * (number + 1) : 2]
            rest = [h for i, h in enumerate(heard) if i % 2 or i >= 2 * (number + 1)]
            if len(set(strikes)) == 1 and strikes[0] is not None and not any(
                h is not None for h in rest
            ):  # fmt: skip
                return words
        elif _is_tune(heard, falls="falls" in words):
            return words
    return ""


def _is_tune(heard: Sequence[int | None], *, falls: bool) -> bool:
    steps = [h for h in heard if h is not None]
    if len(steps) != FRAMES or steps[::2] != steps[1::2]:
        return False
    notes = steps[::2][::-1] if falls else steps[::2]
    return all(a < b for a, b in itertools.pairwise(notes))
