"""Is a submitted result what it says it is? Its form, its cases, its data, and every score computed again.

What no check can find: answers that no model gave, and tokens that are no tokenizer's, where they agree with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.leaderboard.verify.damage import check_damage
from xkeb.leaderboard.verify.recompute import Tally, check_answers, check_means
from xkeb.leaderboard.verify.sequences import check_sequences
from xkeb.leaderboard.verify.source import Sources, check_cases, selection
from xkeb.leaderboard.verify.verdicts import check_judge
from xkeb.results.blank import says_nothing
from xkeb.results.group import comparable_group
from xkeb.results.lines import CASES, CaseRecord, ProbeRecord
from xkeb.results.reader import StoredResult, read_stored
from xkeb.results.result import Result
from xkeb.results.settings import scorer_of
from xkeb.results.untrusted import inline, quoted
from xkeb.tasks.asked import COUNTING_BLANKS
from xkeb.types import PROPERTIES


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be said of one result."""

    path: Path
    problems: tuple[str, ...]
    """A sentence each, without the file."""
    summary: str
    """Of a good one: what it is, and what was computed again."""


def check_result(path: Path, sources: Sources | None = None) -> Report:
    """Checks the result.json at `path` with the cases.jsonl beside it. Whatever is in them, it returns.

    Args:
        sources: where the data is looked for; give the same for many results.
    """
    submission = read_stored(path)
    problems = list(submission.problems)
    notes: list[str] = []
    tally = Tally()
    if submission.result is not None:
        problems += _check(submission, submission.result, sources or Sources(), tally, notes)
    sentences = tuple(f"{problem}." for problem in dict.fromkeys(problems))
    summary = "" if sentences or submission.result is None else _summary(submission.result, tally, notes)
    return Report(path, sentences, summary)


def _check(submission: StoredResult, result: Result, sources: Sources, tally: Tally, notes: list[str]) -> Iterator[str]:
    yield from sources.check_task(result)
    yield from _check_settings(result)
    yield from _check_bookkeeping(submission, result)
    asked = {(probe.property, probe.language) for case in submission.cases.values() for probe in case.probes}
    for case in submission.cases.values():
        where = f"case {quoted(case.case_id)}"
        yield from (f"{where}: {problem}" for problem in _check_case(case, result, asked))
        yield from (f"{where}: {problem}" for problem in check_answers(case, result.metrics, tally))
    named = dict.fromkeys(result.case_ids)
    ran = [submission.cases[case_id] for case_id in named if case_id in submission.cases]
    if len(ran) == len(named):  # the means of some of them would be other ones
        yield from check_means(result, ran, tally)
        yield from check_judge(result, ran)
    yield from check_sequences(submission, result, tally)
    yield from check_damage(submission, result)
    loaded, problem, note = sources.find(result)
    notes += [note] if note else []
    if problem:
        yield problem
    if loaded is not None:
        yield from check_cases(result, submission.cases, loaded)
        problem, note = selection(result, loaded)
        notes += [note] if note else []
        if problem:
            yield problem
    ran_here = {case.case_id for case in submission.cases.values() if case.status == "ok"}
    if surplus := len(ran_here - set(result.case_ids)):
        notes.append(f"{surplus:,} more in {CASES}, which the result leaves out")
    if result.judge is not None:
        notes.append(f"the verdicts of {inline(result.judge.model)} are taken as given")
    if tally.unknown:
        notes.append(f"not recomputed: {', '.join(sorted(tally.unknown))}")


