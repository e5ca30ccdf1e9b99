"""What crosses between all languages: the results of one method on one model, one for each language of the edits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.rows.entries import Entry
from xkeb.results.crossing import ALL, Matrix
from xkeb.results.scores import CrossingRecord
from xkeb.results.slices import HEADLINE


@dataclass(frozen=True)
class CrossingMatrix:
    """By source and target; in percent."""

    method: str
    model: str
    asked: str
    dataset: str
    within: str
    """The slice that it is of; ``all`` for all cases."""
    groups: frozenset[str]
    """Of its results: two matrices with the same can be set against each other."""
    metrics: tuple[str, str]
    """Of `transfer`, and of `both`."""
    transfer: Matrix
    both: Matrix

    @property
    def basis(self) -> str:
        """Model, data, way of asking and cases, in words."""
        differ = "" if self.within == ALL else ", answers differ"
        return f"{self.model}, {self.dataset}, {self.asked.replace('_', ' ')}{differ}"


def matrices(entries: Sequence[Entry]) -> Iterator[CrossingMatrix]:
    """One for each method, model, way of asking and data set with results of several targets; of the cases whose answers
    differ, where they are told apart."""
    found: dict[tuple[str, str, str, str, str, tuple[str, ...]], list[Entry]] = {}
    for entry in entries:
        if entry.badge == "reproduced" and entry.result is not None and entry.result.crossing:
            dataset, languages = entry.result.task.dataset, tuple(sorted(entry.languages))
            key = (entry.method, entry.model, entry.asked, dataset.name, dataset.sha256, languages)
            found.setdefault(key, []).append(entry)
    for (method, model, asked, dataset_name, *_), members in sorted(found.items()):
        part = HEADLINE if all(HEADLINE in _crossing(entry) for entry in members) else ALL
        transfer: dict[tuple[str, str], float] = {}
        both: dict[tuple[str, str], float] = {}
        chosen: dict[str, Entry] = {}  # by source; of two, the one with more cases
        for entry in sorted(members, key=_n_cases):
            chosen[entry.source] = entry
        for source, entry in chosen.items():
            for target, records in _crossing(entry).get(part, {}).items():
                first, *others = records.values()
                if first.transfer is not None:
                    transfer[source, target] = first.transfer
                both[source, target] = (others[0] if others else first).both.mean
        if both:
            metrics = list(next(iter(next(iter(_crossing(members[0]).values())).values())))
            yield CrossingMatrix(
                method, model, asked, dataset_name, part, frozenset(entry.group for entry in chosen.values()),
                (metrics[0], metrics[-1]), transfer, both,
            )  # fmt: skip


def _crossing(entry: Entry) -> Mapping[str, Mapping[str, Mapping[str, CrossingRecord]]]:
    return (entry.result.crossing if entry.result else None) or {}


def _n_cases(entry: Entry) -> tuple[int, str]:
    return (len(entry.result.case_ids) if entry.result else 0, entry.id)
