"""RLOO and GRPO: advantages by enumeration, losses by loops, gradients by hand, the training."""

from __future__ import annotations

import copy
import itertools
import math
import statistics

import pytest
import torch

from rlhf_lab.config import PPOConfig
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.lineage import critic_free
from rlhf_lab.lineage.critic_free import (
    GRPO,
    METHODS,
    RLOO,
    leave_one_out_advantages,
    rloo_loss,
    train_critic_free,
)
from rlhf_lab.lineage.reasoning import group_advantages, grpo_loss
from tiny_models import FAMILIES, PAD, SPECIAL_TOKENS, causal_lm

WORDS = 16
PROMPTS = [[7, 3, 9, 12, 5], [8], [4, 4, 6], [3, 15, 2, 14], [5, 11], [9, 9], [13], [2, 8, 9]]
SMALL = {
    "beta": 0.1,
    "steps": 3,
    "batch_size": 16,
    "minibatches": 2,
    "max_response_length": 6,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "gamma": 0.0,
    "checkpoint_every": 0,
}
float64 = torch.float64


def make(kind="gpt2", seed=0):
    return causal_lm(kind, seed, vocab_size=WORDS, width=16, positions=32).double()


def fives(prompts, responses, mask):
    """A rule: the share of 5s."""
    return ((responses == 5) * mask).sum(1).double() / mask.sum(1)


def run(method, policy=None, reference=None, *, reward=fives, prompts=PROMPTS, **settings):
    """The policy, its average and the history."""
    policy = make() if policy is None else policy
    group_size = settings.pop("group_size", 4)
    average, history = train_critic_free(
        policy,
        make() if reference is None else reference,
        reward,
        SPECIAL_TOKENS,
        prompts,
        PPOConfig(**(SMALL | settings)),
        method=method,
        group_size=group_size,
        quiet=True,
    )
    return policy, average, history


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# --- the equations --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 6])
def test_an_answer_is_compared_with_the_others(size):
    rewards = [1.0, 0.0, -2.5, 1.0, 3.0, 2.0]
    wanted = []
    for i, reward in enumerate(rewards):
        first = i - i % size
        others = [rewards[j] for j in range(first, first + size) if j != i]
        wanted.append(reward - sum(others) / (size - 1))
    found = leave_one_out_advantages(torch.tensor(rewards, dtype=float64), size)
    assert found.tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("count", "size"), [(8, 3), (8, 1), (0, 2), (8, 0)])
def test_groups_have_to_be_whole(count, size):
    with pytest.raises(InputError, match="group_size"):
        leave_one_out_advantages(torch.zeros(count), size)


def expected_gradient(advantages, loss, logits, rewards, size):
    """−∇loss, averaged over all groups of ``size`` answers of one token, by their probability."""
    total = torch.zeros_like(logits)
    for drawn in itertools.product(range(len(rewards)), repeat=size):
        drawn = torch.tensor(drawn)
        logp = logits.log_softmax(0)[drawn][:, None]
        mask = torch.ones(size, 1)
        one = loss(logp, logp.detach(), advantages(rewards[drawn], size), mask)
        (gradient,) = torch.autograd.grad(-one, logits)
        total += logp.detach().sum().exp() * gradient
    return total


@pytest.mark.parametrize("size", [2, 4])
def test_leaving_oneself_out_is_unbiased_and_a_deviation_is_not(size):
    """Every group that a policy of 4 answers can draw, against ∇ of its expected reward."""
    logits = torch.tensor([0.5, -0.3, 0.1, -1.0], dtype=float64, requires_grad=True)
    rewards = torch.tensor([1.0, 0.0, 0.4, 5.0], dtype=float64)
    (true,) = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits)
    case = logits, rewards, size
    rloo = expected_gradient(leave_one_out_advantages, rloo_loss, *case)
    torch.testing.assert_close(rloo, true, rtol=0, atol=1e-12)

    def centred(scores, group_size):
        return group_advantages(scores, group_size, scale=False)

    plain = expected_gradient(centred, grpo_loss, *case)
    torch.testing.assert_close(plain, true * (size - 1) / size, rtol=0, atol=1e-12)
    grpo = expected_gradient(group_advantages, grpo_loss, *case)
    cosine = float(grpo @ true / grpo.norm() / true.norm())
    assert cosine < 0.8  # it points elsewhere: no step size makes up for that
    assert float((grpo - true).norm() / true.norm()) > 0.2


