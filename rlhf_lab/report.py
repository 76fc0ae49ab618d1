"""One page with the result of a chain: table, curves, answers side by side.

The page is a single file that asks no host for anything, and says so to the browser by its content
security policy. Everything that a model wrote is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from rlhf_lab.figures import learning_curves
from rlhf_lab.files import atomic_write
from rlhf_lab.svg import to_svg

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --quiet: #59636e; --card: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --quiet: #9aa4af; --card: #1c222a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1rem; line-height: 1.5;
  font-family: system-ui, sans-serif; background: Canvas; color: CanvasText; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid Highlight; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption, figcaption { text-align: left; color: var(--quiet); }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: bottom; }
td { white-space: nowrap; } td.text { white-space: normal; }
th:first-child { text-align: left; white-space: nowrap; } td.text { text-align: left; }
figure { margin: 1.5rem 0; } figure svg { width: 100%; min-width: 34rem; height: auto; }
.answers { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.answers div { background: var(--card); padding: .6rem; border-radius: .4rem; }
.answers h4, .prompt { margin: 0 0 .3rem; }
.answers p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.prompt { white-space: pre-wrap; overflow-wrap: anywhere; font-weight: 600; }
.quiet { color: var(--quiet); font-weight: 400; }
"""
CURVES = (
    ("objective/scores", "reward", "RM score, mean per response"),
    ("objective/kl", "KL", "exact KL to SFT, nats per response"),
    ("held_out_loss", "alignment tax", "held-out loss, nats per token"),
)


def write_report(
    path: str | Path,
    table: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    samples: Sequence[Mapping[str, Any]],
    manifest: Mapping[str, Any],
) -> Path:
    """Write the page, atomically.

    Args:
        path: where to.
        table: one row per system, with ``system`` and the names of ``columns``.
        columns: name to heading.
        histories: name of a PPO run to its rows of metrics.
        samples: ``prompt``, ``kind``, and ``answers`` and ``gold`` by system.
        manifest: how the results were made.
    """
    from rlhf_lab.quickstart import cell

    body = [
        "<h1>From a base model to PPO-ptx</h1>",
        f"<p>{_finding(table)}</p>",
        "<h2>The five systems</h2>",
        _table(
            ["system", *columns.values()],
            [[row["system"], *(cell(row, name) for name in columns)] for row in table],
            "Means over the test prompts; brackets: 95 % bootstrap interval over prompts.",
        ),
        "<h2>While PPO trained</h2>",
        *(_figure(figure) for figure in curves(histories)),
        "<h2>Answers side by side</h2>",
        *(_sample(sample) for sample in samples),
        "<h2>How this was made</h2>",
        _manifest(manifest),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>rlhf_lab quickstart</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )
    return atomic_write(path, page)


def _finding(table: Sequence[Mapping[str, Any]]) -> str:
    ordered = sorted(table, key=lambda row: -row["gold"])
    names = " &gt; ".join(f"{escape(row['system'])} ({row['gold']:.2f})" for row in ordered)
    return f"By the gold score: {names}."


def curves(histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[go.Figure]:
    """Reward, KL and tax against the iteration, one line per run that logged them."""
    figures = []
    for metric, name, label in CURVES:
        rows = [
            {"iteration": row["step"], "value": row[metric], "run": run}
            for run, history in histories.items()
            for row in history
            if row.get(metric) is not None
        ]
        if not rows:
            continue
        data = pd.DataFrame(rows)
        ends = data.groupby("run", sort=False).value.agg(["first", "last"])
        words = "; ".join(
            f"{run}: {e['first']:.2f} to {e['last']:.2f}" for run, e in ends.iterrows()
        )
        figures.append(
            learning_curves(
                data, x="iteration", y="value", color="run",
                title=f"PPO: {name}",
                alt=f"Lines of {label} against the PPO iteration. From first to last: {words}.",
                x_label="PPO iteration", y_label=label,
            )
        )  # fmt: skip
    return figures


def _figure(figure: go.Figure) -> str:
    meta = figure.layout.meta
    records = meta["data"]
    headings = list(records[0])
    rows = [[_number(record.get(name)) for name in headings] for record in records]
    title = figure.layout.title.text.replace("<br>", " ")
    return (
        f"<figure>{_region(title)}"
        f'<div role="img" aria-label="{escape(meta["alt"])}">{to_svg(figure)}</div></div>'
        f"<figcaption>{escape(title)}. {escape(meta['alt'])}</figcaption>"
        f"<details><summary>The data as a table</summary>{_table(headings, rows, title)}</details>"
        "</figure>"
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in headings)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(text)}</td>" for text in row[1:])
        + "</tr>"
        for row in rows
    ]
    return (
        f"{_region(caption)}<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _sample(sample: Mapping[str, Any]) -> str:
    cards = "".join(
        f'<div><h4>{escape(name)} <span class="quiet">gold {sample["gold"][name]:.2f}</span></h4>'
        f"<p>{escape(text) or '<i>nothing</i>'}</p></div>"
        for name, text in sample["answers"].items()
    )
    return (
        f'<section><h3 class="prompt">{escape(sample["prompt"])} '
        f'<span class="quiet">({escape(sample["kind"])})</span></h3>'
        f'<div class="answers">{cards}</div></section>'
    )


def _manifest(manifest: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    rows = [
        ["command", manifest["command"]],
        ["seeds", ", ".join(map(str, manifest["seeds"]))],
        ["device", manifest["device"]],
        ["seconds of this run", f"{manifest['wall_seconds']:.0f}"],
        ["code, SHA-256", manifest["code_sha256"][:16]],
        ["versions", versions],
    ]
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="text">{escape(text)}</td></tr>'
        for name, text in rows
    )
    return f"{_region('How this was made')}<table><tbody>{lines}</tbody></table></div>"


def _region(label: str) -> str:
    """Opens a box that scrolls sideways on a small screen, also by keyboard."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
