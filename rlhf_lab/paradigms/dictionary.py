"""What an expert on Fernwick would give a CRF: a dictionary, and templates that look into it."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf_lab.paradigms.crf import DEFAULT_TEMPLATES
from rlhf_lab.paradigms.templates import FORMS, Columns
from rlhf_lab.world import lexicon

_LISTS = {
    "animal": lexicon.ANIMALS,
    "trade": lexicon.PEOPLE,
    "place": lexicon.PLACES,
    "colour": lexicon.COLOURS,
    "name": lexicon.NAMES,
}
DICTIONARY: Mapping[str, str] = {word: kind for kind, words in _LISTS.items() for word in words}

WITH_DICTIONARY: Columns = {**FORMS, "dictionary": lambda word: DICTIONARY.get(word.lower(), "-")}

DICTIONARY_TEMPLATES = (
    DEFAULT_TEMPLATES
    + """
# what the dictionary says
U30:%x[0,6]
U31:%x[-1,6]/%x[0,6]
U32:%x[0,6]/%x[1,6]
# at the red fox: seen from "the", from "red" and from "fox"
U40:%x[-1,0]/%x[0,0]/%x[1,6]/%x[2,6]
U41:%x[-2,0]/%x[-1,0]/%x[0,6]/%x[1,6]
U42:%x[-3,0]/%x[-2,0]/%x[-1,6]/%x[0,6]
"""
)
