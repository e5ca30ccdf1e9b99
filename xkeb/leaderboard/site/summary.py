"""What the overview says first: did edits take, and did they cross over to the other language? A line a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from xkeb.leaderboard.site.entries import Badge, Entry

MOST = 10
"""Methods that are named; with more, those that cross over best."""


@dataclass(frozen=True)
class Means:
    """F1, averaged over rows of the table; None where none of them has it."""

    name: str
    takes: float | None
    """Reliability."""
    here: float | None
    """Generality in the language of the edit."""
    there: float | None
    """Generality in the other languages."""
    stays: float | None
    """Locality, in all languages."""
    saw_target_answer: bool = False
    """Whether it was shown the answer in another language, in any of the rows."""


@dataclass(frozen=True)
class Summary:
    """The rows of one kind."""

    badge: Badge
    models: Sequence[str]
    n_rows: int
    overall: Means
    methods: Sequence[Means]
    baseline: Means | None
    """What the same models answer before any edit."""
    asked: str = ""
    """Protocol and prompt style."""
    tasks: Sequence[str] = ()
    within: str | None = None
    """The slice that all of this is of."""


def summarize(entries: Sequence[Entry], badge: Badge) -> list[Summary]:
    """Of the rows of a kind, one for each way in which they were asked and each choice of comparable groups: means over other
    groups are no measure of one thing, so methods that ran in the same groups alone stand side by side."""
    chosen = [entry for entry in entries if entry.badge == badge]
    of_method: dict[tuple[str, str], set[str]] = {}
    for entry in chosen:
        of_method.setdefault((entry.asked, entry.method), set()).add(entry.group)
    views: dict[tuple[str, frozenset[str]], list[Entry]] = {}
    for entry in chosen:
        views.setdefault((entry.asked, frozenset(of_method[entry.asked, entry.method])), []).append(entry)
    return [
        _summary(
            members, [entry for entry in entries if entry.badge == "baseline" and entry.group in groups], badge, asked
        )
        for (asked, groups), members in views.items()
    ]


def _summary(chosen: Sequence[Entry], baselines: Sequence[Entry], badge: Badge, asked: str) -> Summary:
    methods = [
        _means(name, [entry for entry in chosen if entry.method == name]) for name in {entry.method for entry in chosen}
    ]
    methods.sort(key=lambda means: (means.there is None, -(means.there or 0.0), means.name))
    before = baselines if badge == "reproduced" else []
    return Summary(
        badge,
        sorted({entry.model for entry in chosen}),
        len(chosen),
        _means("all", chosen),
        methods[:MOST],
        _means("baseline", before) if before else None,
        asked,
        sorted({entry.task for entry in chosen}),
        chosen[0].within,
    )


def _means(name: str, entries: Sequence[Entry]) -> Means:
    def mean(score: Callable[[Entry], Sequence[float | None]]) -> float | None:
        values = [value for entry in entries for value in score(entry) if value is not None]
        return fmean(values) if values else None

    return Means(
        name,
        mean(lambda entry: [entry.mean(("reliability", entry.source))]),
        mean(lambda entry: [entry.mean(("generality", entry.source))]),
        mean(lambda entry: [entry.mean(("generality", code)) for code in entry.targets]),
        mean(lambda entry: [entry.mean(("locality", code)) for code in entry.languages]),
        any(entry.saw_target_answer for entry in entries),
    )
