"""Scores computed again: each case's from its answers, and each mean from its cases.

The journal holds of an answer its text and its bag of the backbone's tokens, which is all that the suite's own metrics look
at. That a bag is the text's can't be computed without the tokenizer; that equal texts have equal bags can.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from xkeb.registry.manager import get_plugins
from xkeb.results.answers import EXACT as EXACT_METRIC
from xkeb.results.answers import elsewhere, has_reverted, kept_answers, kept_second, measured
from xkeb.results.crossing import crossing_scores
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.result import Result
from xkeb.results.scores import Score, Scores
from xkeb.results.statistics import Key, blank_scores, mean_scores, slice_scores
from xkeb.results.untrusted import inline, quoted
from xkeb.results.verdicts import JUDGE, judge_score
from xkeb.types import REPLACEMENT, Around, Probe

KEYS: tuple[Key, ...] = ("scores", "scores_before")
EXACT = 1e-9
"""Two values of one score, from 0 to 1, differ by less: the same operations on the same numbers."""
CLOSE = 1e-6
"""The same of a mean times 100, and of seconds, whose sums may be taken in another order."""
RESAMPLING = 0.5
"""Standard errors by which two bootstrap intervals may differ that were resampled in different ways. A percentile of 2,000
resamples has itself an error of 0.06."""


@dataclass(slots=True)
class Tally:
    """What was computed again, and what could not be."""

    scores: int = 0
    means: int = 0
    unknown: set[str] = field(default_factory=set)
    """Metrics that are not the suite's own, and languages whose units aren't known here."""
    bags: dict[str, list[int]] = field(default_factory=dict)
    """Each text's tokens, as it was first seen with."""


def check_answers(case: CaseRecord, metrics: Sequence[str], tally: Tally) -> Iterator[str]:
    """What is wrong with the scores of a case, by its answers."""
    for probe in case.probes:
        where = f"{probe.property} in {quoted(probe.language)}"
        for key in KEYS:
            stated: dict[str, float] = getattr(probe, key)
            values, untold = _recomputed(probe, case, key, metrics, tally)
            if set(stated) != set(metrics) - untold:
                yield f"{where} has other {key} than the result: {', '.join(map(quoted, sorted(stated)))}"
            yield from (f"{where}, {key}: {problem}" for problem in _impossible(stated))
            for name, value in values.items():
                if name in stated and abs(stated[name] - value) > EXACT:
                    by = "verdict" if name == JUDGE else "answers"
                    yield f"{where}, {key}: {name} is stated as {stated[name]:.6g}, and is {value:.6g} by its {by}"
        if any(counts_tokens(name) for name in metrics) or probe.tokens.after:  # a text that was cut anew has no bag
            yield from (f"{where}: {problem}" for problem in _other_bags(probe, tally))
        yield from (f"{where}, asked again: {problem}" for problem in _check_second(probe, case, metrics, tally))


def counts_tokens(metric: str) -> bool:
    """Whether a metric looks at the bags of answers."""
    registered = get_plugins().metrics
    return metric in registered and getattr(registered.get(metric), "counts_tokens", False)


def _check_second(probe: ProbeRecord, case: CaseRecord, metrics: Sequence[str], tally: Tally) -> Iterator[str]:
    """What is wrong with the second turn of a probe, by its answers."""
    second, again = probe.second, kept_second(probe)
    if second is None or again is None:
        return
    unrelated = [
        other
        for other in case.probes
        if (other.property, other.language, other.prompt) == ("locality", probe.language, second.question)
    ]
    if probe.property == "locality" or not any(second.reply in (other.raw or other).after for other in unrelated):
        yield f"{quoted(second.question)}, {quoted(second.reply)} is no unrelated question of the case with its answer"
    # the scores of a first answer that is the second one's text
    instead = probe.model_copy(
        update={"after": again.text, "tokens": probe.tokens.model_copy(update={"after": second.tokens})}
    )
    instead = instead.model_copy(update={"raw": probe.raw and probe.raw.model_copy(update={"after": second.raw})})
    values, untold = _recomputed(instead, case, "scores", metrics, tally)
    if set(second.scores) != set(metrics) - untold:
        yield f"has other scores than the result: {', '.join(map(quoted, sorted(second.scores)))}"
    for name, value in values.items():
        if name in second.scores and abs(second.scores[name] - value) > EXACT:
            yield f"{name} is stated as {second.scores[name]:.6g}, and is {value:.6g} by its answer"
    if probe.language in get_plugins().languages:
        gold, _, first = kept_answers(probe)
        exact, language = get_plugins().metrics.get(EXACT_METRIC), get_plugins().languages.get(probe.language)
        if second.reverted != (truth := has_reverted(exact, first, again, gold, language)):
            yield f"reverted is stated as {json.dumps(second.reverted)}, and is {json.dumps(truth)} by its answers"


