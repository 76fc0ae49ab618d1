"""The data of Part I: pure functions of a seed, clean splits, tags and labels that are right."""

import gzip
import hashlib
import os
import re
from collections import defaultdict

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.paradigms import data
from rlhf_lab.paradigms.data import (
    fernwick_sentiment,
    fernwick_tagging,
    read_conllu,
    read_uci,
    real_file,
    split_of,
    uci_sentiment,
    ud_english_ewt,
)
from rlhf_lab.paradigms.scoring import accuracy, entity_scores, spans, token_accuracy
from rlhf_lab.paradigms.sentences import held_out_words
from rlhf_lab.world import lexicon
from rlhf_lab.world.grammar import parse, sentences
from rlhf_lab.world.knowledge import make_knowledge
from rlhf_lab.world.stories import State, roles_of

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def entities():
    return {split: fernwick_tagging("entities", split, 300) for split in SPLITS}


@pytest.fixture(scope="module")
def pos():
    return {split: fernwick_tagging("pos", split, 300) for split in SPLITS}


@pytest.fixture(scope="module")
def opinions():
    return {split: fernwick_sentiment(split, 200) for split in SPLITS}


def test_sentences_are_a_function_of_the_seed(entities, pos):
    train = entities["train"]
    again = fernwick_tagging("entities", "train", 50)
    assert again == train.take(range(50))
    assert pos["train"].sentences == train.sentences
    assert fernwick_tagging("entities", "train", 50, seed=1) != again
    assert len(set(train.sentences)) == len(train) == 300


def test_splits_share_no_beginning(entities, opinions):
    heads = [{s[:4] for s in entities[split].sentences} for split in SPLITS]
    texts = [{tuple(t.split()[:6]) for t in opinions[split].texts} for split in SPLITS]
    for a, b, c in (heads, texts):
        assert not a & b
        assert not a & c
        assert not b & c


def test_some_words_are_kept_out_of_training(entities):
    used = {split: {w for s in entities[split].sentences for w in s} for split in SPLITS}
    assert not used["train"] & held_out_words()
    assert len(used["test"] & held_out_words()) > 10


def test_names_are_those_that_the_knowledge_gives(entities):
    known = make_knowledge(0)
    found = defaultdict(int)
    for split in SPLITS:
        for words, tags in zip(entities[split].sentences, entities[split].tags, strict=True):
            assert len(words) == len(tags)
            inside = set()
            for kind, start, end in spans(tags):
                assert tags[start] == f"B-{kind}"
                name = words[start:end]
                found[kind, len(name)] += 1
                inside |= set(range(start, end))
                if kind == "PER":
                    assert name in {(n,) for n in known.persons} | {
                        (n, trade) for n, trade in known.persons.items()
                    }
                elif kind == "LOC":
                    assert known.facts["home"][name[0]] == name[1]
                else:
                    assert name[0] == "the"
                    assert known.facts["colour"][name[2]] == name[1]
                    assert name[2] in lexicon.ANIMALS
            outside = {w for i, w in enumerate(words) if i not in inside}
            assert outside & set(lexicon.NAMES) <= {"will"}
    assert set(found) == {("PER", 1), ("PER", 2), ("LOC", 2), ("INN", 3)}
    assert min(found.values()) > 20


def test_a_red_fox_is_an_inn_in_one_place_and_an_animal_in_another(entities):
    read = defaultdict(set)
    for words, tags in zip(entities["train"].sentences, entities["train"].tags, strict=True):
        for i in range(len(words) - 2):
            if words[i] == "the" and words[i + 1] in lexicon.COLOURS:
                read[words[i : i + 3]].add(tags[i])
    assert any(kinds == {"O", "B-INN"} for kinds in read.values())


