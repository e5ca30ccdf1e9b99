"""The cases as the case browser fetches them: small files, so that a page asks for those it shows.

The results of a comparable group share an order of cases, cut into chunks. Of a chunk, questions, answers before the edit and
answers after it are three files, named after what is in them: results that were asked the same share the first, results of one
model the second, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.site.cases import percent
from xkeb.results.lines import CaseRecord
from xkeb.results.outcomes import MEANINGS, OUTCOMES, Outcome, exact_metric, outcomes_of, told_outcomes

CHUNK = 64
"""Cases of a file."""
FOLDER = "cases"
"""Of the site, with what results share."""
RIGHT_TO_LEFT = ("ar", "arc", "ckb", "dv", "fa", "he", "ks", "ku", "nqo", "ps", "sd", "syr", "ug", "ur", "yi")
"""Languages that are usually written so."""
BITS: Mapping[Outcome, int] = {name: 1 << i for i, name in enumerate(OUTCOMES)}
"""What an outcome adds to a case's mark."""
ABSENT = "."
"""The mark of a case that a result doesn't have."""


def text_direction(language: str) -> str:
    """The ``dir`` of a text: that of its language, or that of its first letter."""
    return "rtl" if language.partition("-")[0].lower() in RIGHT_TO_LEFT else "auto"


@dataclass(frozen=True)
class CaseOrder:
    """The cases of a comparable group, in the order of its largest result, then those that only others have."""

    ids: Sequence[str]
    places: Mapping[str, int]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> CaseOrder:
        """Of the results of a group."""
        results = [entry.result for entry in entries if entry.result is not None]
        results.sort(key=lambda result: -len(result.case_ids))  # stable: equal ones in the order of the site
        ids = list(dict.fromkeys(case_id for result in results for case_id in result.case_ids))
        return cls(ids, {case_id: place for place, case_id in enumerate(ids)})


@dataclass(slots=True)
class CaseFiles:
    """Takes one result's cases, and writes them."""

    entry: Entry
    order: CaseOrder
    _cases: dict[int, tuple[Any, Any, Any]] = field(default_factory=dict)
    """By place: questions, answers before, answers after."""
    _marks: dict[int, int] = field(default_factory=dict)
    _exact: str = field(init=False)

    def __post_init__(self) -> None:
        assert self.entry.result is not None
        self._exact = exact_metric(self.entry.result)

    def add(self, case: CaseRecord) -> None:
        """Takes a case."""
        first, second = self.entry.headlines
        edit = case.edit
        asked: list[tuple[str, ...]] = []
        before: list[tuple[Any, ...]] = []
        after: list[tuple[Any, ...]] = []
        mark = 0
        for probe in case.probes:
            bits = 0
            for outcome in outcomes_of(case, probe, self._exact):
                bits |= BITS[outcome]
            mark |= bits
            asked.append((probe.property, probe.language, probe.prompt, probe.reference))
            if probe.blank:
                before.append((probe.before, None, None))
                after.append((probe.after, None, None, bits))
                continue
            scores = probe.scores_before
            before.append((probe.before, percent(scores.get(first)), percent(scores.get(second))))
            scores = probe.scores
            after.append((probe.after, percent(scores.get(first)), percent(scores.get(second)), bits))
        questions = {"edit": (edit.prompt, edit.subject, edit.target, edit.language), "asked": asked}
        place = self.order.places[case.case_id]
        self._cases[place] = questions, before, after
        self._marks[place] = mark

    def write(self, site: Path) -> None:
        """Writes the chunks that aren't there yet, and ``cases.json`` of the result, which names them."""
        size = len(self.order.ids)
        chunks = []
        for start in range(0, size, CHUNK):
            rows = [self._cases.get(place) for place in range(start, min(start + CHUNK, size))]
            parts = ([None if row is None else row[i] for row in rows] for i in range(3))
            chunks.append([write_shared(site, part) for part in parts])
        marks = "".join(format(self._marks[i], "x") if i in self._marks else ABSENT for i in range(size))
        content = to_json({"marks": marks, "chunks": chunks})
        (site / "results" / self.entry.id / "cases.json").write_bytes(content + b"\n")


def write_shared(site: Path, content: Any) -> str:
    """Writes a file that is named after what is in it. Gives the name."""
    data = to_json(content) + b"\n"
    name = hashlib.sha256(data).hexdigest()[:16]
    path = site / FOLDER / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return name


def write_index(site: Path, groups: Mapping[str, Sequence[Entry]], orders: Mapping[str, CaseOrder]) -> None:
    """Writes ``cases/index.json``: the groups, those with most to compare first, and what marks and languages mean."""

    def weight(group: str) -> tuple[int, str]:
        return -(len(groups[group]) - 1) * len(orders[group].ids), group

    content = {
        "chunk": CHUNK,
        "bits": BITS,
        "meanings": MEANINGS,
        "rtl": RIGHT_TO_LEFT,
        "groups": [_group(site, groups[group], orders[group]) for group in sorted(groups, key=weight)],
    }
    (site / FOLDER).mkdir(exist_ok=True)
    (site / FOLDER / "index.json").write_bytes(to_json(content) + b"\n")


def _group(site: Path, members: Sequence[Entry], order: CaseOrder) -> dict[str, Any]:
    first, size = members[0], len(order.ids)
    return {
        "name": f"{first.task}, {size:,} {'case' if size == 1 else 'cases'}, {first.asked.replace('_', ' ')}",
        "order": write_shared(site, order.ids),
        "size": size,
        "heads": first.headlines,
        "results": [_listed(entry) for entry in members],
    }


def _listed(entry: Entry) -> dict[str, Any]:
    assert entry.result is not None
    return {"id": entry.id, "name": full_name(entry), "told": told_outcomes(entry.result)}


def full_name(entry: Entry) -> str:
    """What tells a result apart from the others of its group."""
    facts = f" ({entry.train_size:,} facts)" if entry.train_size else ""
    return f"{entry.method}{facts} on {entry.model}, {entry.origin}"
