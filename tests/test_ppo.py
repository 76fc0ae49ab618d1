"""PPO-ptx: invariants, closed form, the meaning of gamma, refused input; mostly float64."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch

from rlhf_lab.checkpoints import latest_checkpoint, load_checkpoint
from rlhf_lab.errors import DivergenceError, InputError
from rlhf_lab.models import ScalarModel, reward_function, trainable
from rlhf_lab.ppo import METRICS, PPOConfig, PPOTrainer
from rlhf_lab.ppo_state import gradient
from tiny_models import FAMILIES, PAD, SPECIAL_TOKENS, causal_lm

WORDS = 16
PROMPTS = [[7, 3, 9, 12, 5], [8], [4, 4, 6], [3, 15, 2, 14], [5, 11], [9, 9], [13], [2, 8, 9]]
SMALL = {
    "beta": 0.1,
    "ptx_ratio": 1.0,
    "steps": 3,
    "batch_size": 8,
    "minibatches": 2,
    "max_response_length": 6,
    "warmup_steps": 0,
    "learning_rate": 1e-3,
    "gamma": 0.0,
    "checkpoint_every": 0,
}


def make(kind: str = "gpt2", seed: int = 0) -> torch.nn.Module:
    return causal_lm(kind, seed, vocab_size=WORDS, width=16, positions=32).double()


def fives(prompts, responses, mask):
    """A rule: the share of 5s."""
    return ((responses == 5) * mask).sum(1).double() / mask.sum(1)


def blocks(count: int = 12, length: int = 8) -> torch.Tensor:
    return torch.randint(2, WORDS, (count, length), generator=torch.Generator().manual_seed(9))


def trainer(kind="gpt2", policy=None, pretrain=None, prompts=PROMPTS, reward=fives, **settings):
    options = {k: settings.pop(k) for k in ("output_dir", "callback") if k in settings}
    config = PPOConfig(**(SMALL | settings))
    policy = make(kind) if policy is None else policy
    value = ScalarModel.from_policy(make(kind, 2), 0)
    return PPOTrainer(
        policy,
        make(kind),
        reward,
        value,
        SPECIAL_TOKENS,
        prompts,
        pretrain,
        config,
        quiet=True,
        **options,
    )


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# --- invariants ---------------------------------------------------------------------------------


@pytest.mark.parametrize("micro", [0, 2])
@pytest.mark.parametrize("kind", FAMILIES)
def test_learning_rate_0_means_ratio_1(kind, micro):
    """In every step of every inner epoch, whatever the padding and the split."""
    for longest in (1, 5):
        run = trainer(
            kind,
            prompts=[p[:longest] for p in PROMPTS],
            steps=2,
            learning_rate=0.0,
            inner_epochs=2,
            micro_batch_size=micro,
            gamma=0.5,
            pretrain=blocks(),
        )
        before = weights(run.policy)
        for row in run.train():
            assert row["policy/ratio"] == pytest.approx(1, abs=1e-10)
            assert row["policy/approxkl"] == pytest.approx(0, abs=1e-20)
            assert row["policy/clipfrac"] == 0
            assert row["objective/kl"] == pytest.approx(0, abs=1e-12)
        assert torch.equal(weights(run.policy), before)


def test_first_approxkl_is_logged_and_0_while_the_policy_moves():
    history = trainer(learning_rate=0.01, steps=4).train()
    assert all(row["policy/first_approxkl"] < 1e-20 for row in history)
    assert all(row["policy/approxkl"] > 1e-8 for row in history)
    assert history[-1]["objective/kl"] > 1e-4


def test_a_policy_that_answers_at_random_is_refused():
    run = trainer()
    run.logits.policy.transformer.drop.p = 0.5
    run.logits.policy.transformer.drop.train()
    with pytest.raises(InputError, match="dropout"):
        run.train()


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_micro_batches_change_nothing(kind):
    results = []
    for micro in (0, 1, 2):
        run = trainer(kind, micro_batch_size=micro, gamma=0.5, pretrain=blocks())
        run.train()
        results.append((weights(run.policy), weights(run.value)))
    for policy, value in results[1:]:
        torch.testing.assert_close(policy, results[0][0], rtol=0, atol=1e-9)
        torch.testing.assert_close(value, results[0][1], rtol=0, atol=1e-9)


def test_same_seed_same_run_and_another_seed_another_run():
    runs = [trainer(seed=s, prompts=[[8]]) for s in (0, 0, 1)]  # no order of prompts to differ
    for run in runs:
        run.train()
    assert torch.equal(weights(runs[0].policy), weights(runs[1].policy))
    assert not torch.equal(weights(runs[0].policy), weights(runs[2].policy))


def test_reference_and_reward_model_stay_as_they_were():
    reward_model = ScalarModel.from_policy(make(seed=3), 0)
    run = trainer(reward=reward_function(reward_model))
    reference = run.reference.policy
    before = weights(reference), weights(reward_model)
    run.train()
    assert torch.equal(weights(reference), before[0])
    assert torch.equal(weights(reward_model), before[1])


# --- gamma --------------------------------------------------------------------------------------


def recorded_gradients(**settings) -> tuple[list[torch.Tensor], dict, torch.nn.Module]:
    """The policy gradient of every step of the first iteration, before clipping, at rate 0."""
    run = trainer(steps=1, learning_rate=0.0, **settings)
    found = []
    original = run.state.step

    def step(name, loss, bound):
        if name == "policy":
            found.append(gradient(run.state.policy_optimizer))
        return original(name, loss, bound)

    run.state.step = step
    return found, run.iterate(0), run.policy


def cross_entropy(policy, tokens) -> torch.Tensor:
    logits = policy(input_ids=tokens).logits[:, :-1]
    return torch.nn.functional.nll_loss(
        logits.log_softmax(-1).flatten(0, 1), tokens[:, 1:].flatten()
    )


def test_gamma_0_is_ppo_bit_for_bit():
    runs = [trainer(), trainer(pretrain=blocks()), trainer(pretrain=blocks(), ptx_ratio=3.0)]
    histories = [run.train() for run in runs]
    for run, history in zip(runs, histories, strict=True):
        assert torch.equal(weights(run.policy), weights(runs[0].policy))
        assert history[-1]["tokens/ptx"] == 0
        assert "ptx/loss" not in history[-1]


@pytest.mark.parametrize("micro", [0, 1, 2])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5])
def test_gradient_is_g_pg_plus_gamma_g_ptx(micro, ratio):
    """One block repeated, so that the ratio must not matter."""
    block = blocks(1).expand(24, -1)
    plain, _, policy = recorded_gradients(micro_batch_size=micro)
    mixed, metrics, _ = recorded_gradients(
        micro_batch_size=micro, gamma=0.7, ptx_ratio=ratio, pretrain=block
    )
    policy.zero_grad()
    loss = cross_entropy(policy, block[:1])
    loss.backward()
    g_ptx = torch.cat([p.grad.flatten() for p in trainable(policy).values()])
    assert len(plain) == 2
    for g_pg, both in zip(plain, mixed, strict=True):
        torch.testing.assert_close(both, g_pg + 0.7 * g_ptx, rtol=0, atol=1e-10)
    assert metrics["ptx/loss"] == pytest.approx(loss.item(), abs=1e-10)
    wanted = (0.7 * g_ptx.norm() / plain[0].norm()).item()
    assert metrics["ptx/gradient_ratio"] == pytest.approx(wanted, rel=1e-8)
    cosine = (g_ptx @ plain[0] / g_ptx.norm() / plain[0].norm()).item()
    assert metrics["ptx/gradient_cosine"] == pytest.approx(cosine, abs=1e-8)
    assert metrics["tokens/ptx"] == ratio * 8 * 8


def test_ptx_blocks_of_a_step_are_each_used_once():
    """Distinct blocks: the loss of the first step is the mean over the sampler's own batch."""
    data = blocks(8)
    _, metrics, policy = recorded_gradients(gamma=1.0, pretrain=data, minibatches=1)
    wanted = cross_entropy(policy, data).item()  # 8 blocks, a whole epoch
    assert metrics["ptx/loss"] == pytest.approx(wanted, abs=1e-10)


