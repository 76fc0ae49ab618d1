"""The K-wise reward model: loss against brute force, resume, shift, accuracy, calibration."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from rlhf_lab import reward as R
from rlhf_lab.checkpoints import latest_checkpoint
from rlhf_lab.config import RMConfig
from rlhf_lab.encoding import EncodedRanking, collate_rankings, encode_rankings
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError
from rlhf_lab.models import ScalarModel
from rlhf_lab.records import Demonstration, Ranking
from tiny_models import FAMILIES, causal_lm, pad_is_eos

CONFIG = RMConfig(epochs=3.0, batch_size=4, learning_rate=3e-3, max_length=40, checkpoint_every=3)


def policy(family="gpt2", **shape):
    return causal_lm(family, vocab_size=264, **shape)


def scalar(family="gpt2", seed=0, **shape):
    return ScalarModel.from_policy(policy(family, **shape), seed)


def rankings(count=12, seed=0):
    """K from 4 to 9 answers of some length; more of the letter a is better; some ties."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        goods = [rng.randrange(4) for _ in range(rng.randint(4, 9))]
        goods[:2] = [0, 3]
        texts = tuple("a" * g + "b" * rng.randint(1, 9) + str(i) for i, g in enumerate(goods))
        kind = ("count", "other")[number % 2]
        made.append(Ranking(f"letters {number}\n", texts, tuple(3 - g for g in goods), kind))
    return made


def encoded(tokenizer, rows):
    return encode_rankings(rows, tokenizer, 40)[0]


def plain_score(model, ids):
    """Score of one sequence alone: no padding, no batch."""
    with torch.no_grad():
        return float(model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0, -1])


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(left, right):
    left, right = weights(left), weights(right)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


# --- the loss and the forward pass ------------------------------------------------------------


def test_the_first_loss_is_that_of_brute_force_over_pairs_then_prompts(tokenizer):
    model, rows = scalar(), rankings(8)
    per_prompt, pairs = [], 0
    for row in encoded(tokenizer, rows):
        scores = [plain_score(model, ids) for ids in row.sequences]
        losses = [
            math.log1p(math.exp(scores[worse] - scores[better]))
            for better in range(len(scores))
            for worse in range(len(scores))
            if row.ranks[better] < row.ranks[worse]
        ]
        pairs += len(losses)
        per_prompt.append(sum(losses) / len(losses))
    config = dataclasses.replace(CONFIG, epochs=1.0, batch_size=8)
    history = R.train_reward_model(model, tokenizer, rows, config)
    assert {len(row.sequences) for row in encoded(tokenizer, rows)} >= {4, 9}
    assert history[0]["loss"] == pytest.approx(np.mean(per_prompt), abs=2e-6)  # float32 forward
    assert history[0]["pairs"] == pairs and history[0]["dropped_prompts"] == 0


def test_a_batch_makes_one_forward_per_completion(tokenizer, monkeypatch):
    model, rows = scalar(), rankings(8)
    seen = []
    original = ScalarModel.scores

    def counting(self, input_ids, attention_mask):
        seen.extend(
            tuple(ids[mask.bool()].tolist())
            for ids, mask in zip(input_ids, attention_mask, strict=True)
        )
        return original(self, input_ids, attention_mask)

    monkeypatch.setattr(ScalarModel, "scores", counting)
    config = dataclasses.replace(CONFIG, epochs=1.0, batch_size=4)
    R.train_reward_model(model, tokenizer, rows, config)
    expected = [tuple(ids) for row in encoded(tokenizer, rows) for ids in row.sequences]
    assert sorted(seen) == sorted(expected)


@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_sorting_by_length_changes_no_score_and_no_gradient(tokenizer, monkeypatch, budget):
    monkeypatch.setattr(R, "TOKENS_PER_FORWARD", budget)
    model = scalar().double()
    batch = collate_rankings(encoded(tokenizer, rankings(5)), tokenizer.pad_token_id)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    weight = torch.randn(len(ids), dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def gradient(scores):
        model.zero_grad()
        (scores * weight).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    plain = model.scores(ids, mask)
    fast = R._Scorer(model)(ids, mask)
    torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(fast), gradient(plain), rtol=1e-10, atol=1e-12)


