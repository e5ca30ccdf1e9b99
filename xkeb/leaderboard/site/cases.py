"""The cases of one result, for its page: the first few in the page itself, all of them in a script beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import to_json

from xkeb.leaderboard.rows.entries import Entry
from xkeb.results.fields import sentences
from xkeb.results.lines import CASES, CaseRecord, ProbeRecord
from xkeb.results.records import read_lines
from xkeb.results.untrusted import UnreadableError

FIRST = 10
"""Cases that stand in the page, for those who read it without scripts."""


@dataclass(frozen=True)
class Pages:
    """What a result's page shows of its cases."""

    first: list[dict[str, Any]]
    n: int
    problem: str | None = None
    """Why there are none, or not all."""


class CaseTaker(Protocol):
    """Takes a result's cases, one after the other."""

    def add(self, case: CaseRecord) -> None: ...


def write_cases(entry: Entry, folder: Path, takers: Sequence[CaseTaker]) -> Pages:
    """Writes ``cases.js`` and gives what the page itself holds. A journal that is missing or damaged is said to be so.

    Args:
        takers: are handed each case, too, so that no file is read twice.
    """
    assert entry.result is not None and entry.folder is not None
    case_ids = set(entry.result.case_ids)
    first: list[dict[str, Any]] = []
    n, problem = 0, None
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.js").open("wb") as out:
        out.write(b"xkebCases([")
        try:
            for record in _read(entry.folder / CASES, case_ids):
                for taker in takers:
                    taker.add(record)
                case = _shown(record, entry.headlines)
                if n < FIRST:
                    first.append(case)
                out.write((b",\n" if n else b"\n") + to_json(case))
                n += 1
        except ValidationError as error:
            problem = f"has a damaged cases.jsonl, after {n} of its {len(case_ids)} cases: {next(sentences(error))}"
        except UnreadableError as error:
            problem = f"has a damaged cases.jsonl, after {n} of its {len(case_ids)} cases: {error}"
        out.write(b"\n]);\n")
    if not (entry.folder / CASES).is_file():
        problem = "has no cases.jsonl beside it"
    elif problem is None and n != len(case_ids):
        problem = f"is of {len(case_ids)} cases, of which {n} are in its cases.jsonl"
    return Pages(first, n, problem)


def _read(path: Path, case_ids: set[str]) -> Iterator[CaseRecord]:
    """The cases that count, each once.

    Raises:
        UnreadableError: the file, or a line of it.
        ValidationError: a line is no case.
    """
    rest = set(case_ids)
    for line in read_lines(path, CaseRecord, any_name=True):
        if isinstance(line.problem, UnreadableError):
            raise UnreadableError(f"line {line.number} {line.problem}")
        if line.problem is not None:
            raise line.problem
        if line.damage:
            raise UnreadableError(f"line {line.number}: {line.damage}")
        record = line.record
        if record is not None and record.status == "ok" and record.case_id in rest:
            rest.discard(record.case_id)
            yield record


def _shown(case: CaseRecord, headlines: Sequence[str]) -> dict[str, Any]:
    edit = case.edit
    return {
        "id": case.case_id,
        "edit": [edit.prompt, edit.subject, edit.target],
        "language": edit.language,
        "probes": [_probe(probe, headlines) for probe in case.probes],
    }


def _probe(probe: ProbeRecord, headlines: Sequence[str]) -> list[Any]:
    """The columns of the page's table. Runs seven times a case, so it is plain."""
    scores = probe.scores
    texts = [probe.property, probe.language, probe.prompt, probe.reference, probe.before, probe.after]
    return [*texts, *(percent(scores.get(metric)) for metric in headlines)]


@lru_cache(maxsize=2**14)  # to round takes longer than to look up, and many answers have the same score
def percent(score: float | None) -> float | None:
    """None for a metric that wasn't measured."""
    return None if score is None else round(100.0 * score, 1) + 0.0  # + 0.0: the cache knows no -0.0
