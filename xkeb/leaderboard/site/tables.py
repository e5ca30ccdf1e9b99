"""A table of the leaderboard: rows of F1 / EM, and what is best in each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from types import MappingProxyType

from xkeb.leaderboard.rows.entries import AnyScore, Cell, Entry, slug, unused
from xkeb.leaderboard.rows.overall import overall
from xkeb.leaderboard.site.comparability import why_incomparable
from xkeb.leaderboard.site.ranks import RankInterval
from xkeb.leaderboard.site.ties import PairedTests, compared, place_of, sample_id, shown_mean, ties
from xkeb.types import PROPERTIES


@dataclass(frozen=True)
class Shown:
    """What one place of the table shows."""

    scores: Mapping[str, AnyScore]
    headlines: tuple[str, str]
    """The metric that it calls F1."""
    mark: str = ""
    """``best``, ``tie`` with the best, or nothing."""
    ties: Sequence[int] = ()
    """Rows, by their places in the table, that are the best under some filter, and that it can't be told from."""
    difference: float | None = None
    """In F1 to the published value of the same cell."""

    @property
    def f1(self) -> AnyScore | None:
        return self.scores.get(self.headlines[0])

    @property
    def text(self) -> str:
        return " / ".join(f"{self.scores[metric].mean:.1f}" for metric in self.headlines if metric in self.scores)

    @property
    def interval(self) -> str:
        """95%, of F1; nothing where it isn't known."""
        score = self.f1
        return f"{score.ci95[0]:.1f} to {score.ci95[1]:.1f}" if score is not None and score.ci95 else ""


UNRANKED = frozenset({"locality"})
"""Properties in which nothing is called best: an edit that does nothing has all of it. `overall` weighs it."""


@dataclass(frozen=True)
class Row:
    entry: Entry
    places: Sequence[Shown]
    facts: int | None = None
    """How many it learnt from, where other rows of the cell learnt from more or fewer."""
    rank: RankInterval | None = None
    """By `overall`, among the rows of its group, whether they are in this table or not."""

    @cached_property
    def overall(self) -> float | None:
        """Asked for by sorting, pages and files."""
        return overall(self.entry)


@dataclass(frozen=True)
class Group:
    """Rows whose numbers may be set against each other."""

    rows: Sequence[Row]

    @property
    def first(self) -> Entry:
        """For what all have in common."""
        return self.rows[0].entry

    @property
    def n_cases(self) -> int | None:
        """Of the row with most."""
        return max((row.entry.n_cases for row in self.rows if row.entry.n_cases is not None), default=None)


@dataclass(frozen=True)
class Board:
    """The rows that ask in the same languages and in the same way."""

    id: str
    languages: Sequence[str]
    columns: Sequence[Cell]
    """The first, reliability, is asked in the language of the edit, and so has ``""`` for a language."""
    rows: Sequence[Row]
    asked: str
    """In which way: protocol and prompt."""
    within: str | None = None
    """The slice whose scores it shows; None for all cases."""

    @property
    def groups(self) -> list[Group]:
        """The rows, those of a group together."""
        return [Group(list(rows)) for _, rows in groupby(self.rows, lambda row: row.entry.group)]

    def values(self, name: str) -> list[str]:
        """What a filter offers: the values that occur of an entry's field."""
        return sorted({str(getattr(row.entry, name)) for row in self.rows})