def test_chunks_cover_all_rows_within_the_budget(monkeypatch):
    monkeypatch.setattr(R, "TOKENS_PER_FORWARD", 20)
    lengths = [1, 2, 2, 3, 5, 5, 7, 9, 11, 30]
    slices = R._chunks(lengths)
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(10))
    for s in slices:
        assert (s.stop - s.start) * max(lengths[s]) <= 20 or s.stop - s.start == 1
    assert R._chunks([]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_the_order_on_models_of_other_families(tokenizer, family):
    model = scalar(family)
    config = dataclasses.replace(CONFIG, epochs=8.0)
    R.train_reward_model(model, tokenizer, rankings(24), config)
    table = R.pair_accuracy(model, tokenizer, rankings(8, seed=5), max_length=40)
    assert table[table.kind == "all"].accuracy.item() > 0.9
    assert not model.training


def test_preference_rows_of_trl_are_rankings_of_two(tokenizer):
    rows = [{"prompt": "q\n", "chosen": "a" * n + str(n), "rejected": "b" * n} for n in range(1, 9)]
    models = [scalar(), scalar(), scalar()]
    plain = [Ranking("q\n", (r["chosen"], r["rejected"]), (0, 1)) for r in rows]
    histories = [
        R.train_reward_model(model, tokenizer, data, CONFIG)
        for model, data in zip(models, (rows, Dataset.from_list(rows), plain), strict=True)
    ]
    assert histories[0] == histories[1] == histories[2]
    assert_same(models[0], models[1])
    assert_same(models[0], models[2])


def test_two_completions_give_the_loss_of_trl(tokenizer):
    """With K = 2 the loss is TRL's own: −log σ(chosen − rejected), mean over rows."""
    import trl

    chosen, rejected = [[5, 6, 0], [7, 0]], [[8, 9, 9, 0], [5, 0]]
    model = R._Scorer(scalar())
    scores = torch.tensor([plain_score(model.scalar, ids) for ids in chosen + rejected])

    class Fixed:
        training = True

        def __call__(self, **kwargs):
            return type("Output", (), {"logits": scores[:, None]})

    class Accelerator:
        gather = gather_for_metrics = staticmethod(lambda x: x)

    class Shell(trl.RewardTrainer):
        def __init__(self):
            self.model = Fixed()
            self.args = type("Args", (), {"center_rewards_coefficient": None})
            self.accelerator = Accelerator()
            self._metrics = {"train": {k: [] for k in METRICS}}
            self._total_train_tokens, self._tp_size = 0, 1

    METRICS = ("num_tokens", "min_reward", "mean_reward", "max_reward", "accuracy", "margin")
    theirs = Shell().compute_loss(Fixed(), {"attention_mask": torch.ones(4, 4)})
    rows = [EncodedRanking([c, r], [0, 1], "x") for c, r in zip(chosen, rejected, strict=True)]
    ours = R.KWiseRewardTrainer.compute_loss(
        type("Self", (), {})(), model, collate_rankings(rows, tokenizer.pad_token_id)
    )
    torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-6)


def test_a_policy_with_lora_gives_a_reward_model(tokenizer):
    peft = pytest.importorskip("peft")
    wrapped = peft.get_peft_model(
        policy("llama"), peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    )
    model = ScalarModel.from_policy(wrapped, 0)
    history = R.train_reward_model(model, tokenizer, rankings(4), CONFIG)
    assert history[-1]["loss"] < history[0]["loss"]


def test_dropped_prompts_are_counted_and_warned_of(tokenizer, caplog):
    rows = [*rankings(4), Ranking("p\n", ("a", "b"), (0, 0)), Ranking("p\n", ("a", "a"), (0, 1))]
    model, other = scalar(), scalar()
    history = R.train_reward_model(model, tokenizer, rows, CONFIG)
    assert history[0]["dropped_prompts"] == 2
    assert "2 of 6 rankings" in caplog.text
    R.train_reward_model(other, tokenizer, rankings(4), CONFIG)
    assert_same(model, other)


# --- resume -----------------------------------------------------------------------------------


def test_resuming_equals_never_stopping_bit_for_bit(tmp_path, tokenizer):
    rows, demonstrations = rankings(), [Demonstration("letters\n", "aaa")]

    def run(model, name, callback=None):
        return R.train_reward_model(
            model,
            tokenizer,
            rows,
            CONFIG,
            demonstrations=demonstrations,
            output_dir=tmp_path / name,
            callback=callback,
        )

    def crash(step, metrics):
        if step == 5:
            raise RuntimeError("killed")

    whole = scalar()
    history = run(whole, "whole")
    with pytest.raises(RuntimeError, match="killed"):
        run(scalar(), "parts", crash)
    assert latest_checkpoint(tmp_path / "parts").name == "step-00000003"
    parts = scalar(seed=4)
    assert run(parts, "parts") == history
    assert_same(parts, whole)
    assert torch.equal(parts.bias, whole.bias) and float(whole.bias) != 0
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history and len(history) == 9
    done = scalar(seed=5)
    run(done, "parts")
    assert_same(done, whole)
    assert torch.equal(done.bias, whole.bias)


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path, tokenizer):
    config = dataclasses.replace(CONFIG, epochs=1.0)
    R.train_reward_model(scalar(), tokenizer, rankings(), config, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="batch_size"):
        other = dataclasses.replace(config, batch_size=6)
        R.train_reward_model(scalar(), tokenizer, rankings(), other, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="parameters of this model"):
        R.train_reward_model(scalar("llama"), tokenizer, rankings(), config, output_dir=tmp_path)
    with pytest.raises(CheckpointError, match="these data"):
        R.train_reward_model(scalar(), tokenizer, rankings()[::-1], config, output_dir=tmp_path)
    file = latest_checkpoint(tmp_path) / "state.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(CheckpointError, match="state.json"):
        R.train_reward_model(scalar(), tokenizer, rankings(), config, output_dir=tmp_path)


