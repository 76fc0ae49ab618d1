"""Short texts of Fernwick and whether they are good or bad news.

Two kinds: *reviews* of an inn, a market, a mill, and *stories*, where the question is whether it
ends well for the one it begins with. Half of each kind is worded clearly: all that is said points
the same way. The other half is mixed. There, good and bad words stand side by side, and what counts
is how they are joined: "although the soup was bad, the bed was warm" is good, and so is "the soup
was not bad"; in a story who was robbed may be comforted. Words alone mislead there, so a method has
to find out about order, contrast and negation.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from rlhf_lab.world import lexicon
from rlhf_lab.world.stories import (
    BAD_MOODS,
    GOOD_MOODS,
    Event,
    State,
    StorySpec,
    tell,
    wander,
    write,
)

LABELS = ("bad", "good")
WORDINGS = ("clear", "mixed")
KINDS = ("review", "story")
_REVIEWED = ("inn", "market", "school", "cottage", "harbour", "mill", "library")


class Opinion(NamedTuple):
    """A text with its label, how it is worded, and its kind."""

    text: str
    label: str
    wording: str
    kind: str


def opinion(rng: random.Random) -> Opinion:
    """One text; labels and wordings are equally likely, reviews somewhat more than stories."""
    kind = "review" if rng.random() < 0.6 else "story"
    wording, good = rng.choice(WORDINGS), rng.random() < 0.5
    if kind == "review":
        text = _clear_review(rng, good) if wording == "clear" else _mixed_review(rng, good)
    else:
        text = _clear_story(rng, good) if wording == "clear" else _mixed_story(rng, good)
    return Opinion(text, LABELS[good], wording, kind)


# --- reviews ----------------------------------------------------------------------------------


def _word(rng: random.Random, good: bool) -> str:
    return rng.choice(lexicon.POSITIVE if good else lexicon.NEGATIVE)


def _clear_review(rng: random.Random, good: bool) -> str:
    first, last = rng.sample(lexicon.REVIEW_TOPICS, 2)
    one, two = (f"the {topic} was {_word(rng, good)}" for topic in (first, last))
    joined = rng.choice((f"{one} and {two}.", f"{one}. {two}.", f"{one}, and {two} too."))
    return _with_asides(rng, joined)


def _mixed_review(rng: random.Random, good: bool) -> str:
    first, last = rng.sample(lexicon.REVIEW_TOPICS, 2)
    same, other = _word(rng, good), _word(rng, not good)
    also_other = _word(rng, not good)
    for_it, against = f"the {first} was {same}", f"the {last} was {other}"
    texts = (
        # Contrast: the main clause counts, wherever it stands.
        f"{against} but {for_it}.",
        f"although {against}, {for_it}.",
        f"{for_it} although {against}.",
        f"{for_it}, even if {against}.",
        # Negation turns a word round.
        f"the {first} was not {other} and the {last} was {same}.",
        f"the {first} was not {other} and the {last} was not {also_other}.",
        # What others say, what was feared or hoped, and what was once.
        f"people say that the {first} is {other}, but it is not.",
        f"i thought that the {first} would be {other}, but it was not.",
        f"last year the {first} was {other}. now it is {same}.",
        f"now the {first} is {same}. last year it was {other}.",
    )
    return _with_asides(rng, rng.choice(texts))


def _with_asides(rng: random.Random, text: str) -> str:
    """The text with none, one or two sentences around it that say nothing about the matter."""
    place, who = rng.choice(_REVIEWED), rng.choice(lexicon.ANIMALS + lexicon.PEOPLE)
    opening = rng.choice((
        f"at the {place} ", f"we came to the {place}. ", f"the {who} told us of the {place}. ",
        f"we stayed at the {place} with the {who}. ",
    ))  # fmt: skip
    closing = rng.choice((
        "", "", f" the {who} was there too.", f" we met the {who} on the way.",
        " we walked home in the evening.",
    ))  # fmt: skip
    return opening + text + closing


# --- stories ----------------------------------------------------------------------------------


def _clear_story(rng: random.Random, good: bool) -> str:
    """A story that ends with how its hero feels."""
    spec = StorySpec(
        hero=rng.choice(lexicon.ANIMALS + lexicon.PEOPLE),
        mood=rng.choice(GOOD_MOODS if good else BAD_MOODS),
        event=rng.choice(("", "find", "buy")),
    )
    return " ".join(tell(spec, rng))


def _mixed_story(rng: random.Random, good: bool) -> str:
    """A story in which the hero fares well and ill, cut off before anybody's mood is told."""
    while True:
        events, _, people = wander(rng, rng.randint(6, 8))
        events = events[:-1]
        fortunes = _fortunes(events, people[0])
        if set(fortunes) == {-1, 1} and (fortunes[-1] > 0) == good:
            return " ".join(write(events, rng))


def _fortunes(events: list[Event], hero: str) -> list[int]:
    """How the hero feels after each event, +1 or -1, from the first that touches them."""
    state, felt = State(), []
    for event in events:
        state.apply(event.name, event.roles)
        if hero in state.feeling:
            felt.append(state.feeling[hero])
    return felt
