"""Verdicts that are kept, so that nothing is asked, or paid for, twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from xkeb.errors import RequestError, XkebError
from xkeb.evaluation.judging.judge import PROMPT_SHA256, Judge, JudgedAnswer, Verdict
from xkeb.utils.paths import cache_root

TABLE = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY, model TEXT, prompt_sha256 TEXT, question TEXT, reference TEXT, answer TEXT, reply TEXT, verdict TEXT
)"""
WAIT = 60
"""Seconds for another process that writes a verdict."""


class VerdictCache:
    """A file of verdicts, in `cache_root`. Each is on disk before the next one is waited for, whatever ends the process, and
    several processes can use the file at once. To be entered as a context."""

    def __init__(self, path: Path | None = None) -> None:
        """
        Raises:
            RequestError: the file can't be opened, or is none of verdicts.
        """
        self.path = cache_root() / "judge" / "verdicts.sqlite" if path is None else path
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise RequestError(f"Can't open {self.path}: {error}.") from error
        try:
            self._file.execute(TABLE)
            self._file.execute("SELECT key, verdict FROM verdicts LIMIT 1")
        except sqlite3.Error as error:
            self._file.close()
            raise RequestError(f"{self.path} holds no verdicts ({error}); delete it to begin a new one.") from error

    def known(self, judge: Judge, answers: Iterable[JudgedAnswer]) -> dict[JudgedAnswer, Verdict]:
        """The verdicts on these answers that are here."""
        found: dict[JudgedAnswer, Verdict] = {}
        for answer in answers:
            row = self._run("SELECT verdict FROM verdicts WHERE key = ?", (judge.key(answer),)).fetchone()
            if row and row[0] in ("correct", "incorrect"):
                found[answer] = row[0]
        return found

    def add(self, judge: Judge, answer: JudgedAnswer, reply: str, verdict: Verdict) -> None:
        """Keeps a verdict, in the place of an older one."""
        row = (judge.key(answer), judge.model, PROMPT_SHA256, answer.question, answer.reference, answer.answer)
        self._run("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, reply, verdict))

    def _run(self, statement: str, values: tuple[str, ...]) -> sqlite3.Cursor:
        try:
            return self._file.execute(statement, values)
        except sqlite3.Error as error:  # a full disk, a damaged file
            raise XkebError(f"{self.path}: {error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
