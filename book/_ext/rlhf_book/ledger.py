"""The directive ``{ledger}``: rows of the findings ledger as a table.

    ```{ledger} ../results/claims.yaml
    :verdict: not reproduced
    ```

The file is made by ``python -m benchmarks claims`` and is the one place of its numbers; nothing is
typed on the page. Claims, what the paper found and what was measured are parsed as MyST into
ordinary nodes, so that translation, search, terms and citations treat them like text of the page.
Each row has an address, ``#claim-tax-loss``, and links the chapter behind it and the manifest of
its runs. Without a row of a verdict the table is replaced by a sentence that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.locale import get_translation

from rlhf_book.pieces import TextDirective
from rlhf_lab.errors import InputError

_ = get_translation("rlhf_book")

VERDICTS = (
    "not reproduced", "reproduced", "by construction", "not tested yet",
    "not testable at this size",
)  # fmt: skip
SUBJECTS = (
    "preference", "tax", "truth", "toxicity", "labelers", "stages", "failures", "proxy", "code",
    "examples", "instructions", "calibration", "prediction", "emergence",
    "reasoning", "refusals", "dialogue", "rounds", "pictures", "methods",
)  # fmt: skip
WHY = ("contrary", "undecided")  # for a claim that was not reproduced; in this order on the page
DIGITS = {
    "points": 1, "nats per token": 3, "nats per pair": 3, "utility points": 2,
    "reward model points": 2, "root nats": 2, "tokens": 1,
    "nats per response": 2,
}  # fmt: skip

Claim = Mapping[str, Any]
Parse = Callable[[str], list[nodes.Node]]


def read_ledger(path: Path) -> list[Claim]:
    """The claims of a ledger, in its order.

    Raises:
        InputError: an unknown verdict, subject or unit.
    """
    claims: list[Claim] = yaml.safe_load(path.read_text(encoding="utf-8"))["claims"]
    for claim in claims:
        listed: dict[str, tuple[str, ...]] = {"verdict": VERDICTS, "about": SUBJECTS}
        if "statistic" in claim:
            listed["unit"] = tuple(DIGITS)
        for name, allowed in listed.items():
            if claim.get(name) not in allowed:
                fix = f"correct claim {claim.get('id')}, and make the ledger again"
                raise InputError(name, claim.get(name), f"one of {', '.join(allowed)}", fix)
    return claims


def of_verdict(claims: list[Claim], verdict: str) -> list[Claim]:
    """Those of a verdict: first what is contrary to the paper, then by subject."""
    own = [claim for claim in claims if claim["verdict"] == verdict]
    order = {why: place for place, why in enumerate(WHY)}
    return sorted(
        own, key=lambda c: (order.get(c.get("why", ""), 0), SUBJECTS.index(c["about"]))
    )  # stable: the file's order within a subject


def number(claim: Claim) -> str:
    """The statistic with its interval, unit and number of seeds."""
    found, digits = claim["statistic"], DIGITS[claim["unit"]]
    mean, low, high = (
        f"{found[end]:.{digits}f}".replace("-", "−") for end in ("mean", "low", "high")
    )
    units = {
        "points": _("percentage points"),
        "nats per token": _("nats per token"),
        "nats per pair": _("nats per pair"),
        "reward model points": _("points of the reward model"),
        "root nats": _("√nats"),
        "tokens": _("tokens"),
        "nats per response": _("nats per response"),
        "utility points": _("utility points"),
    }
    shape = _("{mean} [{low}, {high}] {unit}, {seeds} seeds")
    if found["seeds"] == 1:  # of a prediction, which one run decides
        shape = _("{mean} [{low}, {high}] {unit}, one run")
    return shape.format(
        mean=mean, low=low, high=high, unit=units[claim["unit"]], seeds=found["seeds"]
    )


def label(claim: Claim) -> str:
    """What the row is about, and how it failed."""
    subjects = {
        "preference": _("Preference"),
        "tax": _("Alignment tax"),
        "truth": _("Truth"),
        "toxicity": _("Toxicity"),
        "labelers": _("Labelers"),
        "stages": _("SFT and reward model"),
        "failures": _("Failures"),
        "proxy": _("Over-optimisation"),
        "code": _("Code and reasoning"),
        "examples": _("Learning from examples"),
        "instructions": _("Instruction tuning"),
        "calibration": _("Calibration"),
        "prediction": _("Predicted loss"),
        "emergence": _("Emergence"),
        "reasoning": _("Reasoning"),
        "refusals": _("Refusals"),
        "dialogue": _("Dialogue"),
        "rounds": _("Rounds of feedback"),
        "pictures": _("Pictures"),
        "methods": _("After PPO"),
    }
    why = {"contrary": _("the contrary holds here"), "undecided": _("our runs leave it open")}
    subject = subjects[claim["about"]]
    return f"{subject}: {why[claim['why']]}" if "why" in claim else f"{subject}"


def table(claims: list[Claim], results: str, parse: Parse) -> nodes.table:
    """Three columns: the claim; the paper, with the place; what was measured here.

    Args:
        claims: the rows.
        results: folder of the experiments, as a link of the page begins.
        parse: MyST to nodes.
    """
    group = nodes.tgroup(cols=3)
    group += [nodes.colspec(colwidth=width) for width in (32, 32, 36)]
    titles = (_("Claim"), _("In the paper"), _("In Fernwick"))
    group += nodes.thead("", nodes.row("", *(_entry(nodes.paragraph("", t)) for t in titles)))
    body = nodes.tbody()
    for claim in claims:
        source = claim["source"]
        cited = parse(f"{{cite:t}}`{source['key']}`, {source['place']}")
        row = nodes.row(ids=[f"claim-{claim['id']}"])
        head = nodes.paragraph("", label(claim), classes=["rl-ledger-label"])
        if claim.get("why") == "contrary":
            head["classes"].append("rl-ledger-contrary")
        row += _entry(head, *parse(claim["claim"]), *_small(parse(f"[]({claim['chapter']}.md)")))
        row += _entry(*parse(claim["paper"]), *_small(cited))
        row += _entry(*_here(claim, results, parse))
        body += row
    group += body
    return nodes.table("", group, classes=["rl-ledger", "colwidths-given", "longtable"])


def _here(claim: Claim, results: str, parse: Parse) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    if "statistic" in claim:
        found.append(nodes.paragraph("", number(claim), classes=["rl-ledger-number"]))
        found += parse(claim["here"])
    if "note" in claim:
        found += parse(claim["note"])
    if "statistic" in claim:
        manifest = f"{results}/{claim['experiment']}/manifest.json"
        found += _small(parse(f"[{claim['command']}]({manifest})"))
    return found


def _entry(*children: nodes.Node) -> nodes.entry:
    return nodes.entry("", *children)


def _small(found: list[nodes.Node]) -> list[nodes.Node]:
    for node in found:
        if isinstance(node, nodes.Element):
            node["classes"].append("rl-ledger-small")
    return found


class LedgerDirective(TextDirective):
    """One argument, the file, from the page's folder; ``:verdict:`` of the rows."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"verdict": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """The table; a file that cannot be used, or an unknown verdict, is an error."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        verdict = self.options.get("verdict")
        try:
            if verdict not in VERDICTS:
                allowed = f"one of {', '.join(VERDICTS)}"
                raise InputError(":verdict:", verdict, allowed, "name one of them")
            claims = of_verdict(read_ledger(Path(absolute)), verdict)
        except InputError as error:
            raise self.error(str(error)) from error
        if not claims:
            return [nodes.paragraph("", _("No claim has this verdict."))]
        return [table(claims, str(Path(self.arguments[0]).parent), self.parse)]


def register(app: Sphinx) -> None:
    """Tell Sphinx about the directive."""
    app.add_directive("ledger", LedgerDirective)
