"""DPO: its loss against loops, the paper's gradient, a closed form and TRL; training, resume."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import random

import pytest
import torch
from datasets import Dataset

from rlhf_lab.checkpoints import latest_checkpoint
from rlhf_lab.encoding import encode_rankings, pad_right
from rlhf_lab.errors import CheckpointError, DivergenceError, InputError
from rlhf_lab.lineage.dpo import (
    DPOConfig,
    dpo_loss,
    implicit_reward,
    response_logprobs,
    train_dpo,
)
from rlhf_lab.models import PolicyLogits
from rlhf_lab.records import Ranking
from tiny_models import FAMILIES, PAD, causal_lm, pad_is_eos

CONFIG = DPOConfig(
    epochs=3.0, batch_size=4, learning_rate=3e-3, max_length=40, checkpoint_every=3, beta=0.3
)


def policy(family="gpt2", seed=0, **shape):
    return causal_lm(family, seed, vocab_size=264, **shape)


def rankings(count=12, seed=0):
    """K from 2 to 5 answers; more of the letter a is better; some ties."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        goods = [rng.randrange(4) for _ in range(rng.randint(2, 5))]
        goods[:2] = [0, 3]
        texts = tuple("a" * g + "b" * rng.randint(1, 9) + str(i) for i, g in enumerate(goods))
        made.append(Ranking(f"letters {number}\n", texts, tuple(3 - g for g in goods)))
    return made