def _check_bookkeeping(submission: StoredResult, result: Result) -> Iterator[str]:
    """Whether each case is there, once, and is counted."""
    for case_id, number in Counter(result.case_ids).items():
        case = submission.cases.get(case_id)
        if number > 1:
            yield f"case {quoted(case_id)}: stands {number} times in case_ids"
        if case is None and submission.whole:
            yield f"case {quoted(case_id)}: is missing from {CASES}"
        elif case is not None and case.status != "ok":
            yield f"case {quoted(case_id)}: was skipped, and stands in case_ids"
    ran = set(result.case_ids)
    for case_id, number in Counter(skip.case_id for skip in result.skipped).items():
        if number > 1:
            yield f"case {quoted(case_id)}: stands {number} times in skipped"
        if case_id in ran:
            yield f"case {quoted(case_id)}: stands in case_ids and in skipped"
    refused = 0
    for skip in result.skipped:
        case = submission.cases.get(skip.case_id)
        if case is not None and (case.status, case.reason) != ("skipped", skip.reason):
            yield f"case {quoted(skip.case_id)}: is skipped for another reason than in {CASES}"
        refused += case is not None
    stated, counted = result.task.dataset.n_cases, len(result.case_ids) + refused
    if stated != counted and submission.whole:
        yield f"task.dataset.n_cases is {stated:,}, and {counted:,} cases were run or refused"


def _check_case(case: CaseRecord, result: Result, asked: Collection[tuple[str, str]]) -> Iterator[str]:
    """Whether a line hangs together, and belongs to the result.

    Args:
        asked: each property and language that any of the cases asks. Data may have no questions of portability.
    """
    if case.settings != result.settings:
        yield "was made with other settings than the result"
    if case.status == "skipped":
        if not case.reason or case.probes or case.seconds:
            yield "is skipped, so it should have a reason, and neither probes nor seconds"
        return
    if case.reason is not None or case.seconds is None:
        yield "was run, so it should have seconds and no reason"
    source, *targets = result.task.direction.languages
    lacking = {one.language for one in result.missing or () if one.case_id == case.case_id}
    if case.edit.language != source:
        yield f"is edited in {quoted(case.edit.language)}, and the task's source is {quoted(source)}"
    counts = Counter((probe.property, probe.language) for probe in case.probes)
    for name in PROPERTIES:
        for code in (source,) if name == "reliability" else (source, *(one for one in targets if one not in lacking)):
            number = counts.pop((name, code), 0)
            if number != 1 and (number or name == "reliability" or (name, code) in asked):
                yield f"has {number} probes of {name} in {quoted(code)}; there should be one"
    for name, code in counts:
        yield f"has a probe of {name} in {quoted(code)}, which the task doesn't ask"
    for probe in case.probes:
        yield from _check_blank(probe, result)
        if probe.property == "reliability" and (probe.prompt, probe.reference) != (case.edit.prompt, case.edit.target):
            yield "asks for reliability with another question or answer than it edits"


def _check_blank(probe: ProbeRecord, result: Result) -> Iterator[str]:
    """Whether a question that can't measure locality is said to be one, and no other is."""
    measures = probe.property == "locality" and result.protocol not in COUNTING_BLANKS
    nothing = measures and says_nothing(probe.before)
    if probe.blank != nothing:
        yield f"has a blank of {str(probe.blank).lower()} where {probe.property} is compared with {quoted(probe.before)}"


def _check_settings(result: Result) -> Iterator[str]:
    """Whether the hash of the settings is that of what the result says of them."""
    if result.run_settings().sha256 != result.settings:
        yield "settings is not the hash of its task, model, method, protocol, prompt, regime, metrics and seed"
    if result.scorer != (scorer := scorer_of(result.protocol)):
        yield f"scorer is {quoted(result.scorer)}, and {quoted(scorer)} by its protocol"
    if result.comparable_group != (group := comparable_group(result.run_settings())):
        yield f"comparable_group is {quoted(result.comparable_group)}, and {quoted(group)} by its settings"


def _summary(result: Result, tally: Tally, notes: Sequence[str]) -> str:
    totals = f"{len(result.case_ids):,} cases, {tally.scores:,} scores and {tally.means:,} means recomputed"
    return "; ".join([f"{inline(result.title)}: {totals}", *notes])
