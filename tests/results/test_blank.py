"""Answers that say nothing, and what they make of locality."""

from __future__ import annotations

import pytest
from made_records import located, skipped

from xkeb.results.blank import says_nothing
from xkeb.results.statistics import blank_scores, mean_scores


@pytest.mark.parametrize("text", ["", " ", "?", "？！", "...", "\n", "“”", "— -", "= |", "$"])
def test_space_and_signs_say_nothing(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["a", "中", "7", "?no", "٣", "ที่", "\ufffd", "é", "ü."])
def test_a_letter_a_digit_or_a_piece_of_a_character_is_an_answer(text: str) -> None:
    assert not says_nothing(text)


def test_a_blank_answer_is_left_out_of_locality_and_counted() -> None:
    cases = [located("1", 0.0), located("2", 0.5), located("3", 1.0, blank=True), skipped("4")]
    scores = mean_scores(cases)
    assert scores["reliability"]["en"]["f1"].mean == 50.0 and scores["reliability"]["en"]["f1"].n == 3
    assert scores["locality"]["zh"]["f1"].mean == 25.0 and scores["locality"]["zh"]["f1"].n == 2
    (language,) = blank = blank_scores(cases)
    assert language == "zh" and blank["zh"].n == 1
    assert blank["zh"].scores["f1"].mean == 50.0 and blank["zh"].scores["f1"].n == 3


def test_where_all_are_blank_nothing_is_measured() -> None:
    cases = [located("1", 1.0, blank=True), located("2", 1.0, blank=True)]
    assert "locality" not in mean_scores(cases)
    assert blank_scores(cases)["zh"].n == 2


def test_where_a_metric_says_nothing_of_any_answer_they_are_counted_all_the_same() -> None:
    """As `wrong_language` and a judge's verdicts may; of one language, or of all."""
    cases = [located("1", 1.0, blank=True), located("2", 1.0)]
    silent = [
        case.model_copy(update={"probes": [probe.model_copy(update={"scores": {}}) for probe in case.probes]})
        for case in cases
    ]
    blank = blank_scores(silent)["zh"]
    assert (blank.n, blank.scores, blank.asked) == (1, {}, 1)
    english = located("3", 1.0).probes[1].model_copy(update={"language": "en"})
    silent.append(cases[1].model_copy(update={"case_id": "3", "probes": [english]}))
    assert blank_scores(silent)["zh"].scores == {}


def test_where_none_is_blank_nothing_is_told() -> None:
    assert blank_scores([located("1", 1.0)]) == {}
