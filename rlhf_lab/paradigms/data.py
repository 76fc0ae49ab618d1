"""The data of Part I: two tasks, tagging and sentiment, each in Fernwick and in real English.

Fernwick's data are pure functions of a seed. Splits share no beginnings: which split a sentence
belongs to is decided by its first words, so that no test sentence continues a training sentence.
The first ``n`` of a split are the same whatever the count, so that training sets can be nested.

Real data are read from the folder that the environment variable ``RLHF_LAB_DATA`` names, or
downloaded once, checked against a SHA-256, and kept in the user's cache.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rlhf_lab.errors import InputError
from rlhf_lab.files import atomic_write
from rlhf_lab.paradigms.opinions import LABELS, Opinion, opinion
from rlhf_lab.paradigms.sentences import SentenceWriter, held_out_words
from rlhf_lab.world.prompts import check_split

TASKS = ("entities", "pos")


@dataclass(frozen=True)
class Tagged:
    """Sentences, and a tag for each of their words."""

    sentences: tuple[tuple[str, ...], ...]
    tags: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.sentences)

    def take(self, indices: Sequence[int]) -> Tagged:
        """The sentences with these indices, in this order."""
        return Tagged(
            tuple(self.sentences[i] for i in indices), tuple(self.tags[i] for i in indices)
        )

    def sample(self, count: int, seed: int) -> Tagged:
        """``count`` different sentences at random; a smaller count gives a part of a larger one.

        Raises:
            InputError: when there are fewer.
        """
        return self.take(_draw(len(self), count, seed))


@dataclass(frozen=True)
class Labelled:
    """Texts with a label each, and their wording ("clear" or "mixed"; "" when unknown)."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    wordings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> Labelled:
        """The texts with these indices, in this order."""
        return Labelled(
            tuple(self.texts[i] for i in indices),
            tuple(self.labels[i] for i in indices),
            tuple(self.wordings[i] for i in indices),
        )

    def sample(self, count: int, seed: int) -> Labelled:
        """``count`` different texts at random; a smaller count gives a part of a larger one.

        Raises:
            InputError: when there are fewer.
        """
        return self.take(_draw(len(self), count, seed))


def _draw(size: int, count: int, seed: int) -> list[int]:
    if not 0 < count <= size:
        raise InputError("count", count, f"1 to {size}", "ask for fewer, or make more data")
    order = list(range(size))
    random.Random(f"sample:{seed}").shuffle(order)
    return order[:count]


# --- Fernwick ---------------------------------------------------------------------------------

SENTENCE_BEGINNING = 4  # words that two sentences of different splits do not share
TEXT_BEGINNING = 6
_LAST = {"train": 12, "valid": 16, "test": 20}  # of 20 beginnings


def fernwick_tagging(task: str, split: str, count: int, seed: int = 0) -> Tagged:
    """Sentences of Fernwick with entity tags or parts of speech.

    Args:
        task: "entities" for BIO tags of ``PER``, ``LOC`` and ``INN``, or "pos" for the universal
            parts of speech; both tag the same sentences.
        split: "train", "valid" or "test"; the training split never uses the words of
            :func:`~rlhf_lab.paradigms.sentences.held_out_words`.
        count: distinct sentences.
        seed: which Fernwick.

    Raises:
        InputError: for an unknown task or split, a count below 1, or more than there are.
    """
    if task not in TASKS:
        raise InputError("task", task, f"one of {', '.join(TASKS)}", "choose a task")
    writer, banned = SentenceWriter(seed), held_out_words()

    def make(rng: random.Random) -> tuple[str, tuple[tuple[str, ...], tuple[str, ...]]] | None:
        tokens = writer.sentence(rng)
        words = tuple(t.word for t in tokens)
        if split == "train" and banned & set(words):
            return None
        tags = tuple(t.entity if task == "entities" else t.pos for t in tokens)
        return " ".join(words), (words, tags)

    rows = _distinct("sentence", split, count, seed, SENTENCE_BEGINNING, make)
    return Tagged(tuple(words for words, _ in rows), tuple(tags for _, tags in rows))


def fernwick_sentiment(split: str, count: int, seed: int = 0) -> Labelled:
    """Reviews and stories of Fernwick that are "good" or "bad"; half of them in mixed words.

    Args:
        split: "train", "valid" or "test".
        count: distinct texts.
        seed: of the texts.

    Raises:
        InputError: for an unknown split, a count below 1, or more than there are.
    """

    def make(rng: random.Random) -> tuple[str, Opinion]:
        made = opinion(rng)
        return made.text, made

    rows = _distinct("opinion", split, count, seed, TEXT_BEGINNING, make)
    return Labelled(
        tuple(row.text for row in rows),
        tuple(row.label for row in rows),
        tuple(row.wording for row in rows),
    )


Row = TypeVar("Row")


