"""Results that are scored anew or joined: read whole, and written below another folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xkeb.errors import RequestError
from xkeb.results.crossing import crossing_scores
from xkeb.results.damage import DAMAGE, DamageRecord, damage_settings
from xkeb.results.environment import describe_environment, today
from xkeb.results.group import comparable_group
from xkeb.results.journal import Journal
from xkeb.results.lines import CASES, RETENTION, CaseRecord
from xkeb.results.reader import read_stored
from xkeb.results.result import Result
from xkeb.results.scores import Scores
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.results.untrusted import quoted
from xkeb.results.verdicts import JUDGE, agreements


@dataclass(frozen=True, slots=True)
class KeptResult:
    """A result and its cases as they lie on disk."""

    file: Path
    result: Result
    cases: Mapping[str, CaseRecord]
    retained: Mapping[int, Mapping[str, CaseRecord]]
    """After how many edits of a sequence -> the earlier edits, asked again."""
    damage: Sequence[DamageRecord]

    @classmethod
    def read(cls, file: Path) -> KeptResult:
        """Reads the files.

        Raises:
            RequestError: one of them can't be read, is damaged, or lacks a case.
        """
        stored = read_stored(file)
        if stored.problems or stored.result is None:
            raise RequestError(f"{file}: {stored.problems[0]}.")
        missing = [case_id for case_id in stored.result.case_ids if case_id not in stored.cases]
        if missing:
            raise RequestError(f"{file}: case {quoted(missing[0])} is missing from {CASES}.")
        return cls(file, stored.result, stored.cases, stored.retained, list(stored.damage.values()))


def new_folder(file: Path, result: Result, output: Path) -> Path:
    """Where the new result goes that is made of one.

    Raises:
        RequestError: the one that is read lies there.
    """
    folder = output / result.task.name / result.model.name / file.parent.name
    if folder.resolve() == file.parent.resolve():
        raise RequestError(f"{folder} holds the result itself; name another folder with --output.")
    return folder


def new_folders(results: Iterable[tuple[Path, Result]], output: Path) -> dict[Path, Path]:
    """Where each new result goes, by the file that it is made of.

    Raises:
        RequestError: one that is read lies there, or two would go to one folder, where the second would replace the first.
    """
    folders = {file: new_folder(file, result, output) for file, result in results}
    taken: dict[Path, Path] = {}
    for file, folder in folders.items():
        if (other := taken.setdefault(folder.resolve(), file)) != file:
            raise RequestError(
                f"{other} and {file} would both go to {folder}: name one at a time, each with its own --output."
            )
    return folders


def with_settings(result: Result, metrics: Sequence[str], protocol_args: Mapping[str, Any]) -> Result:
    """A result of other metrics or rules, under their hash."""
    new = result.model_copy(update={"metrics": list(metrics), "protocol_args": dict(protocol_args)})
    settings = new.run_settings()
    return new.model_copy(update={"settings": settings.sha256, "comparable_group": comparable_group(settings)})


def write_anew(
    folder: Path,
    new: Result,
    lines: Sequence[CaseRecord],
    command: str,
    *,
    done: str = "rescored",
    retained: Mapping[int, Sequence[CaseRecord]] | None = None,
    damage: Sequence[DamageRecord] = (),
) -> Result:
    """Writes a result with everything that follows from its lines, and the lines beside it.

    Args:
        done: what was done to it today, for its environment.
        retained: after how many edits of a sequence -> the lines of the earlier edits, asked again.
        damage: the lines of it, which stay as they are.

    Raises:
        RequestError: the folder can't be written.
    """
    again = retained or {}
    for name, some in [(CASES, lines), *((RETENTION.format(edits), some) for edits, some in again.items())]:
        with Journal(folder / name, CaseRecord, new.settings, overwrite=True) as journal:
            for line in some:
                journal.append(line)
    if new.damage:
        settings = damage_settings(new.settings, new.damage.texts)
        with Journal(folder / DAMAGE, DamageRecord, settings, overwrite=True) as points:
            for point in damage:
                points.append(point.model_copy(update={"settings": settings}))
    by_id = {line.case_id: line for line in lines}
    ran = [by_id[case_id] for case_id in new.case_ids]
    judge = new.judge and new.judge.model_copy(update={"agreement": agreements(ran, new.metrics)})
    new = new.model_copy(
        update={
            "scores": mean_scores(ran),
            "scores_before": mean_scores(ran, "scores_before"),
            "slices": slice_scores(ran),
            "slices_before": slice_scores(ran, "scores_before"),
            "second_turn": mean_scores(ran, "second_turn"),
            "blank": blank_scores(ran),
            "retention": {str(edits): _means(some, new.case_ids) for edits, some in again.items()} or None,
            "crossing": crossing_scores(ran, new.task.direction, new.protocol),
            "judge": judge if JUDGE in new.metrics else None,
            "command": command,
            "environment": _environment(new, done),
        }
    )
    new.save(folder)
    return new


def _means(lines: Sequence[CaseRecord], case_ids: Sequence[str]) -> Scores:
    """The means over lines, in the order of the result's cases."""
    by_id = {line.case_id: line for line in lines}
    return mean_scores([by_id[case_id] for case_id in case_ids if case_id in by_id])


def _environment(result: Result, done: str) -> dict[str, Any]:
    """Of the answers, with the versions by which the intervals were resampled now, and the command that made the answers."""
    stated = result.environment.get("packages")
    here = describe_environment(torch.device("cpu"))["packages"]
    packages = {**(stated if isinstance(stated, dict) else {}), **{name: here[name] for name in ("numpy", "scipy")}}
    answered_by = result.environment.get("answered_by", result.command)
    return {**result.environment, "packages": packages, "answered_by": answered_by, done: today()}
