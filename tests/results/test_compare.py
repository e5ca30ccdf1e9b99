"""`xkeb.results.compare`: differences worked out by loops, p-values by trying every sign."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from result_files import Runs, read_cases, read_result, write

from xkeb.errors import RequestError
from xkeb.results.compare import compare_results
from xkeb.results.differences import Paired, Row, make_rows
from xkeb.results.paired import holm

pytest_plugins = ("finished_runs",)


def by_hand(differences: list[Fraction]) -> Fraction:
    """Share of all sign flips whose sum is at least as far from 0: exactly, in fractions."""
    observed = abs(sum(differences, Fraction()))
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum((sign * d for sign, d in zip(signs, differences, strict=True)), Fraction())) for signs in flips]
    return Fraction(sum(total >= observed for total in sums), len(sums))


def row(metric: str, pairs: list[tuple[float, float]], labels: list[Any] | None = None) -> Row:
    a, b = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    (found,) = make_rows([(("locality", "zh", metric), Paired(a, b, labels or list(range(len(pairs)))))], points=2.0)
    return found


PAIRS = [(0.0, 1.0), (0.5, 0.5), (1.0, 0.5), (0.25, 0.75)]


def test_a_row_by_hand() -> None:
    found = row("f1", PAIRS)
    assert (found.property, found.language, found.metric, found.pairs, found.clusters) == ("locality", "zh", "f1", 4, 4)
    assert (found.a, found.b, found.difference) == (43.75, 68.75, 25.0)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    # of 1, -1/2 and 1/2 with any signs, 6 of 8 sums are at least 1 from 0
    assert (found.p, found.exact, found.p_holm, found.mcnemar) == (0.75, True, 0.75, None)
    # resampled means of 100, 0, -50, 50 lie between -50 and 100
    assert -50 <= found.ci95[0] < 25 < found.ci95[1] <= 100
    # deviations 75, -25, -75, 25: variance 12500 / 3
    assert found.power is not None and found.power.design_effect == pytest.approx(1)
    assert found.power.records == math.ceil(7.8489 * 12500 / 3 / 4)


def test_a_row_of_two_subjects_by_hand() -> None:
    """Subjects' sums 1 + 0 and -1/2 + 1/2: one of them differs, and both its signs are as far."""
    found = row("f1", PAIRS, ["a", "a", "b", "b"])
    assert (found.pairs, found.clusters, found.difference, found.p) == (4, 2, 25.0, 1.0)
    # a resample has a twice, b twice, or both: means 50, 0 and 25
    assert found.ci95 == pytest.approx((0, 50))
    # residuals 1/2 and -1/2: a standard error of sqrt(2 (1/4 + 1/4)) / 4, times sqrt(4)
    assert found.power is not None and found.power.deviation == pytest.approx(50)
    assert found.power.design_effect == pytest.approx(50**2 / (12500 / 3))


def test_a_row_of_em_has_mc_nemar_s_test() -> None:
    """One alone is right on 5 records, and 4 of those are B's: 2 (1 + 5) / 32."""
    pairs = [(0.0, 1.0)] * 4 + [(1.0, 0.0)] + [(1.0, 1.0)] * 7
    assert row("em", pairs).mcnemar == pytest.approx(12 / 32)
    assert row("em", [(1.0, 1.0)] * 3).mcnemar == 1.0
    assert row("f1", pairs).mcnemar is None


def test_p_values_are_adjusted_for_all_rows_of_the_table() -> None:
    """2 / 2 ** 6 and 2 / 2 ** 5, times two and one."""
    samples = [
        (("reliability", "en", "f1"), Paired([0.0] * n, [1.0] * n, list(range(n)))) for n in (6, 5)
    ]  # fmt: skip
    found = make_rows(samples)
    assert [(r.p, r.p_holm, r.power) for r in found] == [(1 / 32, 1 / 16, None), (1 / 16, 1 / 16, None)]


def test_rounding_is_no_win() -> None:
    found = row("f1", [(0.1 + 0.2, 0.3), (2 / 3, 1 - 1 / 3)])
    assert (found.wins, found.ties, found.losses, found.difference) == (0, 2, 0, 0)


