"""A run reported to Weights & Biases (https://wandb.ai): a W&B run for each job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xkeb.errors import optional_import
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result

RECORDED = ("protocols", "dtype", "device", "seed", "limit")
"""Settings of a run that W&B is told, beside the job's."""


@dataclass
class WeightsAndBiases(RunObserver):
    """Reports each job to Weights & Biases; needs `pip install 'xkeb[wandb]'`."""

    project: str = "xkeb"
    mode: Literal["offline", "online", "disabled"] = "offline"
    """``offline`` writes to `folder`, from where ``wandb sync`` sends it; no account and no network is needed."""
    folder: str | None = None
    """Where its files go. None: below the current folder, as W&B has it."""

    _run: Any = field(default=None, init=False, repr=False)
    _open: set[str] = field(default_factory=set, init=False, repr=False)
    """Protocols of the job whose result isn't there yet."""
    _config: RunConfig | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._wandb = optional_import("wandb", "wandb", "The observer 'wandb'")

    def run_started(self, jobs: Sequence[Job], config: RunConfig) -> None:
        self._config = config

    def job_configured(self, job: Job, options: Mapping[str, Any]) -> None:
        config: dict[str, Any] = {
            "task": job.task.name,
            "model": job.model,
            "method": job.method,
            "options": dict(options),
        }
        if self._config is not None:
            config |= {name: str(getattr(self._config, name)) for name in RECORDED}
        self._open = {one.protocol.name for one in job.measurements}
        self._run = self._wandb.init(
            project=self.project,
            mode=self.mode,
            dir=self.folder,
            name=job.name,
            group=job.task.name,
            config=config,
            reinit="finish_previous",
        )

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        if self._run is None or record is None or record.seconds is None:
            return
        scores = {
            f"case/{protocol}/{probe.property}/{probe.language}/{metric}": 100 * value
            for probe in record.probes
            for metric, value in probe.scores.items()
        }
        self._run.log({**scores, "case/edit_seconds": record.seconds.edit})

    def job_done(self, job: Job, result: Result) -> None:
        if self._run is None:
            return
        for name, languages in result.scores.items():
            for language, metrics in languages.items():
                for metric, score in metrics.items():
                    self._run.summary[f"{result.protocol}/{name}/{language}/{metric}"] = score.mean
        self._open.discard(result.protocol)
        if not self._open:
            self._finish(0)

    def job_failed(self, job: Job, error: Exception) -> None:
        self._finish(1)

    def run_ended(self, results: Sequence[Result], failed: Sequence[tuple[Job, Exception]]) -> None:
        self._finish(1)  # a run that is still open was interrupted

    def _finish(self, exit_code: int) -> None:
        if self._run is not None:
            self._run.finish(exit_code=exit_code)
            self._run = None
