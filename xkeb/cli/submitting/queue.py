"""Stages handed to submitit, and what is in Slurm's queue already."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xkeb.cli.submitting.launched import Launched
from xkeb.cli.submitting.resources import MOST_TASKS, Resources
from xkeb.cli.submitting.stages import JOIN, Stage
from xkeb.errors import RequestError, XkebError, one_line, optional_import
from xkeb.evaluation.batches import chunks
from xkeb.utils.files import write_atomically

LEDGER = "jobs.json"
"""Of the parts that were submitted: name -> job of the cluster."""


def submit(stages: Sequence[Stage], resources: Resources, folder: Path, at_once: int | None) -> dict[str, list[str]]:
    """Submits the stages to Slurm, and notes which job makes which part.

    Args:
        folder: of the parts; jobs keep what they are made of and what they print in ``logs`` below it.

    Returns:
        the jobs of each stage.

    Raises:
        RequestError: submitit or Slurm isn't here.
        XkebError: Slurm refuses a stage.
    """
    ids: dict[str, list[str]] = {}
    for stage in stages:
        waits = [f"{how}:{job}" for name, how in stage.after.items() for job in ids.get(name, ())]
        waits += [f"afterany:{job}" for job in sorted(stage.also_after)]
        flags = resources.flags(gpu=stage.name != JOIN)
        if waits:
            flags |= {"dependency": ",".join(waits), "kill-on-invalid-dep": "yes"}
        for tasks in chunks(stage.tasks, MOST_TASKS):
            executor = _executor("slurm", folder)
            executor.update_parameters(
                job_name=f"xkeb-{stage.name}",
                time=resources.minutes,
                array_parallelism=at_once or MOST_TASKS,
                additional_parameters=flags,
            )
            try:
                jobs = executor.submit_array([Launched(task.arguments) for task in tasks])
            except Exception as error:
                raise XkebError(f"Slurm refused {stage.name}: {one_line(error)}.") from error
            ids.setdefault(stage.name, []).append(jobs[0].job_id.partition("_")[0])
            _note(folder, {task.part: job.job_id for task, job in zip(tasks, jobs, strict=True) if task.part})
    return ids


def run_here(stages: Sequence[Stage], resources: Resources, folder: Path, told: Callable[[str], None]) -> None:
    """Runs the stages on this machine, one command after another, as the cluster would.

    Args:
        told: called with a line for each command that failed. What waits for learning that failed isn't run.
    """
    failed: set[str] = set()
    for stage in stages:
        if any(how == "afterok" and name in failed for name, how in stage.after.items()):
            told(f"{stage.name}: {len(stage.tasks)} not run, since learning failed")
            continue
        for task in stage.tasks:
            executor = _executor("local", folder)
            gpus = int((resources.gpus or "0").rpartition(":")[2])
            executor.update_parameters(timeout_min=resources.minutes, gpus_per_node=gpus, signal_delay_s=90)
            job = executor.submit(Launched(task.arguments))
            try:
                problem = job.exception()
            except KeyboardInterrupt:
                job.cancel()
                raise
            if problem is not None:
                failed.add(stage.name)
                told(f"{task.part or stage.name}: failed, see {job.paths.stderr}")


def queued_parts(folder: Path) -> dict[str, str]:
    """The parts that Slurm's queue holds or runs, with their jobs, as far as they were submitted with this folder.

    Raises:
        XkebError: Slurm doesn't tell.
    """
    submitted = _submitted(folder)
    if not submitted:
        return {}
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise XkebError(f"Can't tell what is in the queue already: {one_line(error)}.") from error
    listed = set(said.split())
    return {part: job for part, job in submitted.items() if job in listed}


def _submitted(folder: Path) -> dict[str, str]:
    path = folder / LEDGER
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        return {str(part): str(job) for part, job in noted.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise RequestError(
            f"Can't read {path}, which tells what was submitted: {one_line(error)}. Remove it if nothing is in the queue."
        ) from error


def _note(folder: Path, jobs: Mapping[str, str]) -> None:
    write_atomically(folder / LEDGER, json.dumps({**_submitted(folder), **jobs}, ensure_ascii=False, indent=1))


def _executor(cluster: str, folder: Path) -> Any:
    submitit = optional_import("submitit", "slurm", "xkeb submit without --print")
    kind = {"slurm": submitit.SlurmExecutor, "local": submitit.LocalExecutor}[cluster]
    try:
        return kind(folder / "logs")
    except RuntimeError as error:
        raise RequestError(
            "There is no Slurm here (no srun): --print shows the scripts, and --cluster local runs them on this machine."
        ) from error
