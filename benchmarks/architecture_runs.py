"""One tagger or translator, trained and scored: the rows that benchmarks.architectures collects."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sacrebleu
import torch

from rlhf_lab.paradigms.crf import CRFTagger
from rlhf_lab.paradigms.data import Tagged, fernwick_tagging, ud_english_ewt
from rlhf_lab.paradigms.dialect import Parallel, old_fernish, origins, word_for_word
from rlhf_lab.paradigms.recurrent import NeuralTagger, is_legal, unknown_words
from rlhf_lab.paradigms.scoring import accuracy, entity_scores, token_accuracy
from rlhf_lab.paradigms.seq2seq import ATTENTIONS, Translator
from rlhf_lab.world import lexicon

CRF, BILSTM, BILSTM_CRF = "CRF, templates", "BiLSTM", "BiLSTM-CRF"
BRIEF = tuple(f"{name}, brief" for name in (BILSTM, BILSTM_CRF))


@dataclass(frozen=True)
class Tagging:
    """Entities of Fernwick.

    Attributes:
        sizes: sentences of the training sets; a smaller one is part of a larger one.
        radii: of the windows that are trained on the largest.
        pool: sentences that training sets are drawn from.
        tested: test sentences.
        probed: test sentences that are searched for names after "to", see :func:`probe`.
        steps: updates of each neural tagger, by size.
        brief: updates of two further BiLSTMs on the largest set, without a CRF and with one, to
            show what the number of updates does to a comparison.
        l2: the penalty of the CRF on templates.
    """

    steps: tuple[int, ...]
    brief: int = 400
    sizes: tuple[int, ...] = (50, 200, 800)
    radii: tuple[int, ...] = (0, 2, 4, 6)
    pool: int = 2000
    tested: int = 300
    probed: int = 4000
    l2: float = 0.3


@dataclass(frozen=True)
class Translation:
    """Old Fernish.

    Attributes:
        pairs: sentences to translate in training, of at most ``clauses`` clauses.
        each: test sentences of each number of clauses up to ``longest``.
        steps: updates of each translator, in the order of ``ATTENTIONS``.
        batch: pairs in each.
        seeds: fewer than of the taggers, whose runs are shorter.
    """

    steps: tuple[int, ...]
    seeds: int = 3
    pairs: int = 3000
    clauses: int = 3
    longest: int = 5
    each: int = 40
    batch: int = 64
    rate: float = 1e-2


@dataclass(frozen=True)
class English:
    """Parts of speech of UD English EWT, trained on dev and tested on test.

    Attributes:
        steps: updates of each neural tagger.
        seeds: fewer than of the other parts, whose runs are shorter.
        l2: the penalty of the CRF on templates.
        sentences: of the test split; 0 for all.
    """

    steps: int
    seeds: int = 3
    l2: float = 0.3
    sentences: int = 0


def measure(
    config: Tagging | Translation | English, name: str, size: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of one trained model: method, sentences (of EWT always all), seed."""
    if isinstance(config, Translation):
        return translation(name, size, seed, config)
    if isinstance(config, Tagging):
        train = fernwick_tagging("entities", "train", config.pool).sample(size, seed)
        test = fernwick_tagging("entities", "test", config.tested)
        return [_tagging(name, train, test, seed, config) | {"sentences": size}]
    train, test = ud_english_ewt("dev"), ud_english_ewt("test")
    if config.sentences:
        test = test.take(range(config.sentences))
    return [_ewt(name, train, test, seed, config)]


def tagger(name: str, size: int, seed: int, config: Tagging | English) -> CRFTagger | NeuralTagger:
    """The tagger of a name such as "window 2" or "BiLSTM, letters" for so many sentences."""
    if name == CRF:
        return CRFTagger(l2=config.l2)
    radius = int(name.split()[1]) if name.startswith("window") else None
    return NeuralTagger(
        radius=radius,
        crf=name.startswith(BILSTM_CRF),
        characters="letters" in name,
        steps=updates(name, size, config),
        unknown=0.3 if isinstance(config, Tagging) else 0.15,
        seed=seed,
    )


def updates(name: str, size: int, config: Tagging | English) -> int:
    """How often the weights of a neural tagger are changed in training."""
    if isinstance(config, English):
        return config.steps
    return config.brief if name in BRIEF else config.steps[config.sizes.index(size)]


def _fitted(
    name: str, train: Tagged, seed: int, config: Tagging | English
) -> tuple[CRFTagger | NeuralTagger, dict[str, Any]]:
    started = time.process_time()
    model = tagger(name, len(train), seed, config).fit(train.sentences, train.tags)
    seconds = time.process_time() - started
    weights = (
        model.parameter_count()
        if isinstance(model, NeuralTagger)
        else len(model.state_weights) + len(model.transition_weights)
    )
    return model, {"method": name, "seed": seed, "parameters": weights, "seconds": seconds}


def _tagging(name: str, train: Tagged, test: Tagged, seed: int, config: Tagging) -> dict[str, Any]:
    model, row = _fitted(name, train, seed, config)
    found = model.predict(test.sentences)
    row |= {
        "f1": entity_scores(test.tags, found).f1,
        "accuracy": token_accuracy(test.tags, found),
        "illegal": sum(not is_legal(tags) for tags in found) / len(found),
    }
    if isinstance(model, NeuralTagger) and not model.crf:
        legal = model.predict(test.sentences, legal=True)
        row["legal_f1"] = entity_scores(test.tags, legal).f1
    if len(train) == config.sizes[-1]:
        row |= _by_new_words(train, test, found)
        sentences, starts, inns = probe(config.probed)
        tags = model.predict(sentences)
        right = [
            (own[start : start + 3] == ["B-INN", "I-INN", "I-INN"]) if inn
            else own[start : start + 3] == ["O", "O", "O"]
            for own, start, inn in zip(tags, starts, inns, strict=True)
        ]  # fmt: skip
        for kind, wanted in (("inns", True), ("animals", False)):
            part = [ok for ok, inn in zip(right, inns, strict=True) if inn == wanted]
            row[kind] = sum(part) / len(part)
    return row