def _impossible(scores: Mapping[str, float]) -> Iterator[str]:
    """An exact match is a 1 in every metric, and nothing else is a match in part."""
    exact = scores.get("em")
    if exact not in (None, 0, 1):
        yield f"em is {exact:.6g}, and can only be 0 or 1"
    for name in ("f1", "f1_pr", "f1_units"):
        if exact == 1 and scores.get(name, 1) < 1:
            yield f"em is 1 and {name} {scores[name]:.6g}, which is impossible"
    if scores.get("f1_pr", 0) > scores.get("f1", 1) + EXACT:
        yield f"f1_pr is {scores['f1_pr']:.6g} and f1 {scores['f1']:.6g}, which is impossible"


def _recomputed(
    probe: ProbeRecord, case: CaseRecord, key: Key, metrics: Sequence[str], tally: Tally
) -> tuple[dict[str, float], set[str]]:
    """The suite's own metrics of one probe, from what the journal holds of its answers, and those of them that can't tell."""
    gold, old, new = kept_answers(probe)
    judged_by = Probe(probe.property, probe.language, probe.prompt, probe.reference).judged_by
    expected = old if judged_by == "before" else gold
    around = Around(old, elsewhere(probe, case.probes))
    languages, registered = get_plugins().languages, get_plugins().metrics
    values: dict[str, float] = {}
    given: dict[str, float] = {}
    untold: set[str] = set()
    for name in metrics:
        if name == JUDGE:  # taken as it was given: no answer tells it
            score = judge_score(probe, key)
            untold |= {name} if score is None else set()
            given |= {} if score is None else {name: score}
        elif name not in registered or not registered.entry(name).builtin:
            tally.unknown.add(f"metric {quoted(name)}")
        elif probe.language not in languages:
            tally.unknown.add(f"language {quoted(probe.language)}")
        else:
            answer, language = new if key == "scores" else old, languages.get(probe.language)
            found = measured({name: registered.get(name)}, answer, expected, language, around)
            values |= found
            untold |= set() if found else {name}
    tally.scores += len(values)
    return {**values, **given}, untold


def _other_bags(probe: ProbeRecord, tally: Tally) -> Iterator[str]:
    """Texts that have other tokens here than elsewhere. One that can't be decoded has those that were predicted."""
    reference = probe.reference.strip() if probe.compared is None else probe.compared
    tokens, second = probe.tokens, probe.second
    bags = [(reference, tokens.reference), (probe.before, tokens.before), (probe.after, tokens.after)]
    for text, bag in [*bags, *([(second.after, second.tokens)] if second else [])]:
        if REPLACEMENT not in text and tally.bags.setdefault(text, bag) != bag:
            yield f"{quoted(text)} is counted in other tokens than elsewhere in the file"


def check_means(result: Result, cases: Sequence[CaseRecord], tally: Tally) -> Iterator[str]:
    """What is wrong with the scores of a result, by the scores of its cases.

    Args:
        cases: those behind the result, in its order: the intervals depend on it.
    """
    resampled = not same_versions(result.environment)
    for key in KEYS:
        yield from check_table(key, getattr(result, key), mean_scores(cases, key), tally, resampled=resampled)
        name = key.replace("scores", "slices")
        parts, truth = getattr(result, name), slice_scores(cases, key)
        for part in sorted(parts.keys() ^ truth.keys()):
            wrong = "stated, and no slice of" if part in parts else "missing, and a slice of"
            yield f"{name}.{inline(part)} is {wrong} its cases"
        for part in sorted(parts.keys() & truth.keys()):
            yield from check_table(f"{name}.{inline(part)}", parts[part], truth[part], tally, resampled=resampled)
    again = mean_scores(cases, "second_turn")
    yield from check_table("second_turn", result.second_turn, again, tally, resampled=resampled)
    yield from _check_blank(result, cases, tally, resampled=resampled)
    yield from _check_crossing(result, cases, tally, resampled=resampled)
    ran = [case.seconds for case in cases if case.seconds]
    for name in ("edit", "evaluate"):
        total, seconds = getattr(result.timing, f"{name}_seconds"), sum(getattr(second, name) for second in ran)
        if abs(total - seconds) > CLOSE * max(1, seconds):
            yield f"timing.{name}_seconds is stated as {total:.6g}, and is {seconds:.6g} by its cases"
    wall, phases = result.timing.wall_seconds, result.timing.phases
    spent = sum(seconds for name, seconds in phases if name != "load")
    if abs(wall - spent) > CLOSE * max(1, spent):
        yield f"timing.wall_seconds is stated as {wall:.6g}, and is {spent:.6g} by its phases"