def test_policy_gradient_by_hand():
    """∇ of −Σ Â·log π / n over whole minibatches, row by row, at ratio 1."""
    found, _, policy = recorded_gradients()
    run = trainer(learning_rate=0.0)
    rollouts = []
    original = run._update
    run._update = lambda rollout, i: rollouts.append(rollout) or original(rollout, i)
    run.iterate(0)
    (rollout,) = rollouts
    for k in range(2):
        rows = range(4 * k, 4 * k + 4)
        total = rollout.response_mask[4 * k : 4 * k + 4].sum()
        loss = 0.0
        for row in rows:
            p, n = int(rollout.prompt_lengths[row]), int(rollout.response_mask[row].sum())
            text = rollout.tokens[row : row + 1, : p + n]
            logp = policy(input_ids=text).logits.log_softmax(-1)[0, p - 1 : p + n - 1]
            taken = logp.gather(1, text[0, p:, None]).squeeze(1)
            loss = loss - (taken * rollout.advantages[row, :n]).sum() / total
        policy.zero_grad()
        loss.backward()
        wanted = torch.cat([p.grad.flatten() for p in trainable(policy).values()])
        torch.testing.assert_close(found[k], wanted, rtol=0, atol=1e-10)


# --- what PPO converges to ----------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_bandit_converges_to_the_closed_form(beta):
    """One-token responses: π*(y) = π_ref(y)·exp(r(y)/β)/Z. Draws are stratified, not random."""
    reward = torch.randn(WORDS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    run = trainer(
        reward=lambda p, r, m: reward[r[:, 0]],
        prompts=[[7]],
        batch_size=512,
        minibatches=1,
        micro_batch_size=512,
        max_response_length=1,
        beta=beta,
        learning_rate=0.02,
        value_learning_rate=0.02,
        ema_decay=0.9,
    )
    prompt = torch.tensor([[7]])
    ref = run.reference(prompt)[0, -1].log_softmax(-1).detach()
    wanted = (ref + reward / beta).softmax(-1)
    assert (wanted - ref.exp()).abs().sum() / 2 > 0.1  # there is something to learn
    strata = (torch.arange(512, dtype=torch.float64)[:, None] + 0.5) / 512
    run._draw = lambda iteration: ([[7]] * 512, strata)
    for iteration in range(80):
        run.state.policy_optimizer.param_groups[0]["peak"] = 0.02 * 0.94**iteration
        run.iterate(iteration)
    found = run.averaged_policy()(prompt).logits[0, -1].softmax(-1)
    # 512 strata leave half a stratum of error in each of 16 words: at most 16/1024 in total
    assert ((found - wanted).abs().sum() / 2).item() < 0.015


GOLDEN = [0.063, 0.1305, 0.1815, 0.431, 0.763, 0.9036]  # at iterations 1, 5, 9, 13, 17, 20


def test_golden_learning_curve():
    """20 iterations of a toy task stay in a band around the curve of the reviewed version."""
    history = trainer(
        steps=20, batch_size=64, minibatches=4, learning_rate=3e-3, beta=0.02, gamma=0.1,
        pretrain=blocks(),
    ).train()  # fmt: skip
    curve = [row["objective/scores"] for row in history]
    assert curve[-1] > curve[0] + 0.5
    for found, wanted in zip(curve[::4] + curve[-1:], GOLDEN, strict=True):
        assert found == pytest.approx(wanted, abs=0.05)


# --- schedule, controller, average, metrics -----------------------------------------------------


def test_learning_rate_warms_up_from_a_tenth():
    history = trainer(steps=6, warmup_steps=4, learning_rate=1e-3).train()
    rates = [row["policy/learning_rate"] for row in history]
    assert rates == pytest.approx([1e-4, 3.25e-4, 5.5e-4, 7.75e-4, 1e-3, 1e-3])
    assert trainer(warmup_steps=0).train()[0]["policy/learning_rate"] == 1e-3


def test_adaptive_beta_follows_its_controller():
    history = trainer(steps=4, kl_controller="adaptive", kl_target=1e-6, kl_horizon=100).train()
    betas = [row["objective/beta"] for row in history]
    assert betas[0] == 0.1
    for row, now, after in zip(history, betas, betas[1:], strict=False):
        error = min(max(row["objective/kl"] / 1e-6 - 1, -0.2), 0.2)
        assert after == pytest.approx(now * (1 + error * 8 / 100), rel=1e-12)
    assert betas[-1] > betas[1]
    fixed = trainer(steps=2).train()
    assert fixed[1]["objective/beta"] == 0.1


def test_average_is_updated_once_per_optimiser_step():
    run = trainer(ema_decay=0.9, inner_epochs=2)
    shadow, seen = weights(run.policy), []
    original = run.state.step

    def step(name, loss, bound):
        found = original(name, loss, bound)
        if name == "policy":
            seen.append(weights(run.policy))
        return found

    run.state.step = step
    run.train()
    assert len(seen) == run.config.optimizer_steps == 12
    for now in seen:
        shadow = 0.9 * shadow + 0.1 * now
    torch.testing.assert_close(weights(run.averaged_policy()), shadow, rtol=0, atol=1e-12)


def test_every_metric_is_in_the_glossary_and_every_entry_is_logged():
    history = trainer(gamma=0.5, pretrain=blocks()).train()
    for row in history:
        assert set(row) - {"step"} == set(METRICS)
        assert all(math.isfinite(value) for value in row.values())
    assert [row["step"] for row in history] == [1, 2, 3]


def test_metrics_against_the_rollout():
    run = trainer(beta=0.3)
    kept = []
    original = run._update
    run._update = lambda rollout, i: kept.append(rollout) or original(rollout, i)
    rows = [run.iterate(i) for i in range(2)]
    for row, rollout in zip(rows, kept, strict=True):
        mask = rollout.response_mask.bool()
        k1 = (rollout.logprobs - rollout.ref_logprobs).sum(1).mean().item()
        assert row["objective/kl"] == pytest.approx(rollout.kl.sum(1).mean().item(), abs=1e-12)
        assert row["objective/kl_k1"] == pytest.approx(k1, abs=1e-12)
        assert row["objective/entropy"] == pytest.approx(rollout.entropy[mask].mean().item())
        total = rollout.rewards.sum(1).mean().item()
        assert row["objective/rlhf_reward"] == pytest.approx(total, abs=1e-12)
        assert row["response/length"] == pytest.approx(mask.sum(1).double().mean().item())
        gap, target = (rollout.returns - rollout.values)[mask], rollout.returns[mask]
        wanted = 1 - (gap.var(unbiased=False) / target.var(unbiased=False)).item()
        assert row["value/explained_variance"] == pytest.approx(wanted, abs=1e-9)


def test_callback_sees_every_iteration():
    seen = []
    history = trainer(callback=lambda step, row: seen.append((step, row))).train()
    assert seen == [(i + 1, row) for i, row in enumerate(history)]


# --- other models -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
def test_three_ppo_ptx_steps_in_float32(kind):
    model, value = make(kind).float(), ScalarModel.from_policy(make(kind).float(), 0)
    reward = reward_function(value.copy())
    config = PPOConfig(**(SMALL | {"gamma": 0.3}))
    before = weights(model)
    run = PPOTrainer(
        model,
        copy.deepcopy(model),
        reward,
        value,
        SPECIAL_TOKENS,
        PROMPTS,
        blocks(),
        config,
        quiet=True,
    )
    history = run.train()
    assert len(history) == 3
    assert history[-1]["objective/kl"] > 0
    assert not torch.equal(weights(model), before)


def test_lora_policy_trains_its_adapter_only():
    from peft import LoraConfig, get_peft_model

    base = make("llama")
    frozen = weights(base)
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    policy = get_peft_model(base, adapter).double()
    run = trainer("llama", policy=policy, gamma=0.3, pretrain=blocks(), learning_rate=1e-2)
    history = run.train()
    assert set(run.state.ema.shadow) == set(trainable(policy))
    assert all("lora" in name for name in run.state.ema.shadow)
    assert history[-1]["objective/kl"] > 1e-6
    kept = torch.cat([
        p.detach().flatten() for n, p in policy.named_parameters() if "lora" not in n
    ])  # fmt: skip
    assert torch.equal(kept, frozen)


# --- refused input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"prompts": []}, "prompts"),
        ({"prompts": [[5], []]}, "prompt 1"),
        ({"prompts": [[5] * 65]}, "prompt 0"),
        ({"prompts": [[5] * 30]}, "prompt 0"),  # no room for a response in 32 positions
        ({"prompts": [[5, WORDS]]}, "prompt 0"),
        ({"prompts": [[5, -1]]}, "prompt 0"),
        ({"prompts": [[5, PAD]]}, "prompt 0"),
        ({"prompts": ["a", [5]]}, "prompts"),
        ({"gamma": 0.5}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks().double()}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks()[0]}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks()[:0]}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks(length=1)}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks(length=33)}, "pretrain"),
        ({"gamma": 0.5, "pretrain": blocks() + WORDS}, "pretrain"),
        ({"gamma": 0.5, "pretrain": -blocks()}, "pretrain"),
        ({"reward": 3.0}, "reward"),
        ({"reward": lambda p, r, m: torch.full((len(p),), torch.nan)}, "reward"),
        ({"beta": -0.1}, "beta"),
        ({"gamma": -1.0}, "gamma"),
        ({"clip": 0.0}, "clip"),
        ({"batch_size": 7}, "minibatches"),
        ({"micro_batch_size": 3}, "micro_batch_size"),
        ({"kl_controller": "magic"}, "kl_controller"),
        ({"temperature": 0.0}, "temperature"),
    ],
    # The same in every process, which the address of a function is not.
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_refuses(change, argument):
    with pytest.raises(InputError) as error:
        trainer(**change).train()
    assert error.value.argument == argument
    assert "\n" not in str(error.value)


