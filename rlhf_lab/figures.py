"""The book's figures: one look, uncertainty drawn, a finding as the title, the data alongside.

Every function takes tidy data (one row per observation, one column per variable), aggregates over
seeds itself, and returns a plotly figure. ``layout.meta`` carries what a reader without eyes or
without JavaScript needs: ``{"alt": text, "data": records}``, the records being the aggregated
numbers as drawn. The site turns both into alternative text and a table; a notebook ignores them.

Left out on purpose: styling arguments. A figure that needs another look changes the theme here, so
that all figures change.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.special import stdtrit

from rlhf_lab.errors import InputError


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance; ``colorway[i]`` is the same series in every theme.

    The hues are Okabe and Ito's (2008), safe for the common kinds of colour blindness, moved in
    lightness until each has a contrast of at least 3 : 1 against the background (WCAG 1.4.11).
    """

    background: str
    text: str
    grid: str
    colorway: tuple[str, ...]


THEMES = {
    "light": Theme(
        background="#ffffff",
        text="#222832",
        grid="#d8dee4",
        colorway=("#0072b2", "#d55e00", "#009e73", "#b0578c", "#8f6400", "#3a3a3a"),
    ),
    "dark": Theme(
        background="#121212",
        text="#ced6dd",
        grid="#3a424d",
        colorway=("#56b4e9", "#ff8f45", "#2fc79a", "#e39bc6", "#e6b34d", "#c4ccd4"),
    ),
}
# Series differ by more than colour, for print and for readers who see none.
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
BAND_OPACITY = 0.2
HEIGHT = 400


def theme_layout(theme: Theme) -> dict[str, Any]:
    """Plotly layout of a theme: what goes into ``template.layout``."""
    axis = {
        "gridcolor": theme.grid,
        "linecolor": theme.grid,
        "zerolinecolor": theme.grid,
        "automargin": True,
        "title": {"standoff": 8},
    }
    return {
        "colorway": list(theme.colorway),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": theme.text, "size": 14},
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": theme.background, "font": {"color": theme.text}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "margin": {"l": 56, "r": 16, "t": 88, "b": 48},
        "colorscale": {"sequential": "Cividis", "diverging": "RdBu"},
    }


def rgba(color: str, opacity: float) -> str:
    """``"#rrggbb"`` with an opacity of 0 to 1, as plotly's ``rgba()`` string."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def mean_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean of independent observations with Student's 95 % interval.

    Returns:
        (mean, low, high); the interval of a single observation is not known: both ends are NaN.
    """
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if sample.size < 2:
        return mean, float("nan"), float("nan")
    half = float(stdtrit(sample.size - 1, 0.975) * sample.std(ddof=1) / np.sqrt(sample.size))
    return mean, mean - half, mean + half


