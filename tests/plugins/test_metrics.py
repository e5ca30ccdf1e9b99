"""The metrics that come with the suite: worked out by hand, and the laws that hold for any two answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkeb.registry.manager import get_plugins
from xkeb.types import Language, Metric, Prediction
from xkeb_plugins.metrics.overlap import em, f1, f1_pr, f1_units

METRICS: tuple[Metric, ...] = (em, f1, f1_pr, f1_units)
EN, ZH = (get_plugins().languages.get(code) for code in ("en", "zh"))


def answer(text: str, *tokens: int) -> Prediction:
    return Prediction(text, tokens)


def scores(prediction: Prediction, reference: Prediction, language: Language = EN) -> tuple[float, ...]:
    """em, f1, f1_pr, f1_units."""
    return tuple(metric(prediction, reference, language) for metric in METRICS)


def test_english_by_hand() -> None:
    # tokens: 2 of 3 predicted are right, 2 of 4 wanted are found; words: "new york" against "new york city usa"
    found = scores(answer("The New York", 5, 6, 7), answer("New York City, USA", 6, 7, 8, 9))
    assert found == pytest.approx((0, 2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2), 1 / 3, 2 * 1 * (1 / 2) / (3 / 2)))


def test_chinese_by_hand() -> None:
    # tokens: 1 of 2 against 1 of 3; characters: 波士顿 against 波尔多市 share 波
    found = scores(answer("波士顿", 1, 2), answer("波尔多市", 1, 3, 4), ZH)
    p, r = 1 / 3, 1 / 4
    assert found == pytest.approx((0, 2 * (1 / 2) * (1 / 3) / (5 / 6), 1 / 6, 2 * p * r / (p + r)))


def test_the_same_answer_is_all_ones() -> None:
    assert scores(answer("波尔多", 1, 2), answer("波尔多", 1, 2), ZH) == (1, 1, 1, 1)


def test_a_repeated_token_counts_as_often_as_both_have_it() -> None:
    # {7: 3} against {7: 1, 8: 1}: one of three predicted, one of two wanted
    assert f1(answer("x x x", 7, 7, 7), answer("x y", 7, 8), EN) == pytest.approx(2 * (1 / 3) * (1 / 2) / (5 / 6))
    assert f1(answer("x x y", 7, 7, 8), answer("x x", 7, 7), EN) == pytest.approx(2 * (2 / 3) * 1 / (5 / 3))
    assert f1_units(answer("ha ha ha"), answer("ha ho", 1), EN) == pytest.approx(2 * (1 / 3) * (1 / 2) / (5 / 6))


def test_order_does_not_count_for_f1_but_does_for_em() -> None:
    assert scores(answer("b a", 2, 1), answer("a b", 1, 2), ZH) == (0, 1, 1, 1)


def test_nothing_in_common_is_zero() -> None:
    assert scores(answer("Rome", 1, 2), answer("Paris", 3), EN) == (0, 0, 0, 0)


def test_both_empty_is_right_and_one_empty_is_wrong() -> None:
    assert scores(answer(""), answer("")) == (1, 1, 1, 1)
    assert scores(answer(""), answer("Paris", 3)) == (0, 0, 0, 0)
    assert scores(answer("Paris", 3), answer("")) == (0, 0, 0, 0)


def test_answers_without_a_single_unit_are_equal_to_each_other_and_to_nothing_else() -> None:
    for language in (EN, ZH):
        assert f1_units(answer("?", 1), answer("…!", 2), language) == 1
        assert f1_units(answer("?", 1), answer("Paris", 3), language) == 0


def test_words_are_compared_without_case_punctuation_and_articles() -> None:
    assert f1_units(answer("the  UNITED states.", 1), answer("United States", 2, 3), EN) == 1
    assert em(answer("the  UNITED states.", 1), answer("United States", 2, 3), EN) == 0


def test_full_width_forms_and_chinese_punctuation_do_not_count() -> None:
    assert f1_units(answer("２００６年。", 1), answer("2006年", 2), ZH) == 1


@pytest.mark.parametrize("language", [EN, ZH], ids=["en", "zh"])
@pytest.mark.parametrize("metric", METRICS, ids=["em", "f1", "f1_pr", "f1_units"])
def test_two_undecodable_answers_of_other_ids_are_not_equal(metric: Metric, language: Language) -> None:
    """Half a character decodes to U+FFFD, whatever the character: `Prediction.tokens` tells them apart."""
    assert metric(answer("\ufffd", 240), answer("\ufffd", 241), language) == 0
    assert metric(answer("\ufffd", 240), answer("\ufffd", 240), language) == 1


texts = st.text(st.sampled_from("ab 京都the.，\ufffd"), max_size=8)
answers = st.builds(
    lambda text, tokens: Prediction(text.strip(), tuple(tokens)),
    texts,
    st.lists(st.integers(0, 4), max_size=6),
)
languages = st.sampled_from([EN, ZH])


@given(answers, answers, languages)
def test_every_score_lies_between_zero_and_one(a: Prediction, b: Prediction, language: Language) -> None:
    assert all(0 <= score <= 1 for score in scores(a, b, language))


@given(answers, languages)
def test_an_answer_equals_itself(a: Prediction, language: Language) -> None:
    assert scores(a, a, language) == (1, 1, 1, 1)


@given(answers, answers, languages)
def test_an_exact_match_is_full_marks_everywhere(a: Prediction, b: Prediction, language: Language) -> None:
    found = scores(a, b, language)
    assert found[0] in (0, 1)
    if found[0] == 1:
        assert found == (1, 1, 1, 1)


@given(answers, answers, languages)
def test_no_metric_asks_which_side_is_which(a: Prediction, b: Prediction, language: Language) -> None:
    assert scores(a, b, language) == pytest.approx(scores(b, a, language))


@given(answers, answers, languages)
def test_the_product_is_never_above_the_harmonic_mean(a: Prediction, b: Prediction, language: Language) -> None:
    assert f1_pr(a, b, language) <= f1(a, b, language) + 1e-12


def test_all_of_them_are_registered_under_their_names() -> None:
    found: dict[str, Any] = {name: get_plugins().metrics.get(name) for name in ("em", "f1", "f1_pr", "f1_units")}
    assert found == {"em": em, "f1": f1, "f1_pr": f1_pr, "f1_units": f1_units}
