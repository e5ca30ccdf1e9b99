"""What a run prints: its plan, its table of scores, and where its time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from xkeb.cli.output import make_console, make_table
from xkeb.data.subjects import MATCH_KINDS
from xkeb.evaluation.job import PROBE_NAMES, Job
from xkeb.evaluation.timing import Phase
from xkeb.registry.manager import get_plugins
from xkeb.results.journal import finished_cases
from xkeb.results.schema import CASES, HEADLINES, Result, Scores
from xkeb.types import PROPERTIES, Property

BASELINE = "(baseline)"
"""The row of the model before any edit."""


def show_plan(jobs: Sequence[Job]) -> None:
    """The jobs of a run, and what of them is done already."""
    out = make_console()
    plan = make_table(
        "Plan", ["Task", "Model", "Method", "Cases", "Done", "Learns from", "Options"], out, right=["Cases", "Done"]
    )
    for job in jobs:
        case_ids = {case.id for case in job.cases}
        count = len(case_ids & finished_cases(job.folder / CASES))
        options = ", ".join(f"{name}={value}" for name, value in job.options.items() if name != "seed")
        facts = f"{len(job.training())} training facts{_with_required(job)}" if job.needs_training else ""
        plan.add_row(job.task.name, job.model, job.method, str(len(case_ids)), str(count), facts, options)
    out.print(plan)
    for job in {job.task.name: job for job in jobs}.values():
        task = job.task
        if task.test.skipped:
            out.print(
                f"{task.name}: {len(task.test.skipped)} of {len(task) + len(task.test.skipped)} records can't be run."
            )
        if task.aligned:
            out.print(f"{task.name}: subjects in their questions: {_located(job)}.")
    out.print()


def _located(job: Job) -> str:
    """In which way how many cases' subjects are found, of a task that looks further than for the exact words."""
    ways = Counter(job.task.test.located[case.id] for case in job.cases)
    return ", ".join(f"{ways[way]} {way}" for way in MATCH_KINDS) + f", {ways[None]} nowhere"


def _with_required(job: Job) -> str:
    """What the method requires of a fact that it learns from."""
    required = job.editor.requires
    return f" with {' and '.join(PROBE_NAMES[name] for name in sorted(required))}" if required else ""


def show_table(results: Sequence[Result], output: Path) -> None:
    """Results in the layout of the paper's Table 2: F1 / EM, one block a model and a pair of languages."""
    out = make_console()
    blocks: dict[tuple[str, frozenset[str]], list[Result]] = {}
    for result in results:
        key = (result.model.name, frozenset((result.task.source, result.task.target)))
        blocks.setdefault(key, []).append(result)
    for (model, languages), group in blocks.items():
        first, second = _metrics(group[0])
        codes = sorted(languages)
        columns = [
            f"{get_plugins().languages.get(code).name}\n{name}"
            for code in codes
            for name in PROPERTIES
            if name != "reliability"
        ]
        title = f"{model} ({group[0].protocol.replace('_', ' ')}, {first}{' / ' + second if second else ''})"
        rows = make_table(
            title,
            ["Editing", "Method", "Cases", "Reliability", *columns],
            out,
            right=["Cases", "Reliability", *columns],
        )
        seen: set[str] = set()
        for result in group:
            if result.task.source not in seen:
                seen.add(result.task.source)
                rows.add_row(*_row(result, result.scores_before, BASELINE, codes, (first, second)), style="dim")
            rows.add_row(*_row(result, result.scores, result.method.name, codes, (first, second)))
        out.print(rows)
        out.print()
    skipped = sum(len(result.skipped) for result in results)
    if skipped:
        out.print(f"{skipped} cases skipped; the reasons stand in result.json.")
    if results:
        out.print(f"Results: {output}")


def _metrics(result: Result) -> tuple[str, str]:
    """The two metrics that a table shows, where they were measured: f1, as the protocol's own code computes it, and em."""
    measured = list(next(iter(next(iter(result.scores.values())).values()))) if result.scores else []
    chosen = [name for name in (HEADLINES[result.protocol], "em") if name in measured] or measured
    return (chosen[0] if chosen else "", chosen[1] if len(chosen) > 1 else "")


def _row(result: Result, scores: Scores, method: str, codes: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The cells of a row; the baseline's locality is 100 by definition."""
    source = result.task.source
    columns: list[tuple[Property, str]] = [("reliability", source)]
    columns += [(name, code) for code in codes for name in PROPERTIES if name != "reliability"]
    cells = []
    for name, language in columns:
        measured = scores.get(name, {}).get(language, {})
        cells.append(" / ".join(f"{measured[metric].mean:.2f}" for metric in metrics if metric in measured) or "-")
    return [get_plugins().languages.get(source).name, method, str(len(result.case_ids)), *cells]


def show_phases(results: Sequence[Result]) -> None:
    """A row a job: the seconds of each phase of this run, each with its share."""
    if not results:
        return
    out = make_console()
    names = list(get_args(Phase))
    columns = ["Task", "Model", "Method", *names, "all"]
    rows = make_table("Seconds by phase", columns, out, right=columns[3:])
    for result in results:
        phases = result.timing.phases.model_dump()
        whole = sum(phases.values())
        shown = [f"{phases[name]:.1f} ({100 * phases[name] / whole:.0f}%)" for name in names]
        rows.add_row(result.task.name, result.model.name, result.method.name, *shown, f"{whole:.1f}")
    out.print(rows)
    out.print()