def slow_logprob(model, ids, start):
    """log π of the tokens from ``start`` on: one row, no padding, no torch but the logits."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].tolist()
    return sum(
        logits[t - 1][ids[t]] - math.log(sum(map(math.exp, logits[t - 1])))
        for t in range(start, len(ids))
    )


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(left, right):
    left, right = weights(left), weights(right)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


# --- the equations --------------------------------------------------------------------------------


def _case(seed=0):
    """Three prompts of 2, 4 and 3 answers, not in order of prompts; ties in the last two."""
    generator = torch.Generator().manual_seed(seed)
    logp, ref = (-9 * torch.rand(9, generator=generator, dtype=torch.float64) for _ in range(2))
    group = torch.tensor([7, 2, 7, 2, 5, 2, 5, 5, 2])
    ranks = torch.tensor([1, 0, 0, 2, 1, 1, 0, 1, 1])
    return logp, ref, ranks, group


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_reward_and_loss_are_those_of_plain_loops(beta):
    logp, ref, ranks, group = _case()
    reward = [beta * (float(p) - float(q)) for p, q in zip(logp, ref, strict=True)]
    assert implicit_reward(logp, ref, beta).tolist() == pytest.approx(reward, abs=1e-12)
    per_prompt = []
    for prompt in (7, 2, 5):
        own = [i for i in range(9) if group[i] == prompt]
        losses = [
            -math.log(sigmoid(reward[i] - reward[j]))
            for i in own
            for j in own
            if ranks[i] < ranks[j]
        ]
        per_prompt.append(sum(losses) / len(losses))
    found = dpo_loss(logp, ref, ranks, group, beta)
    assert float(found) == pytest.approx(sum(per_prompt) / 3, abs=1e-12)


def test_what_a_prompt_adds_to_all_of_its_rewards_does_not_count():
    logp, ref, ranks, group = _case()
    before = dpo_loss(logp, ref, ranks, group, 0.5)
    moved = dpo_loss(logp + group.double(), ref, ranks, group, 0.5)
    assert float(moved) == pytest.approx(float(before), abs=1e-12)


def test_the_gradient_is_that_of_the_paper():
    """−β·σ(r̂_l − r̂_w)·(∇log π(y_w) − ∇log π(y_l)) of each pair, and none for the reference."""
    beta = 0.7
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    states = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    said = [0, 3, 2, 2, 4, 1]  # of three prompts the better and the worse answer
    ref = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
    logp = torch.stack([(weight @ s).log_softmax(0)[i] for s, i in zip(states, said, strict=True)])
    ranks, group = torch.tensor([0, 1] * 3), torch.tensor([0, 0, 1, 1, 2, 2])
    (found,) = torch.autograd.grad(dpo_loss(logp, ref, ranks, group, beta), weight)
    score = []  # ∇log π(y) = (1_y − π)·state, a row of the weight for each word
    for state, i in zip(states, said, strict=True):
        miss = -(weight @ state).softmax(0).detach()
        miss[i] += 1
        score.append(torch.outer(miss, state))
    wanted = torch.zeros(5, 4, dtype=torch.float64)
    for w in (0, 2, 4):
        reward_w, reward_l = (beta * (logp[i] - ref[i]).item() for i in (w, w + 1))
        wanted -= beta * sigmoid(reward_l - reward_w) * (score[w] - score[w + 1]) / 3
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert not dpo_loss(logp.detach(), ref, ranks, group, beta).requires_grad


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_the_minimiser_is_the_best_policy_for_the_reward(beta):
    """π*(y) = π_ref(y)·exp(r(y)/β)/Z, where pairs are preferred as Bradley and Terry say."""
    generator = torch.Generator().manual_seed(4)
    reward, start = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
    ref = start.log_softmax(0)
    logits = start.clone().requires_grad_(True)
    ranks, group = torch.tensor([0, 1]), torch.tensor([0, 0])
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-10, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def expected_loss():
        optimizer.zero_grad()
        logp = logits.log_softmax(0)
        loss = sum(
            sigmoid(float(reward[i] - reward[j]))
            * dpo_loss(logp[[i, j]], ref[[i, j]], ranks, group, beta)
            for i, j in pairs
        )
        loss.backward()
        return loss

    optimizer.step(expected_loss)
    wanted = ref.exp() * (reward / beta).exp()
    wanted = wanted / wanted.sum()
    assert float((wanted - ref.exp()).abs().max()) > 0.1
    torch.testing.assert_close(logits.detach().softmax(0), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_beta_has_to_be_above_0(beta):
    for call in (
        lambda: implicit_reward(torch.zeros(2), torch.zeros(2), beta),
        lambda: dataclasses.replace(CONFIG, beta=beta),
    ):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.argument == "beta"


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_of_responses_row_by_row(family):
    """Whatever stands behind a row, and however long the others are."""
    model = policy(family).double()
    rng = random.Random(0)
    rows = [[rng.randrange(2, 264) for _ in range(n)] for n in (3, 9, 5, 14, 2)]
    starts = [1, 4, 4, 13, 1]
    wanted = [slow_logprob(model, *row) for row in zip(rows, starts, strict=True)]
    ids, mask = pad_right(rows, PAD)
    junk = torch.where(mask.bool(), ids, torch.randint_like(ids, 2, 264))
    for tokens in (ids, junk):
        found = response_logprobs(PolicyLogits(model), tokens, mask, torch.tensor(starts))
        assert found.shape == (5,)
        assert found.tolist() == pytest.approx(wanted, abs=1e-9)


# --- training -------------------------------------------------------------------------------------


def test_the_first_step_of_a_copy_has_loss_log_2(tokenizer):
    """For any K and β, although GPT-2's dropout is on in both models as they come."""
    for beta in (0.1, 5.0):
        model, config = policy(), dataclasses.replace(CONFIG, epochs=1.0, beta=beta)
        copied = policy().train()
        first = train_dpo(model.train(), copied, tokenizer, rankings(), config, quiet=True)[0]
        assert first["loss"] == pytest.approx(math.log(2), abs=1e-4 * beta)  # float32 passes
        assert first["better"] == pytest.approx(0, abs=1e-4)
        assert first["worse"] == pytest.approx(0, abs=1e-4)
        assert first["dropped_prompts"] == 0


