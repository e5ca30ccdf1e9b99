"""What the overview's tabs show: one question of a reader each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.rows.overall import overall

MOST_GROUPS = 8
"""Groups that a tab shows; the pages of their tasks have all."""
MOST_ROWS = 40
"""Rows of a tab's tables together."""


@dataclass(frozen=True)
class ModelTable:
    """`overall` of one group, by model and method."""

    first: Entry
    """For what all have in common."""
    methods: Sequence[str]
    rows: Mapping[str, Mapping[str, Entry]]
    """model -> method -> the highest."""


def groups_of(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The edited rows of each group, the groups with most answers first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.badge != "baseline":
            groups.setdefault(entry.group, []).append(entry)
    return sorted(groups.values(), key=lambda rows: (-sum(row.n_cases or 1 for row in rows), rows[0].group))


def leading(entries: Sequence[Entry], members: Sequence[Entry]) -> list[Entry]:
    """The rows of a group that are highest by `overall`, and what their models answer before any edit."""
    chosen = sorted(members, key=lambda entry: (-(overall(entry) or 0.0), entry.id))[:MOST_ROWS]
    models = {entry.model for entry in chosen}
    before = [entry for entry in entries if entry.badge == "baseline" and entry.group == members[0].group]
    return [*chosen, *(entry for entry in before if entry.model in models)]


def by_model(entries: Sequence[Entry]) -> list[ModelTable]:
    """A table for each of the fullest groups."""
    tables = []
    for members in groups_of(entries)[:MOST_GROUPS]:
        rows: dict[str, dict[str, Entry]] = {}
        for entry in sorted(members, key=lambda entry: (entry.model, -(overall(entry) or 0.0), entry.id)):
            rows.setdefault(entry.model, {}).setdefault(entry.method, entry)
        tables.append(ModelTable(members[0], sorted({entry.method for entry in members}), rows))
    return tables


def of_one_language(entries: Sequence[Entry]) -> list[str]:
    """The tasks in which nothing can cross to another language."""
    return sorted({entry.task for entry in entries if not entry.targets})


@dataclass(frozen=True)
class PairLine:
    """A group, by its languages."""

    first: Entry
    n_rows: int
    before: float | None
    """The same of the model that it edits, before; None where that isn't known."""
    highest: Entry
    """By generality in the other language."""
    crosses: float


def by_pair(entries: Sequence[Entry]) -> list[PairLine]:
    """A line for each of the fullest groups with an answer in another language, by its languages."""
    lines = []
    for members in groups_of(entries)[:MOST_ROWS]:
        reached = [(value, entry) for entry in members if (value := crossed(entry)) is not None]
        if reached:
            value, highest = max(reached, key=lambda pair: (pair[0], pair[1].id))
            same = [entry for entry in entries if entry.badge == "baseline" and entry.group == highest.group]
            before = [crossed(entry) for entry in same if entry.model == highest.model]
            lines.append(PairLine(members[0], len(members), before[0] if before else None, highest, value))
    return sorted(lines, key=lambda line: (line.first.languages, line.first.badge, -(line.first.n_cases or 0)))


def crossed(entry: Entry) -> float | None:
    """Generality in the other languages, their mean."""
    values = [value for code in entry.targets if (value := entry.mean(("generality", code))) is not None]
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class WaysTable:
    """The same edits under several ways of asking, of one task."""

    task: str
    ways: Sequence[str]
    rows: Mapping[tuple[str, str], Mapping[str, Entry]]
    """model and method -> way -> the row with most cases."""


def by_protocol(entries: Sequence[Entry]) -> list[WaysTable]:
    """A table for each task with rows that were asked in several ways."""
    tasks: dict[str, dict[tuple[str, str], dict[str, Entry]]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.badge != "reproduced", -(entry.n_cases or 0), entry.id)):
        if entry.badge != "baseline":
            tasks.setdefault(entry.task, {}).setdefault((entry.model, entry.method), {}).setdefault(_way(entry), entry)
    tables: list[WaysTable] = []
    for task, found in sorted(tasks.items()):
        room = MOST_ROWS - sum(len(table.rows) for table in tables)
        rows = {key: found[key] for key in [key for key in sorted(found) if len(found[key]) > 1][:room]}
        if rows:
            tables.append(WaysTable(task, sorted({way for ways in rows.values() for way in ways}), rows))
    return tables


def _way(entry: Entry) -> str:
    return f"{entry.asked}, published" if entry.badge == "published" else entry.asked


def by_cost(entries: Sequence[Entry]) -> list[Entry]:
    """Rows that were timed, the quickest first."""
    timed = [entry for entry in entries if entry.seconds is not None]
    return sorted(timed, key=lambda entry: (entry.seconds or 0.0, entry.id))[:MOST_ROWS]