def test_refuses_models_that_do_not_go_together():
    policy, value = make(), ScalarModel.from_policy(make(), 0)
    config, rest = PPOConfig(**SMALL), (SPECIAL_TOKENS, PROMPTS, None)
    same_id = SimpleNamespace(eos_token_id=0, pad_token_id=0, eos_token="<e>", pad_token="<e>")
    none = SimpleNamespace(eos_token_id=None, pad_token_id=1, eos_token=None, pad_token="<p>")
    for tokenizer in (same_id, none):
        with pytest.raises(InputError) as error:
            PPOTrainer(policy, make(), fives, value, tokenizer, PROMPTS, None, config)
        assert error.value.argument == "tokenizer"
    with pytest.raises(InputError, match="frozen copy"):
        PPOTrainer(policy, policy, fives, value, *rest, config)
    other = make()
    other.resize_token_embeddings(WORDS + 1)
    with pytest.raises(InputError, match="17 words"):
        PPOTrainer(policy, other, fives, value, *rest, config)
    with pytest.raises(InputError, match="unfreeze"):
        PPOTrainer(policy.requires_grad_(False), make(), fives, value, *rest, config)


def test_stops_at_a_loss_that_is_not_finite_and_keeps_the_last_checkpoint(tmp_path):
    calls = []

    def reward(prompts, responses, mask):
        calls.append(None)
        return torch.full((len(prompts),), 1e308 if len(calls) == 3 else 1.0, dtype=torch.float64)

    run = trainer(reward=reward, steps=5, checkpoint_every=1, output_dir=tmp_path)
    with pytest.raises(DivergenceError, match="not finite"):
        run.train()
    path = latest_checkpoint(tmp_path)
    assert path is not None
    tensors, state = load_checkpoint(path)
    assert state["step"] == 2
    assert all(torch.isfinite(t).all() for t in tensors.values())
    assert all(torch.isfinite(p).all() for p in run.policy.parameters())
