"""`xkeb.results.paired`: tests of differences, against every flip by hand, scipy, and numbers worked out on paper."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from xkeb.results.clusters import Clusters, Floats
from xkeb.results.paired import DRAWS, flip_p_values, holm, mcnemar, power_of


def p_value(differences: list[float], labels: list[int] | None = None) -> tuple[float, bool]:
    """Of records, each a cluster unless labels say otherwise."""
    clusters = Clusters.of(labels if labels is not None else list(range(len(differences))))
    (found,) = flip_p_values([clusters.sums(np.array([differences], dtype=np.float64))[0]])
    return found.value, found.exact


def by_hand(differences: list[Fraction], labels: list[int]) -> Fraction:
    """Share of all flips of whole clusters whose sum is at least as far from 0: exactly, in fractions."""
    names = sorted(set(labels))
    observed = abs(sum(differences, Fraction()))
    count = 0
    for signs in itertools.product((1, -1), repeat=len(names)):
        sign = dict(zip(names, signs, strict=True))
        flipped = sum((sign[label] * d for label, d in zip(labels, differences, strict=True)), Fraction())
        count += abs(flipped) >= observed
    return Fraction(count, 2 ** len(names))


FRACTIONS = st.fractions(-1, 1, max_denominator=7)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(FRACTIONS, st.integers(0, 5)), min_size=1, max_size=12))
def test_the_p_value_is_that_of_every_flip_of_the_clusters(pairs: list[tuple[Fraction, int]]) -> None:
    differences, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    p, exact = p_value([float(d) for d in differences], labels)
    assert exact
    assert p == pytest.approx(float(by_hand(differences, labels)))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([0.0], 1.0),
        ([0.5], 1.0),
        ([0.5, 0.5], 0.5),  # of ++, +-, -+, -- two are as far
        ([1 / 3, -1 / 3], 1.0),
        ([0.1, 0.2, 0.3], 0.25),  # 0.1 + 0.2 is not 0.3 to a computer
        ([0.1, 0.2, -0.3], 1.0),
        ([1.0] * 5, 2 / 32),
        ([1.0] * 5 + [0.0] * 300, 2 / 32),  # clusters that are equal change nothing
        ([1.0] * 13, 2 / 2**13),
    ],
    ids=str,
)
def test_p_values_known_by_heart(differences: list[float], p: float) -> None:
    found, exact = p_value(differences)
    assert exact
    assert found == pytest.approx(p)


def test_ten_records_of_one_subject_are_one_flip() -> None:
    """As ten subjects they'd be significant; of one subject, both signs are as far."""
    assert p_value([1.0] * 10) == (2 / 2**10, True)
    assert p_value([1.0] * 10, [0] * 10) == (1.0, True)
    assert p_value([1.0] * 10, [0] * 5 + [1] * 5) == (0.5, True)


def test_with_many_clusters_flips_are_drawn_and_the_share_is_scipy_s() -> None:
    """The mean of 40 normal differences is 2 standard errors from 0: the normal law says 0.0455."""
    differences = np.random.default_rng(3).normal(size=40)
    differences -= differences.mean()
    differences += 2 * np.sqrt((differences**2).mean() / 36)  # makes mean² / (sum of squares / n²) equal to 4
    p, exact = p_value(differences.tolist())
    assert not exact
    assert p == pytest.approx(0.0455, abs=0.012)
    theirs = permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=DRAWS, vectorized=True, rng=7
    )
    assert p == pytest.approx(theirs.pvalue, abs=0.012)  # each has a standard error of 0.002


def test_a_p_value_depends_on_its_own_sample_only() -> None:
    generator = np.random.default_rng(5)
    samples = [generator.normal(0.1, 1, size) for size in (20, 700, 3, 300, 20)]
    together = flip_p_values(samples)
    assert together == [flip_p_values([sample])[0] for sample in samples]
    assert flip_p_values(samples * 60)[-5:] == together  # more than are drawn at once
    assert [found.exact for found in together] == [False, False, True, False, False]


@pytest.mark.parametrize("size", [20, 40, 743])
def test_beyond_what_draws_can_show_the_p_value_is_a_bound_of_the_exact_one(size: int) -> None:
    """Of equal differences two flips of all are as far, 2 / 2 ** size: that is next to nothing, and draws can't say so."""
    p, exact = p_value([0.5] * size + [0.0] * 4)
    assert not exact
    assert p == pytest.approx(2 * math.exp(-size / 2))
    assert 2 / 2**size < p < 1 / (1 + DRAWS)