def learning_curves(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    color: str | None = None,
    log_x: bool = False,
    references: Mapping[str, float] | None = None,
) -> go.Figure:
    """Mean of ``y`` at each ``x`` as a line, with a 95 % band where rows repeat (over seeds).

    Args:
        data: one row per observation; rows of the same ``x`` and ``color`` are repetitions.
        x: column of the horizontal axis, a number.
        y: column of the vertical axis, a number.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know: axes, shape, finding.
        x_label: what the horizontal axis shows, with its unit.
        y_label: what the vertical axis shows, with its unit.
        color: column whose values become lines, in order of appearance; None for a single line.
        log_x: draw the horizontal axis on a log scale; all ``x`` must then be above 0.
        references: horizontal lines, name to height (an SFT score, a noise ceiling).

    Raises:
        InputError: an empty text or table, a missing or non-numeric column, or ``x`` <= 0 on a log
            scale.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(x, y), others=(color,))
    if log_x:
        _require_above_zero(data, x)
    figure, records = go.Figure(), []
    for i, (name, rows) in enumerate(_series(data, color)):
        table = _aggregate(rows, [x], y).sort_values(x)
        _add_curve(figure, table, (x, x_label), (y, y_label), i, name)
        records += _records(table, {x: x_label, y: y_label}, y_label, color, name)
    for name, height in (references or {}).items():
        _add_reference(figure, data[x], name, float(height))
        records.append({color or "line": name, x_label: None, y_label: float(height)})
    return _finish(figure, title, alt, x_label, y_label, records, log_x=log_x)


def small_multiples(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    panel: str,
    color: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    columns: int = 3,
    marks: Mapping[float, float] | None = None,
    own_rows: bool = False,
) -> go.Figure:
    """:func:`learning_curves` in columns of panels with common axes, one for each ``panel``.

    Args:
        data: one row per observation; rows of the same ``panel``, ``color`` and ``x`` are
            repetitions. A line that is to be seen in all panels has its rows in each.
        x, y: columns of the axes, numbers.
        panel: column whose values become panels, in order of appearance; keep their names short.
        color: column whose values become lines, the same colour in every panel.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        x_label, y_label: what the axes show, with their units.
        columns: of panels; with two, panels are higher.
        marks: values of ``x`` that the axis marks, and where on a log scale each of them stands,
            as 0 cannot stand at itself; other values do. None for an even scale.
        own_rows: each row of panels has its own vertical scale.

    Raises:
        InputError: as :func:`learning_curves`; or a value of ``x`` that has no place above 0.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(x, y), others=(color, panel))
    if marks is not None:
        _require_above_zero(_placed(data, x, marks), x)
    figure, records = go.Figure(), []
    names = [str(name) for name in data[color].unique()]
    titles, drawn = list(data[panel].unique()), set()
    for place, shown in enumerate(titles):
        number = place + 1 if place else ""
        for name, rows in _series(data[data[panel] == shown], color):
            table = _aggregate(rows, [x], y).sort_values(x)
            first = name not in drawn
            drawn.add(name)
            _add_curve(
                figure, table, (x, x_label), (y, y_label), names.index(name), name, marks,
                showlegend=first, xaxis=f"x{number}", yaxis=f"y{number}",
            )  # fmt: skip
            rows_shown = _records(table, {x: x_label, y: y_label}, y_label, color, name)
            records += [{panel: str(shown), **record} for record in rows_shown]
    _finish(figure, title, alt, x_label, y_label, records)
    shape = columns, own_rows
    figure.update_layout(_panels([str(shown) for shown in titles], x_label, y_label, shape))
    if marks is None:
        figure.update_xaxes(tickvals=figure.layout.xaxis.tickvals)  # of all panels
    else:
        figure.update_xaxes(
            type="log",
            tickvals=list(marks.values()),
            ticktext=[f"{value:g}" for value in marks],
            tickangle=0,
            tickfont={"size": 10},  # so that six of them fit on a phone
        )
    return figure


def _placed(table: pd.DataFrame, x: str, marks: Mapping[float, float]) -> pd.DataFrame:
    """The table with the values of ``x`` where they stand on the axis."""
    return table.assign(**{x: table[x].replace(dict(marks))})


