"""The plan that a run prints before it begins, on the standard error stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xkeb.cli.output import make_console, make_table
from xkeb.data.dataset import Split
from xkeb.data.subjects import MATCH_KINDS
from xkeb.evaluation.job import PROBE_NAMES, Job
from xkeb.results.journal import finished_cases
from xkeb.results.lines import CASES
from xkeb.utils.secrets import without_secrets


def show_plan(jobs: Sequence[Job]) -> None:
    """The jobs of a run, and what of them is done already."""
    out = make_console(stderr=True)
    rows = []
    for job in jobs:
        case_ids = {case.id for case in job.cases}
        count = min(len(case_ids & finished_cases(one.folder / CASES)) for one in job.measurements)
        options = ", ".join(f"{name}={value}" for name, value in without_secrets(job.options).items() if name != "seed")
        facts = f"{len(job.training())} training facts{_with_required(job)}" if job.needs_training else ""
        if job.borrows_training:
            facts += f" of {job.training_split.path.name}, since the task has none"
        regime = "" if job.regime.is_single else str(job.regime)
        rows.append((job.task.name, job.model, job.method, regime, str(len(case_ids)), str(count), facts, options))
    columns = ["Task", "Model", "Method", "Regime", "Cases", "Done", "Learns from", "Options"]
    shown = [i for i, name in enumerate(columns) if name == "Done" or any(row[i] for row in rows)]
    plan = make_table("Plan", [columns[i] for i in shown], out, right=["Cases", "Done"])
    for row in rows:
        plan.add_row(*(row[i] for i in shown))
    out.print(plan)
    for job in {job.task.name: job for job in jobs}.values():
        task = job.task
        if task.test.skipped:
            out.print(
                f"{task.name}: {len(task.test.skipped)} of {len(task) + len(task.test.skipped)} records can't be run."
            )
        if task.test.missing:
            out.print(f"{task.name}: {_lacking(task.test)}")
        if task.aligned:
            out.print(f"{task.name}: subjects in their questions: {_located(job)}.")
    out.print()


def _lacking(split: Split) -> str:
    """How many cases lack which languages."""
    counts = Counter(one.language for one in split.missing)
    listed = ", ".join(f"{count:,} {code}" for code, count in sorted(counts.items()))
    return f"of {len(split.cases):,} cases some lack a language, and are asked in the others: {listed}."


def _located(job: Job) -> str:
    """In which way how many cases' subjects are found, of a task that looks further than for the exact words."""
    ways = Counter(job.task.test.located[case.id] for case in job.cases)
    return ", ".join(f"{ways[way]} {way}" for way in MATCH_KINDS) + f", {ways[None]} nowhere"


def _with_required(job: Job) -> str:
    """What the method requires of a fact that it learns from."""
    required = job.editor.requires
    return f" with {' and '.join(PROBE_NAMES[name] for name in sorted(required))}" if required else ""
