"""`xkeb.results.spread`: errors and intervals of clusters, against slow plain code, scipy, and numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from xkeb.results.clusters import Clusters
from xkeb.results.spread import RESAMPLES, Sample, Spread, agreement_interval, spreads, spreads_of


def spread(values: list[float], labels: Sequence[Hashable], low: float = 0.0, high: float = 1.0) -> Spread:
    (found,) = spreads(np.array([values]), labels, low, high)
    return found


def clustered(generator: np.random.Generator, subjects: int, most: int) -> tuple[list[float], list[Hashable]]:
    """Records of 1 to `most` a subject, which are right as often as their subject's own chance says."""
    values: list[float] = []
    labels: list[Hashable] = []
    for subject in range(subjects):
        chance = generator.beta(0.3, 0.3)
        for _ in range(int(generator.integers(1, most + 1))):
            values.append(float(generator.random() < chance))
            labels.append(subject)
    return values, labels


# Standard errors ------------------------------------------------------------------------------------------------------


def test_a_clustered_standard_error_by_hand() -> None:
    """Clusters (1, 0.5), (0), (0.5, 0): the mean is 0.4, the residuals 1.5 - 0.8, -0.4 and 0.5 - 0.8 add up to 0."""
    found = spread([1.0, 0.5, 0.0, 0.5, 0.0], ["a", "a", "b", "c", "c"])
    assert found.mean == pytest.approx(0.4)
    assert found.stderr == pytest.approx(math.sqrt(3 / 2 * (0.7**2 + 0.4**2 + 0.3**2)) / 5)
    assert (found.n, found.n_clusters) == (5, 3)


def test_with_a_record_a_cluster_all_is_as_without_clusters() -> None:
    sample = np.random.default_rng(1).random(60)
    found = spread(sample.tolist(), list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ12345678"))
    plain = bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    assert found.stderr == pytest.approx(sample.std(ddof=1) / math.sqrt(60))
    assert found.ci95 == pytest.approx(tuple(plain.confidence_interval))
    assert (found.n, found.n_clusters) == (60, 60)


def test_copies_of_a_record_under_one_subject_add_nothing() -> None:
    """But three records each under subjects of their own would."""
    once = spread([0.1, 0.9, 0.4, 0.7, 0.2], list(range(5)))
    values = [0.1, 0.9, 0.4, 0.7, 0.2] * 3
    threefold = spread(values, list(range(5)) * 3)
    assert threefold.stderr == pytest.approx(once.stderr)
    assert threefold.ci95 == pytest.approx(once.ci95)
    assert spread(values, list(range(15))).stderr < 0.6 * once.stderr


# Intervals ------------------------------------------------------------------------------------------------------------


def test_the_cluster_bootstrap_is_the_plain_one_s() -> None:
    """Record by record: draw as many subjects as there are, gather all their records, and take the mean."""
    values, labels = clustered(np.random.default_rng(8), 25, 6)
    found = spread(values, labels)
    generator = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        gathered = [
            value
            for subject in generator.integers(0, 25, 25)
            for value, label in zip(values, labels, strict=True)
            if label == subject
        ]
        means.append(sum(gathered) / len(gathered))
    assert found.ci95 == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_a_large_sample_s_interval_is_the_central_limit_s() -> None:
    values, labels = clustered(np.random.default_rng(4), 900, 4)
    found = spread(values, labels)
    assert found.ci95[0] == pytest.approx(found.mean - 1.96 * found.stderr, abs=0.004)
    assert found.ci95[1] == pytest.approx(found.mean + 1.96 * found.stderr, abs=0.004)


@pytest.mark.parametrize("n", [1, 2, 50, 743])
def test_where_all_clusters_are_0_or_1_the_interval_is_clopper_and_pearson_s(n: int) -> None:
    for value in (0, 1):
        found = spread([float(value)] * (2 * n), list(range(n)) * 2)
        theirs = binomtest(value * n, n).proportion_ci(0.95, method="exact")
        assert found.ci95 == pytest.approx((theirs.low, theirs.high))
        assert found.ci95 == pytest.approx((0, 1 - 0.025 ** (1 / n)) if value == 0 else (0.025 ** (1 / n), 1))
        assert (found.mean, found.stderr, found.n, found.n_clusters) == (value, 0, 2 * n, n)


def test_where_all_agree_on_something_else_the_bound_is_that_of_a_share_of_others() -> None:
    """At most 1 - 0.025 ** (1 / 5), 52.2%, of all subjects have something else, from 0 to 1."""
    share = 1 - 0.025 ** (1 / 5)
    assert spread([0.3] * 5, list("abcde")).ci95 == pytest.approx((0.3 - 0.3 * share, 0.3 + 0.7 * share))
    assert agreement_interval(0.0, 5, -1.0, 1.0) == pytest.approx((-share, share))  # a difference


def test_one_subject_says_little_however_many_its_records() -> None:
    found = spread([0.0, 1.0, 1.0, 1.0], ["a"] * 4)
    assert (found.mean, found.stderr, found.n_clusters) == (0.75, 0, 1)
    assert found.ci95 == pytest.approx((0.75 - 0.975 * 0.75, 0.75 + 0.975 * 0.25))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=12))
def test_no_interval_has_the_width_0_and_each_holds_its_mean(pairs: list[tuple[float, int]]) -> None:
    found = spread([value for value, _ in pairs], [label for _, label in pairs])
    low, high = found.ci95
    assert -1e-9 <= low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= high <= 1 + 1e-9
    assert low < high
    assert math.isfinite(found.stderr) and found.stderr >= 0


def test_samples_of_the_same_and_of_other_records_are_as_each_alone() -> None:
    generator = np.random.default_rng(6)
    samples = {
        "one": Sample(generator.random(9).tolist(), list("aabbcdefg")),
        "other records": Sample(generator.random(4).tolist(), list("abbc")),
        "same records": Sample(generator.random(9).tolist(), list("aabbcdefg")),
        "all agree": Sample([1.0] * 9, list("aabbcdefg")),
    }
    found = spreads_of(samples)
    assert list(found) == list(samples)
    for name, sample in samples.items():
        alone = spreads_of({name: sample})[name]
        assert found[name].ci95 == pytest.approx(alone.ci95)
        assert (found[name].mean, found[name].stderr) == pytest.approx((alone.mean, alone.stderr))


def test_with_shared_subjects_only_the_cluster_interval_covers_the_truth_as_often_as_it_says() -> None:
    """200 samples of 60 subjects with 1 to 8 records. The mean of all that could be drawn is 0.5."""
    generator = np.random.default_rng(12)
    covered = {"cluster": 0, "plain": 0}
    for _ in range(200):
        values, labels = clustered(generator, 60, 8)
        for name, names in (("cluster", labels), ("plain", list(range(len(values))))):
            low, high = spread(values, names).ci95
            covered[name] += low <= 0.5 <= high
    assert covered["cluster"] >= 180  # 190 are due; below 180 has a chance of 0.1%
    assert covered["plain"] <= 160


# Clusters -------------------------------------------------------------------------------------------------------------


def test_clusters_are_numbered_as_they_appear_and_summed() -> None:
    clusters = Clusters.of(["b", "a", "b", "c"])
    assert clusters.codes.tolist() == [0, 1, 0, 2]
    assert clusters.sizes.tolist() == [2, 1, 1]
    assert clusters.sums(np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 0.0]])).tolist() == [[4, 2, 4], [0, 1, 0]]