def test_a_vanishing_learning_rate_leaves_weights_and_loss(tokenizer):
    model = policy()
    config = dataclasses.replace(CONFIG, learning_rate=1e-12, weight_decay=0.1)
    history = train_dpo(model, policy(), tokenizer, rankings(), config, quiet=True)
    assert len(history) == 9
    for row in history:
        assert row["loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert row["grad_norm"] > 1e-3
    before = weights(policy())
    for name, weight in weights(model).items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=1e-10)
    with pytest.raises(InputError, match="learning_rate"):
        dataclasses.replace(CONFIG, learning_rate=0.0)


def test_a_step_is_that_of_loops_over_rows_pairs_and_prompts(tokenizer):
    """A policy that has left its reference: all that the first row says."""
    model, reference, rows = policy(seed=1), policy(), rankings(8)
    encoded, _ = encode_rankings(rows, tokenizer, 40)
    per_prompt, first, better, worse = [], [], [], []
    for row, ranking in zip(encoded, rows, strict=True):
        start = len(tokenizer(ranking.prompt)["input_ids"])
        moved = [
            slow_logprob(model, ids, start) - slow_logprob(reference, ids, start)
            for ids in row.sequences
        ]
        pairs = [
            (moved[i], moved[j])
            for i, rank in enumerate(row.ranks)
            for j, other in enumerate(row.ranks)
            if rank < other
        ]
        losses = [-math.log(sigmoid(0.3 * (high - low))) for high, low in pairs]
        per_prompt.append(sum(losses) / len(losses))
        best = min(row.ranks)  # several answers may share it
        first += [m for m, rank in zip(moved, row.ranks, strict=True) if rank == best]
        better += [high for high, _ in pairs]
        worse += [low for _, low in pairs]
    config = dataclasses.replace(CONFIG, epochs=1.0, batch_size=8)
    (found,) = train_dpo(model, reference, tokenizer, rows, config, quiet=True)
    count = len(better)
    assert found["loss"] == pytest.approx(sum(per_prompt) / 8, abs=1e-5)  # float32 passes
    assert found["first"] == pytest.approx(sum(first) / len(first), abs=1e-4)
    assert found["better"] == pytest.approx(sum(better) / count, abs=1e-4)
    assert found["worse"] == pytest.approx(sum(worse) / count, abs=1e-4)
    right = sum(high > low for high, low in zip(better, worse, strict=True))
    assert found["accuracy"] == pytest.approx(right / count, abs=1e-6)
    assert 0 < right < count
    assert_same(reference, policy())


