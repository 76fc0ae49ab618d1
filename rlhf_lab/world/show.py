"""Samples of everything in one Fernwick, for eyes or as JSON."""

from __future__ import annotations

from typing import Any

from rlhf_lab.records import Prompt
from rlhf_lab.world import documents
from rlhf_lab.world.labelers import GROUPS
from rlhf_lab.world.prompts import HARD_KINDS, USE_CASES
from rlhf_lab.world.world import World

SHOWN_QUALITIES = ("right", "wrong", "rude")
LABELERS_SHOWN = 3


def samples(world: World, index: int = 0) -> dict[str, Any]:
    """One sample of each kind of thing, JSON-ready.

    Args:
        world: which Fernwick.
        index: another index gives other samples.

    Returns:
        ``inhabitant``, ``documents``, ``prompts``, ``labelers``, ``suites``.
    """
    return {
        "seed": world.seed,
        "inhabitant": _inhabitant(world, index),
        "documents": [_document(world, kind, index) for kind in documents.SHARES],
        "prompts": [
            _prompt(world, world.prompt(index, kind=kind, hard=hard))
            for kind in USE_CASES
            for hard in ("", *HARD_KINDS.get(kind, {}))
        ],
        "labelers": [
            _labeler(labeler) for g in GROUPS for labeler in world.labelers(g)[:LABELERS_SHOWN]
        ],
        "suites": [_suite(suite, index) for suite in world.suites().values()],
    }


def _inhabitant(world: World, index: int) -> dict[str, Any]:
    k = world.knowledge
    who = k.inhabitants[index % len(k.inhabitants)]
    facts = {
        relation: list(k.values(relation, who)) for relation in k.facts if who in k.facts[relation]
    }
    return {
        "name": who,
        "facts": facts,
        "misconceptions": [
            {"relation": relation, "value": value}
            for relation, subject, value in k.misconceptions
            if subject == who
        ],
    }


def _document(world: World, kind: str, index: int) -> dict[str, Any]:
    others = [other for other in documents.SHARES if other != kind]
    text = world.document(index, without=others).text
    return {"kind": kind, "percent": documents.SHARES[kind], "text": text}


def _prompt(world: World, prompt: Prompt) -> dict[str, Any]:
    answers = []
    for quality in SHOWN_QUALITIES:
        text = world.answer(prompt, quality=quality)
        answers.append(
            {
                "quality": quality,
                "text": text,
                "gold": round(world.gold(prompt, text), 3),
                "attributes": world.attributes(prompt, text).as_dict(),
            }
        )
    return {
        "kind": prompt.kind,
        "hard": prompt.meta["hard"],
        "percent": USE_CASES[prompt.kind],
        "text": prompt.text,
        "answers": answers,
    }


def _labeler(labeler: Any) -> dict[str, Any]:
    weights = {name: round(weight, 2) for name, weight in labeler.weights.items()}
    return {"name": labeler.name, "noise": labeler.noise, "weights": weights}


def _suite(suite: Any, index: int) -> dict[str, Any]:
    item = suite.item(index)
    return {
        "suite": suite.label,
        "mirrors": suite.mirrors,
        "metric": suite.metric,
        "prompt": item.prompt,
        "answers": list(item.answers),
        "choices": list(item.choices),
    }


def as_text(found: dict[str, Any]) -> str:
    """What :func:`samples` found, to be read."""
    who = found["inhabitant"]
    lines = [f"# Fernwick, world {found['seed']}", "", f"## An inhabitant: {who['name']}", ""]
    lines += [f"{relation:<14} {', '.join(values)}" for relation, values in who["facts"].items()]
    lines += [f"many believe   {m['relation']}: {m['value']}" for m in who["misconceptions"]]
    lines += ["", "## The web, one document of each kind"]
    for document in found["documents"]:
        lines += ["", f"[{document['kind']}, {document['percent']} %]", document["text"]]
    lines += ["", "## What people ask, with answers", ""]
    lines.append("Gold is the mean labeler's utility; attributes of value 0 are left out.")
    for prompt in found["prompts"]:
        kind = ": ".join(name for name in (prompt["kind"], prompt["hard"]) if name)
        lines += ["", f"[{kind}, {prompt['percent']} %]", prompt["text"].rstrip()]
        for answer in prompt["answers"]:
            shown = {n: round(v, 2) for n, v in answer["attributes"].items() if v}
            attributes = " ".join(f"{name}={value:g}" for name, value in shown.items())
            lines.append(f"  {answer['quality']:<6} {answer['gold']:+.2f}  {answer['text']}")
            lines.append(f"                 {attributes}")
    lines += ["", "## Labelers", ""]
    for labeler in found["labelers"]:
        weights = " ".join(f"{name} {weight:+.2f}" for name, weight in labeler["weights"].items())
        lines.append(f"{labeler['name']:<11} noise {labeler['noise']:.1f}  {weights}")
    lines += ["", "## Benchmark suites, one question of each"]
    for suite in found["suites"]:
        lines += ["", f"[{suite['suite']}, {suite['metric']}, mirrors {suite['mirrors']}]"]
        lines.append(suite["prompt"])
        if suite["choices"]:
            lines.append(f"  choices: {' | '.join(c.strip() for c in suite['choices'])}")
        if suite["answers"]:
            lines.append(f"  answer:  {suite['answers'][0].strip()}")
    return "\n".join(lines)