# Words that are two parts of speech: the word before, the word, its tag there.
BY_CONTEXT = {
    ("at", "work"): "NOUN", ("gives", "work"): "NOUN", ("the", "use"): "NOUN",
    ("people", "use"): "VERB", ("the", "saw"): "NOUN", ("will", "saw"): "VERB",
    ("to", "eat"): "VERB", ("can", "cook"): "VERB", ("what", "colour"): "NOUN",
    ("the", "fear"): "NOUN", ("weather", "like"): "ADP", ("to", "do"): "VERB",
    ("what", "do"): "AUX", ("the", "cook"): "NOUN", ("next", "to"): "ADP", ("able", "to"): "PART",
    ("how", "to"): "PART", ("what", "does"): "AUX", (".", "will"): "PROPN", ("?", "will"): "AUX",
}  # fmt: skip


def test_parts_of_speech_follow_the_context():
    read = defaultdict(set)
    sample = fernwick_tagging("pos", "train", 1500)
    for words, tags in zip(sample.sentences, sample.tags, strict=True):
        for previous, word, tag in zip((words[-1], *words), words, tags, strict=False):
            read[previous, word].add(tag)
    wrong = {c: read[c] for c, tag in BY_CONTEXT.items() if c in read and tag not in read[c]}
    assert not wrong
    assert len(set(BY_CONTEXT) & set(read)) > 15
    single = {c: read[c] for c in BY_CONTEXT if c[1] != "will" and len(read[c]) > 1}
    assert not single


needs_ewt = pytest.mark.skipif(
    not os.environ.get("RLHF_LAB_DATA"), reason="RLHF_LAB_DATA does not name a folder of real data"
)


@needs_ewt
def test_english_ewt_is_read_whole_and_agrees_with_fernwick_where_it_is_of_one_mind(pos):
    counts = defaultdict(lambda: defaultdict(int))
    for split, size in (("dev", 2001), ("test", 2077)):
        real = ud_english_ewt(split)
        assert len(real) == size
        for words, tags in zip(real.sentences, real.tags, strict=True):
            for word, tag in zip(words, tags, strict=True):
                counts[word.lower()][tag] += 1
    fernwick = defaultdict(set)
    for words, tags in zip(pos["train"].sentences, pos["train"].tags, strict=True):
        for word, tag in zip(words, tags, strict=True):
            fernwick[word].add(tag)
    compared = 0
    for word, tags in fernwick.items():
        most, times = max(counts[word].items(), key=lambda kv: kv[1], default=("", 0))
        if times >= 10 and times >= 0.95 * sum(counts[word].values()):
            compared += 1
            assert most in tags, (word, most, tags)
    assert compared > 30


def test_conllu_without_ranges_and_empty_nodes():
    text = (
        "# text = I can't.\n1\tI\ti\tPRON\t_\n2-3\tcan't\t_\t_\t_\n2\tca\tcan\tAUX\t_\n"
        "3\tn't\tnot\tPART\t_\n3.1\tgo\tgo\tVERB\t_\n4\t.\t.\tPUNCT\t_\n\n"
        "# next\n1\tYes\tyes\tINTJ\t_\n\n"
    )
    read = read_conllu(text)
    assert read.sentences == (("I", "ca", "n't", "."), ("Yes",))
    assert read.tags == (("PRON", "AUX", "PART", "PUNCT"), ("INTJ",))


def test_real_files_come_from_the_mirror_the_cache_or_the_network(tmp_path, monkeypatch):
    contents = b"one\ttwo\n"
    digest = hashlib.sha256(contents).hexdigest()
    source = tmp_path / "elsewhere.txt"
    source.write_bytes(contents)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RLHF_LAB_DATA", raising=False)
    missing = (tmp_path / "gone.txt").as_uri()

    with pytest.raises(InputError, match=r"RLHF_LAB_DATA.*some/a\.txt.*gone\.txt"):
        real_file("some", "a.txt", missing, digest)
    with pytest.raises(InputError, match="SHA-256"):
        real_file("some", "a.txt", source.as_uri(), "0" * 64)
    assert not (tmp_path / "cache").exists()
    assert real_file("some", "a.txt", source.as_uri(), digest) == contents
    assert real_file("some", "a.txt", missing, digest) == contents  # from the cache now

    mirror = tmp_path / "mirror" / "some"
    mirror.mkdir(parents=True)
    (mirror / "b.txt.gz").write_bytes(gzip.compress(contents))
    monkeypatch.setenv("RLHF_LAB_DATA", str(tmp_path / "mirror"))
    assert real_file("some", "b.txt", missing, digest) == contents
    (mirror / "b.txt.gz").write_bytes(gzip.compress(contents)[:-9])
    with pytest.raises(InputError, match="gzip"):
        real_file("some", "b.txt", missing, digest)
    (mirror / "b.txt").write_bytes(b"altered")
    with pytest.raises(InputError, match=r"b\.txt.*SHA-256"):
        real_file("some", "b.txt", missing, digest)


