"""What runs need in memory and time: as estimated without weights, and as measured.

    python benchmarks/speed/memory.py [--model M,..] [--methods M,..] [--limit N] [--data-dir DIR] [--method-args M.KEY=V,..]

Measured are the bytes of all tensors that are alive at once, parameters included: on a GPU, what its allocator gave out. With
``--seconds``, each method runs once more without the meter, which slows it down. Everything is learned anew.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from xkeb.cli.telling import Telling
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.estimation.meter import Meter
from xkeb.estimation.speed import Speed, measure_speed
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import local_runner
from xkeb.models.device import pick_device, pick_dtype
from xkeb.models.loader import load_backbone
from xkeb.registry.options import parse_options
from xkeb.utils.paths import cache_root


class Phases(RunObserver):
    """Keeps the meter and the clock by phases."""

    def __init__(self, meter: Meter | None) -> None:
        self.meter = meter
        self.now = ""
        self.since = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        if self.meter:
            self.meter.turn(name)
        now = time.perf_counter()
        self.seconds[self.now] = self.seconds.get(self.now, 0.0) + now - self.since
        self.now, self.since = name, now


@dataclass(frozen=True)
class Measured:
    """A real run."""

    peaks: Mapping[str, int]
    seconds: Mapping[str, float]

    @property
    def peak(self) -> int:
        return max(self.peaks.values())


def measure(job: Job, config: RunConfig, *, metered: bool = True) -> Measured:
    """Runs a job from nothing."""
    device = pick_device(config.device)
    gc.collect()
    meter = Meter() if metered and device.type == "cpu" else None
    if meter:
        meter.disregard()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    name = f"{job.choice.plugin}:{job.model}"
    backbone = load_backbone(name, device=config.device, dtype=config.dtype, **job.model_args)
    if meter:
        meter.hold([*backbone.model.parameters(), *backbone.model.buffers()])
    phases = Phases(meter)
    with tempfile.TemporaryDirectory() as folder, meter or nullcontext():
        local_runner(job.placed(Path(folder) / "run"), backbone, config, phases).run()
        phases.phase_started("")
    if meter:
        return Measured({name: peak for name, peak in meter.peaks.items() if name}, phases.seconds)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return Measured({"all": peak}, phases.seconds)


def row(job: Job, cost: Cost, measured: Measured, spent: Mapping[str, float], speed: Speed) -> str:
    """Of the table."""
    estimated = len(job.cases) * cost.seconds(speed) + cost.seconds(speed, ["fit"])
    ratio = cost.peak / measured.peak
    seconds = f"{sum(spent.values()):.0f}" if spent else "-"
    edit = max(cost.peaks.get(name, 0) for name in ("edit", "evaluate"))  # one phase of a run
    expected = {**cost.peaks, "edit": edit}
    by_phase = ", ".join(
        f"{name} {expected[name] / peak:.2f}" for name, peak in measured.peaks.items() if name in expected
    )
    return (
        f"| {job.model} | {job.method} | {cost.peak / 1e6:.1f} | {measured.peak / 1e6:.1f} | {ratio:.3f} | {by_phase} "
        f"| {estimated:.0f} | {seconds} |"
    )


@contextmanager
def empty_cache() -> Iterator[None]:
    """A cache that holds nothing but converted models."""
    models = cache_root() / "models"
    outer = os.environ.get("XKEB_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(models)
        os.environ["XKEB_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("XKEB_CACHE")
            if outer:
                os.environ["XKEB_CACHE"] = outer


@click.command(cls=Telling)
@click.option("--model", default="gemma3-270m,smollm2-135m", show_default=True)
@click.option("--methods", help="[default: the paper's]")
@click.option("--task", default="bizsre_mini_en2zh", show_default=True)
@click.option("--limit", default=8, show_default=True, help="Cases.")
@click.option("--train-size", type=int, help="Training facts.  [default: all]")
@click.option("--data-dir", type=Path)
@click.option("--method-args", default="", help="m.key=value,..")
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="auto", show_default=True)
@click.option("--seconds", is_flag=True, help="Run once more, against the clock.")
@click.option("--usual-cache", is_flag=True, help="Take what is learned already.")
def main(seconds: bool, usual_cache: bool, **options: Any) -> None:
    config = RunConfig(
        tasks=[options["task"]],
        models=options["model"].split(","),
        methods=options["methods"].split(",") if options["methods"] else None,
        method_args=parse_options(options["method_args"], "--method-args"),
        limit=options["limit"],
        train_size=options["train_size"],
        data_dir=options["data_dir"],
        device=options["device"],
        dtype=options["dtype"],
        output=Path(tempfile.gettempdir()) / "xkeb-memory",
    )
    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    speed = measure_speed(device, dtype)
    click.echo("| model | method | estimate MB | measured MB | ratio | by phase | estimated s | measured s |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for job in plan_run(config).jobs:
        if job.skeleton is None:
            raise click.ClickException(f"{job.model} has no skeleton.")
        estimator = Estimator(job.skeleton, dtype, device=str(device), name=job.model)
        cost = estimator.cost(job.editor, job.cases, job.training() if job.needs_training else ())
        with nullcontext() if usual_cache else empty_cache():
            measured = measure(job, config)
        spent: Mapping[str, float] = {}
        if seconds:
            with nullcontext() if usual_cache else empty_cache():
                spent = measure(job, config, metered=False).seconds
        click.echo(row(job, cost, measured, spent, speed))


if __name__ == "__main__":
    main()
