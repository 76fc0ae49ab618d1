"""The stream against what it was made of, the codebook against scikit-learn, rows against words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import multimodal, scenes
from rlhf_lab.lineage.multimodal import END, PATCH, Codebook, Reader, Row, Stream, Training

SMALL = {"examples": 60}
WHOLE = Stream.fit(4, examples=300)
PARTS = Stream.fit(2, **SMALL)
CONTINUOUS = Stream.fit(4, discrete=False, **SMALL)
BLIND = Stream.fit(4, discrete=False, blind=True, **SMALL)
SCENE = scenes.scene("train", 3)
PIXELS = scenes.picture(SCENE)
ASKED = [scenes.questions(SCENE, "count")[0]]


@pytest.mark.parametrize("size", [2, 4])
def test_patches_are_squares_in_reading_order(size):
    squares = multimodal.patches(PIXELS, size)
    per_line = scenes.SIDE // size
    for number, square in enumerate(squares):
        y, x = (size * i for i in divmod(number, per_line))
        assert (square == PIXELS[y : y + size, x : x + size].ravel()).all()
    assert (multimodal.unpatch(squares, size) == PIXELS).all()
    assert (multimodal.patches(np.stack([PIXELS, PIXELS]), size)[1] == squares).all()
    with pytest.raises(InputError):
        multimodal.patches(PIXELS, 5)


def test_rounds_are_those_of_scikit_learn():
    """From the same entries, Lloyd's algorithm of another implementation, to 1e-5."""
    data = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    start, book = Codebook.fit(data, 7, rounds=0), Codebook.fit(data, 7, rounds=4)
    theirs = KMeans(7, init=start.entries, n_init=1, max_iter=4, tol=0.0).fit(data)
    assert np.abs(theirs.cluster_centers_ - book.entries).max() < 1e-5
    distances = ((data[:, None] - book.entries) ** 2).sum(-1)
    assert (book.encode(data) == distances.argmin(1)).all()
    assert book.error(data) == pytest.approx(distances.min(1).mean() / 5, rel=1e-5)
    with pytest.raises(InputError):
        Codebook.fit(data[:3], 4)


def test_no_cluster_that_lies_apart_is_left_out():
    """Ten rare ones beside a common one: k-means from random entries would miss some."""
    centres = np.eye(11, dtype=np.float32) * 9
    data = np.concatenate([np.repeat(centres[:1], 500, 0), centres[1:]])
    assert Codebook.fit(data, 11).error(data) == pytest.approx(0, abs=1e-9)


def test_pictures_survive_their_codes_where_the_codebook_has_them():
    new = [scenes.scene("test", i, about="held out") for i in range(20)]
    old = [scenes.scene("test", i) for i in range(20)]
    for stream, about, kept in ((PARTS, new, 20), (WHOLE, new, 0), (WHOLE, old, 18)):
        back = [stream.drawn(stream.picture(scenes.picture(s))[1:-1]) for s in about]
        read = [scenes.read_picture(picture) for picture in back]
        right = sum(r == frozenset(s.things) for r, s in zip(read, about, strict=True))
        assert right >= kept and (kept or right == 0), (stream.patch, right)


def test_tokens_of_words_patches_and_frames_are_apart():
    ids = WHOLE.picture(PIXELS)[1:-1] + WHOLE.sound(scenes.sound("test", 0))[1:-1]
    assert all(WHOLE.first_patch <= i < WHOLE.first_frame for i in ids[:9]) and len(ids) == 17
    assert all(WHOLE.first_frame <= i < WHOLE.size for i in ids[9:])
    text = "red box north, blue key south."
    assert WHOLE.text(WHOLE.words(text)) == text
    assert WHOLE.text([*WHOLE.words("what is red?"), END, 9]) == "what is red?"
    assert BLIND.picture(PIXELS) == [] and CONTINUOUS.picture(PIXELS).count(PATCH) == 9
    with pytest.raises(InputError):
        WHOLE.words("the moon")
    with pytest.raises(InputError):
        CONTINUOUS.drawn([1])
    for number in range(6):
        ids = WHOLE.sound(scenes.sound("test", number))[1:-1]
        assert scenes.read_sound(WHOLE.played(ids)) == scenes.sound_caption(number)
    assert len(scenes.read_picture(WHOLE.drawn([END, 7, 8]))) == 0


def test_loss_lies_on_what_comes_second():
    text = scenes.caption(SCENE)
    row = multimodal.answer_row(WHOLE, PIXELS, ASKED * 2)
    answers = [WHOLE.text([i]) for i, counts in zip(row.ids, row.loss, strict=True) if counts]
    assert answers == [ASKED[0].answer] * 2
    row = multimodal.caption_row(PARTS, PIXELS, text)
    assert PARTS.text([i for i, c in zip(row.ids, row.loss, strict=True) if c]) == text
    row = multimodal.draw_row(PARTS, PIXELS, text)
    marked = [i for i, c in zip(row.ids, row.loss, strict=True) if c]
    assert marked == PARTS.picture(PIXELS)[1:] and row.ids[0] == PARTS.words(text)[0]
    for task in ("hear", "play"):
        row = multimodal.sound_row(WHOLE, scenes.sound("test", 0), "the bell strikes one.", task)
        after = row.loss.index(True)
        assert all(row.loss[after:]) and not any(row.loss[:after])