def _by_new_words(train: Tagged, test: Tagged, found: list[list[str]]) -> dict[str, float]:
    """F1 on the test sentences that have a word which training had not, and on the others."""
    new = [any(flags) for flags in unknown_words(train.sentences, test.sentences)]
    scores = {"with_new": sum(new) / len(new)}
    for name, wanted in (("f1_new", True), ("f1_known", False)):
        rows = [i for i, flag in enumerate(new) if flag == wanted]
        scores[name] = entity_scores([test.tags[i] for i in rows], [found[i] for i in rows]).f1
    return scores


def probe(count: int) -> tuple[list[tuple[str, ...]], list[int], list[bool]]:
    """Sentences in which only what stands before "to" tells an inn from an animal.

    "gave the key to the red fox" is about an animal, "walk from the mill to the red fox" about an
    inn. The noun before "to", a thing or a place, tells, and so do "from" and the verb. A window
    of two words has that noun in sight at "the", and nothing of it at the two words of the name.

    Returns:
        Sentences of the test split, the place of the name's first word, whether it is an inn.
    """
    data = fernwick_tagging("entities", "test", count)
    sentences, starts, inns = [], [], []
    colours, animals = set(lexicon.COLOURS), set(lexicon.ANIMALS)
    movers = {"go", "went", "walk", "walked", "ran", "hurried", "came", "travelled"}
    for words, tags in zip(data.sentences, data.tags, strict=True):
        for i in range(2, len(words) - 3):
            if words[i : i + 2] != ("to", "the") or words[i - 1] in movers | {"next"}:
                continue
            if words[i + 2] in colours and words[i + 3] in animals:
                sentences.append(words)
                starts.append(i + 1)
                inns.append(tags[i + 1] == "B-INN")
    return sentences, starts, inns


def _ewt(name: str, train: Tagged, test: Tagged, seed: int, config: English) -> dict[str, Any]:
    model, row = _fitted(name, train, seed, config)
    found = model.predict(test.sentences)
    new = [flag for flags in unknown_words(train.sentences, test.sentences) for flag in flags]
    pairs = [
        (true, guess)
        for tags, guesses in zip(test.tags, found, strict=True)
        for true, guess in zip(tags, guesses, strict=True)
    ]
    part = [pair for pair, flag in zip(pairs, new, strict=True) if flag]
    return row | {
        "accuracy": token_accuracy(test.tags, found),
        "unknown": accuracy([t for t, _ in part], [g for _, g in part]),
        "unknown_share": sum(new) / len(new),
    }


def translation(attention: str, size: int, seed: int, config: Translation) -> list[dict[str, Any]]:
    """One row per number of clauses, and the map of one sentence where there is attention."""
    pool = old_fernish("train", 2 * size, (1, config.clauses))
    chosen = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))[:size]
    started = time.process_time()
    model = Translator(
        attention,
        steps=config.steps[ATTENTIONS.index(attention)],
        batch_size=config.batch,
        learning_rate=config.rate,
        seed=seed,
    ).fit([pool.sources[i] for i in chosen], [pool.targets[i] for i in chosen])
    seconds = time.process_time() - started
    rows = []
    for clauses in range(1, config.longest + 1):
        test = old_fernish("test", config.each, (clauses, clauses))
        row: dict[str, Any] = {"attention": attention, "seed": seed, "clauses": clauses}
        row |= scores(test, model.predict(test.sources))
        row["literal_chrf"] = scores(test, [word_for_word(s) for s in test.sources])["chrf"]
        if attention != "none":
            row["aligned"] = aligned(model, test)
        row |= {"parameters": model.parameter_count(), "seconds": seconds}
        rows.append(row)
    if attention != "none" and seed == 0:
        source, target = shown()
        rows[0]["map"] = model.attention_map(source, [*target, "</s>"]).round(4).tolist()
    return rows


def shown() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sentence of the map: one clause in which every kind of word has to move."""
    test = old_fernish("test", 200, (1, 1))
    pairs = zip(test.sources, test.targets, strict=True)
    return next((s, t) for s, t in pairs if len(s) == 11)


def scores(test: Parallel, written: list[list[str]]) -> dict[str, float]:
    """chrF, BLEU (words as they are), and the share of sentences without a mistake."""
    said = [" ".join(words) for words in written]
    wanted = [" ".join(words) for words in test.targets]
    return {
        "words": sum(map(len, test.sources)) / len(test),
        "chrf": sacrebleu.corpus_chrf(said, [wanted]).score,
        "bleu": sacrebleu.corpus_bleu(said, [wanted], tokenize="none", force=True).score,
        "exact": sum(a == b for a, b in zip(said, wanted, strict=True)) / len(test),
    }


def aligned(model: Translator, test: Parallel) -> float:
    """Share of plain words for which the greatest weight is at the word that they come from."""
    hits = words = 0
    for source, target in zip(test.sources, test.targets, strict=True):
        looked = model.attention_map(source, target).argmax(1).tolist()
        hits += sum(a == b for a, b in zip(looked, origins(source, target), strict=True))
        words += len(target)
    return hits / words
