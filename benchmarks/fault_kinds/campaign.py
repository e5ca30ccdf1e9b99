"""One run that faults are put into: how it is started, what it must come to, and what was lost, repeated or wrong after all."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CASES = "cases.jsonl"
UNTOLD = ("seconds", "chain")
"""Of a line: what two runs needn't have in common."""
OWN = ("timing", "environment", "command", "date")
"""The same of a result."""
Lines = dict[str, list[bytes]]
"""Of each journal below an output folder, by its path there: the lines that stand whole."""


@dataclass
class Row:
    """What came of one kind of fault."""

    kind: str
    injected: int = 0
    lost: int = 0
    """Cases that stood on disk and don't any more, or are missing in the end."""
    repeated: int = 0
    """Cases that stand in a journal twice."""
    wrong: int = 0
    """Lines and results that say something else than those of a run without faults."""
    silent: int = 0
    """Faults that should have been told in a sentence and weren't: a traceback, a status of 0 with damage, a hang."""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.repeated or self.wrong or self.silent)


@dataclass(frozen=True)
class Ended:
    """A process that is over."""

    status: int
    told: str

    @property
    def last(self) -> str:
        return self.told.strip().splitlines()[-1] if self.told.strip() else ""


@dataclass
class Campaign:
    """The run, its folder, and what it comes to without faults."""

    folder: Path
    options: Sequence[str]
    """Of ``xkeb run``, but for output and methods."""
    methods: Sequence[str]
    chance: random.Random
    longest: float
    """Seconds after which a process counts as hanging."""
    reach: float
    """Most seconds before a kill, as a rule."""
    expected: dict[str, list[Any]] = field(default_factory=dict)
    """Of each journal: what its lines say."""
    results: dict[str, Any] = field(default_factory=dict)
    """Of each result: what it says."""

    def new(self, name: str) -> Path:
        """A folder that isn't there yet."""
        number = sum(1 for one in self.folder.iterdir() if one.name.startswith(name))
        return self.folder / f"{name}-{number}"

    @property
    def learned(self) -> Path:
        """The cache of the run without faults."""
        return self.folder / "learned"

    def start(
        self, output: Path, cache: Path, *more: str, log: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """``xkeb run`` in a session of its own, so that it can be killed whole."""
        run = ["run", *self.options, "--methods", ",".join(self.methods), "--output", str(output), *more]
        return self.process(run, cache, log or output, env)

    def process(
        self, arguments: Sequence[str], cache: Path, log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Any command of the suite; what it prints goes to a file beside `log`, since pipes may fill."""
        with log.with_name(f"{log.name}.told").open("w") as told:
            return subprocess.Popen(
                [sys.executable, "-m", "xkeb.cli", *arguments],
                stdout=told,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "XKEB_CACHE": str(cache), **(env or {})},
            )

    def end(self, process: subprocess.Popen[str], log: Path) -> Ended:
        """Waits for a process; one that hangs is killed, with status -9."""
        try:
            process.wait(self.longest)
        except subprocess.TimeoutExpired:
            kill(process)
        return Ended(process.returncode, log.with_name(f"{log.name}.told").read_text(errors="replace"))

    def run(self, output: Path, cache: Path, *more: str, env: Mapping[str, str] | None = None) -> Ended:
        return self.end(self.start(output, cache, *more, log=self._log(output), env=env), self._log(output))

    def _log(self, output: Path) -> Path:
        """Beside the campaign's other files, wherever the output is."""
        return self.folder / output.name

    def rehearse(self) -> float:
        """The run without faults; its seconds.

        Raises:
            RuntimeError: it fails by itself.
        """
        output = self.folder / "rehearsed"
        started = time.monotonic()
        ended = self.run(output, self.learned)
        if ended.status:
            raise RuntimeError(f"without any fault, the run ends with {ended.status}:\n{ended.told[-2000:]}")
        self.expected = {name: [said(line) for line in some] for name, some in journals(output).items()}
        self.results = results(output)
        return time.monotonic() - started

    def finish(
        self, output: Path, cache: Path, row: Row, before: Lines, *, env: Mapping[str, str] | None = None
    ) -> None:
        """Goes on after a fault, without another, and judges what is there then."""
        ended = self.run(output, cache, env=env)
        if ended.status:
            row.silent += 1
            row.note(f"the same command, given again, ends with {ended.status}: {ended.last[:300]}")
        self.judge(output, row, before)

    def judge(self, output: Path, row: Row, before: Lines) -> None:
        """Compares a finished output with what a run without faults came to.

        Args:
            before: what stood on disk when the last fault came.
        """
        found = journals(output)
        row.lost += vanished(before, found, row)
        for name, expected in self.expected.items():
            lines = [said(line) for line in found.get(name, [])]
            ids = [line["case_id"] for line in lines]
            row.repeated += len(ids) - len(set(ids))
            wanted = {line["case_id"]: line for line in expected}
            row.lost += len(wanted.keys() - set(ids))
            for line in lines:
                if line != wanted.get(line["case_id"]):
                    row.wrong += 1
                    row.note(f"{output.name}/{name}: case {line['case_id']} differs")
            result = results(output).get(name)
            if result != self.results[name]:
                row.wrong += 1
                row.note(f"{output.name}/{name}: its result {'differs' if result else 'is missing'}")


def kill(process: subprocess.Popen[str]) -> None:
    """Ends a process and all of its own at once."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(process.pid, 9)
    process.wait()


def journals(output: Path) -> Lines:
    """The lines that stand whole, as they stand."""
    found: Lines = {}
    for path in sorted(output.rglob(CASES)):
        *whole, _ = path.read_bytes().split(b"\n")
        found[str(path.relative_to(output))] = whole
    return found


def said(line: bytes) -> Any:
    """What a line says, without its times and its checksum, which is over them."""
    return {key: value for key, value in json.loads(line).items() if key not in UNTOLD}


def results(output: Path) -> dict[str, Any]:
    """What each result says, by its journal's path."""
    found = {}
    for path in sorted(output.rglob("result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        name = str((path.parent / CASES).relative_to(output))
        found[name] = {key: value for key, value in result.items() if key not in OWN}
    return found


def vanished(before: Lines, after: Lines, row: Row) -> int:
    """How many lines stood before and don't after; the order counts."""
    count = 0
    for name, lines in before.items():
        kept = after.get(name, [])
        gone = sum(1 for i, line in enumerate(lines) if i >= len(kept) or kept[i] != line)
        if gone:
            row.note(f"{name}: {gone} lines are gone")
        count += gone
    return count


def told_in_a_sentence(ended: Ended, row: Row, allowed: Sequence[int] = (1, 2)) -> bool:
    """Counts an end that isn't a sentence and one of the statuses; true where it is one."""
    sound = ended.status in allowed and "Traceback" not in ended.told and "xkeb: " in ended.last
    if not sound:
        row.silent += 1
        row.note(f"status {ended.status}: {ended.told.strip()[-400:]}")
    return sound
