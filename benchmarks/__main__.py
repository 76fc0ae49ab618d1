"""Run all benchmarks, or those named: ``python -m benchmarks versus_trl scaling``."""

from __future__ import annotations

import sys

from benchmarks import (
    after_rlhf,
    architectures,
    behaviour,
    bug_clinic,
    calibration,
    claims,
    code_in_web,
    codex,
    dialogue,
    embeddings,
    failures,
    feature_templates,
    fine_tuning,
    fine_tuning_trials,
    imitation,
    in_context_cost,
    instruction_tuning,
    kl_penalty,
    knowledge,
    labeling,
    leakage,
    lighthouse,
    matmul_share,
    more_than_text,
    one_task,
    over_optimisation,
    page_models,
    policy_gradient,
    predicted_loss,
    prompting,
    quickstart,
    rbrm,
    reactions,
    reasoning,
    reward_model,
    scaling,
    scaling_laws,
    second_round,
    sft,
    size,
    sweep,
    versus_trl,
)

BENCHMARKS = {
    "versus_trl": versus_trl,
    "matmul_share": matmul_share,
    "scaling": scaling,
    "quickstart": quickstart,
    "sweep": sweep,
    "feature_templates": feature_templates,
    "policy_gradient": policy_gradient,
    "imitation": imitation,
    "labeling": labeling,
    "leakage": leakage,
    "kl_penalty": kl_penalty,
    "over_optimisation": over_optimisation,
    "reward_model": reward_model,
    "bug_clinic": bug_clinic,
    "sft": sft,
    "embeddings": embeddings,
    "fine_tuning_trials": fine_tuning_trials,
    "fine_tuning": fine_tuning,
    "prompting": prompting,
    "one_task": one_task,
    "behaviour": behaviour,
    "failures": failures,
    "knowledge": knowledge,
    "size": size,
    "page_models": page_models,
    "reactions": reactions,
    "lighthouse": lighthouse,
    "architectures": architectures,
    "codex": codex,
    "code_in_web": code_in_web,
    "instruction_tuning": instruction_tuning,
    "calibration": calibration,
    "rbrm": rbrm,
    "predicted_loss": predicted_loss,
    "scaling_laws": scaling_laws,
    "in_context_cost": in_context_cost,
    "reasoning": reasoning,
    "dialogue": dialogue,
    "more_than_text": more_than_text,
    "after_rlhf": after_rlhf,
    "second_round": second_round,
    "claims": claims,
}

if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(BENCHMARKS)}")
    for name in names:
        print(f"{name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}", flush=True)
        BENCHMARKS[name].run()