def check_table(where: str, stated: Scores, truth: Scores, tally: Tally, *, resampled: bool) -> Iterator[str]:
    """What is wrong with a table of means."""
    claims, means = _flat(stated), _flat(truth)
    for place in sorted(claims.keys() | means.keys()):
        at = f"{where}.{'.'.join(map(inline, place))}"
        if place not in means:
            yield f"{at} is stated, and no case has it"
        elif place not in claims:
            yield f"{at} is missing, and {means[place].n} cases have it"
        else:
            tally.means += 1
            yield from _compare(at, claims[place], means[place], resampled)


def _check_blank(result: Result, cases: Sequence[CaseRecord], tally: Tally, *, resampled: bool) -> Iterator[str]:
    """What is wrong with the count of questions that can't measure locality, and with the means with them."""
    stated, truth = result.blank, blank_scores(cases)
    for language in sorted(stated.keys() | truth.keys()):
        counts = [part[language].n if language in part else 0 for part in (stated, truth)]
        if counts[0] != counts[1]:
            yield f"blank.{inline(language)}.n is stated as {counts[0]}, and is {counts[1]} by its cases"
        else:
            said, told = stated[language].echoes, truth[language].echoes
            if said is not None and said != told:
                yield f"blank.{inline(language)}.echoes is stated as {said}, and is {told} by its cases"
            claim: Scores = {"locality": {language: stated[language].scores}}
            yield from check_table(
                "blank", claim, {"locality": {language: truth[language].scores}}, tally, resampled=resampled
            )


def _check_crossing(result: Result, cases: Sequence[CaseRecord], tally: Tally, *, resampled: bool) -> Iterator[str]:
    """What is wrong with the measures of crossing."""
    truth = crossing_scores(cases, result.task.direction, result.protocol)
    claims, known = (_flat(found or {}) for found in (result.crossing, truth))
    if (result.crossing is None) != (truth is None):
        yield f"crossing is {'missing' if result.crossing is None else 'stated'} where a task has {_how_many(result)}"
    for place in sorted(claims.keys() | known.keys()):
        at = f"crossing.{'.'.join(map(inline, place))}"
        if place not in claims or place not in known:
            yield f"{at} is {'missing' if place in known else 'stated'}, and {'some' if place in known else 'no'} cases have it"
            continue
        claim, computed = claims[place], known[place]
        tally.means += 1
        values = {name: (getattr(claim, name), getattr(computed, name)) for name in ("gain", "gain_source", "transfer")}
        if not resampled:
            values |= {f"ci95.{i}": tuple(one.ci95 and one.ci95[i] for one in (claim, computed)) for i in (0, 1)}
        for name, (said, is_) in values.items():
            if (said is None) != (is_ is None) or (said is not None and abs(said - is_) > CLOSE * max(1, abs(is_))):
                yield f"{at}.{name} is stated as {said}, and is {is_} by its cases"
        yield from _compare(f"{at}.both", claim.both, computed.both, resampled)


def _how_many(result: Result) -> str:
    number = len(result.task.direction.targets)
    return {0: "no target", 1: "one target"}.get(number, f"{number} targets")


def _flat(scores: Mapping[Any, Any] | Scores) -> dict[tuple[str, str, str], Any]:
    return {
        (name, language, metric): score
        for name, languages in scores.items()
        for language, metrics in languages.items()
        for metric, score in metrics.items()
    }


def _compare(where: str, stated: Score, truth: Score, resampled: bool) -> Iterator[str]:
    """One cell of a table, as stated and as computed."""
    values = {"mean": (stated.mean, truth.mean, CLOSE), "stderr": (stated.stderr, truth.stderr, CLOSE)}
    # a resample's mean moves in steps of one cluster; where all of them agree, nothing is resampled
    slack = CLOSE + (RESAMPLING * truth.stderr + 100 / truth.n_clusters if resampled and truth.stderr else 0)
    values |= {f"ci95.{i}": (stated.ci95[i], truth.ci95[i], slack) for i in (0, 1)}
    for name, (claim, computed, tolerance) in values.items():
        if not math.isclose(claim, computed, rel_tol=0, abs_tol=tolerance):
            yield f"{where}.{name} is stated as {claim:.6f}, and is {computed:.6f} by its cases"
    for name in ("n", "n_clusters"):
        claim, counted = getattr(stated, name), getattr(truth, name)
        if claim != counted:
            yield f"{where}.{name} is stated as {claim}, and is {counted} by its cases"


def same_versions(environment: Mapping[str, Any]) -> bool:
    """Whether a result was made with the numpy and scipy at hand: only then its resamples are ours."""
    stated = environment.get("packages")
    return isinstance(stated, dict) and all(stated.get(name) == metadata.version(name) for name in ("numpy", "scipy"))
