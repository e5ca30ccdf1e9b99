"""What ``xkeb run --plan`` shows: what a run needs, and what of it is missing on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import transformers
from rich.console import Console
from rich.text import Text

from xkeb.cli.echo import plain
from xkeb.cli.output import make_console, make_table
from xkeb.editing.editor import options_of
from xkeb.errors import NotHereError
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.estimation.kept_costs import kept_cost
from xkeb.estimation.repeated_layers import LayerCosts
from xkeb.estimation.speed import measure_speed
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.finished import code_hash
from xkeb.evaluation.job import Job
from xkeb.models.batching import saturating_tokens
from xkeb.models.device import pick_device, pick_dtype
from xkeb.results.regime import SINGLE
from xkeb.types import Case


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
    costs = LayerCosts()
    for number, ((model, method, languages), members) in enumerate(alike.items(), 1):
        n_cases = sum(len(job.cases) for job in members)
        facts = max((len(_training(job)) for job in members if job.needs_training), default=0)
        row = [model, method, *([str(languages)] if several else []), str(len(members)), str(n_cases or "?")]
        row.append(f"{facts} facts" if facts else "")
        heaviest = max(members, key=lambda job: len(job.cases))
        with out.status(Text(plain(f"Estimating {number} of {len(alike)}: {method} on {model}"))):
            cost = _cost(heaviest, config, dtype, device, costs)
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


def _cost(job: Job, config: RunConfig, dtype: torch.dtype, device: torch.device, costs: LayerCosts) -> Cost | None:
    """What one job needs, from the cache where that was estimated before; None without its cases or its model's skeleton."""
    if job.skeleton is None or not job.cases:
        return None
    protocols = [one.protocol for one in job.measurements]
    estimator = Estimator(
        job.skeleton, dtype, device=str(device), name=job.model, prompt=job.prompt, protocols=protocols, costs=costs
    )
    training = _training(job)
    key = {
        "model": job.skeleton.model.config.to_dict(),
        "tokenizer": str(job.skeleton.model.config._name_or_path),
        "dtype": str(dtype),
        "device": [str(device), saturating_tokens(device), torch.get_num_threads()],
        "prompt": job.prompt,
        "protocols": [[protocol.name, protocol.options] for protocol in protocols],
        "method": [job.method, options_of(job.editor)],
        "batch": config.batch_size,
        "cases": [job.task.name, job.task.test.sha256, [case.id for case in job.cases]],
        "training": [job.training_split.sha256, len(training)] if training else None,
        "code": code_hash(),
        "versions": [torch.__version__, transformers.__version__],
    }
    return kept_cost(key, lambda: estimator.cost(job.editor, job.cases, training, config.batch_size))


def _training(job: Job) -> Sequence[Case]:
    """What a method learns from, or nothing: that it is missing was found when the plan was made."""
    try:
        return job.training() if job.needs_training else ()
    except NotHereError:
        return ()


def _time(seconds: float) -> str:
    """In a unit that fits; an estimate has no digits to spare."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.05 else ""
