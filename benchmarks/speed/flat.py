"""Whether memory stays flat while a run goes on: bytes of the process after every so many edits.

    python benchmarks/speed/flat.py --model M --methods ft,rome [--task bizsre] [--data-dir DIR] [--limit N] [--every N]

*Resident* is what the system counts, freed memory that the process keeps included (docs/performance.md says why it keeps it);
*in use* is what the C library has given out and not got back (glibc's ``mallinfo2``). A leak grows both, for as long as the run
lasts; what is kept for reuse grows the first alone, and ends.
"""

from __future__ import annotations

import ctypes
import tempfile
from pathlib import Path
from typing import Any

import click
import psutil

from xkeb.cli.telling import Telling
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import local_runner
from xkeb.models.loader import load_backbone
from xkeb.registry.options import parse_options
from xkeb.results.lines import CaseRecord


class Allocated(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def bytes_in_use() -> int:
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = Allocated
    found = library.mallinfo2()
    return int(found.uordblks + found.hblkhd)


class Watch(RunObserver):
    """Prints a line after every so many edited cases of a job."""

    def __init__(self, every: int) -> None:
        self.every, self.done, self.editing = every, 0, False

    def job_started(self, job: Job) -> None:
        self.done = 0
        print(f"\n{job.task.name}, {job.method} on {job.model}: edits, resident and in use in MB")

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self.editing = name == "edit"

    def case_done(self, case_id: str, record: CaseRecord | None, protocol: str) -> None:
        if not self.editing:
            return
        self.done += 1
        if self.done % self.every == 0:
            resident = psutil.Process().memory_info().rss
            print(f"{self.done:6} {resident / 1e6:8.1f} {bytes_in_use() / 1e6:8.1f}", flush=True)


@click.command(cls=Telling)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--model-args", default="", help="K=V,..")
@click.option("--methods", default="ft", show_default=True)
@click.option("--method-args", default="", help="m.key=value,..")
@click.option("--task", default="bizsre_mini", show_default=True, help="Tasks or groups.")
@click.option("--limit", type=int, help="Cases of each task.")
@click.option("--every", default=100, show_default=True, help="Edits between two lines.")
@click.option("--data-dir", type=Path)
def main(**options: Any) -> None:
    config = RunConfig(
        tasks=options["task"].split(","),
        models=[options["model"]],
        model_args=parse_options(options["model_args"], "--model-args"),
        methods=options["methods"].split(","),
        method_args=parse_options(options["method_args"], "--method-args"),
        limit=options["limit"],
        data_dir=options["data_dir"],
        device="cpu",
    )
    watch = Watch(options["every"])
    with tempfile.TemporaryDirectory() as folder:
        for job in plan_run(config).jobs:
            backbone = load_backbone(f"{job.choice.plugin}:{job.model}", device="cpu", **job.model_args)
            watch.job_started(job)
            local_runner(job.placed(Path(folder) / job.task.name / job.method), backbone, config, watch).run()


if __name__ == "__main__":
    main()