def test_two_answers_give_the_loss_and_the_gradient_of_trl(tokenizer, tmp_path, monkeypatch):
    """Its own data, masks, reference pass and loss; K = 2."""
    import trl

    monkeypatch.setattr(trl.DPOTrainer, "_send_telemetry", lambda self: None, raising=False)
    rows = [
        {"prompt": f"{n} of\n", "chosen": "a" * n, "rejected": "b" * (7 - n) + "c"}
        for n in range(1, 7)
    ]
    theirs, reference = policy(seed=1), policy()
    ours = copy.deepcopy(theirs)
    trainer = trl.DPOTrainer(
        model=theirs,
        ref_model=copy.deepcopy(reference),
        args=trl.DPOConfig(
            output_dir=str(tmp_path),
            beta=0.3,
            use_cpu=True,
            bf16=False,
            report_to="none",
            gradient_checkpointing=False,
            disable_tqdm=True,
            max_length=None,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = trainer.data_collator(list(trainer.train_dataset))
    loss = trainer.compute_loss(theirs, batch)
    loss.backward()
    assert abs(float(loss.detach()) - math.log(2)) > 0.01

    encoded, _ = encode_rankings(rows, tokenizer, 40)
    ids, mask = pad_right([s for row in encoded for s in row.sequences], tokenizer.pad_token_id)
    starts = torch.tensor([len(tokenizer(r["prompt"])["input_ids"]) for r in rows for _ in "wl"])
    with torch.no_grad():
        ref = response_logprobs(PolicyLogits(reference), ids, mask, starts)
    logp = response_logprobs(PolicyLogits(ours), ids, mask, starts)
    ranks, group = torch.tensor([0, 1] * 6), torch.arange(6).repeat_interleave(2)
    mine = dpo_loss(logp, ref, ranks, group, 0.3)
    mine.backward()
    assert float(mine) == pytest.approx(float(loss), abs=1e-5)  # both float32
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-5, msg=name)


def test_trained_to_the_end_odds_are_those_of_the_labels(tokenizer):
    """Of three answers each beats the next 3 times in 4: rewards log 3 apart, as counted.

    β·(log(π(a)/π_ref(a)) − log(π(b)/π_ref(b))) = log 3, whatever π_ref says of both.
    """
    counts = {("a", "b"): (3, 1), ("b", "cc"): (3, 1), ("a", "cc"): (9, 1)}
    rows = [
        Ranking("q\n", pair, ranks)
        for pair, times in counts.items()
        for ranks, n in zip(((0, 1), (1, 0)), times, strict=True)
        for _ in range(n)
    ]
    model, reference = (policy(width=16, layers=1, positions=8) for _ in range(2))
    config = DPOConfig(epochs=100.0, batch_size=len(rows), learning_rate=0.01, beta=0.5)
    train_dpo(model, reference, tokenizer, rows, config, quiet=True)
    reward = {}
    for text in ("a", "b", "cc"):
        prompt, ids = (tokenizer(part)["input_ids"] for part in ("q\n", text))
        row = [*prompt, *ids, tokenizer.eos_token_id]
        new, old = (slow_logprob(m, row, len(prompt)) for m in (model, reference))
        reward[text] = 0.5 * (new - old)
    assert reward["a"] - reward["b"] == pytest.approx(math.log(3), abs=0.01)
    assert reward["b"] - reward["cc"] == pytest.approx(math.log(3), abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_the_order_on_models_of_every_family(tokenizer, family):
    model = policy(family)
    config = dataclasses.replace(CONFIG, epochs=4.0)
    history = train_dpo(model, policy(family), tokenizer, rankings(24), config, quiet=True)
    late = history[-6:]
    assert sum(row["accuracy"] for row in late) / 6 > 0.9
    assert all(row["loss"] < math.log(2) for row in late)
    assert all(row["better"] > row["worse"] for row in late)
    assert not model.training


def test_rows_of_trl_are_rankings_of_two_and_dropped_ones_are_counted(tokenizer):
    rows = [{"prompt": "q\n", "chosen": "a" * n, "rejected": "b" * n} for n in range(1, 9)]
    plain = [Ranking("q\n", (r["chosen"], r["rejected"]), (0, 1)) for r in rows]
    more = [Ranking("", ("a", "a"), (0, 1)), *plain, Ranking("p\n", ("a", "b"), (0, 0))]
    models, histories = [], []
    for data in (rows, plain, more):
        models.append(policy())
        histories.append(train_dpo(models[-1], policy(), tokenizer, data, CONFIG, quiet=True))
    assert [history[0].pop("dropped_prompts") for history in histories] == [0, 0, 2]
    assert histories[0] == histories[1] == histories[2]
    assert_same(models[0], models[1])
    assert_same(models[0], models[2])


def test_a_policy_with_lora_trains_its_adapter(tokenizer):
    peft = pytest.importorskip("peft")
    base = policy("llama")
    adapter = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(policy("llama"), adapter)
    history = train_dpo(wrapped, base, tokenizer, rankings(), CONFIG, quiet=True)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert history[-1]["better"] != 0
    kept = {n.replace(".base_layer", ""): p for n, p in weights(wrapped).items() if "lora" not in n}
    for name, weight in weights(base).items():
        assert torch.equal(weight, kept[f"base_model.model.{name}"])


# --- resume ---------------------------------------------------------------------------------------


def test_resuming_equals_never_stopping_bit_for_bit(tmp_path, tokenizer):
    def run(model, name, callback=None):
        return train_dpo(
            model,
            policy(),
            tokenizer,
            rankings(),
            CONFIG,
            output_dir=tmp_path / name,
            callback=callback,
            quiet=True,
        )

    def crash(step, metrics):
        if step == 5:
            raise RuntimeError("killed")

    whole = policy()
    history = run(whole, "whole")
    with pytest.raises(RuntimeError, match="killed"):
        run(policy(), "parts", crash)
    assert latest_checkpoint(tmp_path / "parts").name == "step-00000003"
    parts = policy(seed=4)
    assert run(parts, "parts") == history
    assert_same(parts, whole)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history and len(history) == 9
    done = policy(seed=5)
    run(done, "parts")
    assert_same(done, whole)


def test_checkpoints_of_another_run_are_refused(tmp_path, tokenizer):
    config = dataclasses.replace(CONFIG, epochs=1.0)
    folder = {"output_dir": tmp_path, "quiet": True}
    train_dpo(policy(), policy(), tokenizer, rankings(), config, **folder)
    with pytest.raises(CheckpointError, match="beta"):
        other = dataclasses.replace(config, beta=0.2)
        train_dpo(policy(), policy(), tokenizer, rankings(), other, **folder)
    with pytest.raises(CheckpointError, match="parameters of this model"):
        train_dpo(policy("llama"), policy(), tokenizer, rankings(), config, **folder)


# --- refusals -------------------------------------------------------------------------------------


def test_the_reference_is_another_model(tokenizer):
    model = policy("llama")
    with pytest.raises(InputError) as error:
        train_dpo(model, model, tokenizer, rankings(), CONFIG, quiet=True)
    assert error.value.argument == "reference"
    peft = pytest.importorskip("peft")
    adapter = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, adapter)
    with pytest.raises(InputError, match="frozen copy"):
        train_dpo(wrapped, model, tokenizer, rankings(), CONFIG, quiet=True)


PAIR = Ranking("p\n", ("a", "b"), (0, 1))


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "at least one row"),
        ([{"prompt": "a", "completion": "b"}], "chosen and rejected"),
        ([{"chosen": "a", "rejected": "b"}], "row 0: .*a prompt of some text"),
        ([Ranking("p\n", ("a", "a"), (0, 1)), PAIR, Ranking("", ("a", "b"), (0, 1))], "row 2: "),
        ([Ranking("p\n", ("a", "b"), (1, 1))] * 3, "3 rankings.*at least one pair"),
        ([PAIR, Ranking("p\n", ("a" * 60, "b"), (0, 1))], "row 1.*max_length = 40"),
    ],
)
def test_rankings_that_cannot_be_used(tokenizer, rows, match):
    with pytest.raises(InputError, match=match):
        train_dpo(policy(), policy(), tokenizer, rows, CONFIG, quiet=True)


def test_models_and_tokenizers_that_cannot_be_used(tokenizer):
    with pytest.raises(InputError, match="pad token that is not EOS"):
        train_dpo(policy(), policy(), pad_is_eos(), rankings(4), CONFIG, quiet=True)
    with pytest.raises(InputError, match="16"):
        train_dpo(policy(positions=16), policy(), tokenizer, rankings(4), CONFIG, quiet=True)
    with pytest.raises(InputError, match="16"):
        train_dpo(policy(), policy(positions=16), tokenizer, rankings(4), CONFIG, quiet=True)
    frozen = policy().requires_grad_(False)
    with pytest.raises(InputError, match="unfreeze"):
        train_dpo(frozen, policy(), tokenizer, rankings(4), CONFIG, quiet=True)


def test_a_loss_that_is_not_finite_is_an_error(tokenizer):
    model = policy()
    with torch.no_grad():
        model.transformer.wte.weight[:] = float("nan")
    with pytest.raises(DivergenceError, match="DPO.*step 1"):
        train_dpo(model, policy(), tokenizer, rankings(4), CONFIG, quiet=True)
