"""What is to be judged in some results, what of it is known, and the results with their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.errors import RequestError
from xkeb.evaluation.judging.asking import Asked
from xkeb.evaluation.judging.cache import VerdictCache
from xkeb.evaluation.judging.endpoint import Endpoint
from xkeb.evaluation.judging.judge import PROMPT, PROMPT_SHA256, REPLY_TOKENS, Judge, JudgedAnswer, Verdict
from xkeb.evaluation.kept import KeptResult, new_folders, with_settings, write_anew
from xkeb.results.blank import says_nothing
from xkeb.results.lines import CaseRecord, JudgedRecord, ProbeRecord, VerdictRecord
from xkeb.results.reader import find_result_files
from xkeb.results.result import JudgeRecord, Result
from xkeb.results.verdicts import (
    BLANK,
    ITSELF,
    JUDGE,
    NO_REFERENCE,
    UNDECIDED,
    undecided_reasons,
    verdicts_of,
    with_verdicts,
)
from xkeb.tasks.asked import GENERATE


@dataclass(frozen=True, slots=True)
class JudgingPlan:
    """Known before anything is asked."""

    kept: Sequence[tuple[KeptResult, Path]]
    """Each result, and where the judged one goes."""
    unasked: Mapping[str, int]
    """Answers that no judge is asked about, by reason, the most frequent one first."""
    known: Mapping[JudgedAnswer, Verdict]
    to_ask: Sequence[JudgedAnswer]

    @property
    def tokens_in(self) -> int:
        """Tokens that are sent, roughly."""
        return sum(answer.about_tokens for answer in self.to_ask)

    @property
    def tokens_out(self) -> int:
        """Tokens of the replies, if they say what they are asked for and nothing else."""
        return REPLY_TOKENS * len(self.to_ask)


def plan_judging(
    paths: Sequence[Path], output: Path, judge: Judge, cache: VerdictCache, *, fresh: bool = False
) -> JudgingPlan:
    """Reads the results below some paths.

    Args:
        fresh: take no verdict as known.

    Raises:
        RequestError: a result can't be read, has no free answers, or would be overwritten.
    """
    kept = []
    for file in dict.fromkeys(file for path in paths for file in find_result_files(path)):
        one = KeptResult.read(file)
        if one.result.protocol != GENERATE:
            raise RequestError(
                f"{file} has no free answers to judge: its protocol is {one.result.protocol}, not {GENERATE}."
            )
        if one.retained:
            raise RequestError(
                f"{file} is of the regime {one.result.regime}, whose earlier edits are asked again: xkeb judge has no verdicts "
                "on these."
            )
        kept.append(one)
    folders = new_folders(((one.file, one.result) for one in kept), output)
    unasked: Counter[str] = Counter()
    answers: dict[JudgedAnswer, None] = {}
    for one in kept:
        for said in _all_answers(_judged_lines(one)):
            if isinstance(said, VerdictRecord):
                unasked[said.reason or ""] += 1
            else:
                answers[said] = None
    known = {} if fresh else cache.known(judge, answers)
    placed = [(one, folders[one.file]) for one in kept]
    return JudgingPlan(
        placed, dict(unasked.most_common()), known, [answer for answer in answers if answer not in known]
    )


def write_judged(plan: JudgingPlan, endpoint: Endpoint, asked: Asked, command: str) -> list[Result]:
    """Writes the results with their verdicts.

    Raises:
        RequestError: a folder can't be written.
    """
    return [_write(one, folder, plan, endpoint, asked, command) for one, folder in plan.kept]


def _write(kept: KeptResult, folder: Path, plan: JudgingPlan, endpoint: Endpoint, asked: Asked, command: str) -> Result:
    metrics = [*(name for name in kept.result.metrics if name != JUDGE), JUDGE]
    new = with_settings(kept.result, metrics, kept.result.protocol_args)
    verdicts = {**plan.known, **asked.verdicts}
    lines = []
    for case in _judged_lines(kept):
        probes = [_judge(probe, verdicts, asked.reasons) for probe in case.probes]
        lines.append(case.model_copy(update={"probes": probes, "settings": new.settings}))
    given = verdicts_of(lines)
    different = {said for said in _all_answers(lines) if isinstance(said, JudgedAnswer)}
    record = JudgeRecord(
        model=endpoint.judge.model,
        endpoint=endpoint.url,
        args=dict(endpoint.judge.args),
        prompt=PROMPT,
        prompt_sha256=PROMPT_SHA256,
        asked=len(different - plan.known.keys()),
        cached=len(different & plan.known.keys()),
        blank=given.count(BLANK),
        itself=given.count(ITSELF),
        undecided=undecided_reasons(lines),
        agreement={},
    )
    return write_anew(folder, new.model_copy(update={"judge": record}), lines, command, damage=kept.damage)


def _judged_lines(kept: KeptResult) -> list[CaseRecord]:
    """The cases that count; the journal may hold more, which would be paid for in vain."""
    counted = set(kept.result.case_ids)
    return [case for case in kept.cases.values() if case.case_id in counted or case.status == "skipped"]


def _all_answers(cases: Iterable[CaseRecord]) -> Iterator[JudgedAnswer | VerdictRecord]:
    for case in cases:
        for probe in case.probes:
            yield from _answers(probe)


def _answers(probe: ProbeRecord) -> tuple[JudgedAnswer | VerdictRecord, JudgedAnswer | VerdictRecord]:
    """What a judge is asked about the answers before and after the edit, or why nobody is asked. Locality compares an answer
    with the one before the edit."""
    kept = probe.property == "locality"
    reference = probe.before if kept else probe.reference.strip()

    def one(answer: str) -> JudgedAnswer | VerdictRecord:
        if says_nothing(answer):
            return BLANK
        return NO_REFERENCE if says_nothing(reference) else JudgedAnswer(probe.prompt, reference, answer)

    before = one(probe.before)
    return (ITSELF if kept and before != BLANK else before, one(probe.after))


def _judge(
    probe: ProbeRecord, verdicts: Mapping[JudgedAnswer, Verdict], reasons: Mapping[JudgedAnswer, str]
) -> ProbeRecord:
    def verdict(said: JudgedAnswer | VerdictRecord) -> VerdictRecord:
        if isinstance(said, VerdictRecord):
            return said
        if said in verdicts:
            return VerdictRecord(verdict=verdicts[said])
        return VerdictRecord(verdict=UNDECIDED, reason=reasons[said])

    before, after = map(verdict, _answers(probe))
    return with_verdicts(probe, JudgedRecord(before=before, after=after))
