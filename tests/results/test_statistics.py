"""`xkeb.results.statistics`: means, errors and intervals worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import scored, skipped

from xkeb.results.lines import CaseRecord
from xkeb.results.statistics import mean_scores, score_of


def test_mean_and_standard_error_by_hand() -> None:
    found = score_of([1.0, 0.5, 0.0, 0.5])
    assert found.mean == 50
    # deviations 50, 0, -50, 0: variance 5000 / 3, over 4 values
    assert found.stderr == pytest.approx(math.sqrt(5000 / 3 / 4))
    assert found.n == 4


def test_the_interval_is_the_bootstrap_s_percentiles() -> None:
    """Of two values 0 and 1, a resample's mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4: the interval spans all."""
    assert score_of([0.0, 1.0]).ci95 == (0, 100)
    sample = np.random.default_rng(1).random(400)
    found = score_of(sample.tolist())
    # the central limit theorem's interval, to within the noise of the resampling
    assert found.ci95[0] == pytest.approx(found.mean - 1.96 * found.stderr, abs=0.25)
    assert found.ci95[1] == pytest.approx(found.mean + 1.96 * found.stderr, abs=0.25)


def test_a_constant_sample_is_not_certain() -> None:
    """Of five values that agree, Clopper and Pearson's bound is that 52.2% of all others may not."""
    share = 1 - 0.025 ** (1 / 5)
    found = score_of([0.3] * 5)
    assert (found.stderr, found.n, found.n_clusters) == (0.0, 5, 5)
    assert found.mean == pytest.approx(30)
    assert found.ci95 == pytest.approx((30 - 30 * share, 30 + 70 * share))
    right = score_of([1.0] * 5)
    assert (right.mean, right.stderr, right.ci95[1]) == (100.0, 0.0, 100.0)
    assert right.ci95[0] == pytest.approx(100 * 0.025 ** (1 / 5))


def test_a_single_value_says_next_to_nothing() -> None:
    found = score_of([0.25])
    assert (found.mean, found.stderr, found.n, found.n_clusters) == (25.0, 0.0, 1, 1)
    assert found.ci95 == pytest.approx((25 - 0.975 * 25, 25 + 0.975 * 75))


def test_a_result_is_a_function_of_its_cases() -> None:
    sample = np.random.default_rng(2).random(50).tolist()
    assert score_of(sample) == score_of(sample)
    np.random.seed(5)  # the global generator must not matter
    assert score_of(sample) == score_of(list(sample))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_scores_are_finite_and_the_interval_holds_the_mean(sample: list[float]) -> None:
    found = score_of(sample)
    assert all(math.isfinite(value) for value in (found.mean, found.stderr, *found.ci95))
    assert -1e-9 <= found.ci95[0] <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.ci95[1] <= 100 + 1e-9
    assert found.stderr >= 0


def test_values_are_gathered_by_property_language_and_metric() -> None:
    found = mean_scores([scored("0", f1=1.0, em=1.0), scored("1", f1=0.5, em=0.0)])
    assert {
        (name, language, metric): (made.mean, made.n)
        for name, languages in found.items()
        for language, metrics in languages.items()
        for metric, made in metrics.items()
    } == {
        ("reliability", "en", "f1"): (75, 2),
        ("reliability", "en", "em"): (50, 2),
        ("locality", "zh", "f1"): (100, 2),
    }


def of_subject(case_id: str, subject: str, language: str = "en", **scores: float) -> CaseRecord:
    case = scored(case_id, "s", **scores)
    return case.model_copy(update={"edit": case.edit.model_copy(update={"subject": subject, "language": language})})


def test_cases_of_one_subject_are_a_cluster() -> None:
    cases = [of_subject("0", "Rome", f1=1.0), of_subject("1", "Rome ", f1=0.5), of_subject("2", "Paris", f1=0.0)]
    found = mean_scores(cases)["reliability"]["en"]["f1"]
    assert (found.n, found.n_clusters) == (3, 2)
    assert found == score_of([1.0, 0.5, 0.0], ["Rome", "Rome", "Paris"])
    assert found != score_of([1.0, 0.5, 0.0])


def test_a_case_without_a_subject_and_a_subject_in_another_language_are_clusters_of_their_own() -> None:
    cases = [
        of_subject("0", "", f1=1.0), of_subject("1", " ", f1=1.0), of_subject("2", "Rome", f1=1.0),
        of_subject("3", "Rome", "fr", f1=1.0), of_subject("Rome", "", f1=1.0),
    ]  # fmt: skip
    assert mean_scores(cases)["reliability"]["en"]["f1"].n_clusters == 5


def test_a_metric_of_some_cases_only_has_its_own_number_of_clusters() -> None:
    cases = [of_subject("0", "a", f1=1.0, em=1.0), of_subject("1", "b", f1=0.5), of_subject("2", "a", f1=0.5, em=0.0)]
    found = mean_scores(cases)["reliability"]["en"]
    assert {name: (score.n, score.n_clusters) for name, score in found.items()} == {"f1": (3, 2), "em": (2, 1)}


def test_a_skipped_case_counts_nowhere() -> None:
    left_out = skipped("9")
    assert mean_scores([left_out, scored("0", f1=0.5), left_out]) == mean_scores([scored("0", f1=0.5)])
    assert mean_scores([left_out]) == {}
