"""The pictures: data and layout for plotly, with a text for those who don't see them and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from xkeb.leaderboard.site.entries import Badge, Entry
from xkeb.types import PROPERTIES

SIZES = (100, 500, 1000, 3000, 5000, 10000)
"""Training facts of the paper's Figure 3."""
SECONDS = tuple(digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5))
"""Where a logarithmic axis of seconds is labelled."""
MARGIN = 0.25
"""Of a logarithmic axis, in decades: enough for two labels where there is but one value."""
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star", "triangle-down", "pentagon", "hexagram")
"""Tell methods apart where colours don't."""
LONGEST_LABEL = 48
BADGES: tuple[Badge, ...] = ("published", "reproduced", "baseline")


@dataclass(frozen=True)
class Panel:
    """One of the plots of a picture."""

    title: str
    traces: Sequence[dict[str, Any]]
    """As plotly takes them, but for ``badge``: the colour is that of the kind of row."""
    layout: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        return {"data": list(self.traces), "layout": self.layout}


@dataclass(frozen=True)
class Chart:
    id: str
    title: str
    alt: str
    """What is to be seen, in words."""
    panels: Sequence[Panel]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The data as a table."""
    shape: str = "wide"
    """Of the panels: ``wide`` as the page, ``half`` or a ``third`` of it, or ``small``."""
    badges: Sequence[Badge] = ()
    """Kinds of rows that the colours stand for."""
    note: str = ""
    """How to read it."""


def label(text: str) -> str:
    """A strange text as plotly shows it letter by letter: it would take some tags for formatting and links."""
    shown = text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL // 2]}…{text[-LONGEST_LABEL // 3 :]}"
    return escape(shown, quote=False)


def radar(chosen: Sequence[Entry], name: str) -> Chart | None:
    """The paper's Figure 2, a panel a method: F1 of each property when one model is edited in one language.

    Args:
        chosen: rows of one model and task.
    """
    edited = [entry for entry in chosen if entry.badge != "baseline"]
    if not edited:
        return None
    source, task = chosen[0].source, chosen[0].task
    codes = sorted({code for entry in chosen for code in entry.languages})
    axes = [("reliability", source), *((prop, code) for prop in PROPERTIES[1:] for code in codes)]
    labels = [label(f"{prop[:3]}. {code}") for prop, code in axes]
    panels = []
    for method in sorted({entry.method for entry in edited}):
        shown = [entry for entry in chosen if entry.method in (method, "baseline")]
        shown.sort(key=lambda entry: -BADGES.index(entry.badge))  # the baseline behind the others
        panels.append(Panel(method, [_outline(entry, axes, labels) for entry in shown], {}))
    values = [[entry.mean(axis) for axis in axes] for entry in chosen]
    gained = " What lies outside the shaded shape was gained by the edit." if len(edited) < len(chosen) else ""
    return Chart(
        name,
        f"{chosen[0].model} edited in {source}, {task}: F1 by property",
        f"{len(panels)} radar charts, one a method, each with an axis for every property and language, from 0 at the centre to "
        "100 at the rim. The numbers stand in the table below.",
        panels,
        ["method", "kind", *(f"{prop} ({code})" for prop, code in axes)],
        [
            [entry.method, f"{entry.badge}, {entry.origin}", *map(_one_decimal, row)]
            for entry, row in zip(chosen, values, strict=True)
        ],
        "small",
        _badges(chosen),
        "From 0 at the centre to 100 at the rim: rel(iability), gen(erality), loc(ality) and por(tability), by the language "
        f"that is asked in.{gained}",
    )


def _outline(entry: Entry, axes: Sequence[tuple[str, str]], labels: Sequence[str]) -> dict[str, Any]:
    values = [entry.mean(axis) for axis in axes]
    return {
        "type": "scatterpolar",
        "mode": "lines",
        "badge": entry.badge,
        "name": label(f"{entry.badge}, {entry.origin}"),
        "r": [*values, values[0]],
        "theta": [*labels, labels[0]],
        "line": {"dash": "dash" if entry.badge == "reproduced" else "solid", "width": 2.5},
        "fill": "toself" if entry.badge == "baseline" else "none",
    }


def transfer(entries: Sequence[Entry], name: str, by: Literal["method", "model"] = "method") -> Chart | None:
    """How much of an effect stays behind in the language of the edit: F1 there minus F1 in another language."""
    panels = []
    groups = sorted({getattr(entry, by) for entry in entries})
    gaps = {
        (prop, entry.id, code): here - there
        for prop in PROPERTIES[1:]
        for entry in entries
        for code in entry.targets
        if (here := entry.mean((prop, entry.source))) is not None and (there := entry.mean((prop, code))) is not None
    }
    if not gaps:
        return None
    margin = [5 * (min(0.0, *gaps.values()) // 5) - 5, 5 * (max(0.0, *gaps.values()) // 5) + 10]
    for prop in PROPERTIES[1:]:
        traces = []
        for badge in _badges(entries):
            members = [
                (entry, code)
                for entry in entries
                for code in entry.targets
                if entry.badge == badge and (prop, entry.id, code) in gaps
            ]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "badge": badge,
                    "name": badge,
                    "x": [label(getattr(entry, by)) for entry, _ in members],
                    "y": [round(gaps[prop, entry.id, code], 1) for entry, code in members],
                    "text": [
                        label(f"{entry.method}, {entry.model}, {entry.source} to {code}") for entry, code in members
                    ],
                    "marker": {"symbol": SYMBOLS[BADGES.index(badge)], "size": 8, "opacity": 0.75},
                }
            )
        layout = {
            "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": list(map(label, groups))},
            "yaxis": {"type": "linear", "range": margin, "zeroline": True, "title": {"text": "points of F1"}},
        }
        panels.append(Panel(prop, traces, layout))
    return Chart(
        name,
        "Transfer gap: F1 in the language of the edit minus F1 in another",
        f"Three plots, for generality, locality and portability: a point a direction of a row, over its {by}. At zero both "
        "languages fare alike; a point far above it is an effect that stays in the language of the edit.",
        panels,
        ["method", "model", "direction", "kind", *PROPERTIES[1:]],
        [
            [
                entry.method,
                entry.model,
                f"{entry.source} to {code}",
                entry.badge,
                *(
                    f"{gap:+.1f}" if (gap := gaps.get((prop, entry.id, code))) is not None else ""
                    for prop in PROPERTIES[1:]
                ),
            ]
            for entry in entries
            for code in entry.targets
        ],
        "third",
        _badges(entries),
        "At zero both languages fare alike; far above it, the effect stays in the language of the edit.",
    )


def pace(entries: Sequence[Entry], name: str, by: Literal["method", "model"] = "method") -> Chart | None:
    """Seconds a case against reliability, of results that were timed."""
    timed = [
        entry
        for entry in entries
        if entry.seconds is not None and entry.mean(("reliability", entry.source)) is not None
    ]
    if not timed:
        return None
    traces: list[dict[str, Any]] = []
    rows = []
    for i, group in enumerate(sorted({getattr(entry, by) for entry in timed})):
        members = [entry for entry in timed if getattr(entry, by) == group]
        labels = [f"{entry.method}, {entry.model}, {entry.source} to {entry.target}" for entry in members]
        seconds = [round(entry.seconds or 0, 4) for entry in members]
        reliability = [round(entry.mean(("reliability", entry.source)) or 0, 2) for entry in members]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(group),
                "x": seconds,
                "y": reliability,
                "text": list(map(label, labels)),
                "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 11},
            }
        )
        rows += [
            [label, f"{second:.2f}", f"{value:.1f}", _device(entry)]
            for label, second, value, entry in zip(labels, seconds, reliability, members, strict=True)
        ]
    layout = {
        "xaxis": _logarithmic("seconds a case (logarithmic)", SECONDS, [entry.seconds or 0 for entry in timed]),
        "yaxis": {"type": "linear", "title": {"text": "reliability, F1"}, "range": [-3, 105]},
        "showlegend": True,
    }
    return Chart(
        name,
        "Seconds a case against reliability",
        f"Scatter plot of {len(timed)} results: seconds for editing and evaluating one case, on a logarithmic axis, against F1 "
        "of reliability.",
        [Panel("", traces, layout)],
        ["result", "seconds a case", "reliability, F1", "machine"],
        rows,
    )


def training_sizes(entries: Sequence[Entry], name: str) -> Chart | None:
    """The paper's Figure 3: F1 against the number of training facts, a panel a property, for methods run with several."""
    by_method: dict[tuple[str, str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.train_size is not None:
            by_method.setdefault((entry.method, entry.model, entry.task, entry.asked), []).append(entry)
    traces: dict[str, list[dict[str, Any]]] = {prop: [] for prop in PROPERTIES}
    rows = []
    for (method, model, task, _), members in sorted(by_method.items()):
        members.sort(key=lambda entry: (entry.train_size or 0, entry.id))
        if len({entry.train_size for entry in members}) < 2:
            continue
        sizes = [entry.train_size or 0 for entry in members]
        for prop, code in sorted({cell for entry in members for cell in entry.scores if cell[0] in PROPERTIES}):
            values = [entry.mean((prop, code)) for entry in members]
            line = f"{method}, {model}, {task}: {code}"
            drawn = traces[prop]
            marker = {"symbol": SYMBOLS[len(drawn) % len(SYMBOLS)], "size": 8}
            drawn.append(
                {
                    "type": "scatter", "mode": "lines+markers", "name": label(line), "x": sizes, "y": values,
                    "marker": marker,
                }
            )  # fmt: skip
            rows += [[line, prop, str(size), _one_decimal(value)] for size, value in zip(sizes, values, strict=True)]
    if not rows:
        return None
    shown_sizes = [size for lines in traces.values() for line in lines for size in line["x"]]
    layout = {
        "xaxis": _logarithmic("training facts (logarithmic)", SIZES, shown_sizes),
        "yaxis": {"type": "linear", "title": {"text": "F1"}, "range": [-3, 105]},
        "showlegend": True,
        "legend": {"orientation": "h", "y": -0.3},  # beside half a page, it would leave no room for the lines
    }
    return Chart(
        name,
        "F1 against the number of training facts",
        "A plot for each property, with a line for each method, model, task and language; the axis of training facts is "
        "logarithmic.",
        [Panel(prop, lines, layout) for prop, lines in traces.items() if lines],
        ["line", "property", "training facts", "F1"],
        rows,
        "half",
    )


def present(charts: Iterable[Chart | None]) -> list[Chart]:
    """Those that have something to show."""
    return [chart for chart in charts if chart is not None]


def _logarithmic(title: str, labelled: Sequence[float], values: Sequence[float]) -> dict[str, Any]:
    """An axis around the values; those of zero can't be shown on it."""
    shown = [value for value in values if value > 0] or [1.0]
    return {
        "range": [round(math.log10(min(shown)) - MARGIN, 3), round(math.log10(max(shown)) + MARGIN, 3)],
        "type": "log",
        "title": {"text": title},
        "tickvals": list(labelled),
        "ticktext": [f"{value:g}" for value in labelled],
        "minor": {"ticks": ""},
    }


def _badges(entries: Iterable[Entry]) -> list[Badge]:
    badges = {entry.badge for entry in entries}
    return [badge for badge in BADGES if badge in badges]


def _one_decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _device(entry: Entry) -> str:
    return "" if entry.result is None else str(entry.result.environment.get("device", ""))