# --- after training ---------------------------------------------------------------------------


def test_after_the_shift_demonstrations_score_zero_on_average(tokenizer):
    demonstrations = [Demonstration(f"letters {n}\n", "a" * n) for n in range(1, 7)]
    model, plain = scalar(), scalar()
    R.train_reward_model(model, tokenizer, rankings(), CONFIG, demonstrations=demonstrations)
    R.train_reward_model(plain, tokenizer, rankings(), CONFIG)

    def scores(m):
        ids = [tokenizer(d.prompt + d.completion)["input_ids"] + [0] for d in demonstrations]
        return np.array([plain_score(m, row) for row in ids])

    assert abs(scores(model).mean()) < 1e-6 < abs(scores(plain).mean())
    differences = scores(plain) - scores(model)
    np.testing.assert_allclose(differences, scores(plain).mean(), atol=1e-6)  # only a shift
    assert_same(model, plain)
    assert R.mean_zero_shift(model, tokenizer, demonstrations, 40) == pytest.approx(0, abs=1e-6)


def test_standardised_scores_have_deviation_1_and_keep_their_order(tokenizer):
    model, rows = scalar(), rankings(16)
    R.train_reward_model(model, tokenizer, rows, CONFIG)
    model.bias.fill_(0.7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = [ids for row in encoded(tokenizer, rows) for ids in row.sequences]
    first = np.array([plain_score(model, row) for row in ids])
    deviation = R.standardise(model, tokenizer, rows, 40)
    assert deviation == pytest.approx(first.std(ddof=1), rel=1e-5) and abs(deviation - 1) > 0.01
    second = np.array([plain_score(model, row) for row in ids])
    np.testing.assert_allclose(second, first / first.std(ddof=1), rtol=0, atol=2e-5)  # float32
    assert second.std(ddof=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(second.argsort(kind="stable"), first.argsort(kind="stable"))
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert {"head.weight", "bias"} <= changed <= {"head.weight", "head.bias", "bias"}
    again = R.standardise(model, tokenizer, rows, 40)
    assert again == pytest.approx(1, abs=1e-5)


def test_scores_that_are_all_alike_cannot_be_standardised(tokenizer):
    model = scalar()
    with torch.no_grad():
        model.head.weight.zero_()
    with pytest.raises(InputError, match="differ"):
        R.standardise(model, tokenizer, rankings(4, seed=5), 40)


def test_scores_come_in_the_order_given_whatever_the_lengths(tokenizer, monkeypatch):
    model = scalar()
    sequences = [[5] * n + [0] for n in (9, 1, 30, 4, 4, 17)]
    expected = [plain_score(model, ids) for ids in sequences]
    for budget in (1, 40, 10_000):
        monkeypatch.setattr(R, "TOKENS_PER_FORWARD", budget)
        got = R.score_sequences(model, tokenizer, sequences)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


class LengthScorer:
    """In place of a model: the score of a sequence is its length over ``scale``."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def parameters(self):
        return iter([torch.zeros(1)])

    def scores(self, input_ids, attention_mask):
        return attention_mask.sum(1) / self.scale


TABLE = [
    Ranking("p\n", ("aaa", "aa", "a"), (0, 1, 2), "good"),  # 3 of 3 pairs right
    Ranking("q\n", ("a", "aa", "bb"), (0, 1, 2), "bad"),  # wrong, wrong, tie of scores
    Ranking("r\n", ("aa", "a"), (0, 1), "bad"),  # right
]


def test_accuracy_by_kind_with_ceiling_and_interval(tokenizer):
    table = R.pair_accuracy(
        LengthScorer(), tokenizer, TABLE, max_length=40, ceiling={"bad": 0.75, "all": 0.8}
    ).set_index("kind")
    assert list(table.index) == ["bad", "good", "all"]
    assert table.pairs.tolist() == [4, 3, 7] and table.prompts.tolist() == [2, 1, 3]
    np.testing.assert_allclose(table.accuracy, [1.5 / 4, 1.0, 4.5 / 7], atol=1e-12)
    np.testing.assert_allclose(table.of_ceiling[["bad", "all"]], [0.5, 4.5 / 7 / 0.8], atol=1e-12)
    assert math.isnan(table.ceiling["good"]) and math.isnan(table.of_ceiling["good"])
    # Resampling two prompts with 0.5 of 3 and 1 of 1 pairs right gives 1/6, 1.5/4 or 1.
    assert table.low["bad"] == pytest.approx(0.5 / 3) and table.high["bad"] == pytest.approx(1.0)
    assert table.low["good"] == table.high["good"] == 1.0


def test_the_interval_is_a_function_of_its_seed(tokenizer):
    def table(seed):
        return R.pair_accuracy(
            LengthScorer(), tokenizer, rankings(30), max_length=40, seed=seed, resamples=50
        )

    pd.testing.assert_frame_equal(table(1), table(1))
    assert not table(1).equals(table(2))


def test_calibration_counts_how_often_the_favourite_won(tokenizer):
    table = R.calibration_table(LengthScorer(), tokenizer, TABLE, max_length=40, bins=2)
    near, far = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    # margins: 1, 1, 2 | -1, -1, 0 | 1; the edges are 0.5, 0.75, 1
    assert table.pairs.tolist() == [6, 1]
    np.testing.assert_allclose(table.predicted, [(5 * near + 0.5) / 6, far], atol=1e-7)
    np.testing.assert_allclose(table.observed, [3.5 / 6, 1.0], atol=1e-12)
    p = 3.5 / 6
    np.testing.assert_allclose(table.standard_error, [(p * (1 - p) / 6) ** 0.5, 0], atol=1e-12)


def test_a_model_that_tells_the_truth_about_its_odds_is_calibrated(tokenizer):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(4000):
        lengths = rng.integers(1, 9, size=2)
        if lengths[0] == lengths[1]:
            continue
        first_wins = rng.random() < 1 / (1 + math.exp(-(lengths[0] - lengths[1]) / 3))
        texts = tuple("a" * n for n in lengths)
        rows.append(Ranking("p\n", texts, (0, 1) if first_wins else (1, 0)))
    table = R.calibration_table(LengthScorer(3.0), tokenizer, rows, max_length=40, bins=4)
    assert len(table) == 4
    assert ((table.predicted - table.observed).abs() < 4 * table.standard_error).all()


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([{"prompt": "a", "completion": "b"}], "chosen and rejected"),
        ([Ranking("p\n", ("a", "b"), (1, 1))] * 3, "3 rankings.*at least one pair"),
        ([Ranking("p\n", ("a" * 60, "b"), (0, 1))], "row 0.*max_length = 40"),
    ],
)
def test_rankings_that_cannot_be_used(tokenizer, rows, match):
    with pytest.raises(InputError, match=match):
        R.train_reward_model(scalar(), tokenizer, rows, CONFIG)


def test_wrong_demonstrations_are_found_before_training(tokenizer):
    steps = []
    for wrong in ([], [{"answer": "a"}]):
        with pytest.raises(InputError, match="demonstrations|row 0"):
            R.train_reward_model(
                scalar(),
                tokenizer,
                rankings(4),
                CONFIG,
                demonstrations=wrong,
                callback=lambda s, m: steps.append(s),
            )
    assert steps == []


def test_pad_equal_to_eos_is_refused():
    with pytest.raises(InputError, match="pad token that is not EOS"):
        R.train_reward_model(scalar(), pad_is_eos(), rankings(4), CONFIG)


def test_rows_longer_than_the_context_are_refused(tokenizer):
    with pytest.raises(InputError, match="context of 16 tokens"):
        R.train_reward_model(scalar(positions=16), tokenizer, rankings(4), CONFIG)


def test_a_loss_that_is_not_finite_is_an_error(tokenizer):
    model = scalar()
    with torch.no_grad():
        model.head.weight[:] = float("nan")
    with pytest.raises(DivergenceError, match="reward model.*step 1"):
        R.train_reward_model(model, tokenizer, rankings(4), CONFIG)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, tokenizer):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="output_dir"):
        R.train_reward_model(scalar(), tokenizer, rankings(4), CONFIG, output_dir=tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 0}, {"epochs": -1.0}, {"warmup_fraction": 1.5}, {"weight_decay": -1.0}],
)
def test_configurations_that_make_no_sense(change):
    with pytest.raises(InputError, match=next(iter(change))):
        dataclasses.replace(CONFIG, **change)