def boards(
    entries: Sequence[Entry], prefix: str, tests: PairedTests, ranks: Mapping[str, RankInterval] = MappingProxyType({})
) -> list[Board]:
    """A table for each set of languages and each way of asking.

    Args:
        prefix: of the tables' ids; letters, digits and single hyphens.
        tests: between the entries whose cases are at hand.
        ranks: of those, by `sample_id`.
    """
    groups: dict[tuple[tuple[str, ...], str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((tuple(sorted(set(entry.languages))), entry.asked), []).append(entry)
    tables: dict[str, Board] = {}
    for (languages, asked), members in sorted(groups.items(), key=lambda item: item[0]):
        name = unused(f"{prefix}--{slug('-'.join(languages), asked)}", tables)
        tables[name] = board(members, languages, name, tests, ranks)
    return list(tables.values())


def board(
    entries: Sequence[Entry],
    languages: Sequence[str],
    name: str,
    tests: PairedTests,
    ranks: Mapping[str, RankInterval] = MappingProxyType({}),
) -> Board:
    """A table, its rows by group, and in a group by what is `overall`."""
    columns: list[Cell] = [("reliability", ""), *((name, code) for name in PROPERTIES[1:] for code in languages)]
    ordered = _in_order(entries)
    sizes: dict[tuple[str, ...], set[int | None]] = {}
    for entry in ordered:
        if entry.badge == "reproduced":
            sizes.setdefault((*entry.cell, entry.group), set()).add(entry.train_size)
    printed = {entry.cell: entry for entry in ordered if entry.badge == "published"}
    shown = [[_show(entry, column, printed) for column in columns] for entry in ordered]
    for group in dict.fromkeys(entry.group for entry in ordered):
        able = [i for i, entry in enumerate(ordered) if entry.badge != "baseline" and entry.group == group]
        members = [ordered[i] for i in able]
        ranked = [column for column in columns if column[0] not in UNRANKED]
        tests.p_values(compared(members, ranked))  # all at once, which is faster
        for k, column in enumerate(columns):
            if column not in ranked:
                continue
            for i, (sign, tied) in zip(able, mark(members, column, tests), strict=True):
                shown[i][k] = replace(shown[i][k], mark=sign, ties=[able[best] for best in tied])
    several = [len(sizes.get((*entry.cell, entry.group), ())) > 1 for entry in ordered]
    train_sizes = [entry.train_size if many else None for entry, many in zip(ordered, several, strict=True)]
    places = [ranks.get(sample_id(entry)) if entry.badge == "reproduced" else None for entry in ordered]
    rows = [Row(*row) for row in zip(ordered, shown, train_sizes, places, strict=True)]
    return Board(name, languages, columns, rows, entries[0].asked, entries[0].within)


def _in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Groups by their tasks, published ones first, then those with more cases; in a group the highest `overall` first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)

    def rank(entry: Entry) -> tuple[float, bool, tuple[str, ...], int, str, str]:
        score = overall(entry)
        edited = entry.badge != "baseline"
        return 1.0 if score is None else -score, edited, entry.cell, entry.train_size or 0, entry.origin, entry.id

    def place(group: str) -> tuple[str, bool, int, str]:
        members = groups[group]
        return (
            members[0].task,
            members[0].badge != "published",
            -max(entry.n_cases or 0 for entry in members),
            group,
        )

    return [entry for group in sorted(groups, key=place) for entry in sorted(groups[group], key=rank)]


def _show(entry: Entry, column: Cell, printed: Mapping[tuple[str, str, str, str, str, str], Entry]) -> Shown:
    place = place_of(entry, column)
    ours = entry.scores.get(place, {})
    theirs = printed.get(entry.cell)
    own, was = entry.mean(place), theirs.mean(place) if theirs else None
    difference = None if own is None or was is None or entry.within or why_incomparable(entry, place) else own - was
    return Shown(ours, entry.headlines, difference=difference)


def mark(entries: Sequence[Entry], column: Cell, tests: PairedTests) -> list[tuple[str, Sequence[int]]]:
    """Of each row of a column, whether it is the best of all or can't be told from it, and the same of every filter's best.

    The best is the highest mean, and what is printed alike. A row ties with it where the paired test says so.
    """
    means = [shown_mean(entry, column) for entry in entries]
    measured = [(mean, i) for i, mean in enumerate(means) if mean is not None]
    if not measured:
        return [("", ())] * len(entries)
    most, best = max(measured, key=lambda pair: pair[0])  # the first of equal ones
    rows: list[tuple[str, Sequence[int]]] = []
    for mean, tied in zip(means, ties(entries, column, tests), strict=True):
        alike = mean is not None and f"{mean:.1f}" == f"{most:.1f}"
        rows.append(("best" if alike else "tie" if best in tied else "", tied))
    return rows
