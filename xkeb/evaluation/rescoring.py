"""New metrics, or another cut of free answers, over answers that are kept: without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError
from xkeb.evaluation.kept import KeptResult, new_folders, with_settings, write_anew
from xkeb.evaluation.protocols import GenerateProtocol, load_protocol
from xkeb.evaluation.protocols.sentences import Cut, cut_answer
from xkeb.registry.manager import get_plugins
from xkeb.results.answers import EXACT, elsewhere, has_reverted, kept_answers, kept_second, measured
from xkeb.results.blank import says_nothing
from xkeb.results.lines import CaseRecord, ProbeRecord, SecondRecord
from xkeb.results.reader import find_result_files
from xkeb.results.result import Result
from xkeb.results.verdicts import JUDGE, with_verdicts
from xkeb.tasks.asked import GENERATE
from xkeb.types import Around, Language, Metric, Prediction


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
        RequestError: a result can't be read, its answers don't tell a metric, the new one would take the place of the old one
            or of another new one, or the folder can't be written.
    """
    rules = Rules(metrics, _cut(protocol_args))
    files = find_result_files(path)
    folders = new_folders(((file, Result.load(file)) for file in files), output)  # one in memory at a time
    return [_rescore(file, folders[file], rules, command) for file in files]


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


def _rescore(file: Path, folder: Path, rules: Rules, command: str) -> Result:
    kept = KeptResult.read(file)
    result = kept.result
    names = list(result.metrics if rules.metrics is None else rules.metrics)
    measures = {name: get_plugins().metrics.get(name) for name in names if name != JUDGE}
    if rules.cut is not None:
        _check_cut(file, result, measures, rules.cut)
    if JUDGE in names:
        _check_verdicts(kept, rules.cut)
    args = dict(result.protocol_args) | ({} if rules.cut is None else {"cut": rules.cut})
    new = with_settings(result, names, args)
    lines = [_line(case, measures, new, rules.cut) for case in kept.cases.values()]
    retained = {
        edits: [_line(case, measures, new, rules.cut) for case in cases.values()]
        for edits, cases in kept.retained.items()
    }
    return write_anew(folder, new, lines, command, retained=retained, damage=kept.damage)


def _check_verdicts(kept: KeptResult, cut: Cut | None) -> None:
    """Refuses verdicts that nobody gave."""
    if kept.result.judge is None:
        raise RequestError(f"{kept.file} has no verdicts of a judge: xkeb judge asks for them.")
    if cut is not None:
        raise RequestError(
            f"The verdicts of {kept.file} are on its answers as they were cut: name metrics without {JUDGE!r}, "
            "and give the new result to xkeb judge."
        )


def _check_cut(file: Path, result: Result, measures: Mapping[str, Metric], cut: Cut) -> None:
    """Refuses what the kept answers don't tell."""
    if result.protocol != GENERATE:
        raise RequestError(
            f"{file} was answered under --protocol {result.protocol}; only the answers of --protocol generate can be cut anew."
        )
    if cut == "none" and result.protocol_args.get("cut") != cut:
        raise RequestError(f"The answers of {file} ended with their first line, so cut=none has nothing more to show.")
    for name, measure in measures.items():
        if getattr(measure, "counts_tokens", False):
            raise RequestError(
                f"Metric {name!r} counts a model's tokens, which a text that is cut anew doesn't have without its tokenizer; "
                "name others with --metrics."
            )


def _line(case: CaseRecord, measures: Mapping[str, Metric], result: Result, cut: Cut | None) -> CaseRecord:
    probes = [_probe(probe, elsewhere(probe, case.probes), measures, cut) for probe in case.probes]
    if JUDGE in result.metrics:
        probes = [with_verdicts(probe, probe.judged) if probe.judged else probe for probe in probes]
    else:
        probes = [probe.model_copy(update={"judged": None}) for probe in probes]
    return case.model_copy(update={"probes": probes, "settings": result.settings})


def _probe(
    probe: ProbeRecord, others: Mapping[str, str], measures: Mapping[str, Metric], cut: Cut | None
) -> ProbeRecord:
    language = get_plugins().languages.get(probe.language)
    gold, old, new = kept_answers(probe)
    again = kept_second(probe)
    if cut is not None:
        old, new = (_cut_anew(one, language, cut) for one in (old, new))
        again = again and _cut_anew(again, language, cut)
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
            "second": probe.second and again and _second(probe.second, (new, again), gold, language, measures, around),
        }
    )


def _cut_anew(answer: Prediction, language: Language, cut: Cut) -> Prediction:
    return Prediction(cut_answer(answer.raw or "", language, cut), (), raw=answer.raw)


def _second(
    second: SecondRecord,
    answers: tuple[Prediction, Prediction],
    gold: Prediction,
    language: Language,
    measures: Mapping[str, Metric],
    around: Around,
) -> SecondRecord:
    """A question asked again, scored anew. The conversation stays as it was: what stood in it before the question is no answer.

    Args:
        answers: the first and the second.
    """
    first, again = answers
    exact = get_plugins().metrics.get(EXACT)
    return second.model_copy(
        update={
            "after": again.text,
            "tokens": list(again.tokens),
            "scores": measured(measures, again, gold, language, around),
            "reverted": has_reverted(exact, first, again, gold, language),
        }
    )