def _panels(
    titles: Sequence[str], x_label: str, y_label: str, shape: tuple[int, bool]
) -> dict[str, Any]:
    """Axes, names and height of panels in columns, with room for names above each row.

    Args:
        shape: how many columns, and whether each row has its own vertical scale.
    """
    (columns, own_rows), name = shape, 0.06
    gap = 0.05 if columns > 2 else 0.08
    rows = -(-len(titles) // columns)
    width, height = (1 - (columns - 1) * gap) / columns, 1 / rows - name
    each = 130 if columns > 2 else 210
    layout: dict[str, Any] = {"height": each * rows + 110, "annotations": []}
    for place, text in enumerate(titles):
        row, column = divmod(place, columns)
        left, top = column * (width + gap), 1 - row * (height + name) - name
        number = place + 1 if place else ""
        lowest = place + columns >= len(titles)
        first = row * columns if own_rows else 0  # the panel whose vertical scale this one has
        layout[f"xaxis{number}"] = {
            "domain": [left, min(left + width, 1)],
            "anchor": f"y{number}",
            "matches": "x" if place else None,
            "showticklabels": lowest,
            "title": {"text": x_label if lowest and (columns < 3 or column == 1) else ""},
        }
        layout[f"yaxis{number}"] = {
            "domain": [max(top - height, 0), top],
            "anchor": f"x{number}",
            "matches": None if place == first else f"y{first + 1}" if first else "y",
            "showticklabels": column == 0,
            "title": {"text": y_label if column == 0 and row == rows // 2 else ""},
        }
        layout["annotations"].append(
            {"text": text, "x": left + width / 2, "y": top, "xref": "paper", "yref": "paper",
             "xanchor": "center", "yanchor": "bottom", "showarrow": False}
        )  # fmt: skip
    return layout


def frontier(
    data: pd.DataFrame,
    *,
    y: str,
    title: str,
    alt: str,
    y_label: str,
    point: str,
    x: str = "kl",
    x_label: str = "exact KL, nats per response",
    color: str | None = None,
    log_x: bool = False,
) -> go.Figure:
    """Reward against exact KL: one marker per configuration, crossed by its 95 % intervals.

    Args:
        data: one row per run; rows of the same ``point`` and ``color`` are seeds of one
            configuration.
        y: column of the reward or any other score.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        y_label: what the vertical axis shows, with its unit.
        point: column that names the configuration along a line (usually β); a line joins its
            values in ascending order.
        x: column of the exact KL in nats per response.
        x_label: what the horizontal axis shows, with its unit.
        color: column whose values become lines (usually γ).
        log_x: draw the KL on a log scale.

    Raises:
        InputError: as :func:`learning_curves`.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(x, y), others=(color, point))
    if log_x:
        _require_above_zero(data, x)
    figure, records = go.Figure(), []
    for i, (name, rows) in enumerate(_series(data, color)):
        across = _aggregate(rows, [point], x).sort_values(point)
        up = _aggregate(rows, [point], y).sort_values(point)
        figure.add_scatter(
            x=across[x].tolist(),
            y=up[y].tolist(),
            error_x=_error_bar(across, x, _color(i)),
            error_y=_error_bar(up, y, _color(i)),
            mode="lines+markers",
            marker={"color": _color(i), "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9},
            line={"color": _color(i), "dash": DASHES[i % len(DASHES)], "width": 1.5},
            name=name,
            customdata=[str(value) for value in up[point]],
            hovertemplate=f"{point} = %{{customdata}}<br>KL %{{x:.3g}}<br>{y_label} %{{y:.4g}}"
            f"<extra>{name}</extra>",
        )
        joined = up.rename(columns={"low": "_low", "high": "_high"}).merge(
            across[[point, x]], on=point
        )
        records += _records(
            joined.rename(columns={"_low": "low", "_high": "high"}),
            {point: point, x: x_label, y: y_label},
            y_label,
            color,
            name,
        )
    return _finish(figure, title, alt, x_label, y_label, records, log_x=log_x)


def heat(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    value: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    value_label: str,
    digits: int = 2,
    center: float | None = None,
) -> go.Figure:
    """Table of means coloured by value, each cell with its number and the interval's half-width.

    Args:
        data: one row per run; rows of the same ``x`` and ``y`` are seeds.
        x: column of the table's columns (γ), drawn as equal steps whatever their distance.
        y: column of the table's rows (β).
        value: column that is averaged.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        x_label: what the columns are, with the unit.
        y_label: what the rows are, with the unit.
        value_label: what the cells show, with the unit.
        digits: decimals of the printed numbers.
        center: value drawn neutral in a two-sided scale (the SFT score, say); None for one-sided.

    Raises:
        InputError: as :func:`learning_curves`.
    """
    texts = {"title": title, "alt": alt, "x_label": x_label, "y_label": y_label}
    _require_texts(**texts, value_label=value_label)
    _require_columns(data, numbers=(value,), others=(x, y))
    table = _aggregate(data, [y, x], value).sort_values([y, x])
    columns, rows = sorted(table[x].unique()), sorted(table[y].unique())
    means = table.pivot(index=y, columns=x, values=value).reindex(index=rows, columns=columns)
    lows = table.pivot(index=y, columns=x, values="low").reindex(index=rows, columns=columns)
    halves = means - lows
    scale: dict[str, Any] = {"colorscale": "Cividis"}
    if center is not None:
        reach = float(np.nanmax(np.abs(means.to_numpy() - center))) or 1.0
        scale = {"colorscale": "RdBu", "zmin": center - reach, "zmax": center + reach}
    figure = go.Figure(
        go.Heatmap(
            z=_lists(means),
            x=[f"{c:g}" if isinstance(c, int | float) else str(c) for c in columns],
            y=[f"{r:g}" if isinstance(r, int | float) else str(r) for r in rows],
            text=[
                [_cell(means.iloc[i, j], halves.iloc[i, j], digits) for j in range(len(columns))]
                for i in range(len(rows))
            ],
            texttemplate="%{text}",
            colorbar={"title": {"text": value_label, "side": "right"}, "thickness": 14},
            hovertemplate=f"{x_label} %{{x}}<br>{y_label} %{{y}}<br>{value_label} %{{z:.4g}}"
            "<extra></extra>",
            xgap=2,
            ygap=2,
            **scale,
        )
    )
    # Equal cells: the values are labels here, not positions.
    figure.update_xaxes(type="category")
    figure.update_yaxes(type="category")
    records = _records(table, {x: x_label, y: y_label, value: value_label}, value_label, None, "")
    return _finish(figure, title, alt, x_label, y_label, records)


def bars_with_intervals(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    low: str | None = None,
    high: str | None = None,
    color: str | None = None,
) -> go.Figure:
    """One bar per category with its 95 % interval.

    Args:
        data: either one row per bar, with the interval's ends in ``low`` and ``high`` (a bootstrap
            has given them), or one row per seed and no such columns: Student's interval then.
        x: column of the categories, in order of appearance.
        y: column of the heights.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        x_label: what the categories are.
        y_label: what the height is, with its unit.
        low: column of the interval's lower end, together with ``high``.
        high: column of the interval's upper end.
        color: column whose values become groups of bars.

    Raises:
        InputError: as :func:`learning_curves`; or only one of ``low`` and ``high`` given; or more
            than one row for a bar whose interval is given.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(y, low, high), others=(x, color))
    if (low is None) != (high is None):
        raise InputError("low, high", (low, high), "both columns or neither", "name the other end")
    figure, records = go.Figure(), []
    for i, (name, rows) in enumerate(_series(data, color)):
        if low is None or high is None:
            table = _aggregate(rows, [x], y)
        else:
            if rows[x].duplicated().any():
                twice = rows.loc[rows[x].duplicated(), x].iloc[0]
                raise InputError(x, twice, "one row per bar", "aggregate the rows first")
            table = rows.rename(columns={low: "low", high: "high"})[[x, y, "low", "high"]]
        figure.add_bar(
            x=[str(value) for value in table[x]],
            y=table[y].tolist(),
            error_y=_error_bar(table, y, THEMES["light"].text),
            marker={"color": _color(i)},
            name=name,
            hovertemplate=f"%{{x}}<br>{y_label} %{{y:.4g}}<extra>{name}</extra>",
        )
        records += _records(table, {x: x_label, y: y_label}, y_label, color, name)
    figure.update_layout(barmode="group")
    return _finish(figure, title, alt, x_label, y_label, records)


