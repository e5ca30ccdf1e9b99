"""Jobs cut into parts that other processes make: which there are, which of them are done, and how they become results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.finished import model_files
from xkeb.evaluation.job import Job
from xkeb.evaluation.kept import KeptResult
from xkeb.evaluation.measurements import Measurement
from xkeb.evaluation.merging import merge
from xkeb.evaluation.settings import method_record
from xkeb.results.journal import finished_cases
from xkeb.results.lines import CASES
from xkeb.results.result import RESULT, Result
from xkeb.utils.hashing import digest
from xkeb.utils.secrets import without_secrets


@dataclass(frozen=True)
class Part:
    """Some cases of a job, with an output folder of their own; or a whole job, in the run's."""

    job: Job
    case_ids: Sequence[str]
    output: Path
    whole: bool = False

    @property
    def name(self) -> str:
        """Unique among the parts of a run, and the same whenever the same is asked for."""
        return self.job.name if self.whole else f"{self.job.name} / {self.output.name}"


@dataclass(frozen=True)
class Cell:
    """A job and its parts."""

    job: Job
    parts: Sequence[Part]

    @property
    def case_ids(self) -> list[str]:
        return [case.id for case in self.job.cases]

    @property
    def joined(self) -> bool:
        """Whether its parts have to be joined."""
        return not self.parts[0].whole


def cut(jobs: Sequence[Job], config: RunConfig, size: int | None, folder: Path) -> list[Cell]:
    """The jobs, each with its parts.

    Args:
        size: cases of a part; None for all.
        folder: of the parts. The same cases have the same folder below it, whatever the task, the model and the method, so
            that methods share the answers before any edit.

    Raises:
        RequestError: a job whose edits are made on one model would be cut.
    """
    return [Cell(job, list(_parts(job, config, size, folder))) for job in jobs]


def _parts(job: Job, config: RunConfig, size: int | None, folder: Path) -> Iterator[Part]:
    ids = [case.id for case in job.cases]
    if size is None or size >= len(ids):
        yield Part(job, ids, config.output, whole=True)
        return
    if not job.regime.is_single:
        raise RequestError(
            f"--cases-per-job cuts a job into parts, and --regime {job.regime.asked} edits one model many times: leave it out."
        )
    digits = len(str(len(ids) - 1))
    for first in range(0, len(ids), size):
        own = ids[first : first + size]
        span = f"{first:0{digits}}-{first + len(own) - 1:0{digits}}"
        yield Part(job, own, folder / f"cases-{span}-{digest(own)[:8]}")


def is_done(job: Job, config: RunConfig, output: Path, case_ids: Sequence[str]) -> bool:
    """Whether a job's results over these cases, no more and no fewer, lie below a folder.

    What can't be told without the weights is left to the run, which looks at everything: it is asked again where the model is
    another, or has files that are newer than the result.

    Raises:
        RequestError: a result is there of other settings.
    """
    return all(_measured(job, one, config, output, case_ids) for one in job.measurements)


def _measured(job: Job, measurement: Measurement, config: RunConfig, output: Path, case_ids: Sequence[str]) -> bool:
    file = output / measurement.folder.relative_to(config.output) / RESULT
    if not file.is_file():
        return False
    try:
        result = KeptResult.read(file).result
    except RequestError:  # the run says what is damaged, or makes it again
        return False
    other = [
        name for name, (is_there, asked) in _settings(job, measurement, config, result).items() if is_there != asked
    ]
    if other:
        raise RequestError(
            f"{file} was made with other settings ({', '.join(other)}); name another folder with --output, or remove it."
        )
    wanted, ran = set(case_ids), set(result.case_ids)
    return ran <= wanted <= ran | {one.case_id for one in result.skipped} and _of_this_model(job, config, result, file)


def _settings(job: Job, measurement: Measurement, config: RunConfig, result: Result) -> dict[str, tuple[Any, ...]]:
    """What is known without the weights: of the result, and of what is asked for."""
    protocol = measurement.protocol.for_editor(job.editor)
    compared: dict[str, tuple[Any, ...]] = {
        "the task's version": (result.task.version, job.task.version),
        "the data": (result.task.dataset.sha256, job.task.test.sha256),
        "protocol": (result.protocol_args, protocol.options),
        "prompt": (result.prompt, job.prompt),
        "regime": (result.regime, str(job.regime)),
        "metrics": (result.metrics, list(measurement.metrics)),
        "seed": (result.seed, config.seed),
    }
    if job.skeleton is not None:  # the editor is configured
        records = result.method, method_record(job, job.editor)
        compared["the method's options"] = tuple(record.model_dump(mode="json") for record in records)
    return compared


def _of_this_model(job: Job, config: RunConfig, result: Result, file: Path) -> bool:
    if result.model.plugin != job.choice.plugin or config.dtype not in ("auto", result.model.dtype):
        return False
    if _texts(result.model.args) != _texts(without_secrets(job.model_args)):
        return False
    made = file.stat().st_mtime_ns
    return all(path.stat().st_mtime_ns <= made for path in model_files(job))


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def check_room(cell: Cell, config: RunConfig) -> None:
    """Refuses to join parts into a folder that holds more than they do: it is replaced.

    Raises:
        RequestError: a case of it would be lost.
    """
    for measurement in cell.job.measurements:
        more = finished_cases(measurement.folder / CASES) - set(cell.case_ids)
        if cell.joined and more:
            raise RequestError(
                f"{measurement.folder} holds {len(more)} cases that this run hasn't, and the joined result would take their "
                "place; name another folder with --output."
            )


def join(cell: Cell, config: RunConfig) -> list[Result]:
    """Joins a job's parts, which are done, below the run's output folder.

    Raises:
        RequestError: they don't belong together, or something else would be lost.
    """
    check_room(cell, config)
    files = [
        part.output / one.folder.relative_to(config.output) / RESULT
        for part in cell.parts
        for one in cell.job.measurements
    ]
    return merge(files, config.output, data_dir=config.data_dir, include=config.include, command=config.command)
