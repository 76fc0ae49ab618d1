"""Does checking answers alone teach a small model to reason, and what do more tokens buy?

Writes ``book/results/reasoning``. ``micro`` is fine-tuned on solved sums of four numbers, half of
them with their steps written out and half with the answer alone; that is *SFT*. From there two runs
see problems and a checker that reads the last number, and no solution: our ``PPOTrainer`` and TRL's
``GRPOTrainer``. Both draw as many answers, take as many steps, and have no KL penalty. Each system
then solves held-out problems several times: votes, choices and lengths are computed from these
samples, and how many answers a *careless* checker would accept, which is content when the answer's
digits stand anywhere. All runs start from one fine-tuned policy; a seed changes the problems that
they see, their order, and all samples. Test problems are the same. Runs that the same code has done
before are read from ``runs/``.

GSM8K's own solutions are read too, and their calculations checked (``gsm8k.csv``).

Rules for the four claims of the ledger were written before the first run: one answer of GRPO is
right more often than one of SFT by more than ten points; the vote of sixteen answers of SFT is
right more often than one; all steps are worth more than none to GRPO; GRPO's answers are longer
than SFT's.

They were written for stories with up to five numbers. Trials of fine-tuning alone showed that
``tiny`` does not learn to copy numbers out of those in a few hundred steps; the problems became
sums of four numbers at fixed places, and the model ``micro``. PPO with five times the step size
then unlearned to add, on seed 0; the step sizes of both trainers were chosen by training rewards of
that seed, before any run that is published.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlhf_lab.config import PPOConfig, SFTConfig
from rlhf_lab.encoding import encode_prompts
from rlhf_lab.evaluate import answers, continuation_logprobs
from rlhf_lab.files import atomic_write, file_hash
from rlhf_lab.fingerprint import code_fingerprint, fingerprint
from rlhf_lab.lineage import gsm8k, long_sums
from rlhf_lab.lineage.long_sums import LongSum
from rlhf_lab.lineage.reasoning import GRPOSettings, train_grpo, verifiable_reward
from rlhf_lab.lineage.votes import majority_at_k
from rlhf_lab.models import ASSETS, ScalarModel, load_policy, save_policy
from rlhf_lab.objectives import pass_at_k
from rlhf_lab.over_optimisation import best_of_n_mean
from rlhf_lab.ppo import PPOTrainer
from rlhf_lab.provenance import manifest
from rlhf_lab.sft import train_sft

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "results" / "reasoning"
SEEDS = (0, 1, 2)
LONGEST = 32  # tokens of a solution; one with all steps has 22
PRESET = "micro"  # large enough to add, small enough to be trained many times
SFT, PPO, GRPO = SYSTEMS = ("SFT", "PPO", "GRPO")
TABLES = ("answers", "curves", "forced", "training", "samples")
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Measured:
    """What is run for each seed.

    Attributes:
        demonstrations: solved problems that the base model is fine-tuned on.
        written: share of them with steps.
        problems: that reinforcement learning draws from.
        tests: held-out problems; samples: solutions drawn to each.
        votes: answers that vote, or of which one is chosen.
        cut: solutions with steps to each problem that are cut short.
        kept: the test problem whose solutions are published for the first seed.
    """

    demonstrations: int = 2000
    written: float = 0.5
    sft: SFTConfig = field(
        default_factory=lambda: SFTConfig(
            epochs=2, learning_rate=3e-3, batch_size=16, micro_batch_size=16, max_length=48
        )
    )
    problems: int = 2000
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(
            steps=20, learning_rate=1e-4, value_learning_rate=1e-3, lam=1.0, beta=0.0, gamma=0.0,
            ema_decay=0.0, max_response_length=LONGEST, checkpoint_every=0,
        )
    )  # fmt: skip
    grpo: GRPOSettings = field(default_factory=lambda: GRPOSettings(max_response_length=LONGEST))
    tests: int = 120
    samples: int = 16
    votes: tuple[int, ...] = (1, 2, 4, 8, 16)
    cut: int = 2
    kept: int = 2


def run() -> None:
    """Do the runs that are missing, write the tables."""
    started, settings = time.time(), Measured()
    found: Rows = {table: [] for table in TABLES}
    seconds = 0.0
    for seed in SEEDS:
        for system in SYSTEMS:
            kept = _kept(seed, system, settings)
            seconds += kept["seconds"]
            for table in TABLES:
                about = {"seed": seed, "system": system}
                found[table] += [about | row for row in kept[table]]
    for table in TABLES:
        text = pd.DataFrame(found[table]).to_csv(index=False, float_format="%.5g")
        atomic_write(FOLDER / f"{table}.csv", text)
    atomic_write(FOLDER / "gsm8k.csv", read_gsm8k().to_csv(index=False, float_format="%.5g"))
    about = manifest("python -m benchmarks reasoning", settings, SEEDS, started)
    about["seconds_of_all_runs"] = round(seconds, 1)
    atomic_write(FOLDER / "manifest.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _kept(seed: int, system: str, settings: Measured) -> dict[str, Any]:
    """Tables of one system of a seed; read where the same code has made them."""
    key = fingerprint([
        code_fingerprint("rlhf_lab.lineage.reasoning", "rlhf_lab.ppo", "rlhf_lab.sft"),
        file_hash(ASSETS / PRESET / "model.safetensors"),
        dataclasses.asdict(settings),
    ])  # fmt: skip
    folder = ROOT / "runs" / f"published-reasoning-{key}"
    path = folder / f"{seed}-{SYSTEMS.index(system)}.json"
    if not path.is_file():
        before = time.process_time()
        made: dict[str, Any] = {**measured(seed, system, settings, folder / "sft")}
        made["seconds"] = time.process_time() - before
        atomic_write(path, json.dumps(made, ensure_ascii=False))
        right = sum(row["right"] for row in made["answers"])
        drawn = sum(row["samples"] for row in made["answers"])
        print(
            f"{system}, seed {seed}: {right / drawn:.3f} right, {made['seconds']:.0f} s", flush=True
        )
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


# --- training -------------------------------------------------------------------------------------


def fine_tuned(settings: Measured, folder: Path) -> tuple[Any, Any]:
    """The policy after supervised fine-tuning, made once, and the tokenizer."""
    if not folder.is_dir():
        policy, tokenizer = load_policy(PRESET)
        shown = long_sums.solved("train", settings.demonstrations, written=settings.written)
        train_sft(policy, tokenizer, shown, settings.sft, quiet=True)
        save_policy(policy, tokenizer, folder)
    return load_policy(folder)


def trained(
    policy: Any, tokenizer: Any, system: str, seed: int, settings: Measured
) -> list[dict[str, Any]]:
    """Train a policy in place by the trainer of a system; rows of ``step, reward, tokens``."""
    asked = long_sums.long_sums("train", settings.problems, 1000 + seed)
    check = long_sums.answer_is_right
    if system == GRPO:
        history = train_grpo(
            policy, tokenizer, asked, check, dataclasses.replace(settings.grpo, seed=seed)
        )
        return [{"step": i, **row} for i, row in enumerate(history, start=1)]
    rows = PPOTrainer(
        policy,
        copy.deepcopy(policy),
        verifiable_reward(asked, tokenizer, check),
        ScalarModel.from_policy(policy, seed),
        tokenizer,
        encode_prompts(tokenizer, [problem.text for problem in asked]),
        None,
        dataclasses.replace(settings.ppo, seed=seed),
        quiet=True,
    ).train()
    return [
        {"step": i, "reward": row["objective/scores"], "tokens": row["response/length"]}
        for i, row in enumerate(rows, start=1)
    ]


# --- measuring ------------------------------------------------------------------------------------


def measured(seed: int, system: str, settings: Measured, folder: Path) -> Rows:
    """Train one system and let it solve the test problems.

    Returns:
        ``answers``: of the ``samples`` of all problems how many are ``right`` by the last number,
        which derivation the right ones have, how many hold the answer ``somewhere``, and their
        mean ``tokens``. ``curves``: for each k, the share of problems solved by the ``majority``,
        the ``likeliest`` and whoever can check (``checked``), and the tokens that this takes.
        ``forced``: solutions, cut after some steps. ``training``: how the run went. ``samples``:
        solutions to one problem.
    """
    policy, tokenizer = fine_tuned(settings, folder)
    found: Rows = {table: [] for table in TABLES}
    if system != SFT:
        found["training"] = trained(policy, tokenizer, system, seed, settings)
    policy.eval()
    problems = long_sums.long_sums("test", settings.tests)
    texts = draw(policy, tokenizer, problems, settings.samples, seed)
    lengths = [[len(ids) + 1 for ids in tokenizer(own)["input_ids"]] for own in texts]
    found["answers"] = [counted(problems, texts, lengths)]
    found["curves"] = curves(policy, tokenizer, problems, texts, lengths, settings)
    found["forced"] = cut_short(policy, tokenizer, problems, texts, settings, seed)
    if seed == SEEDS[0]:
        problem = problems[settings.kept]
        for text, count in Counter(texts[settings.kept]).most_common(6):
            found["samples"].append({
                "text": text,
                "count": count,
                "right": long_sums.answer_is_right(problem, text),
                "derivation": long_sums.derivation(problem, text),
            })  # fmt: skip
    return found


def draw(
    policy: Any, tokenizer: Any, problems: Sequence[LongSum], count: int, seed: int
) -> list[list[str]]:
    """``count`` solutions to each problem at temperature 1."""
    asked = [problem.text for problem in problems for _ in range(count)]
    flat = answers(policy, tokenizer, asked, max_new_tokens=LONGEST, seed=seed)
    return [flat[i : i + count] for i in range(0, len(flat), count)]


def counted(
    problems: Sequence[LongSum], texts: Sequence[Sequence[str]], lengths: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """The row of ``answers``, see :func:`measured`."""
    pairs = [(p, text) for p, own in zip(problems, texts, strict=True) for text in own]
    how = [long_sums.derivation(*pair) for pair in pairs]
    right = [long_sums.answer_is_right(*pair) for pair in pairs]
    of_right = Counter(kind for kind, good in zip(how, right, strict=True) if good)
    return {
        "samples": len(pairs),
        "right": sum(right),
        **{f"right, steps {kind}": of_right[kind] for kind in long_sums.DERIVATIONS},
        "with steps": sum(kind != long_sums.NONE for kind in how),
        "somewhere": sum(long_sums.answer_is_somewhere(*pair) for pair in pairs),
        "tokens": sum(map(sum, lengths)) / len(pairs),
    }


def curves(
    policy: Any,
    tokenizer: Any,
    problems: Sequence[LongSum],
    texts: Sequence[Sequence[str]],
    lengths: Sequence[Sequence[int]],
    settings: Measured,
) -> list[dict[str, Any]]:
    """The table ``curves``, see :func:`measured`; every mean is over all sets of k samples."""
    scores = mean_logprobs(policy, tokenizer, problems, texts)
    rows = []
    for k in settings.votes:
        solved: dict[str, list[float]] = {"majority": [], "likeliest": [], "checked": []}
        for problem, own, likely in zip(problems, texts, scores, strict=True):
            said = [long_sums.last_number(text) for text in own]
            right = [number == problem.answer for number in said]
            solved["majority"].append(majority_at_k(said, problem.answer, k))
            solved["likeliest"].append(best_of_n_mean(likely, [float(r) for r in right], k))
            solved["checked"].append(pass_at_k(len(own), sum(right), k))
        means = {name: sum(values) / len(values) for name, values in solved.items()}
        flat = [length for own in lengths for length in own]
        rows.append({"k": k, **means, "tokens": k * sum(flat) / len(flat)})
    return rows


def mean_logprobs(
    policy: Any, tokenizer: Any, problems: Sequence[LongSum], texts: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Mean log-probability of a solution's tokens with EOS, in nats; equal ones are read once."""
    heads = encode_prompts(tokenizer, [problem.text for problem in problems])
    different = [list(dict.fromkeys(own)) for own in texts]
    pairs, place = [], {}
    for number, own in enumerate(different):
        for text, ids in zip(own, tokenizer(own)["input_ids"], strict=True):
            place[number, text] = len(pairs)
            pairs.append((heads[number], [*ids, tokenizer.eos_token_id]))
    totals = continuation_logprobs(policy, pairs, tokenizer.pad_token_id)
    means = [total / len(tail) for total, (_, tail) in zip(totals, pairs, strict=True)]
    return [[means[place[number, text]] for text in own] for number, own in enumerate(texts)]


