"""A figure of :mod:`rlhf_lab.figures` as a static drawing.

For the page before plotly.js has come, or where scripts are off; for print; for the README. Draws
what those figures use: lines, bands, markers, error bars, grouped bars and tables of colours. It is
no plotly: any other figure is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.colors import get_colorscale, sample_colorscale

from rlhf_lab.errors import InputError
from rlhf_lab.figures import THEMES

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, BOTTOM = 64, 16, 52
CHARACTER = 7.0  # width of one at 13 pixels, for the legend
DASHES = {
    "dash": "8 5",
    "dot": "2 4",
    "dashdot": "8 4 2 4",
    "longdash": "14 5",
    "longdashdot": "14 4 2 4",
}
SYMBOLS = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "square": "M-4-4h8v8h-8z",
    "diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0z",
    "triangle-up": "M0-5L5 4H-5z",
    "cross": "M-5-1.7h3.3v-3.3h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3z",
    "x": "M-4-4L4 4M4-4L-4 4",
}


@dataclass(frozen=True)
class Axis:
    """One axis: from values to pixels, and its ticks as (pixel, label)."""

    place: Callable[[Any], float]
    ticks: tuple[tuple[float, str], ...]
    step: float  # pixels from one category to the next; 0 on an axis of numbers


@dataclass(frozen=True)
class Box:
    """Where a panel's axes lie, in pixels from the upper left corner."""

    left: float
    right: float
    top: float
    bottom: float