def share_as_far(sums: list[int]) -> float:
    """The exact p-value of whole numbers, however many: how often each total occurs, a cluster at a time."""
    chances = np.array([1.0])  # of the totals from -k to k
    for size in map(abs, sums):
        longer = np.zeros(len(chances) + 2 * size)
        longer[: len(chances)] += chances / 2
        longer[2 * size :] += chances / 2
        chances = longer
    totals = np.arange(len(chances)) - len(chances) // 2
    return float(chances[np.abs(totals) >= abs(sum(sums))].sum())


@pytest.mark.parametrize("losses", [5, 12, 15, 18, 20, 25])
def test_with_many_clusters_the_p_value_is_near_the_exact_one_or_a_bound_of_it(losses: int) -> None:
    """60 clusters with differences of 1 to 3, of which B loses some."""
    sizes = np.random.default_rng(losses).integers(1, 4, 60)
    sums = [int(size) * (-1 if i < losses else 1) for i, size in enumerate(sizes)]
    truth = share_as_far(sums)
    (found,) = flip_p_values([np.array(sums, dtype=np.float64)])
    assert not found.exact
    if found.value < 1 / (1 + DRAWS):
        assert truth <= found.value
    else:
        assert found.value == pytest.approx(truth, abs=4 * math.sqrt(truth / DRAWS) + 1 / DRAWS)


def test_where_draws_can_show_it_they_do() -> None:
    """2 exp(-14 / 2) is 0.0018; of equal differences, 2 flips of 16,384 are as far."""
    p, exact = p_value([0.5] * 14)
    assert not exact
    assert 1 / (1 + DRAWS) <= p <= 8 / (1 + DRAWS)


def test_under_the_hypothesis_small_p_values_are_as_rare_as_they_say_only_by_clusters() -> None:
    """200 tables of 30 subjects with 4 records each, whose differences are mostly the subject's."""
    generator = np.random.default_rng(11)
    labels = np.repeat(np.arange(30), 4)
    samples: list[Floats] = []
    for _ in range(200):
        differences = np.repeat(generator.normal(size=30), 4) + 0.3 * generator.normal(size=120)
        samples += [np.bincount(labels, weights=differences).astype(np.float64), differences]
    small = [found.value <= 0.05 for found in flip_p_values(samples)]
    rejected = {"subjects": sum(small[::2]), "records": sum(small[1::2])}
    assert rejected["subjects"] <= 20  # 10 are due; more than 20 have a chance of 0.1%
    assert rejected["records"] >= 40


# Holm, McNemar --------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """Of four: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04, which may not be smaller than what is before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([0.5, 0.9, 0.7]) == [1.0, 1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    assert all(a <= b for (p, a), (q, b) in itertools.product(zip(p_values, adjusted, strict=True), repeat=2) if p < q)


def test_mcnemar_by_hand_and_by_scipy() -> None:
    """Of 10 records that one alone gets right, 2 are B's: 2 (1 + 10 + 45) / 1024."""
    assert mcnemar(2, 8) == pytest.approx(112 / 1024)
    assert mcnemar(8, 2) == pytest.approx(112 / 1024)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(3, 14) == pytest.approx(binomtest(3, 17, 0.5).pvalue)


# Power ----------------------------------------------------------------------------------------------------------------


def test_power_by_hand() -> None:
    """Independent records, a deviation of 20 points: (1.959964 + 0.841621)² x 20² / 2² is 784.9."""
    differences = np.array([0.2, -0.2] * 50)
    stderr = float(differences.std(ddof=1)) / 10
    found = power_of(differences, stderr, 2.0)
    assert found.design_effect == pytest.approx(1)
    assert found.deviation == pytest.approx(20 * math.sqrt(100 / 99))
    assert found.records == math.ceil(784.887 * 100 / 99) == 793
    assert power_of(differences, stderr, 4.0).records == math.ceil(793 / 4)
    doubled = power_of(differences, stderr * math.sqrt(2), 2.0)  # pairs of records that say the same
    assert doubled.design_effect == pytest.approx(2)
    assert doubled.records == math.ceil(784.887 * 200 / 99)


def test_where_nothing_varies_the_number_of_records_is_unknown() -> None:
    found = power_of(np.zeros(5), 0.0, 2.0)
    assert (found.records, found.design_effect, found.deviation) == (None, None, 0)


def test_the_number_of_records_shows_the_difference_four_times_in_five() -> None:
    generator = np.random.default_rng(2)
    pilot = generator.normal(0, 0.1, 400)
    needed = power_of(pilot, float(pilot.std(ddof=1)) / 20, 2.0).records
    assert needed is not None
    runs = generator.normal(0.02, 0.1, (2000, needed))
    z = runs.mean(axis=1) / (runs.std(axis=1, ddof=1) / math.sqrt(needed))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.06)
