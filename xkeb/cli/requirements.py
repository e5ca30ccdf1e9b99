"""What ``xkeb run --plan`` shows: what a run needs, and what of it is missing on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.text import Text

from xkeb.cli.echo import plain
from xkeb.cli.estimating import Settings, estimate, training_of
from xkeb.cli.output import make_console, make_table
from xkeb.estimation.speed import measure_speed
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.job import Job
from xkeb.models.device import pick_device, pick_dtype
from xkeb.results.regime import SINGLE


def show_requirements(jobs: Sequence[Job], config: RunConfig, absent: Sequence[str]) -> None:
    """Models, jobs, and what is missing."""
    out = make_console()
    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    fetched = _show_models(jobs, dtype, out)
    unknown = _show_jobs(jobs, config, dtype, device, out)
    if fetched:
        out.print(f"{fetched / 1e9:.1f} GB to be fetched from the hub.")
    for sentence in [*unknown, *_not_counted(jobs)]:
        out.print(f"Not estimated: {sentence}")
    for sentence in absent:
        out.print(f"Missing here: {sentence}")


def _show_models(jobs: Sequence[Job], dtype: torch.dtype, out: Console) -> int:
    """The bytes to be fetched."""
    precision = str(dtype).removeprefix("torch.")
    columns = ["Model", "Parameters", f"In {precision}", "Download", "Where"]
    models = make_table("Models", columns, out, right=columns[1:4])
    fetched = 0
    for model, group in itertools.groupby(jobs, key=lambda job: job.model):
        skeleton = next(group).skeleton
        if skeleton is None:
            models.add_row(model, "?", "?", "?", "not fetched yet, or not described by its plugin")
            continue
        fetched += skeleton.download
        models.add_row(
            model,
            f"{skeleton.n_parameters:,}",
            f"{skeleton.n_bytes(dtype) / 1e9:.2f} GB",
            f"{skeleton.download / 1e9:.1f} GB" if skeleton.download else "",
            skeleton.missing or "here",
        )
    out.print(models)
    out.print()
    return fetched


def _show_jobs(
    jobs: Sequence[Job], config: RunConfig, dtype: torch.dtype, device: torch.device, out: Console
) -> list[str]:
    """A row for the tasks of a model and method that ask in as many languages, one of which is estimated. What could not be
    estimated, and why."""
    speed = measure_speed(device, dtype)
    numbers = {_n_languages(job) for job in jobs}
    several = ["Languages"] if len(numbers) > 1 else []
    costly = ["Peak memory", "A case", "Learning", "All cases"]
    columns = ["Model", "Method", *several, "Tasks", "Cases", "Learns from", *costly]
    plan = make_table(f"Jobs: {len(jobs)}", columns, out, right=["Cases", *costly])
    plan.columns[0].no_wrap = plan.columns[1].no_wrap = True  # names; heads and costs have spaces to break at
    unknown: dict[str, None] = {}
    alike: dict[tuple[str, str, int], list[Job]] = {}
    for job in jobs:
        alike.setdefault((job.model, job.method, _n_languages(job)), []).append(job)
    # The heaviest stands for all of its row.
    heaviest = [max(members, key=lambda job: len(job.cases)) for members in alike.values()]
    with out.status("") as status:

        def tell(done: int, total: int, job: Job) -> None:
            status.update(Text(plain(f"Estimating {done + 1} of {total}: {job.method} on {job.model}")))

        costs = estimate(heaviest, Settings(dtype, device, config.batch_size), tell)
    for ((model, method, languages), members), cost in zip(alike.items(), costs, strict=True):
        n_cases = sum(len(job.cases) for job in members)
        facts = max((len(training_of(job)) for job in members), default=0)
        row = [model, method, *([str(languages)] if several else []), str(len(members)), str(n_cases or "?")]
        row.append(f"{facts} facts" if facts else "")
        if cost is not None and cost.unknown is None:
            a_case, learning = cost.seconds(speed), cost.seconds(speed, ["fit"])
            row += [f"{cost.peak / 1e9:.1f} GB", _time(a_case), _time(learning * len(members)), _time(a_case * n_cases)]
        else:
            why = "its data or its model's description is missing" if cost is None else str(cost.unknown)
            unknown[f"{method} on {model}: {why}."] = None
        plan.add_row(*row)
    out.print(plan)
    out.print()
    return list(unknown)


def _n_languages(job: Job) -> int:
    """In which a job's cases are asked."""
    return len(job.task.pair.languages)


def _not_counted(jobs: Sequence[Job]) -> list[str]:
    """What of the run the figures leave out, so that nobody takes them for all of it."""
    sentences = []
    if any(one.protocol.free for job in jobs for one in job.measurements):
        sentences.append("where free answers end; each is taken to have half the tokens that it may have.")
    if any(job.regime != SINGLE for job in jobs):
        sentences.append("a sequence or batch of edits; the figures are of single edits.")
    return sentences


def _time(seconds: float) -> str:
    """In a unit that fits; an estimate has no digits to spare."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.05 else ""