def to_svg(figure: go.Figure, path: str | Path | None = None) -> str:
    """Draw a figure; with a path, also write it there with title and background, in light colours.

    Without a path the drawing is meant for the inside of a page: no title, no background, text and
    axes in the page's own colour (``currentColor``).

    Raises:
        InputError: a trace that is neither scatter, bar nor heatmap.
    """
    spec = figure.to_plotly_json()
    if path is None:
        return draw(spec)
    light = THEMES["light"]
    title = spec["layout"]["title"]["text"].split("<br>")
    lines = "".join(
        _text(LEFT, 24 + 22 * i, line, "start", 16, 600) for i, line in enumerate(title)
    )
    top = 12 + 22 * len(title)
    height = int(spec["layout"].get("height", HEIGHT)) + top
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" color="{light.text}" role="img" '
        f'aria-label="{escape(spec["layout"]["meta"]["alt"])}">'
        f'<rect width="100%" height="100%" fill="{light.background}"/>{lines}'
        f'<g transform="translate(0 {top})">{draw(spec)}</g></svg>\n'
    )
    temporary = Path(f"{path}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return text


def draw(spec: dict[str, Any]) -> str:
    """The ``<svg>`` of plotly's JSON (``{"data": [...], "layout": {...}}``)."""
    traces, layout = spec["data"], spec["layout"]
    for trace in traces:
        if trace["type"] not in ("scatter", "bar", "heatmap"):
            raise InputError(
                "figure", trace["type"], "scatter, bar or heatmap", "use rlhf_lab.figures"
            )
    legend, top = _legend(traces) if layout.get("showlegend") else ("", 12)
    height = int(layout.get("height", HEIGHT))
    whole = Box(_left(traces), WIDTH - RIGHT, top, height - BOTTOM)
    parts = [legend]
    bars = [trace for trace in traces if trace["type"] == "bar"]
    panels: dict[str, list[dict[str, Any]]] = {}
    for trace in traces:
        panels.setdefault(trace.get("xaxis", "x")[1:], []).append(trace)
    for number, own in panels.items():
        across, up = layout[f"xaxis{number}"], layout[f"yaxis{number}"]
        box = _box(whole, across, up)
        x = _axis(traces, "x", layout, box.left, box.right)  # panels have common axes
        shared = [t for t in traces if _scale_of(t, layout) == _scale_of(own[0], layout)]
        y = _axis(shared, "y", layout, box.bottom, box.top)
        parts.append(_frame(x, y, across, up, box))
        for trace in own:
            if trace["type"] == "heatmap":
                parts.append(_heatmap(trace, x, y))
            elif trace["type"] == "bar":
                parts.append(_bars(trace, x, y, bars.index(trace), len(bars)))
            else:
                parts.append(_scatter(trace, x, y))
    for name in layout.get("annotations", ()):
        left = whole.left + name["x"] * (whole.right - whole.left)
        foot = whole.bottom - name["y"] * (whole.bottom - whole.top) - 5
        parts.append(_text(left, foot, name["text"], "middle"))
    return (
        f'<svg class="rl-static" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, sans-serif" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _scale_of(trace: dict[str, Any], layout: dict[str, Any]) -> str:
    """The vertical axis whose scale a trace is drawn on."""
    axis = trace.get("yaxis", "y")
    return str(layout[f"yaxis{axis[1:]}"].get("matches") or axis)


def _left(traces: Sequence[dict[str, Any]]) -> float:
    """Where the plot begins: names on the vertical axis need more room than numbers."""
    names = [name for trace in traces for name in trace["y"] if isinstance(name, str)]
    if any(trace["type"] == "heatmap" for trace in traces) or not names:
        return LEFT
    return 36 + CHARACTER * max(map(len, names))


def _box(whole: Box, across: dict[str, Any], up: dict[str, Any]) -> Box:
    """The part of the drawing that a panel's axes span."""
    (left, right), (low, high) = across.get("domain", (0, 1)), up.get("domain", (0, 1))
    width, height = whole.right - whole.left, whole.bottom - whole.top
    return Box(
        whole.left + left * width,
        whole.left + right * width,
        whole.bottom - high * height,
        whole.bottom - low * height,
    )


def linear_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside [low, high]; at most ``most`` + 1."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside [low, high], with 2 and 5 between where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if math.log10(high / low) > 3 else (1, 2, 5)
    ticks = [m * 10.0**p for p in powers for m in factors]
    return [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]


def _axis(
    traces: Sequence[dict[str, Any]], name: str, layout: dict[str, Any], start: float, end: float
) -> Axis:
    values = [value for trace in traces for value in trace[name]]
    if isinstance(values[0], str):
        names = list(dict.fromkeys(values))
        step = (end - start) / len(names)
        places = {value: start + (i + 0.5) * step for i, value in enumerate(names)}
        return Axis(places.__getitem__, tuple((p, n) for n, p in places.items()), abs(step))
    values += [end for trace in traces for end in _error_ends(trace, name)]
    if any(trace["type"] == "bar" for trace in traces):
        values.append(0.0)
    about = layout[f"{name}axis"]
    log = about.get("type") == "log"
    scale: Callable[[float], float] = math.log10 if log else float
    low, high = scale(min(values)), scale(max(values))
    gap = 0.04 * (high - low) or 0.5
    low, high = low - gap, high + gap

    def place(value: float) -> float:
        return start + (scale(value) - low) / (high - low) * (end - start)

    most = max(2, min(6, int(abs(end - start) // 40)))
    usual = log_ticks(10**low, 10**high) if log else linear_ticks(low, high, most)
    ticks = about.get("tickvals") or usual
    texts = about.get("ticktext") or [f"{tick:.6g}" for tick in ticks]
    return Axis(place, tuple(zip(map(place, ticks), texts, strict=True)), 0)


def _error_ends(trace: dict[str, Any], name: str) -> list[float]:
    error = trace.get(f"error_{name}")
    if not error:
        return []
    rows = zip(trace[name], error["array"], error["arrayminus"], strict=True)
    return [end for v, up, down in rows if up is not None for end in (v - down, v + up)]


def _legend(traces: Sequence[dict[str, Any]]) -> tuple[str, float]:
    """Entries in rows above the plot, and where the plot may begin."""
    parts, left, row = [], float(LEFT), 0
    for trace in traces:
        if trace.get("showlegend") is False:
            continue
        width = 44 + CHARACTER * len(trace["name"])
        if left + width > WIDTH and left > LEFT:
            left, row = float(LEFT), row + 1
        height = 14 + 20 * row
        parts.append(_sample(trace, left, height))
        parts.append(_text(left + 34, height + 4, trace["name"], "start"))
        left += width
    return "".join(parts), 32.0 + 20 * row


def _sample(trace: dict[str, Any], x: float, y: float) -> str:
    if trace["type"] == "bar":
        return f'<rect x="{x + 8}" y="{y - 6}" width="12" height="12" fill="{_color(trace)}"/>'
    parts = [_line(f"M{x} {y}h28", trace)] if "lines" in trace["mode"] else []
    if "markers" in trace["mode"]:
        parts.append(_marker(trace, x + 14, y))
    return "".join(parts)


def _frame(x: Axis, y: Axis, across: dict[str, Any], up: dict[str, Any], box: Box) -> str:
    bottom = box.bottom
    grid = "".join(f"M{box.left} {p:.1f}H{box.right}" for p, _ in y.ticks if not y.step)
    grid += "".join(f"M{p:.1f} {box.top}V{bottom}" for p, _ in x.ticks if not x.step)
    middle = (box.top + bottom) / 2
    # Names that would run into each other stand in two rows.
    tight = x.step > 0 and max(len(label) for _, label in x.ticks) * CHARACTER > x.step
    rows = [bottom + (29 if tight and i % 2 else 16 if tight else 18) for i in range(len(x.ticks))]
    below = zip(rows, x.ticks, strict=True) if across.get("showticklabels", True) else ()
    beside = y.ticks if up.get("showticklabels", True) else ()
    title = across["title"]["text"]
    return "".join(
        (
            f'<path d="{grid}" stroke="currentColor" stroke-opacity="0.15" fill="none"/>',
            *(_text(p, row, name, "middle") for row, (p, name) in below),
            *(_text(box.left - 8, p + 4, label, "end") for p, label in beside),
            _text((box.left + box.right) / 2, bottom + 42, title, "middle") if title else "",
            f'<g transform="rotate(-90 14 {middle})">',
            _text(14, middle, up["title"]["text"], "middle") if up["title"]["text"] else "",
            "</g>",
        )
    )


def _scatter(trace: dict[str, Any], x: Axis, y: Axis) -> str:
    points = [(x.place(a), y.place(b)) for a, b in zip(trace["x"], trace["y"], strict=True)]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
    if trace.get("fill") == "toself":
        return f'<path d="{path}z" fill="{trace["fillcolor"]}"/>'
    parts = [_line(path, trace)] if "lines" in trace["mode"] else []
    parts += [_errors(trace, name, x, y) for name in ("x", "y")]
    if "markers" in trace["mode"]:
        parts += [_marker(trace, a, b) for a, b in points]
    return "".join(parts)


def _bars(trace: dict[str, Any], x: Axis, y: Axis, index: int, groups: int) -> str:
    width = 0.8 * x.step / groups
    shift = (index - (groups - 1) / 2) * width
    zero = y.place(0.0)
    parts = []
    for name, value in zip(trace["x"], trace["y"], strict=True):
        left, edge = x.place(name) + shift - width / 2, y.place(value)
        parts.append(
            f'<rect x="{left:.1f}" y="{min(edge, zero):.1f}" width="{width:.1f}" '
            f'height="{abs(zero - edge):.1f}" fill="{_color(trace)}"/>'
        )
    shifted = Axis(lambda name: x.place(name) + shift, (), x.step)
    return "".join(parts) + _errors(trace, "y", shifted, y)


def _errors(trace: dict[str, Any], name: str, x: Axis, y: Axis) -> str:
    error = trace.get(f"error_{name}")
    if not error:
        return ""
    path = ""
    rows = zip(trace["x"], trace["y"], error["array"], error["arrayminus"], strict=True)
    for a, b, plus, minus in rows:
        if plus is None:
            continue
        if name == "y":
            path += f"M{x.place(a):.1f} {y.place(b - minus):.1f}V{y.place(b + plus):.1f}"
        else:
            path += f"M{x.place(a - minus):.1f} {y.place(b):.1f}H{x.place(a + plus):.1f}"
    ink = "currentColor" if error["color"] == THEMES["light"].text else error["color"]
    return f'<path d="{path}" stroke="{ink}" stroke-width="1.5" fill="none"/>'


def _heatmap(trace: dict[str, Any], x: Axis, y: Axis) -> str:
    known = [value for row in trace["z"] for value in row if value is not None]
    low, high = trace.get("zmin", min(known)), trace.get("zmax", max(known))
    scale = get_colorscale("RdBu" if "zmin" in trace else "Cividis")
    parts = []
    for row, values, texts in zip(trace["y"], trace["z"], trace["text"], strict=True):
        for column, value, text in zip(trace["x"], values, texts, strict=True):
            if value is None:
                continue
            share = (value - low) / (high - low) if high > low else 0.5
            color = sample_colorscale(scale, min(max(share, 0.0), 1.0))[0]
            left, up = x.place(column) - x.step / 2 + 1, y.place(row) - y.step / 2 + 1
            parts.append(
                f'<rect x="{left:.1f}" y="{up:.1f}" width="{x.step - 2:.1f}" '
                f'height="{y.step - 2:.1f}" fill="{color}"/>'
            )
            label = text.replace("<br>", " ")
            ink = "#000000" if _luminance(color) > 0.18 else "#ffffff"
            parts.append(_text(x.place(column), y.place(row) + 4, label, "middle", fill=ink))
    return "".join(parts)


def _luminance(color: str) -> float:
    """Relative luminance (WCAG 2) of ``rgb(r, g, b)``."""
    channels = (float(v) / 255 for v in color.removeprefix("rgb(").removesuffix(")").split(","))
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _color(trace: dict[str, Any]) -> str:
    kind = "line" if trace["type"] == "scatter" and "line" in trace else "marker"
    return str(trace[kind]["color"])


def _line(path: str, trace: dict[str, Any]) -> str:
    line = trace["line"]
    dash = DASHES.get(line.get("dash", "solid"))
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{line["color"]}" '
        f'stroke-width="{line["width"]}"{dashes}/>'
    )


def _marker(trace: dict[str, Any], x: float, y: float) -> str:
    symbol = trace.get("marker", {}).get("symbol", "circle")
    color = _color(trace)
    return (
        f'<path d="{SYMBOLS[symbol]}" transform="translate({x:.1f} {y:.1f})" fill="{color}" '
        f'stroke="{color}" stroke-width="{2 if symbol == "x" else 0}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str,
    size: int = 13,
    weight: int = 400,
    fill: str = "currentColor",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{fill}">{escape(text, quote=False)}</text>'
    )
