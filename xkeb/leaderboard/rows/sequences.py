"""Results of other regimes than `single`: by comparable group, and what the point of evaluation makes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.rows.overall import overall
from xkeb.results.group import group_differences
from xkeb.results.regime import Regime


@dataclass(frozen=True)
class SequenceTable:
    """The edited rows of one group, the highest by `overall` first."""

    regime: Regime
    rows: Sequence[Entry]
    before: Sequence[Entry]
    """What their models answer before any edit."""

    @property
    def first(self) -> Entry:
        """For what all have in common."""
        return self.rows[0]


def by_regime(entries: Sequence[Entry], most: int | None = None) -> list[SequenceTable]:
    """A table for each comparable group of another regime than `single`: by task, then by regime.

    Args:
        most: tables; those with most rows. None for all.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.regime != "single":
            groups.setdefault(entry.group, []).append(entry)
    tables = []
    for members in groups.values():
        rows = [entry for entry in members if entry.badge != "baseline"]
        if rows:
            rows.sort(key=lambda entry: (-(overall(entry) or 0.0), entry.id))
            before = [entry for entry in members if entry.badge == "baseline"]
            tables.append(SequenceTable(Regime.read(rows[0].regime), rows, before))
    chosen = sorted(tables, key=lambda table: (-len(table.rows), table.first.group))[:most]
    return sorted(chosen, key=lambda table: (table.first.task, table.regime.edits, table.first.group))


@dataclass(frozen=True)
class Twins:
    """The same sequences asked at two points."""

    early: Entry
    """Right after each edit, or its batch."""
    late: Entry
    """After all of them."""


def twins(entries: Sequence[Entry]) -> list[list[Twins]]:
    """Results that are alike but for the point of evaluation, those of the same two groups together."""
    alike: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.regime != "single" and entry.result is not None:
            key = (Regime.read(entry.regime).asked, entry.result.model.sha256, entry.method)
            alike.setdefault(key, []).append(entry)
    found: dict[tuple[str, str], list[Twins]] = {}
    for members in alike.values():
        for early, late in itertools.product(members, repeat=2):
            if early.regime != late.regime and late.regime.endswith("@after_all") and _differ_in_regime(early, late):
                found.setdefault((early.group, late.group), []).append(Twins(early, late))
    return [sorted(pairs, key=lambda pair: (pair.early.model, pair.early.method)) for _, pairs in sorted(found.items())]


def _differ_in_regime(one: Entry, other: Entry) -> bool:
    """And in nothing else, cases included."""
    assert one.result is not None and other.result is not None
    return (
        one.result.method == other.result.method
        and sorted(one.result.case_ids) == sorted(other.result.case_ids)
        and set(group_differences(one.result, other.result)) == {"regime"}
    )