def cut_short(
    policy: Any,
    tokenizer: Any,
    problems: Sequence[LongSum],
    texts: Sequence[Sequence[str]],
    settings: Measured,
    seed: int,
) -> list[dict[str, Any]]:
    """The table ``forced``: solutions with steps, ended after ``steps`` of them by the word "so".

    Left out are solutions without steps.
    """
    chosen = [
        (problem, text)
        for problem, own in zip(problems, texts, strict=True)
        for text in [t for t in own if long_sums.first_steps(t, 1)][: settings.cut]
    ]
    rows = []
    for steps in range(long_sums.CHANGES + 1):
        begun = [long_sums.first_steps(text, steps) for _, text in chosen]
        begun = [f"{text} so" if text else "so" for text in begun]
        asked = [problem.text + text for (problem, _), text in zip(chosen, begun, strict=True)]
        ends = answers(policy, tokenizer, asked, max_new_tokens=4, seed=seed)
        right = [
            long_sums.last_number(end) == problem.answer
            for (problem, _), end in zip(chosen, ends, strict=True)
        ]
        whole = [a + b for a, b in zip(begun, ends, strict=True)]
        tokens = sum(len(ids) + 1 for ids in tokenizer(whole)["input_ids"]) if whole else 0
        rows.append({
            "steps": steps,
            "solutions": len(chosen),
            "right": sum(right),
            "tokens": tokens / max(len(chosen), 1),
        })  # fmt: skip
    return rows


def read_gsm8k() -> pd.DataFrame:
    """What the format's reader makes of GSM8K's own solutions, one row for each split."""
    rows = []
    for split in gsm8k.SHA256:
        problems = gsm8k.gsm8k(split)
        found = [gsm8k.calculations(problem.answer) for problem in problems]
        verdicts = Counter(one.holds for own in found for one in own)
        ends = [gsm8k.final_answer(problem.answer) for problem in problems]
        rows.append({
            "split": split,
            "problems": len(problems),
            "answers": sum(end is not None for end in ends),
            "calculations": sum(map(len, found)),
            "hold": verdicts[True],
            "fail": verdicts[False],
            "unread": verdicts[None],
            "without": sum(not own for own in found),
        })  # fmt: skip
    return pd.DataFrame(rows)