def timeline(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    color: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
) -> go.Figure:
    """What happened when: one row per event, the first row at the bottom.

    Args:
        data: one row per event, those of one ``color`` next to each other.
        x: column of the dates, as years with fractions.
        y: column of the events' names, each once.
        color: column of the groups.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        x_label: what the horizontal axis shows, with its unit.
        y_label: what the names are.

    Raises:
        InputError: as :func:`learning_curves`; or a name that comes twice.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(x,), others=(y, color))
    if data[y].duplicated().any():
        twice = str(data[y][data[y].duplicated()].iloc[0])
        raise InputError("data", twice, "each name once", "rename one of the events")
    figure = go.Figure()
    for i, (name, rows) in enumerate(_series(data, color)):
        figure.add_scatter(
            x=rows[x].tolist(),
            y=rows[y].tolist(),
            mode="markers",
            name=name,
            marker={"color": _color(i), "size": 11, "symbol": SYMBOLS[i % len(SYMBOLS)]},
            hovertemplate=f"%{{y}}<br>{x_label} %{{x:.1f}}<extra>{name}</extra>",
        )
    records = [
        {y_label: row[y], x_label: math.floor(row[x]), color: row[color]}
        for row in data.to_dict("records")
    ]
    _finish(figure, title, alt, x_label, y_label, records)
    figure.update_layout(height=150 + 22 * len(data))
    figure.update_yaxes(type="category")
    return figure


def labelled_points(
    data: pd.DataFrame,
    *,
    x: str,
    y: str,
    color: str,
    label: str,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    written: Sequence[str] = (),
) -> go.Figure:
    """One marker per row, named when it is pointed at: a projector.

    Args:
        data: one row per point.
        x, y: columns of the axes, numbers.
        color: column whose values become colours and symbols, in order of appearance; at most six.
        label: column of the points' names.
        title: the finding, as a sentence.
        alt: what a reader who cannot see the figure should know.
        x_label, y_label: what the axes show.
        written: names that stand beside their points all the time.

    Raises:
        InputError: as :func:`learning_curves`; more than six colours; a written name without a
            point.
    """
    _require_texts(title=title, alt=alt, x_label=x_label, y_label=y_label)
    _require_columns(data, numbers=(x, y), others=(color, label))
    groups = _series(data, color)
    if len(groups) > len(SYMBOLS):
        raise InputError(color, len(groups), f"at most {len(SYMBOLS)} values", "draw fewer groups")
    missing = set(written) - set(data[label])
    if missing:
        raise InputError("written", sorted(missing), "names of points", "leave them out")
    figure = go.Figure()
    for i, (name, rows) in enumerate(groups):
        names = [str(value) for value in rows[label]]
        figure.add_scatter(
            x=rows[x].tolist(),
            y=rows[y].tolist(),
            mode="markers",
            marker={"color": _color(i), "symbol": SYMBOLS[i], "size": 7},
            name=name,
            customdata=names,
            hovertemplate=f"%{{customdata}}<extra>{name}</extra>",
        )
    for row in data[data[label].isin(written)].to_dict("records"):
        figure.add_annotation(
            x=row[x], y=row[y], text=f"<b>{row[label]}</b>", arrowcolor=_color(5), arrowhead=0,
            ax=24, ay=-24,
        )  # fmt: skip
    columns = {label: label, color: color, x: x_label, y: y_label}
    records = [
        {shown: _plain(row[column]) for column, shown in columns.items()}
        for row in data.to_dict("records")
    ]
    return _finish(figure, title, alt, x_label, y_label, records)


def _require_texts(**texts: str) -> None:
    for argument, text in texts.items():
        if not text.strip():
            raise InputError(argument, text, "a non-empty text", f"say it in {argument}")


def _require_columns(
    data: pd.DataFrame, *, numbers: Sequence[str | None], others: Sequence[str | None]
) -> None:
    if data.empty:
        raise InputError("data", "an empty table", "at least one row", "check the filter before it")
    for name in (*numbers, *others):
        if name is not None and name not in data.columns:
            raise InputError("data", name, f"columns {list(data.columns)}", "name one of them")
    for name in numbers:
        if name is not None and not pd.api.types.is_numeric_dtype(data[name]):
            raise InputError(name, str(data[name].dtype), "a column of numbers", "convert it first")


def _require_above_zero(data: pd.DataFrame, x: str) -> None:
    if (data[x] <= 0).any():
        smallest = float(data[x].min())
        raise InputError(x, smallest, "above 0 on a log scale", "set log_x=False or drop the rows")


def _series(data: pd.DataFrame, color: str | None) -> list[tuple[str, pd.DataFrame]]:
    if color is None:
        return [("", data)]
    return [(str(name), data[data[color] == name]) for name in data[color].unique()]


def _aggregate(rows: pd.DataFrame, keys: list[str], value: str) -> pd.DataFrame:
    """Mean, interval and number of the values of each key; keys in order of appearance."""
    summary = [
        (*key, *mean_interval(group[value].to_numpy()), len(group))
        for key, group in rows.groupby(keys, sort=False)
    ]
    return pd.DataFrame(summary, columns=[*keys, value, "low", "high", "runs"])


def _color(index: int) -> str:
    colorway = THEMES["light"].colorway
    return colorway[index % len(colorway)]


def _add_curve(
    figure: go.Figure,
    table: pd.DataFrame,
    across: tuple[str, str],
    up: tuple[str, str],
    index: int,
    name: str,
    marks: Mapping[float, float] | None = None,
    **more: Any,
) -> None:
    """A line with its band; ``across`` and ``up`` are column and label, ``more`` plotly's own.

    With ``marks`` values of ``x`` stand where these say.
    """
    (x, x_label), (y, y_label) = across, up
    shown = "%{x:.4g}"
    if marks is not None:
        more, shown = more | {"customdata": table[x].tolist()}, "%{customdata}"
        table = _placed(table, x, marks)
    _add_band(figure, table, x, index, name, **more)
    figure.add_scatter(
        x=table[x].tolist(),
        y=table[y].tolist(),
        mode="lines" if len(table) > 1 else "markers",
        line={"color": _color(index), "dash": DASHES[index % len(DASHES)], "width": 2},
        name=name,
        legendgroup=name,
        hovertemplate=f"{x_label} {shown}<br>{y_label} %{{y:.4g}}<extra>{name}</extra>",
        **more,
    )


def _add_band(
    figure: go.Figure, table: pd.DataFrame, x: str, index: int, name: str, **more: Any
) -> None:
    """One closed polygon around the points whose interval is known."""
    known = table.dropna(subset=["low", "high"])
    if len(known) < 2:
        return
    figure.add_scatter(
        x=[*known[x], *known[x][::-1]],
        y=[*known["high"], *known["low"][::-1]],
        fill="toself",
        fillcolor=rgba(_color(index), BAND_OPACITY),
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=name,
        name=f"{name} 95 % band".strip(),
        **(more | {"showlegend": False, "customdata": None}),
    )


def _add_reference(figure: go.Figure, x: pd.Series, name: str, height: float) -> None:
    figure.add_scatter(
        x=[float(x.min()), float(x.max())],
        y=[height, height],
        mode="lines",
        line={"color": THEMES["light"].colorway[-1], "dash": "dot", "width": 1.5},
        name=name,
        hovertemplate=f"{name} %{{y:.4g}}<extra></extra>",
    )


def _error_bar(table: pd.DataFrame, value: str, color: str) -> dict[str, Any] | None:
    if table["low"].isna().all():
        return None
    return {
        "type": "data",
        "symmetric": False,
        "color": color,
        "array": [_plain(v) for v in table["high"] - table[value]],
        "arrayminus": [_plain(v) for v in table[value] - table["low"]],
        "thickness": 1.5,
        "width": 4,
    }


def _cell(mean: float, half: float, digits: int) -> str:
    if np.isnan(mean):
        return ""
    number = f"{mean:.{digits}f}"
    return number if np.isnan(half) else f"{number}<br>± {half:.{digits}f}"


def _lists(table: pd.DataFrame) -> list[list[float | None]]:
    return [[None if np.isnan(v) else float(v) for v in row] for row in table.to_numpy(float)]


def _records(
    table: pd.DataFrame,
    labels: Mapping[str, str],
    value_label: str,
    color: str | None,
    name: str,
) -> list[dict[str, Any]]:
    """Rows of the figure's table, in the reader's words; NaN becomes None (JSON has no NaN)."""
    records = []
    for row in table.to_dict("records"):
        record: dict[str, Any] = {} if color is None else {color: name}
        record |= {label: row[column] for column, label in labels.items()}
        if not pd.isna(row["low"]):
            record[f"{value_label}: 95 % low"] = row["low"]
            record[f"{value_label}: 95 % high"] = row["high"]
        if "runs" in row:
            record["runs"] = row["runs"]
        records.append({k: _plain(v) for k, v in record.items()})
    return records


def _plain(value: Any) -> Any:
    """A JSON value: numpy scalars become Python's, NaN becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value


