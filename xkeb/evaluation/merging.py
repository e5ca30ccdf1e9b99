"""Results of parts of one job's cases, joined into one result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from xkeb.data.dataset import Split
from xkeb.errors import RequestError
from xkeb.evaluation.kept import KeptResult, new_folder, write_anew
from xkeb.results.chain import CHAIN
from xkeb.results.lines import CaseRecord
from xkeb.results.reader import find_result_files
from xkeb.results.regime import Regime
from xkeb.results.result import MissingRecord, Phases, Result, SkippedRecord, Timing
from xkeb.results.untrusted import quoted
from xkeb.tasks.task import load_task

R = TypeVar("R", SkippedRecord, MissingRecord)


def merge(
    paths: Sequence[Path],
    output: Path,
    *,
    data_dir: Path | None = None,
    include: Sequence[Path] = (),
    command: str = "",
) -> list[Result]:
    """Joins the results below some paths, job by job, and writes one for each below another folder.

    Args:
        data_dir, include: where the task is, which tells the order of the cases and whether all are there. Without its data
            they are in the order of their ids, and the result is one of named cases.
        command: that asks for it, for the new results.

    Raises:
        RequestError: a result can't be read or is damaged, parts were made with different settings, or a case is in two of
            them with different answers.
    """
    parts: dict[tuple[str, ...], list[KeptResult]] = {}
    for file in dict.fromkeys(file for path in paths for file in find_result_files(path)):
        kept = KeptResult.read(file)
        new_folder(file, kept.result, output)
        parts.setdefault((kept.result.task.name, kept.result.model.name, file.parent.name), []).append(kept)
    for members in parts.values():
        _check(members)
    return [_merge(members, output, data_dir, include, command) for members in parts.values()]


def _check(members: Sequence[KeptResult]) -> None:
    """Refuses what doesn't belong together, before anything is written."""
    first = members[0]
    for kept in members:
        if not Regime.read(kept.result.regime).is_single:
            raise RequestError(
                f"{kept.file} is of the regime {kept.result.regime}: the edits of one model aren't divided, so there are no "
                "parts to join."
            )
        if kept.result.settings != first.result.settings:
            raise RequestError(
                f"{kept.file} and {first.file} were made with different settings ({_difference(kept, first)}), "
                "and are never mixed."
            )
        if kept.result.judge is not None:
            raise RequestError(f"{kept.file} has verdicts of a judge: join the results first, and judge the whole.")
        for line in kept.cases.values():
            if line.settings != kept.result.settings:
                raise RequestError(
                    f"{kept.file}: case {quoted(line.case_id)} was made with other settings than its result."
                )
    for kept in members:
        for other in members[: members.index(kept)]:
            for case_id in kept.cases.keys() & other.cases.keys():
                if _without_times(kept.cases[case_id]) != _without_times(other.cases[case_id]):
                    raise RequestError(f"Case {quoted(case_id)} has other answers in {kept.file} than in {other.file}.")


def _difference(one: KeptResult, other: KeptResult) -> str:
    """The settings that differ, by name."""
    mine, theirs = (kept.result.run_settings().model_dump(mode="json") for kept in (one, other))
    return ", ".join(name for name in mine if mine[name] != theirs[name]) or "their hash"


def _without_times(line: CaseRecord) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude={"seconds", CHAIN})


def _merge(
    members: Sequence[KeptResult], output: Path, data_dir: Path | None, include: Sequence[Path], command: str
) -> Result:
    results = [kept.result for kept in members]
    first = results[0]
    lines: dict[str, CaseRecord] = {}
    for kept in members:
        lines = {**kept.cases, **lines}  # of two equal lines the first
    split = _split(first, data_dir, include)
    known = [case.id for case in split.cases] if split else []
    order = {case_id: place for place, case_id in enumerate([*known, *sorted(lines.keys() - set(known), key=_natural)])}
    in_order = sorted(lines.values(), key=lambda line: order[line.case_id])
    ran = [line for line in in_order if line.status == "ok"]
    skipped = {one.case_id: one for result in results for one in result.skipped if one.case_id not in lines}
    refused = [
        SkippedRecord(case_id=line.case_id, reason=line.reason or "") for line in in_order if line.status != "ok"
    ]
    missing = (
        None if first.missing is None else _by_case((one for result in results for one in result.missing or ()), order)
    )
    dataset = first.task.dataset.model_copy(update={"n_cases": len(lines)})
    new = first.model_copy(
        update={
            "task": first.task.model_copy(update={"dataset": dataset}),
            "selection": _selection([line.case_id for line in in_order], known),
            "skipped": [*skipped.values(), *refused],
            "missing": missing,
            "case_ids": [line.case_id for line in ran],
            "timing": _timing(results, ran),
            "environment": _environment(results),
        }
    )
    return write_anew(new_folder(members[0].file, first, output), new, in_order, command, done="merged")


def _split(result: Result, data_dir: Path | None, include: Sequence[Path]) -> Split | None:
    """The task's cases; None where its data isn't here, or is other data."""
    try:
        split = load_task(result.task.name, data_dir=data_dir, include=include).test
    except RequestError:
        return None
    return split if split.sha256 == result.task.dataset.sha256 else None


def _selection(ids: Sequence[str], known: Sequence[str]) -> Literal["all", "first", "named"]:
    if not known or ids != known[: len(ids)]:
        return "named"
    return "all" if len(ids) == len(known) else "first"


def _natural(case_id: str) -> tuple[int, str]:
    """Numbers as numbers, before all else."""
    return (int(case_id), "") if case_id.isdecimal() else (2**63, case_id)


def _by_case(records: Iterable[R], order: Mapping[str, int]) -> list[R]:
    unique = {record.model_dump_json(): record for record in records}
    return sorted(unique.values(), key=lambda record: order.get(record.case_id, len(order)))


def _timing(results: Sequence[Result], ran: Sequence[CaseRecord]) -> Timing:
    """What the parts took together."""
    seconds = [line.seconds for line in ran if line.seconds]
    of_parts = [result.timing.phases.model_dump() for result in results]
    phases = {name: sum(one[name] for one in of_parts) for name in of_parts[0]}
    return Timing(
        edit_seconds=sum(one.edit for one in seconds),
        evaluate_seconds=sum(one.evaluate for one in seconds),
        wall_seconds=sum(phases.values()) - phases["load"],
        peak_memory_bytes=max(result.timing.peak_memory_bytes for result in results),
        phases=Phases(**phases),
    )


def _environment(results: Sequence[Result]) -> dict[str, Any]:
    """Of the first part; where another has something else, both."""
    joined: dict[str, Any] = {}
    for name in dict.fromkeys(name for result in results for name in result.environment):
        values = [result.environment[name] for result in results if name in result.environment]
        if all(isinstance(value, dict) for value in values):
            keys = dict.fromkeys(key for value in values for key in value)
            joined[name] = {key: _each([value[key] for value in values if key in value]) for key in keys}
        else:
            joined[name] = _each(values)
    return {**joined, "answered_by": _commands(results), "parts": len(results)}


def _commands(results: Sequence[Result]) -> list[str]:
    """That made the answers, each once. A list: of many parts, one text would be longer than any that is read."""
    stated = [result.environment.get("answered_by", result.command) for result in results]
    return list(dict.fromkeys(one for said in stated for one in (said if isinstance(said, list) else [said])))


def _each(values: Sequence[Any]) -> Any:
    """The one value, or all that there are, as a text."""
    distinct = [value for number, value in enumerate(values) if value not in values[:number]]
    return distinct[0] if len(distinct) == 1 else " / ".join(map(str, distinct))
