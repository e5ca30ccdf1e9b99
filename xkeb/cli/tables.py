"""What a run prints: its plan, its table of scores, and where its time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from xkeb.cli.crossing_tables import show_crossing
from xkeb.cli.output import make_console, make_table
from xkeb.data.dataset import Split
from xkeb.data.subjects import MATCH_KINDS
from xkeb.evaluation.job import PROBE_NAMES, Job
from xkeb.evaluation.timing import Phase
from xkeb.registry.manager import get_plugins
from xkeb.results.journal import finished_cases
from xkeb.results.schema import CASES, Result, Score, Scores, headline_metrics
from xkeb.results.slices import ANSWERS, HEADLINE
from xkeb.types import PROPERTIES, Property
from xkeb.utils.secrets import without_secrets

BASELINE = "(baseline)"
"""The row of the model before any edit."""
CASES_OF: Mapping[str | None, str] = {None: "all cases", HEADLINE: "cases whose answers differ between the languages"}
"""What a table is of, in words."""


def show_plan(jobs: Sequence[Job]) -> None:
    """The jobs of a run, and what of them is done already."""
    out = make_console()
    plan = make_table(
        "Plan", ["Task", "Model", "Method", "Cases", "Done", "Learns from", "Options"], out, right=["Cases", "Done"]
    )
    for job in jobs:
        case_ids = {case.id for case in job.cases}
        count = min(len(case_ids & finished_cases(one.folder / CASES)) for one in job.measurements)
        options = ", ".join(f"{name}={value}" for name, value in without_secrets(job.options).items() if name != "seed")
        facts = f"{len(job.training())} training facts{_with_required(job)}" if job.needs_training else ""
        plan.add_row(job.task.name, job.model, job.method, str(len(case_ids)), str(count), facts, options)
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


def show_table(results: Sequence[Result], output: Path, headlines: tuple[str, str] | None = None) -> None:
    """Results in the layout of the paper's Table 2, one block a model and a pair of languages. The cases whose answers differ
    between the languages come first, where some don't. Results of several targets have tables of their own.

    Args:
        headlines: the two metrics to show instead of F1 and EM.
    """
    out = make_console()
    blocks: dict[tuple[str, str, frozenset[str]], list[Result]] = {}
    for result in results:
        if result.task.targets is None:
            key = (result.model.name, result.prompt, frozenset(result.task.direction.languages))
            blocks.setdefault(key, []).append(result)
    for group in blocks.values():
        if any(len(_values_of(ANSWERS, result)) > 1 for result in group):
            _show_block(group, out, headlines, HEADLINE)
        _show_block(group, out, headlines)
        _show_blank(group, out, headlines)
    several = [result for result in results if result.task.targets is not None]
    show_crossing(several, out)
    _show_blank(several, out, headlines)
    skipped = sum(len(result.skipped) for result in results)
    if skipped:
        out.print(f"{skipped} cases skipped; the reasons stand in result.json.")
    missing = sum(len(result.missing or ()) for result in results)
    if missing:
        out.print(f"{missing} times a case lacks a language; the reasons stand in result.json.")
    if results:
        out.print(f"Results: {output}")


def _values_of(kind: str, result: Result) -> list[str]:
    """The slices of a kind that a result has."""
    return [name for name in result.slices if name.startswith(f"{kind}=")]


def _show_block(
    group: Sequence[Result], out: Console, headlines: tuple[str, str] | None, within: str | None = None
) -> None:
    """One table: of all cases, or of those of a slice."""
    result = group[0]
    first, second = _metrics(result, headlines)
    codes = sorted({*result.task.direction.languages})
    columns = [
        f"{get_plugins().languages.get(code).name}\n{name}"
        for code in codes
        for name in PROPERTIES
        if name != "reliability"
    ]
    asked = result.protocol.replace("_", " ") + (f", {result.prompt}" if result.prompt != "plain" else "")
    title = f"{result.model.name} ({asked}, {first}{' / ' + second if second else ''}), {CASES_OF.get(within, within)}"
    heads = ["Editing", "Method", "Cases", "Reliability", *columns]
    rows = make_table(title, heads, out, right=heads[2:])
    seen: set[str] = set()
    for result in group:
        before, after = result.scores_before, result.scores
        if within is not None:
            before, after = result.slices_before.get(within, {}), result.slices.get(within, {})
        if result.task.source not in seen:
            seen.add(result.task.source)
            rows.add_row(*_row(result, before, BASELINE, codes, (first, second)), style="dim")
        rows.add_row(*_row(result, after, result.method.name, codes, (first, second)))
    out.print(rows)
    out.print()


def _show_blank(group: Sequence[Result], out: Console, headlines: tuple[str, str] | None) -> None:
    """What locality leaves out, and what it would be with it."""
    metrics = _metrics(group[0], headlines) if group else ()
    columns = ["Editing", "Method", "In", "Left out", "Locality", "With them"]
    rows = make_table("Locality: questions that the model answers with nothing", columns, out, right=columns[3:])
    for result in group:
        for language, blank in result.blank.items():
            counted = result.scores.get("locality", {}).get(language, {})
            whole = max(score.n for score in blank.scores.values())
            names = [get_plugins().languages.get(code).name for code in (result.task.source, language)]
            rows.add_row(
                names[0], result.method.name, names[1], f"{blank.n} of {whole}", _cell(counted, metrics),
                _cell(blank.scores, metrics),
            )  # fmt: skip
    if rows.row_count:
        out.print(rows)
        out.print()


def _metrics(result: Result, headlines: tuple[str, str] | None) -> tuple[str, str]:
    """The two metrics that a table shows, where they were measured: f1, as the protocol's own code computes it, and em."""
    measured = list(next(iter(next(iter(result.scores.values())).values()))) if result.scores else []
    chosen = [name for name in headlines or () if name in measured] or headline_metrics(result.protocol, measured)
    return (chosen[0] if chosen else "", chosen[1] if len(chosen) > 1 else "")


def _row(result: Result, scores: Scores, method: str, codes: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """The cells of a row; the baseline's locality is 100 by definition."""
    source = result.task.source
    columns: list[tuple[Property, str]] = [("reliability", source)]
    columns += [(name, code) for code in codes for name in PROPERTIES if name != "reliability"]
    cells = [_cell(scores.get(name, {}).get(language, {}), metrics) for name, language in columns]
    edited = scores.get("reliability", {}).get(source, {})
    count = max((score.n for score in edited.values()), default=0)
    return [get_plugins().languages.get(source).name, method, str(count), *cells]


def _cell(measured: Mapping[str, Score], metrics: Sequence[str]) -> str:
    return " / ".join(f"{measured[metric].mean:.2f}" for metric in metrics if metric in measured) or "-"


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
