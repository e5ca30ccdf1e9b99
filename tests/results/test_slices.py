"""Means over the cases of a slice."""

from __future__ import annotations

from crossing_cases import case
from made_records import located, skipped

from xkeb.results.slices import part_in, parts_of
from xkeb.results.statistics import MOST_VALUES, mean_scores, slice_scores


def test_a_slice_has_the_means_of_its_cases() -> None:
    cases = [
        located("1", 0.0, answers="differ", digit="no"),
        located("2", 0.5, answers="differ", digit="yes"),
        located("3", 1.0, answers="equal", digit="no"),
        skipped("4"),
    ]
    slices = slice_scores(cases)
    assert list(slices) == ["answers=differ", "answers=equal", "digit=no", "digit=yes"]
    assert slices["answers=differ"]["reliability"]["en"]["f1"].mean == 25.0
    assert slices["digit=no"]["reliability"]["en"]["f1"].mean == 50.0
    for kind in ("answers", "digit"):
        parts = [scores for name, scores in slices.items() if name.startswith(kind)]
        assert sum(part["reliability"]["en"]["f1"].n for part in parts) == 3
    assert slices["answers=differ"] == mean_scores(cases[:2])
    assert slice_scores(cases, "scores_before")["answers=equal"]["reliability"]["en"]["f1"].mean == 0.0


def test_a_kind_that_a_case_lacks_is_not_told() -> None:
    cases = [located("1", 0.0, answers="differ", training="no"), located("2", 1.0, answers="equal")]
    assert list(slice_scores(cases)) == ["answers=differ", "answers=equal"]


def test_a_kind_with_a_value_for_nearly_every_case_is_not_told() -> None:
    cases = [located(str(i), 1.0, relation=f"P{i}", digit="no") for i in range(MOST_VALUES + 1)]
    assert list(slice_scores(cases)) == ["digit=no"]
    assert len(slice_scores(cases[:-1])) == MOST_VALUES + 1


def test_a_blank_answer_is_left_out_of_a_slice_too() -> None:
    cases = [located("1", 1.0, blank=True, digit="no"), located("2", 0.0, digit="no")]
    assert slice_scores(cases)["digit=no"]["locality"]["zh"]["f1"].n == 1


def test_the_answers_of_several_languages_differ_each_for_itself() -> None:
    """One case: the German answer is the English text, the Thai one isn't. The edit's own language goes with what differs."""
    both = (0.0, 1.0)
    answers = {"en": "Paris", "de": "PARIS ", "th": "ปารีส"}
    several = [case("0", "Bo", {"en": both, "de": both, "th": both}, answers)]
    slices = slice_scores(several)
    assert {name: list(scores["generality"]) for name, scores in slices.items()} == {
        "answers=differ": ["en", "th"],
        "answers=equal": ["de"],
    }
    same = [case("0", "Bo", {"en": both, "de": both, "th": both}, dict.fromkeys(answers, "1984"))]
    assert [list(scores["generality"]) for scores in slice_scores(same).values()] == [["en", "de", "th"]]
    part = part_in(several[0], "answers=equal")
    assert part is not None and [probe.language for probe in part.probes] == ["de"]
    assert part_in(several[0], "digit=no") is None
    two = case("0", "Bo", {"en": both, "de": both}, answers)
    assert parts_of(two, "answers") == {"differ": two}  # of a pair, the line's own word counts
