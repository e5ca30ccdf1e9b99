"""New metrics, or another cut of free answers, over answers that are kept: without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from xkeb.errors import RequestError
from xkeb.evaluation.protocols import GenerateProtocol, load_protocol
from xkeb.evaluation.protocols.sentences import Cut, cut_answer
from xkeb.registry.manager import get_plugins
from xkeb.results.answers import elsewhere, kept_answers, measured
from xkeb.results.blank import says_nothing
from xkeb.results.crossing import crossing_scores
from xkeb.results.environment import describe_environment, today
from xkeb.results.journal import Journal
from xkeb.results.reader import find_result_files, read_stored
from xkeb.results.schema import CASES, CaseRecord, ProbeRecord, Result, comparable_group
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.tasks.asked import GENERATE
from xkeb.types import Around, Metric, Prediction


@dataclass(frozen=True, slots=True)
class Rules:
    """What is to be scored anew."""

    metrics: Sequence[str] | None
    """None: those of the result."""
    cut: Cut | None
    """Of free answers. None: that of the result."""


def rescore(
    path: Path, output: Path, metrics: Sequence[str] | None, protocol_args: Mapping[str, Any], command: str = ""
) -> list[Result]:
    """Scores the results below a path anew, and writes them below another folder, each with its cases.

    Args:
        metrics: None for those of each result.
        protocol_args: ``cut`` of free answers.
        command: that asks for it, for the new results.

    Raises:
        RequestError: a result can't be read, its answers don't tell a metric, or the folder holds other results.
    """
    rules = Rules(metrics, _cut(protocol_args))
    return [_rescore(file, output, rules, command) for file in find_result_files(path)]


def _cut(protocol_args: Mapping[str, Any]) -> Cut | None:
    """The new cut, checked as the protocol checks it."""
    if not protocol_args:
        return None
    for name in protocol_args:
        if name != "cut":
            raise RequestError(f"Of free answers that are kept, only the cut can be changed, not {name!r}.")
    protocol = load_protocol(GENERATE, protocol_args)
    assert isinstance(protocol, GenerateProtocol)
    return protocol.cut


def _rescore(file: Path, output: Path, rules: Rules, command: str) -> Result:
    stored = read_stored(file)
    if stored.problems or stored.result is None:
        raise RequestError(f"{file}: {stored.problems[0]}.")
    result = stored.result
    names = list(result.metrics if rules.metrics is None else rules.metrics)
    measures = {name: get_plugins().metrics.get(name) for name in names}
    if rules.cut is not None:
        _check_cut(file, result, measures, rules.cut)
    new = _with_settings(result, names, rules.cut)
    folder = output / result.task.name / result.model.name / file.parent.name
    if folder.resolve() == file.parent.resolve():
        raise RequestError(f"{folder} holds the result itself; name another folder with --output.")
    lines = [_line(case, measures, new, rules.cut) for case in stored.cases.values()]
    with Journal(folder / CASES, CaseRecord, new.settings, overwrite=True) as journal:
        for line in lines:
            journal.append(line)
    by_id = {line.case_id: line for line in lines}
    ran = [by_id[case_id] for case_id in result.case_ids]
    new = new.model_copy(
        update={
            "scores": mean_scores(ran),
            "scores_before": mean_scores(ran, "scores_before"),
            "slices": slice_scores(ran),
            "slices_before": slice_scores(ran, "scores_before"),
            "blank": blank_scores(ran),
            "crossing": crossing_scores(ran, result.task.direction, result.protocol),
            "command": command,
            "environment": _environment(result),
        }
    )
    new.save(folder)
    return new


def _environment(result: Result) -> dict[str, Any]:
    """Of the answers, with the versions by which the intervals were resampled now, and the command that made the answers."""
    stated = result.environment.get("packages")
    here = describe_environment(torch.device("cpu"))["packages"]
    packages = {**(stated if isinstance(stated, dict) else {}), **{name: here[name] for name in ("numpy", "scipy")}}
    return {**result.environment, "packages": packages, "answered_by": result.command, "rescored": today()}


def _check_cut(file: Path, result: Result, measures: Mapping[str, Metric], cut: Cut) -> None:
    """Refuses what the kept answers don't tell."""
    if result.protocol != GENERATE:
        raise RequestError(
            f"{file} has no free answers (its protocol is {result.protocol}), so there is nothing to cut."
        )
    if cut == "none" and result.protocol_args.get("cut") != cut:
        raise RequestError(f"The answers of {file} ended with their first line, so cut=none has nothing more to show.")
    for name, measure in measures.items():
        if getattr(measure, "counts_tokens", False):
            raise RequestError(
                f"Metric {name!r} counts a model's tokens, which a text that is cut anew doesn't have without its tokenizer; "
                "name others with --metrics."
            )


def _with_settings(result: Result, metrics: Sequence[str], cut: Cut | None) -> Result:
    args = dict(result.protocol_args) | ({} if cut is None else {"cut": cut})
    new = result.model_copy(update={"metrics": list(metrics), "protocol_args": args})
    settings = new.run_settings()
    return new.model_copy(update={"settings": settings.sha256, "comparable_group": comparable_group(settings)})


def _line(case: CaseRecord, measures: Mapping[str, Metric], result: Result, cut: Cut | None) -> CaseRecord:
    probes = [_probe(probe, elsewhere(probe, case.probes), measures, cut) for probe in case.probes]
    return case.model_copy(update={"probes": probes, "settings": result.settings})


def _probe(
    probe: ProbeRecord, others: Mapping[str, str], measures: Mapping[str, Metric], cut: Cut | None
) -> ProbeRecord:
    language = get_plugins().languages.get(probe.language)
    gold, old, new = kept_answers(probe)
    if cut is not None:
        old, new = (Prediction(cut_answer(one.raw or "", language, cut), (), raw=one.raw) for one in (old, new))
    expected = old if probe.property == "locality" else gold
    around = Around(old, others)
    tokens = probe.tokens if cut is None else probe.tokens.model_copy(update={"before": [], "after": []})
    return probe.model_copy(
        update={
            "before": old.text,
            "after": new.text,
            "scores": measured(measures, new, expected, language, around),
            "scores_before": measured(measures, old, expected, language, around),
            "tokens": tokens,
            "blank": probe.property == "locality" and says_nothing(old.text) if cut is not None else probe.blank,
        }
    )
