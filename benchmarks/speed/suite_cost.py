"""What the suite itself costs: of a run's time, the share outside the model's passes; and how long it takes to begin.

    python benchmarks/speed/suite_cost.py [--model M] [--methods M,..] [--task T] [--limit N] [--data-dir DIR]
    python benchmarks/speed/suite_cost.py [..] --profile | --start

Time is kept at the doors: whatever happens inside an outermost call of a module of the model, of autograd or of an optimiser
is theirs, hooks of changes included. Of what is left, the calls of torch are a method's or the suite's arithmetic (losses,
solving, batches put together); the rest is Python: tokenizing, metrics, the journal. A profiler that looks at every function
would slow down just that part, several times over, and so overstate it; ``--profile`` uses one to say which functions it is.
A job is run with one case before it is measured, so that what is learned stands in the cache.

Wall-clock seconds need a core of one's own; the processor's seconds beside them don't, but leave out waiting for the disk.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from xkeb.cli.telling import Telling
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import local_runner
from xkeb.models.backbone import Backbone
from xkeb.models.loader import load_backbone
from xkeb.registry.options import parse_options

DOORS = ("forward", "backward", "optimiser", "networks", "tensors")
"""The model's own three; other networks, such as an encoder of sentences; and what else torch is called for."""
BACKWARD = (torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward)
OPTIMISERS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class Doors(TorchFunctionMode):
    """Seconds by the outermost thing that is at work."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.modules = {id(module) for module in backbone.model.modules()}
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.inside = False

    def within(self, what: str, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.inside:
            return act(*args, **kwargs)
        self.inside, wall, cpu = True, time.perf_counter(), time.process_time()
        try:
            return act(*args, **kwargs)
        finally:
            self.inside = False
            self.wall[what] += time.perf_counter() - wall
            self.cpu[what] += time.process_time() - cpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.within("backward" if func in BACKWARD else "tensors", func, *args, **(kwargs or {}))

    @contextmanager
    def open(self) -> Iterator[None]:
        """What happens inside is timed, under ``all``, and by doors."""
        call = nn.Module.__call__
        steps = {kind: kind.step for kind in OPTIMISERS}

        def called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            what = "forward" if id(module) in self.modules else "networks"
            return self.within(what, call, module, *args, **kwargs)

        with ExitStack() as stack:
            stack.enter_context(patch.object(nn.Module, "__call__", called))
            for kind, step in steps.items():
                stack.enter_context(patch.object(kind, "step", _timed(self, "optimiser", step)))
            stack.enter_context(self)
            wall, cpu = time.perf_counter(), time.process_time()
            yield
            self.wall["all"], self.cpu["all"] = time.perf_counter() - wall, time.process_time() - cpu

    @staticmethod
    def row(seconds: dict[str, float]) -> str:
        """Shares of all, the suite's own last."""
        whole = seconds["all"]
        rest = whole - sum(seconds[name] for name in DOORS)
        shares = " | ".join(f"{100 * seconds[name] / whole:.1f}" for name in DOORS)
        return f"{whole:.1f} | {shares} | {100 * rest / whole:.1f}"


def _timed(doors: Doors, what: str, act: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: doors.within(what, act, *args, **kwargs)


def begin(config: RunConfig, data_dir: Path | None) -> str:
    """From the command to the first case: its job's journal is opened when the model is there, and then it is asked."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "xkeb.cli", "run", "--tasks", config.tasks[0], "--model", config.models[0]]
        command += ["--methods", (config.methods or ["?"])[0], "--limit", "16", "--output", folder]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told = []
        try:
            for what, pattern in (("model loaded", "*/*/*/cases.jsonl"), ("first answers", "*/*/before.jsonl")):
                while process.poll() is None and not any(
                    path.stat().st_size or what == "model loaded" for path in Path(folder).glob(pattern)
                ):
                    time.sleep(0.01)
                if process.poll() is not None:
                    raise click.ClickException(f"the run ended before this: {what}")
                cpu = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
                ticks = (int(cpu[11]) + int(cpu[12])) / os.sysconf("SC_CLK_TCK")
                told.append(f"{what} after {time.perf_counter() - start:.1f} s ({ticks:.1f} s of the processor)")
        finally:
            process.kill()
            process.wait()
    return "; ".join(told)


@click.command(cls=Telling)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--methods", default="rome,ft,ike,kn,memit", show_default=True)
@click.option("--task", default="bizsre_mini_en2zh", show_default=True)
@click.option("--limit", default=20, show_default=True)
@click.option("--data-dir", type=Path)
@click.option("--method-args", default="", help="m.key=value,..")
@click.option("--profile", is_flag=True, help="Then say which functions take the time that isn't the model's.")
@click.option("--start", "only_start", is_flag=True, help="Measure only how long a run takes to begin.")
def main(profile: bool, only_start: bool, **options: Any) -> None:
    torch.set_num_threads(1)
    config = RunConfig(
        tasks=[options["task"]],
        models=[options["model"]],
        methods=options["methods"].split(","),
        method_args=parse_options(options["method_args"], "--method-args"),
        limit=options["limit"],
        data_dir=options["data_dir"],
        device="cpu",
        output=Path(click.get_current_context().with_resource(tempfile.TemporaryDirectory())),
    )
    if only_start:
        click.echo(begin(config, options["data_dir"]))
        return
    backbone = load_backbone(options["model"], device="cpu")
    columns = ["method", "clock", "seconds", *(f"{name} %" for name in (*DOORS, "the rest"))]
    click.echo(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for job in plan_run(config).jobs:
        _run(replace(job, cases=job.cases[:1]), backbone, config, "warm")
        doors = Doors(backbone)
        with doors.open():
            _run(job, backbone, config, "timed")
        for clock in ("wall", "cpu"):
            click.echo(f"| {job.method} | {clock} | {doors.row(getattr(doors, clock))} |")
        if profile:
            watched = cProfile.Profile()
            with watched:
                _run(job, backbone, config, "profiled")
            pstats.Stats(watched).sort_stats("tottime").print_stats(25)


def _run(job: Job, backbone: Backbone, config: RunConfig, name: str) -> None:
    """From nothing: no answer is there yet."""
    placed = job.placed(config.output / name / job.method / "run")
    local_runner(placed, backbone, config, RunObserver()).run()


if __name__ == "__main__":
    main()