def test_the_interval_is_the_central_limit_s() -> None:
    pairs = np.random.default_rng(4).random((400, 2))
    found = row("f1", pairs.tolist())
    differences = 100 * (pairs[:, 1] - pairs[:, 0])
    error = differences.std(ddof=1) / 20
    low, high = found.ci95
    assert low == pytest.approx(differences.mean() - 1.96 * error, abs=0.4)
    assert high == pytest.approx(differences.mean() + 1.96 * error, abs=0.4)


# Real results ----------------------------------------------------------------------------------------------------------


def answers(folder: Path, only: set[str]) -> dict[tuple[str, ...], float]:
    """Each score that counts, by case, property, language and metric."""
    return {
        (case["case_id"], probe["property"], probe["language"], metric): score
        for case in read_cases(folder)
        if case["case_id"] in only
        for probe in case["probes"]
        if not probe["blank"]
        for metric, score in probe["scores"].items()
    }


def test_two_methods_differ_by_the_means_of_the_cases_that_both_ran(finished_runs: Runs) -> None:
    """ROME refused a case that fine-tuning ran."""
    ft, rome = finished_runs.folder("ft"), finished_runs.folder("rome")
    found = compare_results(ft, rome / "result.json")
    assert (found.shared, found.only_a, found.only_b) == (6, 1, 0)
    assert found.warnings == ()
    both = set(read_result(ft)["case_ids"]) & set(read_result(rome)["case_ids"])
    a, b = answers(ft, both), answers(rome, both)
    assert len(found.rows) == 28
    assert [(r.property, r.language) for r in found.rows[::4]] == [
        ("reliability", "en"),
        *((name, code) for name in ("generality", "locality", "portability") for code in ("en", "zh")),
    ]
    for r in found.rows:
        here = [key for key in a if key[1:] == (r.property, r.language, r.metric)]
        assert r.pairs == len(here)
        assert r.pairs == 6 or (r.property, r.language, r.pairs) == ("locality", "en", 5)  # one is blank
        assert r.a == pytest.approx(100 * fmean(a[key] for key in here))
        assert r.b == pytest.approx(100 * fmean(b[key] for key in here))
        assert r.difference == pytest.approx(r.b - r.a)
        assert r.ci95[0] <= r.difference + 1e-9 and r.difference - 1e-9 <= r.ci95[1]
        assert r.wins == sum(b[key] > a[key] + 1e-9 for key in here)
        assert r.losses == sum(b[key] < a[key] - 1e-9 for key in here)
        exact = by_hand([Fraction(b[key] - a[key]).limit_denominator(1000) for key in here])
        assert r.exact
        assert r.clusters == r.pairs  # a subject a record
        assert r.p == pytest.approx(float(exact))
    assert [r.p_holm for r in found.rows] == holm([r.p for r in found.rows])
    assert any(r.wins for r in found.rows) and any(r.losses for r in found.rows)


def test_records_of_one_subject_are_one_cluster(runs: Runs) -> None:
    """All of ROME's and fine-tuning's cases are given one subject: no sign is then less likely than the other."""
    for method in ("ft", "rome"):
        cases = read_cases(runs.folder(method))
        for case in cases:
            case["edit"]["subject"] = "it"
        write(runs.folder(method), read_result(runs.folder(method)), cases)
    found = compare_results(runs.folder("ft"), runs.folder("rome"))
    assert {(r.clusters, r.p, r.p_holm) for r in found.rows} == {(1, 1.0, 1.0)}
    assert any(abs(r.difference) > 10 for r in found.rows)


@pytest.mark.parametrize("points", [0.0, -2.0, 100.5, float("nan"), float("inf"), 1e-300])
def test_points_that_are_none_are_refused(finished_runs: Runs, points: float) -> None:
    folder = finished_runs.folder("ft")
    with pytest.raises(RequestError, match=r"--points must be from 0\.01 to 100, not "):
        compare_results(folder, folder, points=points)


