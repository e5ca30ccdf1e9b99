"""A submission as a shell script: ``bash FILE`` does what ``xkeb submit`` would do, with Slurm's own commands alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xkeb.cli.submitting.resources import MOST_TASKS, Resources
from xkeb.cli.submitting.stages import JOIN, Stage, Task
from xkeb.evaluation.batches import chunks


def shell_script(stages: Sequence[Stage], resources: Resources, logs: Path, at_once: int | None) -> str:
    """Calls sbatch for each stage, with a script that stands between two lines of END.

    Args:
        logs: folder of what the jobs print.
        at_once: tasks of an array that may run at the same time; None for as many as Slurm likes.
    """
    lines = ["#!/bin/bash", "set -e", f"cd {shlex.quote(str(Path.cwd()))}", f"mkdir -p {shlex.quote(str(logs))}"]
    variables: dict[str, list[str]] = {}
    for stage in stages:
        for number, tasks in enumerate(chunks(stage.tasks, MOST_TASKS)):
            variable = f"{stage.name.replace('-', '_')}_{number}"
            variables.setdefault(stage.name, []).append(variable)
            lines += [
                "",
                f"{variable}=$(sbatch --parsable{_dependency(stage, variables)} <<'END'",
                *_sbatch_script(stage, tasks, resources, logs, at_once),
                "END",
                ")",
                f"{variable}=${{{variable}%%;*}}",
                f'echo "{stage.name}: {len(tasks)} as ${variable}"',
            ]
    return "\n".join(lines) + "\n"


def _dependency(stage: Stage, variables: Mapping[str, Sequence[str]]) -> str:
    """Options of sbatch that have a stage wait for others. One whose learning failed leaves the queue."""
    waits = [f"{how}:${{{variable}}}" for name, how in stage.after.items() for variable in variables.get(name, ())]
    waits += [f"afterany:{job}" for job in sorted(stage.also_after)]
    return f' --dependency="{",".join(waits)}" --kill-on-invalid-dep=yes' if waits else ""


def _sbatch_script(
    stage: Stage, tasks: Sequence[Task], resources: Resources, logs: Path, at_once: int | None
) -> Iterator[str]:
    flags: dict[str, Any] = {
        "job-name": f"xkeb-{stage.name}",
        "time": resources.minutes,
        "array": f"0-{len(tasks) - 1}" + (f"%{at_once}" if at_once else ""),
        "output": logs / "%x-%A_%a.log",
        "open-mode": "append",
        "requeue": True,
        **resources.flags(gpu=stage.name != JOIN),
    }
    yield "#!/bin/bash"
    for name, value in flags.items():
        yield f"#SBATCH --{name}" + ("" if value is True else f"={shlex.quote(str(value))}")
    yield "case $SLURM_ARRAY_TASK_ID in"
    for number, task in enumerate(tasks):
        yield f"{number}) exec {shlex.join(['xkeb', *task.arguments])} ;;"
    yield "esac"