def _distinct(
    what: str,
    split: str,
    count: int,
    seed: int,
    beginning: int,
    make: Callable[[random.Random], tuple[str, Row] | None],
) -> list[Row]:
    """The first ``count`` rows whose text belongs to the split, each text once."""
    check_split(split)
    if count < 1:
        raise InputError("count", count, "1 or more", "ask for at least one")
    rng = random.Random(f"fernwick:{seed}:{what}:{split}")
    found: dict[str, Row] = {}
    tries = 0
    while len(found) < count:
        tries += 1
        if tries > 100 * count + 10_000:
            raise InputError("count", count, f"at most about {len(found)}", "ask for fewer")
        made = make(rng)
        if made and split_of(made[0], beginning) == split:
            found.setdefault(*made)
    return list(found.values())


def split_of(text: str, beginning: int) -> str:
    """The split of a text, by a hash of its first ``beginning`` words."""
    head = " ".join(text.split()[:beginning])
    slot = hashlib.sha256(head.encode()).digest()[0] % 20
    return next(split for split, last in _LAST.items() if slot < last)


# --- UD English EWT ---------------------------------------------------------------------------

# Release 2.16 of May 2025. Annotations: CC BY-SA 4.0 (the texts are those of LDC2012T13).
EWT_LICENCE = "CC BY-SA 4.0"
_EWT_COMMIT = "15d613d8447b3478787d4c278730a1e48a945efb"
_EWT_URL = f"https://raw.githubusercontent.com/UniversalDependencies/UD_English-EWT/{_EWT_COMMIT}"
_EWT_SHA256 = {
    "dev": "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
    "test": "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
}


def ud_english_ewt(split: str) -> Tagged:
    """Sentences of the web with universal parts of speech: UD English EWT, CC BY-SA 4.0.

    Read from ``$RLHF_LAB_DATA/ud-english-ewt/en_ewt-ud-<split>.conllu`` (or ``.conllu.gz``); else
    from the cache, into which it is downloaded the first time.

    Args:
        split: "dev" (2,001 sentences) or "test" (2,077).

    Raises:
        InputError: for an unknown split, data that are neither there nor can be downloaded, or a
            file whose SHA-256 is not that of release 2.16.
    """
    if split not in _EWT_SHA256:
        raise InputError("split", split, f"one of {', '.join(_EWT_SHA256)}", "choose a split")
    name = f"en_ewt-ud-{split}.conllu"
    text = real_file("ud-english-ewt", name, f"{_EWT_URL}/{name}", _EWT_SHA256[split])
    return read_conllu(text.decode())


def read_conllu(text: str) -> Tagged:
    """Words and universal parts of speech of a text in CoNLL-U.

    Ranges (``3-4``, of contractions) and empty nodes (``8.1``) are left out.
    """
    sentences, tags = [], []
    for block in text.strip().split("\n\n"):
        lines = [line.split("\t") for line in block.split("\n") if not line.startswith("#")]
        rows = [fields for fields in lines if fields[0].isdigit()]
        if rows:
            sentences.append(tuple(fields[1] for fields in rows))
            tags.append(tuple(fields[3] for fields in rows))
    return Tagged(tuple(sentences), tuple(tags))


def mirror_folder() -> Path | None:
    """The folder in place of downloads: ``RLHF_LAB_DATA``, or None when that is not set."""
    value = os.environ.get("RLHF_LAB_DATA", "")
    return Path(value).expanduser() if value else None


def cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME/rlhf-lab``, or ``~/.cache/rlhf-lab``."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "rlhf-lab"


def real_file(folder: str, name: str, url: str, sha256: str) -> bytes:
    """The contents of a file of real data: from the mirror, the cache, or the network.

    Args:
        folder: below the mirror and below the cache.
        name: of the file; the mirror may hold it as ``name`` or ``name.gz``.
        url: where it is downloaded from when it is in neither.
        sha256: of the contents, unpacked.

    Raises:
        InputError: when it cannot be had, or is not what it should be.
    """
    found = _local_file(folder, name, sha256)
    if found is not None:
        return found
    mirror = mirror_folder()
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            data = reply.read()
    except OSError as error:
        where = str(mirror / folder) if mirror else f"RLHF_LAB_DATA/{folder}"
        raise InputError(
            "RLHF_LAB_DATA",
            str(mirror or ""),
            f"a folder that holds {folder}/{name}, or a network to download it",
            f"put the file of {url} into {where}, or connect ({getattr(error, 'reason', error)})",
        ) from None
    data = _checked(data, url, sha256)
    atomic_write(cache_folder() / folder / name, data)
    return data