UCI_ROWS = (
    '[{"text": "The soup was cold.  ", "class": 0}, {"text": "A bed to dream of", "class": 1}, '
    '{"text": " The soup was cold.", "class": 0}, {"text": "", "class": null}]'
)


def test_labelled_sentences_without_repetitions_and_the_empty_row():
    assert read_uci(UCI_ROWS) == {"The soup was cold.": "bad", "A bed to dream of": "good"}


def test_where_the_labelled_sentences_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RLHF_LAB_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"npm pack sentiment@5\.0\.2.*package/test/fixtures"):
        uci_sentiment("train")
    folder = tmp_path / "uci-sentiment"
    folder.mkdir()
    for name in ("imdb", "yelp", "amazon"):
        (folder / f"{name}.json").write_text(UCI_ROWS)
    with pytest.raises(InputError, match=r"imdb\.json.*SHA-256"):
        uci_sentiment("train")
    digest = hashlib.sha256(UCI_ROWS.encode()).hexdigest()
    monkeypatch.setattr(data, "_UCI_SHA256", dict.fromkeys(("imdb", "yelp", "amazon"), digest))
    parts = {split: uci_sentiment(split) for split in SPLITS}
    assert sorted(text for part in parts.values() for text in part.texts) == [
        "A bed to dream of", "The soup was cold."
    ]  # fmt: skip
    for split, part in parts.items():
        assert all(split_of(text, 6) == split for text in part.texts)


needs_uci = pytest.mark.skipif(
    not (data.mirror_folder() and (data.mirror_folder() / "uci-sentiment").is_dir()),
    reason="RLHF_LAB_DATA does not name a folder that holds uci-sentiment",
)


@needs_uci
def test_the_labelled_sentences_are_whole_and_know_what_words_mean():
    parts = {split: uci_sentiment(split) for split in SPLITS}
    texts = [text for part in parts.values() for text in part.texts]
    assert len(texts) == len(set(texts)) == 2982 and all(texts)
    for size, part in zip((1801, 613, 568), parts.values(), strict=True):
        assert len(part) == size and 0.45 < part.labels.count("good") / size < 0.55
    for word, label in {"awesome": "good", "excellent": "good", "terrible": "bad"}.items():
        said = [
            own
            for part in parts.values()
            for text, own in zip(part.texts, part.labels, strict=True)
            if re.search(rf"\b{word}\b", text.lower())
        ]
        assert len(said) > 10 and said.count(label) > 0.85 * len(said)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_film_reviews_come_from_a_folder_that_datasets_wrote(tmp_path, monkeypatch, split):
    datasets = pytest.importorskip("datasets")
    rows = {"train": ("a bore ", "a feast "), "validation": ("a joy ", "a mess ")}
    labels = {"train": [0, 1], "validation": [1, 0]}
    whole = datasets.DatasetDict(
        {
            own: datasets.Dataset.from_dict({"sentence": list(said), "label": labels[own]})
            for own, said in rows.items()
        }
    )
    whole.save_to_disk(str(tmp_path / "sst2"))
    monkeypatch.setenv("RLHF_LAB_DATA", str(tmp_path))
    read = data.sst2(split, 5)
    assert read.texts == tuple(text.strip() for text in rows[split])
    assert read.labels == tuple(("bad", "good")[label] for label in labels[split])
    assert read.wordings == ("", "") and data.sst2(split, 1) == read.take([0])
    (tmp_path / "sst2" / "dataset_dict.json").unlink()
    with pytest.raises(InputError, match="a folder with sst2 in it"):
        data.sst2(split, 5)


