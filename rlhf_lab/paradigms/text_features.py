"""Features of a text in the manner of the first paradigm: words, pairs, and what an expert marks.

A count of words cannot tell "not bad" from "bad". The expert's answer is to write down what turns a
word round, and to mark the words that it turns: "not bad" becomes "not bad_not", and "although it
was bad, ..." becomes "although it_off was_off bad_off , ...". A marked word is another word, with a
weight of its own. What is written down is all here, so that it can be counted.
"""

from __future__ import annotations

import re

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from rlhf_lab.paradigms.recurrent_classifier import words_and_marks

NEGATIONS = ("not", "no", "never", "nothing", "t")  # the last is what "n't" leaves
CONCESSIONS = ("although", "though", "even if", "last year", "people say", "i thought")
TURNS = ("but",)  # what stands before it, in its clause, counts less
REACH = 3  # words that a negation turns round
LENGTHS = (1, 2)  # words, and pairs of words

_END = re.compile(r"[^\w\s]")


def marked(text: str) -> list[str]:
    """The words and marks of a text, those that are turned round with a tail.

    Source: Pang et al. (2002), after Das and Chen (2001), for words after a negation.
    """
    out = words_and_marks(text)
    given, negated, off, clause = list(out), 0, False, 0
    for i, word in enumerate(given):
        if _END.fullmatch(word) and word != "'":
            negated, off, clause = 0, False, i + 1
            continue
        if negated:
            out[i] = f"{word}_not"
            negated -= 1
        elif off:
            out[i] = f"{word}_off"
        if word in NEGATIONS:
            negated = REACH
        if word in TURNS:
            out[clause:i] = [f"{w}_off" for w in given[clause:i]]
        so_far = " " + " ".join(given[: i + 1])
        off = off or any(so_far.endswith(f" {phrase}") for phrase in CONCESSIONS)
    return out


def feature_classifier(expert: bool = True, strength: float = 0.3) -> Pipeline:
    """Logistic regression on counts of words and of pairs.

    Args:
        expert: mark what is turned round, see :func:`marked`; else words as they are.
        strength: of the pull towards zero, scikit-learn's 1/C.
    """
    counts = CountVectorizer(
        tokenizer=marked if expert else words_and_marks,
        token_pattern=None,
        lowercase=False,
        ngram_range=(min(LENGTHS), max(LENGTHS)),
        binary=True,
    )
    return make_pipeline(counts, LogisticRegression(C=1 / strength, max_iter=1000))