def _finish(
    figure: go.Figure,
    title: str,
    alt: str,
    x_label: str,
    y_label: str,
    records: list[dict[str, Any]],
    *,
    log_x: bool = False,
) -> go.Figure:
    figure.update_layout(
        template={"layout": theme_layout(THEMES["light"])},
        title={"text": "<br>".join(textwrap.wrap(title, 80)), "font": {"size": 16}},
        height=HEIGHT,
        showlegend=sum(trace.name not in (None, "") and trace.showlegend is not False
                       for trace in figure.data) > 1,
        meta={"alt": alt, "data": records},
    )  # fmt: skip
    figure.update_xaxes(title={"text": x_label})
    if log_x:
        figure.update_xaxes(type="log")
    ticks = _whole_ticks(figure, log_x)
    if ticks:
        figure.update_xaxes(tickvals=ticks)
    figure.update_yaxes(title={"text": y_label})
    return figure


def _whole_ticks(figure: go.Figure, log_x: bool) -> list[int]:
    """Ticks of a horizontal axis of few whole numbers, where a half would mean nothing; or none."""
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.x is not None]
    found = {x for trace in lines for x in trace.x}
    if not found or not all(isinstance(x, int | float | np.number) for x in found):
        return []
    values = sorted(float(x) for x in found)
    if not all(value.is_integer() for value in values):
        return []
    low, high = int(values[0]), int(values[-1])
    if not log_x:
        return list(range(low, high + 1)) if 1 <= high - low <= 6 else []
    apart = all(b >= 1.5 * a for a, b in itertools.pairwise(values))
    return [int(value) for value in values] if apart and 2 <= len(values) <= 8 else []
