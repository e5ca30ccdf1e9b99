"""Every event of a run in a file, a line of JSON each: for dashboards, and for looking into a run afterwards."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from xkeb.errors import RequestError, one_line
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result
from xkeb.types import Case


@dataclass
class EventLog(RunObserver):
    """Appends every event to a file, a line of JSON each."""

    path: str
    """The file; lines are appended to what it holds."""

    _file: TextIO | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        path = Path(self.path).expanduser()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise RequestError(f"Can't write the event log {path}: {error.strerror}.") from error

    def _write(self, event: str, **facts: Any) -> None:
        """A line is on its way to the disk before the run goes on; none is written in part."""
        if self._file is None:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        self._file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self._file.flush()

    def run_started(self, jobs: Sequence[Job], config: RunConfig) -> None:
        self._write("run_started", jobs=[job.name for job in jobs], command=config.command, seed=config.seed)

    def model_loading(self, name: str) -> None:
        self._write("model_loading", model=name)

    def job_started(self, job: Job) -> None:
        self._write("job_started", **_names(job), cases=len(job.cases))

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        self._write("job_configured", **_names(job), options=dict(options))

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self._write("phase_started", phase=name, done=done, total=total)

    def progress(self, what: str, done: int, total: int) -> None:
        self._write("progress", what=what, done=done, total=total)

    def batch_done(self, cases: Sequence[Case], seconds: Mapping[str, float]) -> None:
        self._write("batch_done", case_ids=[case.id for case in cases], seconds=dict(seconds))

    def batch_shrunk(self, size: int) -> None:
        self._write("batch_shrunk", size=size)

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        if record is None:
            self._write("case_done", case_id=case_id, protocol=protocol, phase="before")
        else:
            told = {"status": record.status, "reason": record.reason}
            self._write("case_done", case_id=case_id, protocol=protocol, phase="edit", **told)

    def job_done(self, job: Job, result: Result) -> None:
        scores = {
            name: {
                language: {metric: score.mean for metric, score in metrics.items()} for language, metrics in by.items()
            }
            for name, by in result.scores.items()
        }
        self._write("job_done", **_names(job), protocol=result.protocol, cases=len(result.case_ids), scores=scores)

    def job_failed(self, job: Job, error: Exception) -> None:
        frames = traceback.format_exception(error)
        self._write("job_failed", **_names(job), error=one_line(error), traceback="".join(frames))

    def run_ended(self, results: Sequence[Result], failed: Sequence[tuple[Job, Exception]]) -> None:
        self._write("run_ended", done=len(results), failed=len(failed))
        if self._file is not None:
            self._file.close()
            self._file = None


def _names(job: Job) -> dict[str, str]:
    return {"task": job.task.name, "model": job.model, "method": job.method}