def test_the_cases_that_changed_most_come_first_with_what_was_answered(finished_runs: Runs) -> None:
    ft, rome = finished_runs.folder("ft"), finished_runs.folder("rome")
    found = compare_results(ft, rome, cases=3)
    both = set(read_result(ft)["case_ids"]) & set(read_result(rome)["case_ids"])
    a, b = answers(ft, both), answers(rome, both)
    change = {i: sum(abs(b[key] - a[key]) for key in a if key[0] == i and key[3] == "f1") for i in both}
    assert [case.change for case in found.cases] == pytest.approx(sorted(change.values(), reverse=True)[:3])
    lines = {case["case_id"]: case for case in read_cases(rome)}
    for case in found.cases:
        assert case.change == pytest.approx(change[case.case_id])
        assert case.edit.prompt == lines[case.case_id]["edit"]["prompt"]
        probes = {probe["prompt"]: probe for probe in lines[case.case_id]["probes"]}
        for answer in case.answers:
            assert answer.after[1] == probes[answer.prompt]["after"]
            assert answer.reference == probes[answer.prompt]["reference"]
            assert answer.scores[1] == probes[answer.prompt]["scores"]["f1"] != answer.scores[0]


def test_a_result_and_itself(finished_runs: Runs) -> None:
    found = compare_results(finished_runs.folder("ft"), finished_runs.folder("ft"))
    assert all((r.difference, r.p, r.p_holm, r.ties) == (0, 1, 1, r.pairs) for r in found.rows)
    for r in found.rows:  # of so many subjects none differs
        bound = 100 * (1 - 0.025 ** (1 / r.clusters))
        assert r.ci95 == pytest.approx((-bound, bound))
    assert found.cases == ()


def test_the_other_way_round_is_the_same_with_the_other_sign(finished_runs: Runs) -> None:
    ft, rome = finished_runs.folder("ft"), finished_runs.folder("rome")
    for there, back in zip(compare_results(ft, rome).rows, compare_results(rome, ft).rows, strict=True):
        assert (there.a, there.b, there.wins, there.losses) == (back.b, back.a, back.losses, back.wins)
        assert there.difference == pytest.approx(-back.difference)
        assert there.p == pytest.approx(back.p)


# What can't be compared, or not well -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"family": "gpt2"}, ["They differ in model: llama (float32, ", "The untouched model answered "]),
        ({"metrics": ["em", "f1_units"]}, ["They differ in metrics: em, f1, f1_pr, f1_units, and em, f1_units."]),
    ],
    ids=["model", "metrics"],
)
def test_what_makes_a_difference_hard_to_read_is_a_warning(
    make_runs: Callable[..., Runs], finished_runs: Runs, tmp_path: Path, changes: dict[str, Any], expected: list[str]
) -> None:
    other = make_runs(tmp_path, methods=["ft"], limit=4, **changes)
    found = compare_results(finished_runs.folder("ft"), other.folder("ft"))
    assert len(found.warnings) == len(expected)
    for warning, start in zip(found.warnings, expected, strict=True):
        assert warning.startswith(start)
    assert (found.shared, found.only_a, found.only_b) == (4, 3, 0)
    assert {r.metric for r in found.rows} == set(changes.get("metrics", ("f1", "em", "f1_pr", "f1_units")))


def change(runs: Runs, **places: Any) -> None:
    """Sets fields of ROME's result, by their places (``task__version=2``)."""
    result = read_result(runs.folder("rome"))
    for place, value in places.items():
        *path, last = place.split("__")
        found = result
        for part in path:
            found = found[part]
        found[last] = value
    write(runs.folder("rome"), result, read_cases(runs.folder("rome")))


@pytest.mark.parametrize(
    ("places", "start"),
    [
        ({"task__version": 2}, "task (bizsre_en2zh, version 1 and bizsre_en2zh, version 2); --across task shows"),
        ({"task__dataset__sha256": "0" * 64}, "data (bizsre "),
        ({"protocol": "generate"}, "protocol (teacher_forcing and generate); --across protocol shows the gap between"),
        ({"protocol_args": {"cut": "line"}}, "the protocol's cut (not said and line); --across protocol shows the gap"),
        ({"prompt": "qa"}, "prompt (plain and qa); --across prompt shows the gap between the two styles."),
        ({"scorer": "judge"}, "scorer (f1+em and judge); --across protocol shows"),
        ({"prompt": "qa", "task__version": 2}, "version 2), and in prompt (plain and qa)."),
    ],
    ids=["task", "data", "protocol", "options", "prompt", "scorer", "two"],
)
def test_results_of_two_groups_are_not_set_against_each_other(runs: Runs, places: dict[str, Any], start: str) -> None:
    change(runs, **places)
    with pytest.raises(RequestError) as caught:
        compare_results(runs.folder("ft"), runs.folder("rome"))
    assert str(caught.value).startswith("They can't be set against each other, since they differ in ")
    assert start in str(caught.value)


