"""Whether the lines of a regime with several edits on one model are in the order and asked at the point that it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xkeb.leaderboard.verify.recompute import Tally, check_answers, check_table, same_versions
from xkeb.results.lines import CASES, RETENTION, CaseRecord
from xkeb.results.reader import StoredResult
from xkeb.results.regime import Regime, order_key, sequence_hash
from xkeb.results.result import Result
from xkeb.results.statistics import mean_scores
from xkeb.results.untrusted import quoted

RETAINED = {"reliability", "generality"}


def check_sequences(submission: StoredResult, result: Result, tally: Tally) -> Iterator[str]:
    """What is wrong with the sequences of a result, and with what earlier edits answered."""
    regime = Regime.read(result.regime)
    sequences: dict[str, dict[int, CaseRecord]] = {}
    for case in submission.cases.values():
        where = f"case {quoted(case.case_id)}"
        if case.sequence is None:
            if not regime.is_single and case.status == "ok":
                yield f"{where}: has no place in a sequence, and the regime is {result.regime}"
            continue
        if regime.is_single:
            yield f"{where}: has a place in a sequence, and the regime is single"
        elif case.sequence.place > regime.edits:
            yield f"{where}: is edit {case.sequence.place} of a sequence of {regime.edits}"
        else:
            if case.sequence.edits != (edits := regime.edits_before(case.sequence.place)):
                yield f"{where}: was asked after {case.sequence.edits} edits, and {regime.point} is after {edits}"
            sequences.setdefault(case.sequence.sha256, {})[case.sequence.place] = case
    for sha256, places in sequences.items() if submission.whole else ():
        yield from _check_sequence(sha256, places, regime, result.seed)
    if submission.whole:
        yield from _check_retention(submission, result, regime, tally)


def _check_sequence(sha256: str, places: Mapping[int, CaseRecord], regime: Regime, seed: int) -> Iterator[str]:
    """Whether a sequence is whole, in the order of its seed, and is what its hash says."""
    where = f"the sequence {sha256[:12]}\u2026"
    ids = [places[place].case_id for place in sorted(places)]
    if len(ids) != regime.edits:
        yield f"{where} has {len(ids)} cases in {CASES}, and {regime.edits} by its regime"
    elif sequence_hash(ids) != sha256:
        yield f"{where} is not that of its cases"
    elif sorted(ids, key=lambda case_id: order_key(seed, case_id)) != ids:
        yield f"{where} is in another order than that of seed {seed}"


def _check_retention(submission: StoredResult, result: Result, regime: Regime, tally: Tally) -> Iterator[str]:
    """Whether what earlier edits answered is there after each number of edits, hangs together, and has the stated means."""
    stated = [int(edits) for edits in result.retention or {}]
    if stated != list(regime.retention):
        yield f"retention is stated after {_listed(stated)} edits, and measured after {_listed(regime.retention)}"
        return
    for edits, lines in submission.retained.items():
        file = RETENTION.format(edits)
        due = [
            case_id
            for case_id in result.case_ids
            if (one := submission.cases.get(case_id)) and one.sequence and one.sequence.place <= edits
        ]
        for case_id in sorted(lines.keys() ^ set(due)):
            there = "stands there, and isn't an edit of so many" if case_id in lines else "is missing"
            yield f"{file}, case {quoted(case_id)}: {there}"
        for case_id in (one for one in due if one in lines):
            where = f"{file}, case {quoted(case_id)}"
            yield from (
                f"{where}: {problem}" for problem in _check_line(lines[case_id], submission.cases[case_id], edits)
            )
            yield from (f"{where}: {problem}" for problem in check_answers(lines[case_id], result.metrics, tally))
        if set(due) <= lines.keys():
            claim, truth = (result.retention or {})[str(edits)], mean_scores([lines[case_id] for case_id in due])
            yield from check_table(
                f"retention.{edits}", claim, truth, tally, resampled=not same_versions(result.environment)
            )


def _check_line(line: CaseRecord, case: CaseRecord, edits: int) -> Iterator[str]:
    """Whether a line is about the case that has its id, asked after so many edits."""
    if line.settings != case.settings or line.edit != case.edit or line.status != "ok":
        yield "is not the case of that id"
    if line.sequence is None or case.sequence is None or line.sequence.edits != edits:
        yield f"was not asked after {edits} edits"
    elif (line.sequence.sha256, line.sequence.place) != (case.sequence.sha256, case.sequence.place):
        yield "has another place in a sequence"
    asked = [(one.property, one.language, one.prompt, one.reference, one.before) for one in line.probes]
    known = [(one.property, one.language, one.prompt, one.reference, one.before) for one in case.probes]
    if asked != [one for one in known if one[0] in RETAINED]:
        yield "is asked other questions, or had other answers before, than the case"


def _listed(numbers: list[int] | tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "no"