def _case(seed=0):
    """Ratios of whole answers on both sides of the clip, advantages of both signs."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
    old = -torch.rand(5, 4, generator=generator, dtype=float64) * 2
    moved = torch.tensor([0.9, -1.0, 0.03, -0.3, 0.6], dtype=float64)  # log ρ of the answers
    split = torch.rand(5, 4, generator=generator, dtype=float64) * mask
    logp = old + moved[:, None] * split / split.sum(1, keepdim=True)
    advantages = torch.tensor([1.2, -0.7, -0.5, 0.4, -0.9], dtype=float64)
    return logp, old, advantages, mask


@pytest.mark.parametrize("clip", [0.05, 0.2, 0.5])
def test_the_loss_is_that_of_plain_loops(clip):
    logp, old, advantages, mask = _case()
    total, clipped = 0.0, []
    for i in range(5):
        ratio = 1.0
        for t in range(4):
            if mask[i, t]:
                ratio *= math.exp(logp[i, t]) / math.exp(old[i, t])
        a = float(advantages[i])
        inside = min(max(ratio, 1 - clip), 1 + clip)
        total += min(ratio * a, inside * a)
        clipped.append(inside * a < ratio * a)
    assert clipped == [True, True, False, False, False]
    found = rloo_loss(logp, old, advantages, mask, clip=clip)
    assert float(found) == pytest.approx(-total / 5, abs=1e-12)


def test_what_is_masked_counts_for_nothing():
    logp, old, advantages, mask = _case()
    wanted = rloo_loss(logp, old, advantages, mask)
    for junk in (torch.nan, torch.inf, 1e6):
        dirty = torch.where(mask.bool(), logp, junk).requires_grad_(True)
        other = torch.where(mask.bool(), old, -junk)
        for kind in (mask, mask.bool(), mask.double()):
            found = rloo_loss(dirty, other, advantages, kind)
            assert found.item() == wanted.item()
        (gradient,) = torch.autograd.grad(found, dirty)
        assert torch.isfinite(gradient).all() and not gradient[~mask.bool()].any()


def test_on_policy_the_gradient_is_that_of_reinforce():
    """−(1/B)·Â_i for each token of answer i, however long it is."""
    logp, _, advantages, mask = _case(1)
    logp.requires_grad_(True)
    advantages.requires_grad_(True)
    rloo_loss(logp, logp.detach(), advantages, mask).backward()
    wanted = -advantages.detach()[:, None] * mask / 5
    assert torch.allclose(logp.grad, wanted, rtol=0, atol=1e-12)
    assert advantages.grad is None


def test_parts_with_the_count_of_the_whole_add_up():
    logp, old, advantages, mask = _case(2)
    whole = rloo_loss(logp, old, advantages, mask)
    parts = [
        rloo_loss(logp[rows], old[rows], advantages[rows], mask[rows], total=5)
        for rows in (slice(0, 2), slice(2, 3), slice(3, 5))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), abs=1e-12)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_learning_rate_0_leaves_the_weights(method):
    policy, average, history = run(method, learning_rate=0.0, steps=2)
    assert torch.equal(weights(policy), weights(make()))
    assert torch.equal(weights(average), weights(make()))
    for row in history:
        assert row["objective/kl"] == pytest.approx(0, abs=1e-12)
        assert row["policy/gradient_norm"] > 1e-3


def _said(model, rollout, i, temperature):
    """log π of the tokens of answer i, and of the whole vocabulary: one row, no padding."""
    p, n = int(rollout.prompt_lengths[i]), int(rollout.response_mask[i].sum())
    text = rollout.tokens[i : i + 1, : p + n]
    logp = (model(input_ids=text).logits[0, p - 1 : p + n - 1] / temperature).log_softmax(-1)
    return logp.gather(1, text[0, p:, None]).squeeze(1), logp


@pytest.mark.parametrize("micro", [0, 2])
@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_gradients_and_metrics_of_an_iteration_by_hand(method, kind, micro, monkeypatch):
    """Row by row, for a policy that has left its reference; in its second step also its rollout."""
    policy, old, reference = make(kind), make(kind), make(kind, 5)
    beta, epsilon, temperature = 0.3, 0.01, 0.7
    steps, rollouts = [], []
    collect, clip = critic_free.collect, torch.nn.utils.clip_grad_norm_

    def spy_rollout(*args, **kwargs):
        rollouts.append(collect(*args, **kwargs))
        return rollouts[-1]

    def spy_gradient(parameters, bound):
        gradient = torch.cat([p.grad.flatten() for p in parameters])
        steps.append((copy.deepcopy(policy), gradient))
        return clip(parameters, bound)

    monkeypatch.setattr(critic_free, "collect", spy_rollout)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spy_gradient)
    _, _, (row,) = run(
        method, policy, reference, beta=beta, clip=epsilon, temperature=temperature, steps=1,
        learning_rate=0.01, micro_batch_size=micro, missing_eos_penalty=0.2,
    )  # fmt: skip
    (rollout,) = rollouts
    with torch.no_grad():
        before = [_said(old, rollout, i, temperature) for i in range(16)]
        fixed = [_said(reference, rollout, i, temperature) for i in range(16)]
    scores = []
    for i in range(16):
        answer = rollout.response_ids[i, : len(before[i][0])].tolist()
        scores.append(answer.count(5) / len(answer) - 0.2 * (answer[-1] != 0))
    advantages = []
    for i in range(16):
        first = i - i % 4
        group = scores[first : first + 4]
        if method == RLOO:
            for place in range(4):
                logp, ref = before[first + place][0], fixed[first + place][0]
                group[place] -= beta * float((logp - ref).sum())
            advantages.append(group[i % 4] - (sum(group) - group[i % 4]) / 3)
        else:
            advantages.append(
                (scores[i] - statistics.mean(group)) / (statistics.stdev(group) + 1e-4)
            )

    assert len(steps) == 2
    outside = 0
    for k, (model, found) in enumerate(steps):
        gain = 0.0
        for i in range(8 * k, 8 * k + 8):
            logp, _ = _said(model, rollout, i, temperature)
            ratio = (logp - before[i][0]).exp()
            if method == RLOO:
                ratio = ratio.prod()
            a, inside = advantages[i], ratio.clamp(1 - epsilon, 1 + epsilon)
            outside += int((inside * a < ratio * a).sum())
            one = torch.minimum(ratio * a, inside * a)
            if method == GRPO:
                d = fixed[i][0] - logp
                one = (one - beta * (d.exp() - d - 1)).mean()
            gain = gain + one / 8
        wanted = torch.autograd.grad(-gain, list(model.parameters()))
        wanted = torch.cat([gradient.flatten() for gradient in wanted])
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert outside > 0

    assert row.keys() == {
        "objective/kl", "objective/scores", "response/length", "policy/flat",
        "policy/gradient_norm",
    }  # fmt: skip
    kl = sum(float((p.exp() * (p - q)).sum()) for (_, p), (_, q) in zip(before, fixed, strict=True))
    assert row["objective/kl"] == pytest.approx(kl / 16, abs=1e-10)
    assert row["objective/scores"] == pytest.approx(statistics.mean(scores), abs=1e-12)
    assert row["response/length"] == pytest.approx(sum(len(p) for p, _ in before) / 16, abs=1e-6)
    flat = [len(set(scores[i : i + 4])) == 1 for i in range(0, 16, 4)]
    assert row["policy/flat"] == sum(flat) / 4
    norms = [float(gradient.norm()) for _, gradient in steps]
    assert row["policy/gradient_norm"] == pytest.approx(sum(norms) / 2, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_change_nothing(method):
    one, other = (weights(run(method, micro_batch_size=micro)[0]) for micro in (1, 8))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_answers_to_a_prompt_stand_together():
    seen = []

    def reward(prompts, responses, mask):
        seen.append([tuple(t for t in row if t != PAD) for row in prompts.tolist()])
        return fives(prompts, responses, mask)

    run(RLOO, reward=reward, group_size=2, steps=2)
    for rows in seen:
        assert rows[::2] == rows[1::2]
        assert sorted(rows[::2]) == sorted(map(tuple, PROMPTS))  # 8 prompts a step, each once
    assert seen[0] != seen[1]


@pytest.mark.parametrize("method", METHODS)
def test_equal_rewards_teach_nothing(method):
    def reward(prompts, responses, mask):
        return torch.full((len(prompts),), 0.3, dtype=float64)

    policy, _, history = run(method, reward=reward, beta=0.0, learning_rate=0.01)
    torch.testing.assert_close(weights(policy), weights(make()), rtol=0, atol=1e-12)
    assert [row["policy/flat"] for row in history] == [1.0] * 3


@pytest.mark.parametrize("method", METHODS)
def test_a_token_that_is_paid_becomes_more_frequent(method):
    settings = {"batch_size": 32, "learning_rate": 5e-3, "beta": 0.0, "ema_decay": 0.5}
    _, average, history = run(method, steps=20, **settings)
    assert history[-1]["objective/scores"] > history[0]["objective/scores"] + 0.4
    first = torch.tensor([[4, 4, 6]])
    before, after = (m(input_ids=first).logits[0, -1].softmax(0)[5] for m in (make(), average))
    assert before.item() < 0.1 and after.item() > 0.4


@pytest.mark.parametrize("method", METHODS)
def test_the_penalty_keeps_the_policy_near_its_reference(method):
    """Exact KL of the last answers, the same seed."""
    kl = {
        beta: run(method, beta=beta, steps=12, learning_rate=5e-3)[2][-1]["objective/kl"]
        for beta in (0.0, 0.3, 3.0)
    }
    assert kl[3.0] < kl[0.3] < kl[0.0]
    assert kl[3.0] < kl[0.0] / 4


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_run_and_another_seed_another_run(method):
    runs = [run(method, prompts=[[8]], seed=seed) for seed in (0, 0, 1)]  # no order to differ
    assert torch.equal(weights(runs[0][0]), weights(runs[1][0]))
    assert torch.equal(weights(runs[0][1]), weights(runs[1][1]))
    assert runs[0][2] == runs[1][2]
    assert not torch.equal(weights(runs[0][0]), weights(runs[2][0]))


def test_the_average_is_of_every_step(monkeypatch):
    seen, update = [], critic_free.EMA.update

    def spy(self, model):
        seen.append(weights(model))
        update(self, model)

    monkeypatch.setattr(critic_free.EMA, "update", spy)
    policy, average, _ = run(RLOO, ema_decay=0.9)
    assert len(seen) == 6 and torch.equal(seen[-1], weights(policy))
    shadow = weights(make())
    for now in seen:
        shadow = 0.9 * shadow + 0.1 * now
    torch.testing.assert_close(weights(average), shadow, rtol=0, atol=1e-12)
    assert average is not policy


def test_the_step_size_warms_up_from_a_tenth(monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    run(GRPO, steps=6, warmup_steps=4, minibatches=1)
    assert rates == pytest.approx([1e-4, 3.25e-4, 5.5e-4, 7.75e-4, 1e-3, 1e-3])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", FAMILIES)
def test_models_of_every_family_in_float32(method, kind):
    """GPT-2 comes in training mode, with dropout: it is off in sampling and in the update."""
    policy, reference = make(kind).float().train(), make(kind).float().train()
    policy, average, history = run(method, policy, reference, reward=lambda *a: fives(*a).float())
    assert history[0]["objective/kl"] == pytest.approx(0, abs=1e-6)
    assert history[-1]["objective/kl"] > 1e-6
    assert torch.equal(weights(reference), weights(make(kind).float()))
    assert not policy.training and torch.isfinite(weights(average)).all()


def test_a_policy_with_lora_trains_its_adapter():
    from peft import LoraConfig, get_peft_model

    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    policy = get_peft_model(make("llama"), adapter).double()
    _, _, history = run(RLOO, policy, make("llama"), learning_rate=1e-2)
    assert history[-1]["objective/kl"] > 1e-6
    kept = [p.detach().flatten() for n, p in policy.named_parameters() if "lora" not in n]
    assert torch.equal(torch.cat(kept), weights(make("llama")))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"method": "PPO"}, "method"),
        ({"group_size": 1}, "group_size"),
        ({"group_size": 3}, "group_size"),
        ({"group_size": 0}, "group_size"),
        ({"gamma": 0.5}, "gamma"),
        ({"kl_controller": "adaptive"}, "kl_controller"),
        ({"discount": 0.9}, "discount"),
        ({"inner_epochs": 2}, "inner_epochs"),
        ({"whiten_rewards": True}, "whiten_rewards"),
        ({"prompts": []}, "prompts"),
        ({"prompts": [[5], []]}, "prompt 1"),
        ({"prompts": [[5] * 30]}, "prompt 0"),  # no room for a response in 32 positions
        ({"reward": 3.0}, "reward"),
        ({"reward": lambda p, r, m: torch.full((len(p),), torch.nan)}, "reward"),
        ({"reward": lambda p, r, m: torch.zeros(len(p), 1)}, "reward"),
        ({"minibatches": 3}, "minibatches"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_refuses(change, argument):
    with pytest.raises(InputError) as error:
        run(**({"method": RLOO, "steps": 1} | change))
    assert error.value.argument == argument
    assert "\n" not in str(error.value)


def test_refuses_models_that_do_not_go_together():
    from peft import LoraConfig, get_peft_model

    policy = make("llama")
    with pytest.raises(InputError, match="frozen copy"):
        run(GRPO, policy, policy)
    other = make()
    other.resize_token_embeddings(WORDS + 1)
    with pytest.raises(InputError, match="17 words"):
        run(GRPO, make(), other)
    with pytest.raises(InputError, match="unfreeze"):
        run(GRPO, make().requires_grad_(False))
    adapter = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with pytest.raises(InputError, match="frozen copy"):  # the adapter is inside of it
        run(GRPO, get_peft_model(policy, adapter), policy)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_an_error_before_the_step(method):
    broken = make()
    with torch.no_grad():
        broken.transformer.wte.weight[5] = torch.nan
    with pytest.raises(DivergenceError, match="not finite"):
        run(method, broken)
    policy, huge = make(), torch.tensor([1.7e308, -1.7e308] * 8, dtype=float64)
    with pytest.raises(DivergenceError, match=f"{method}: gradient norm"):
        run(method, policy, reward=lambda p, r, m: huge)
    assert torch.equal(weights(policy), weights(make()))