def test_a_difference_that_is_no_group_s_is_a_warning(runs: Runs) -> None:
    """The model, and how the paper's protocol asks a method: the published tables set all of them against each other."""
    change(runs, model__dtype="bfloat16", protocol_args={"scorer": "in_context"})
    (warning,) = compare_results(runs.folder("ft"), runs.folder("rome")).warnings
    assert warning.startswith("They differ in model: llama (float32, ")


def test_cases_are_the_same_by_their_questions_not_by_their_numbers(runs: Runs) -> None:
    cases = read_cases(runs.folder("rome"))
    for case in cases:
        for probe in case["probes"]:
            if case["case_id"] == "0" or (case["case_id"] == "1" and probe["language"] == "zh"):
                probe["prompt"] += " (asked otherwise)"
    write(runs.folder("rome"), read_result(runs.folder("rome")), cases)
    found = compare_results(runs.folder("ft"), runs.folder("rome"))
    assert (found.shared, found.only_a, found.only_b) == (5, 2, 1)
    assert found.warnings == ("In 1 of the 5 shared cases only some of the questions are the same.",)
    assert {(r.language, r.pairs) for r in found.rows if r.property != "locality"} == {("en", 5), ("zh", 4)}


def test_results_without_a_case_in_common_are_refused(
    make_runs: Callable[..., Runs], tmp_path: Path, runs: Runs
) -> None:
    first = make_runs(tmp_path / "first", methods=["ft"], cases=["0"])
    second = make_runs(tmp_path / "second", methods=["ft"], cases=["1"])
    with pytest.raises(RequestError, match=r"share no case: no id is in both\.$"):
        compare_results(first.folder("ft"), second.folder("ft"))
    cases = read_cases(runs.folder("rome"))
    for probe in (probe for case in cases for probe in case["probes"]):
        probe["reference"] += "!"
    write(runs.folder("rome"), read_result(runs.folder("rome")), cases)
    with pytest.raises(RequestError, match=r"share no case: the 6 ids that both have stand for other questions\.$"):
        compare_results(runs.folder("ft"), runs.folder("rome"))


def test_results_without_a_metric_in_common_are_refused(make_runs: Callable[..., Runs], tmp_path: Path) -> None:
    options: dict[str, Any] = {"methods": ["ft"], "limit": 1}
    first = make_runs(tmp_path / "first", metrics=["em"], **options)
    second = make_runs(tmp_path / "second", metrics=["f1", "f1_pr"], **options)
    with pytest.raises(RequestError, match=r"share no metric: em and f1, f1_pr\.$"):
        compare_results(first.folder("ft"), second.folder("ft"))


def test_what_can_t_be_read_is_refused(runs: Runs, tmp_path: Path) -> None:
    ft, rome = runs.folder("ft"), runs.folder("rome")
    with pytest.raises(RequestError, match=r"There is no file or folder .*nowhere\."):
        compare_results(ft, tmp_path / "nowhere")
    with pytest.raises(RequestError, match=r"holds 2 results; name one, such as .*ft\."):
        compare_results(runs.output, rome)
    lines = (rome / "cases.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (rome / "cases.jsonl").write_text("".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(RequestError, match=r"case '7' is missing from cases\.jsonl\."):
        compare_results(ft, rome)
    (rome / "result.json").write_text(json.dumps({"schema_version": 7}), encoding="utf-8")
    with pytest.raises(RequestError, match="is of schema version 7, newer than the 6"):
        compare_results(ft, rome)
    (rome / "cases.jsonl").unlink()
    with pytest.raises(RequestError, match="rome"):
        compare_results(ft, rome)


def test_another_chat_template_is_a_warning(runs: Runs) -> None:
    change(runs, model__template_sha256="a" * 64)
    assert compare_results(runs.folder("ft"), runs.folder("rome")).warnings == (
        "They differ in chat template: not said, and aaaaaaaaaaaa.",
    )
