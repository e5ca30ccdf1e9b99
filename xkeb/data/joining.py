"""Test records of several files, put together where they are the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from xkeb.data.sides import ParallelRecord
from xkeb.errors import RequestError

JoinKey = Literal["src", "case_id"]
"""By what two files' records are known as the same: a question, or the id that they carry."""


@dataclass(frozen=True, slots=True)
class TestRecords:
    """Test records by case id, and what could not be put together."""

    paths: tuple[Path, ...]
    sides: Mapping[str, Mapping[str, ParallelRecord]]
    """By case id and language. A language is absent where its file has no such record."""
    named: Mapping[str, str] = field(default_factory=dict)
    """By case id, the record by what its file is searched for, as a sentence names it."""


@dataclass(frozen=True, slots=True)
class TestFile:
    """A file of test records, read."""

    path: Path
    language: str
    """Its own; the pivot's may stand beside it."""
    keyed_by: str
    """The language whose side has the key."""
    records: Sequence[Mapping[str, ParallelRecord]]

    def name_of(self, record: Mapping[str, ParallelRecord], by: JoinKey) -> str:
        """A record, as a sentence names it."""
        side = record[self.keyed_by]
        return f"the {self.keyed_by} question {side.src!r}" if by == "src" else f"case_id {side.key}"

    def by_key(self, by: JoinKey) -> dict[str, Mapping[str, ParallelRecord]]:
        """Its records by what they are joined by, in order.

        Raises:
            RequestError: two have the same, so that it isn't known which is meant.
        """
        records: dict[str, Mapping[str, ParallelRecord]] = {}
        for i, sides in enumerate(self.records):
            side = sides[self.keyed_by]
            if records.setdefault(side.src if by == "src" else side.key, sides) is not sides:
                told = f"asks {side.src!r}" if by == "src" else f"has the case_id {side.key}"
                column = "question" if by == "src" else "case_id"
                raise RequestError(f"{self.path}: record {i} {told} again; it can't be joined by its {column}.")
        return records


def join_files(files: Sequence[TestFile], by: JoinKey, *, every: bool) -> TestRecords:
    """Records of several files put together. Their ids are places in the first file.

    Args:
        every: take records that the first file lacks, too; such a one is called by the first language that has it, and its
            place there.

    Raises:
        RequestError: a file has a key twice.
    """
    paths = tuple(file.path for file in files)
    if len(files) == 1:
        (file,) = files
        named = {str(i): file.name_of(sides, by) for i, sides in enumerate(file.records)}
        return TestRecords(paths, {str(i): sides for i, sides in enumerate(file.records)}, named)
    lookups = [file.by_key(by) for file in files]
    ids: dict[str, str] = {}
    rows: dict[str, dict[str, ParallelRecord]] = {}
    names: dict[str, str] = {}
    for file, lookup in zip(files, lookups, strict=True):
        first = lookup is lookups[0]
        for i, (key, sides) in enumerate(lookup.items()):
            if first or every or key in ids:
                case_id = ids.setdefault(key, str(i) if first else f"{file.language}-{i}")
                names.setdefault(case_id, file.name_of(sides, by))
                row = rows.setdefault(case_id, {})
                for language, side in sides.items():
                    row.setdefault(language, side)
    return TestRecords(paths, rows, names)