def test_batches_predict_the_next_token():
    rows = [Row("", [11, 12, 13, 14], [False, False, True, True]), Row("", [15, 16], [True, True])]
    batch = multimodal.collate(rows)
    assert batch.at.tolist() == [1, 2, 4] and batch.targets.tolist() == [13, 14, 16]
    everywhere = [row._replace(loss=[True] * len(row.ids)) for row in rows]
    whole = multimodal.collate(everywhere)
    assert whole.targets.tolist() == [12, 13, 14, 16]
    row = multimodal.answer_row(CONTINUOUS, PIXELS, ASKED)
    seen = multimodal.collate([row._replace(loss=[True] * len(row.ids))])
    assert PATCH not in seen.targets.tolist() and seen.squares is not None
    assert seen.squares.shape == (9, 48)


def test_loss_is_the_mean_over_marked_tokens():
    """Against the transformer's own forward and a sum in plain Python, to 1e-5."""
    model = Reader(WHOLE, Training(width=16, heads=2)).eval()
    row = multimodal.answer_row(WHOLE, PIXELS, ASKED * 3)
    loss = multimodal.stream_loss(model, multimodal.collate([row]))
    logits = model.lm(input_ids=torch.tensor([row.ids])).logits[0].detach().double()
    terms = [
        -float(logits[t - 1].log_softmax(-1)[row.ids[t]])
        for t, counts in enumerate(row.loss)
        if counts
    ]
    assert float(loss) == pytest.approx(math.fsum(terms) / 3, abs=1e-5)


def test_a_patch_comes_in_by_the_matrix_and_words_by_the_table():
    model = Reader(CONTINUOUS, Training(width=16, heads=2))
    batch = multimodal.collate([multimodal.answer_row(CONTINUOUS, PIXELS, ASKED)] * 2)
    found = model.embedded(batch.ids, batch.squares)
    assert model.look is not None
    squares = torch.from_numpy(multimodal.patches(PIXELS, 4))
    wanted = squares @ model.look.weight.T + model.look.bias
    assert torch.allclose(found[1, 1:10], wanted, atol=1e-6)
    table = model.lm.transformer.wte.weight
    assert torch.equal(found[:, 10:], table[batch.ids[:, 10:]])


def test_training_shows_nothing_held_out_and_leaves_out_what_has_no_tokens():
    rows = [multimodal.training_row(WHOLE, i) for i in range(300)]
    assert {row.task for row in rows if row} == set(multimodal.TASKS)
    rows = [multimodal.training_row(CONTINUOUS, i) for i in range(60)]
    assert "draw" not in {row.task for row in rows if row} and None in rows
    assert multimodal.training_row(PARTS, 5) == multimodal.training_row(PARTS, 5)
    longest = max(len(row.ids) for i in range(300) if (row := multimodal.training_row(PARTS, i)))
    assert longest <= 96


@pytest.mark.parametrize("stream", [WHOLE, CONTINUOUS, BLIND])
def test_a_few_steps_teach_to_count_or_not(stream):
    """One scene in every row: its answer is learnt; all of reading and writing runs."""
    settings = Training(width=16, layers=1, heads=2, steps=3, batch_size=8)
    model, losses = multimodal.train(stream, settings)
    again, repeated = multimodal.train(stream, settings)
    assert losses == repeated and all(map(math.isfinite, losses))
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert multimodal.answer(model, [PIXELS], ASKED)[0] in multimodal.WORDS
    assert len(multimodal.hear(model, [scenes.sound("test", 0)])) == 1
    if not stream.blind:
        (text,) = multimodal.describe(model, [PIXELS])
        assert isinstance(text, str)
    if stream.pictures is not None:
        assert multimodal.draw(model, ["red box north."])[0].shape == (12, 12, 3)
        assert multimodal.play(model, ["the tune rises."])[0].shape == (8, 17)


def test_writing_with_a_cache_is_writing_without():
    """Token by token over the whole row gives the same likeliest caption."""
    model = Reader(WHOLE, Training(width=16, heads=2)).eval()
    rows = [Row("", WHOLE.picture(scenes.picture(scenes.scene("test", i))), []) for i in range(3)]
    cached = multimodal._continued(model, rows, 5)
    with torch.no_grad():
        plain = multimodal._continued_by_patches(model, rows, 5)
    for a, b in zip(cached, plain, strict=True):
        stop = a.index(END) + 1 if END in a else len(a)
        assert a[:stop] == b[:stop]
