"""What else is known of a result: whether its scores were computed again, or all of it run again, and what of it is open."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xkeb.leaderboard.rows.entries import Entry, find_results
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.registry.manager import get_plugins
from xkeb.results.result import RESULT, Result


@dataclass(frozen=True)
class Failed:
    """A result that doesn't pass the check."""

    path: Path
    problems: Sequence[str]
    """A sentence each."""


def with_checks(entries: Iterable[Entry], sources: Sources) -> tuple[list[Entry], list[Failed]]:
    """The entries, those marked whose scores follow from their answers, and the others' problems.

    Args:
        sources: where the data is looked for.
    """
    marked, failed = [], []
    for entry in entries:
        assert entry.folder is not None
        report = check_result(entry.folder / RESULT, sources)
        if report.problems:
            failed.append(Failed(report.path, report.problems))
        marked.append(replace(entry, recomputed=None if report.problems else report.summary))
    return marked, failed


def with_reruns(entries: Iterable[Entry], folders: Iterable[Path]) -> list[Entry]:
    """The entries, those marked that stand in the folders again: of the same settings and the same cases.

    Raises:
        RequestError: a folder isn't there.
    """
    again: dict[str, list[Entry]] = {}
    for entry in find_results(folders).entries:
        assert entry.result is not None
        again.setdefault(entry.result.settings, []).append(entry)
    marked = []
    for entry in entries:
        assert entry.result is not None
        cases = set(entry.result.case_ids)
        alike = [
            other
            for other in again.get(entry.result.settings, ())
            if other.id != entry.id and other.result is not None and set(other.result.case_ids) == cases
        ]
        marked.append(replace(entry, rerun=_told(entry, alike[-1])) if alike else entry)
    return marked


def _told(entry: Entry, again: Entry) -> str:
    """How far the two are apart."""
    gaps = [
        abs(score.mean - other.mean)
        for cell, metrics in entry.scores.items()
        for metric, score in metrics.items()
        if (other := again.scores.get(cell, {}).get(metric)) is not None
    ]
    largest = max(gaps, default=0.0)
    return f"run again, {again.origin}: the largest difference of a mean is {largest:.1f}"


def openness(entry: Entry, whole: Container[str]) -> Mapping[str, str | None]:
    """What somebody else would need to make the result again: why they don't have it, or None where they do.

    Args:
        whole: ids of results whose answers can all be read.
    """
    result = entry.result
    if result is None:
        return {}
    return {
        "weights": _weights(result),
        "code": _code(result),
        "data": _data(result),
        "answers": None if entry.id in whole else "its cases can't be read whole",
    }


def _weights(result: Result) -> str | None:
    local = "path" in result.model.args and result.model.revision is None
    return "they were read from a folder: their hash is told, not where they are from" if local else None


def _code(result: Result) -> str | None:
    commit = result.environment.get("commit")
    if result.method.name not in get_plugins().methods:
        return "the method is none of those that are installed here"
    return "it was run with changes that no commit has" if str(commit).endswith("-dirty") else None


def _data(result: Result) -> str | None:
    stated = result.task.dataset
    if stated.name not in get_plugins().datasets:
        return "the data set isn't known here"
    hashes = get_plugins().datasets.get(stated.name).registered_hashes(result.task.direction)
    return None if stated.sha256 in hashes else "it has another hash than the data set is registered with"


def open_text(parts: Mapping[str, str | None]) -> str:
    """In few words."""
    closed = [name for name, reason in parts.items() if reason is not None]
    if not closed:
        return "all open"
    return "nothing open" if len(closed) == len(parts) else f"open but for {', '.join(closed)}"