def _verdict(text):
    """The label of a review, read by rules that know nothing of how it was written."""
    good = "|".join(lexicon.POSITIVE)
    bad = "|".join(lexicon.NEGATIVE)
    if re.search(rf"(say|thought) that .* ({good}|{bad}), but it (is|was) not\.", text):
        return "bad" if re.search(rf" ({good}), but it", text) else "good"
    text = re.sub(r"last year [^.]*\.", "", text)
    text = re.sub(r"although [^,.]*", "", re.sub(r"even if [^.]*", "", text))
    text = re.sub(r"[^.]* but ", "", text)
    said = set()
    for negated, word in re.findall(rf"(?:was|is) (not )?({good}|{bad})\b", text):
        said.add((word in lexicon.POSITIVE) != bool(negated))
    assert len(said) == 1, text
    return "good" if said.pop() else "bad"


def _ending(story):
    """How the one a story begins with feels at its end, read back sentence by sentence."""
    state, last, hero = State(), "", ""
    for sentence in sentences(story):
        clause = parse(sentence, last)
        roles = roles_of(clause, {})
        hero, last = hero or roles["A"], roles["A"]
        state.apply(clause.name, roles)
    assert not state.contradictions
    return "good" if state.feeling[hero] > 0 else "bad"


def test_labels_are_what_the_texts_say(opinions):
    every = [opinions[split] for split in SPLITS]
    said = {*lexicon.POSITIVE, *lexicon.NEGATIVE}
    read = defaultdict(int)
    for part in every:
        for text, label, wording in zip(part.texts, part.labels, part.wordings, strict=True):
            review = bool(said & set(re.findall(r"[a-z]+", text)))
            read[wording, review] += 1
            assert (_verdict(text) if review else _ending(text)) == label, text
    assert set(read) == {(w, r) for w in ("clear", "mixed") for r in (True, False)}
    assert min(read.values()) > 80
    labels = [label for part in every for label in part.labels]
    assert 0.4 < labels.count("good") / len(labels) < 0.6
    assert opinions["train"] == fernwick_sentiment("train", 250).take(range(200))


def test_samples_are_nested_and_depend_on_the_seed(entities):
    train = entities["train"]
    assert train.sample(20, seed=3) == train.sample(60, seed=3).take(range(20))
    assert train.sample(20, seed=3) != train.sample(20, seed=4)


def test_what_cannot_be_made_says_so():
    for call, name in (
        (lambda: fernwick_tagging("chunks", "train", 5), "task"),
        (lambda: fernwick_tagging("pos", "dev", 5), "split"),
        (lambda: fernwick_sentiment("train", 0), "count"),
        (lambda: ud_english_ewt("train"), "split"),
        (lambda: uci_sentiment("dev"), "split"),
        (lambda: data.sst2("test", 5), "split"),
        (lambda: fernwick_tagging("pos", "train", 5).sample(6, 0), "count"),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.argument == name


def test_scores_of_a_case_worked_by_hand():
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-INN", "I-INN"]]
    guess = [["B-PER", "O", "O", "B-LOC"], ["O", "I-INN", "I-INN"]]
    assert spans(["I-PER", "I-LOC", "B-LOC", "O"]) == [
        ("PER", 0, 1), ("LOC", 1, 2), ("LOC", 2, 3),
    ]  # fmt: skip
    assert token_accuracy(truth, guess) == 5 / 7
    # Found: PER (too short), LOC (right), INN (an I that begins an entity, right); 2 of 3 each way.
    assert entity_scores(truth, guess) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert entity_scores(truth, [["O"] * 4, ["O"] * 3]) == (0, 0, 0)
    assert accuracy(["a", "b"], ["a", "a"]) == 0.5
    with pytest.raises(InputError):
        token_accuracy(truth, [["O"] * 4])