def _local_file(folder: str, name: str, sha256: str) -> bytes | None:
    """The contents of a file that lies in the mirror or in the cache; None where it does not."""
    mirror, cached = mirror_folder(), cache_folder() / folder / name
    places = [mirror / folder / name, mirror / folder / f"{name}.gz"] if mirror else []
    for path in (*places, cached):
        if path.is_file():
            return _checked(path.read_bytes(), str(path), sha256)
    return None


def _checked(data: bytes, where: str, sha256: str) -> bytes:
    if where.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError) as error:
            raise InputError(where, str(error), "a whole gzip file", "copy it again") from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise InputError(where, f"SHA-256 {found}", sha256, "delete the file and get it again")
    return data


# --- Sentiment labelled sentences -------------------------------------------------------------

_UCI_FOLDER, _UCI_PACKAGE = "uci-sentiment", "sentiment@5.0.2"
_UCI_SHA256 = {
    "imdb": "44a7b9082ed732ee2de3c858ea5ee2e99aca34f239a1c4359d3a300bf099bdb5",
    "yelp": "9f3f47983f21eeb819380767b74bfa648eca208f156241111454b3e122773ff7",
    "amazon": "bc5eb0cac49fc45987301f1dc2d02cf5ca356ba6c882be179dce77d74e666ed9",
}


def uci_sentiment(split: str) -> Labelled:
    """Sentences about films, restaurants and goods that are "good" or "bad".

    The *Sentiment Labelled Sentences* of the UCI repository, 1,000 each from IMDb, Yelp and Amazon,
    as the package ``sentiment`` 5.0.2 of npm carries them among its tests. Read from
    ``$RLHF_LAB_DATA/uci-sentiment/imdb.json``, ``yelp.json`` and ``amazon.json`` (or ``.json.gz``).
    A sentence that comes twice is kept once. Splits are ours, by the rule of Fernwick's.

    Licence: the package is under MIT and names none for the sentences, whose page at UCI it links
    to. Nothing of them is shipped with this project.

    Args:
        split: "train" (1,801 sentences), "valid" (613) or "test" (568).

    Raises:
        InputError: for an unknown split, files that are not there, or a file whose SHA-256 is not
            that of the package.

    Source: Kotzias et al. (2015).
    """
    check_split(split)
    rows: dict[str, str] = {}
    for name, sha256 in _UCI_SHA256.items():
        data = _local_file(_UCI_FOLDER, f"{name}.json", sha256)
        if data is None:
            mirror = mirror_folder()
            where = str(mirror / _UCI_FOLDER) if mirror else f"RLHF_LAB_DATA/{_UCI_FOLDER}"
            raise InputError(
                "RLHF_LAB_DATA",
                str(mirror or ""),
                f"a folder that holds {_UCI_FOLDER}/{name}.json",
                f"run npm pack {_UCI_PACKAGE}, unpack the archive, and copy imdb.json, yelp.json "
                f"and amazon.json from package/test/fixtures into {where}",
            )
        rows |= read_uci(data.decode())
    texts = [text for text in rows if split_of(text, TEXT_BEGINNING) == split]
    return Labelled(tuple(texts), tuple(rows[text] for text in texts), ("",) * len(texts))


def read_uci(text: str) -> dict[str, str]:
    """Texts and their labels, from the JSON of the package; its last row is empty."""
    rows = [(row["text"].strip(), row["class"]) for row in json.loads(text)]
    return {text: LABELS[label] for text, label in rows if text}


# --- SST-2 ------------------------------------------------------------------------------------


def sst2(split: str, count: int) -> Labelled:
    """Sentences of film reviews that are "good" or "bad": SST-2 of GLUE, through ``datasets``.

    Read from ``$RLHF_LAB_DATA/sst2`` (a folder that ``save_to_disk`` wrote), else from the hub,
    whose own checks of a download are all that is checked. Ask the hub's page for the licence;
    nothing of the set is shipped with this project.

    Args:
        split: "train" or "validation"; the labels of the test split are not public.
        count: sentences from the beginning.

    Raises:
        InputError: for an unknown split, or data that are neither there nor can be downloaded.
    """
    if split not in ("train", "validation"):
        raise InputError("split", split, "train or validation", "choose a split")
    from datasets import load_dataset, load_from_disk  # seconds to import

    mirror = mirror_folder()
    try:
        if mirror and (mirror / "sst2").is_dir():
            rows = load_from_disk(str(mirror / "sst2"))[split]
        else:
            rows = load_dataset("stanfordnlp/sst2", split=split)
    except (OSError, ValueError) as error:
        raise InputError(
            "RLHF_LAB_DATA",
            str(mirror or ""),
            "a folder with sst2 in it, or a network to download it",
            f"save the data set there, or connect ({str(error).splitlines()[0][:100]})",
        ) from None
    rows = rows.select(range(min(count, len(rows))))
    labels = tuple(LABELS[label] for label in rows["label"])
    return Labelled(tuple(t.strip() for t in rows["sentence"]), labels, ("",) * len(labels))
