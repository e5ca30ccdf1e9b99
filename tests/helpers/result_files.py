"""The files of a result, as tests read, change and write them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealed_lines import sealed_text

RECORDS, EMPTY, WITHOUT_SUBJECT = 8, 2, 5
"""Number of records, the one whose answer is empty, and the one that ROME refuses: its subject is not in its question."""


@dataclass(frozen=True)
class Runs:
    """Where the two methods' results are, and the data they were made on."""

    output: Path
    data: Path
    model: str = "llama"
    """Its name in tables and folders: the last part of its path."""

    def folder(self, method: str) -> Path:
        return self.output / "bizsre_en2zh" / self.model / method


def read_result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def read_cases(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def write(folder: Path, result: Any, cases: list[Any]) -> None:
    """Writes both files, each line with its checksum."""
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (folder / "cases.jsonl").write_text(sealed_text(cases), encoding="utf-8")
