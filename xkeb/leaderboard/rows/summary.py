"""What the overview says first: did edits take, and did they cross over to the other language? A line a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from xkeb.leaderboard.rows.entries import Badge, Entry
from xkeb.leaderboard.rows.overall import overall

MOST = 10
"""Methods that are named; with more, those of the highest `overall`."""


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
    overall: float | None
    """All of these in one (`xkeb.leaderboard.rows.overall`)."""
    saw_target_answer: bool = False
    """Whether it was shown the answer in another language, in any of the rows."""


@dataclass(frozen=True)
class Summary:
    """The rows of one group, of methods that ran on the same models."""

    badge: Badge
    group: str
    task: str
    source: str
    targets: Sequence[str]
    asked: str
    """Protocol and prompt style."""
    n_cases: int | None
    models: Sequence[str]
    n_rows: int
    methods: Sequence[Means]
    baseline: Means | None
    """What the same models answer before any edit."""
    within: str | None = None
    """The slice that all of this is of."""


def summarize(entries: Sequence[Entry], badge: Badge) -> list[Summary]:
    """Of the rows of a kind, one for each group and each choice of models: a mean over other rows is no measure of the same
    thing, so only methods that ran on the same models in the same group stand side by side. The fullest come first."""
    chosen = [entry for entry in entries if entry.badge == badge]
    ran_on: dict[tuple[str, str], set[str]] = {}
    for entry in chosen:
        ran_on.setdefault((entry.group, entry.method), set()).add(entry.model)
    views: dict[tuple[str, frozenset[str]], list[Entry]] = {}
    for entry in chosen:
        views.setdefault((entry.group, frozenset(ran_on[entry.group, entry.method])), []).append(entry)
    before = [entry for entry in entries if entry.badge == "baseline"]
    found = [
        _summary(members, [entry for entry in before if entry.group == group and entry.model in models])
        for (group, models), members in views.items()
    ]
    return sorted(found, key=lambda view: (-view.n_rows * (view.n_cases or 1), view.task, view.asked))


def _summary(chosen: Sequence[Entry], baselines: Sequence[Entry]) -> Summary:
    methods = [
        _means(name, [entry for entry in chosen if entry.method == name]) for name in {entry.method for entry in chosen}
    ]
    methods.sort(key=lambda means: (means.overall is None, -(means.overall or 0.0), means.name))
    first = chosen[0]
    return Summary(
        first.badge,
        first.group,
        first.task,
        first.source,
        first.targets,
        first.asked,
        max((entry.n_cases for entry in chosen if entry.n_cases is not None), default=None),
        sorted({entry.model for entry in chosen}),
        len(chosen),
        methods[:MOST],
        _means("baseline", baselines) if baselines else None,
        first.within,
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
        mean(lambda entry: [overall(entry)]),
        any(entry.saw_target_answer for entry in entries),
    )
