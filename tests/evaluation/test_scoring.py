"""What is compared with what."""

from __future__ import annotations

import pytest

from xkeb.evaluation.scoring import score_case
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.results.answers import kept_answers
from xkeb.results.lines import CaseRecord, CaseSeconds, EditRecord
from xkeb.types import Case, Edit, Prediction, Probe


def test_locality_is_judged_by_the_answer_before_and_the_rest_by_the_reference(llama: Backbone) -> None:
    """Answers written by hand, and scores that can be worked out by hand."""
    probes = (
        Probe("reliability", "en", "Who?", "new fact"),
        Probe("generality", "zh", "谁？", "新"),
        Probe("locality", "en", "Where?", "true place"),
        Probe("locality", "zh", "何处？", "真"),
        Probe("portability", "en", "Whose?", "new fact"),
    )
    case = Case("7", Edit("Who?", "new fact", "en", "Who"), probes)

    def answers(*texts: str) -> list[Prediction]:
        return [llama.encode_reference(text) for text in texts]

    before = answers("old", "旧", "wrong place", "错", "old")
    after = answers("new fact", "旧", "wrong place", "真", "fact")
    record = score_case(case, before, after, llama, ("em", "f1_units"), {"edit": 1.0, "evaluate": 2.0}, "0" * 64)
    scores = [probe.scores for probe in record.probes]
    assert scores[0] == {"em": 1.0, "f1_units": 1.0}  # the reference, though not the answer before
    assert scores[1] == {"em": 0.0, "f1_units": 0.0}  # the answer before, which is wrong here
    assert scores[2] == {"em": 1.0, "f1_units": 1.0}  # the answer before, though not the reference
    assert scores[3] == {"em": 0.0, "f1_units": 0.0}  # the reference, which is not what counts here
    assert scores[4] == {"em": 0.0, "f1_units": pytest.approx(2 / 3)}  # 1 of 1 predicted, 1 of 2 wanted
    assert (record.case_id, record.status, record.reason) == ("7", "ok", None)
    assert record.seconds == CaseSeconds(edit=1.0, evaluate=2.0)
    assert record.edit == EditRecord(prompt="Who?", subject="Who", target="new fact", language="en")
    assert [probe.before for probe in record.probes] == ["old", "旧", "wrong place", "错", "old"]
    assert [probe.after for probe in record.probes] == ["new fact", "旧", "wrong place", "真", "fact"]


def test_aliases_of_a_gold_answer_reach_the_metrics_and_the_line_from_which_they_are_scored_again(
    llama: Backbone,
) -> None:
    probes = (
        Probe("reliability", "en", "Who?", "new fact", aliases=("news",)),
        Probe("locality", "en", "Where?", "place", aliases=("spot",)),
    )
    case = Case("7", Edit("Who?", "new fact", "en", "Who"), probes)
    before, after = (
        [llama.encode_reference(t) for t in ("old", "hill")],
        [llama.encode_reference(t) for t in ("news", "spot")],
    )
    record = score_case(case, before, after, llama, ("em", "exact"), {"edit": 1.0, "evaluate": 2.0}, "0" * 64)
    assert [probe.scores for probe in record.probes] == [{"em": 0.0, "exact": 1.0}, {"em": 0.0, "exact": 0.0}]
    assert [probe.aliases for probe in record.probes] == [["news"], ["spot"]]
    again = CaseRecord.model_validate_json(record.model_dump_json())
    gold, _, new = kept_answers(again.probes[0])
    assert gold.aliases == ("news",)
    assert get_plugins().metrics.get("exact")(new, gold, get_plugins().languages.get("en")) == 1.0
