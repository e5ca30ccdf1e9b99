"""`xkeb.results.verdicts`: a judge's verdicts as scores, and its agreement with metrics."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from made_records import scored

from xkeb.results.lines import JudgedRecord, VerdictRecord
from xkeb.results.verdicts import BLANK, ITSELF, NO_REFERENCE, agreement, agreements, undecided_reasons, with_verdicts

YES, NO = VerdictRecord(verdict="correct"), VerdictRecord(verdict="incorrect")
NONE = VerdictRecord(verdict="undecided", reason="HTTP 500")


def test_kappa_by_hand() -> None:
    """35 of 50 agree. By chance (25 * 30 + 25 * 20) / 2500 = 0.5 would, so kappa is (0.7 - 0.5) / 0.5."""
    found = agreement({(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15})
    assert (found.both_right, found.judge_only, found.metric_only, found.both_wrong) == (20, 5, 10, 15)
    assert found.percent == 70
    assert found.kappa == pytest.approx(0.4, abs=1e-15)


def test_kappa_is_that_of_another_library() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = random.Random(0)
    for _ in range(30):
        pairs = [(chance.random() < 0.6, chance.random() < 0.4) for _ in range(chance.randint(5, 60))]
        if len({one for one, _ in pairs}) == len({other for _, other in pairs}) == 2:
            theirs = metrics.cohen_kappa_score([one for one, _ in pairs], [other for _, other in pairs])
            assert agreement(Counter(pairs)).kappa == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(("counts", "kappa"), [({(True, True): 3}, None), ({(False, False): 3}, None),
                                                ({(True, True): 2, (False, False): 1}, 1.0),
                                                ({(True, False): 2, (False, True): 2}, -1.0)])  # fmt: skip
def test_the_ends_of_kappa(counts: dict[tuple[bool, bool], int], kappa: float | None) -> None:
    assert agreement(counts).kappa == kappa


def test_a_verdict_is_a_score_and_none_is_none() -> None:
    probe = scored("a", exact=1.0).probes[0]
    right = with_verdicts(probe, JudgedRecord(before=NO, after=YES))
    assert right.scores == {"exact": 1.0, "judge": 1.0} and right.scores_before == {"exact": 0.0, "judge": 0.0}
    again = with_verdicts(right, JudgedRecord(before=NONE, after=BLANK))
    assert again.scores == {"exact": 1.0, "judge": 0.0} and again.scores_before == {"exact": 0.0}


def test_agreement_is_over_what_the_judge_decided_after_the_edit() -> None:
    """Neither what nobody was asked about nor what has no verdict says anything of a judge."""
    cases = []
    for i, (exact, after) in enumerate([(1.0, YES), (0.0, YES), (1.0, NO), (0.0, NO), (0.0, NO), (1.0, NONE),
                                        (0.0, BLANK), (1.0, ITSELF), (1.0, NO_REFERENCE)]):  # fmt: skip
        case = scored(str(i), exact=exact)
        probes = [with_verdicts(case.probes[0], JudgedRecord(before=YES, after=after)), case.probes[1]]
        cases.append(case.model_copy(update={"probes": probes}))
    assert set(agreements(cases, ["exact", "em", "judge", "contains"])) == {"exact", "em"}
    (found,) = agreements(cases, ["exact"])["exact"].values()
    assert (found.both_right, found.judge_only, found.metric_only, found.both_wrong) == (1, 1, 1, 2)
    assert agreements(cases, ["em"]) == {"em": {}}
    assert undecided_reasons(cases) == {"HTTP 500": 1, "what it is compared with says nothing": 1}
