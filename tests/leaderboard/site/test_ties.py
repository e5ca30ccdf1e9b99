"""Best and tie: paired tests over subjects between a column's rows and its best, under each filter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import answered, case, put, result, score
from site_pages import Page

from xkeb.leaderboard.rows.entries import Cell, Entry, PublishedScore
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.samples import Collector, Keys, Numbering, Sample, paired_sums
from xkeb.leaderboard.site.tables import mark
from xkeb.leaderboard.site.ties import PairedTests, ties
from xkeb.results.lines import CaseRecord
from xkeb.results.paired import holm

CELL: Cell = ("generality", "zh")


def entry(name: str, mean: float | None, **fields: Any) -> Entry:
    scores = {} if mean is None else {CELL: {"f1": PublishedScore(mean)}}
    made = Entry(
        name, "reproduced", "t", "en", ("zh",), "m", name, "teacher_forcing", "t/teacher_forcing", scores, "here"
    )
    return replace(made, **fields)


def samples(right: Mapping[str, Iterable[int]], n: int = 40, subjects: int = 10**6) -> dict[str, dict[Cell, Sample]]:
    """Of rows that are right in these of n cases."""
    keys, numbering = Keys(), Numbering()
    found = {}
    for name, cases in right.items():
        collector = Collector(keys, "f1")
        for line in answered(n, set(cases), CELL, subjects):
            collector.add(CaseRecord.model_validate(line))
        found[name] = numbering.samples(collector.gathered)[None]
    return found


def marks(entries: list[Entry], right: Mapping[str, Iterable[int]], **options: int) -> list[str]:
    return [sign for sign, _ in mark(entries, CELL, PairedTests(samples(right, **options)))]


def test_marks_are_those_of_the_paired_test_by_hand() -> None:
    """b is wrong on 4 of a's cases and right on no other: 2 / 2 ** 4 is 0.125. c lacks 12: 2 / 2 ** 12, twice by Holm."""
    entries = [entry("a", 75.0), entry("b", 65.0), entry("c", 45.0)]
    assert marks(entries, {"a": range(30), "b": range(4, 30), "c": range(12, 30)}) == ["best", "tie", ""]


def test_intervals_that_overlap_are_no_tie_where_the_pairs_tell_them_apart() -> None:
    """75% and 50% of 40 cases, each in the other's interval; but on all ten that differ, a is right."""
    entries = [entry("a", 75.0), entry("b", 50.0)]
    assert marks(entries, {"a": range(30), "b": range(10, 30)}) == ["best", ""]


def test_cases_of_one_subject_are_flipped_together() -> None:
    """The same ten cases, of two subjects: of four flips two are as far."""
    entries = [entry("a", 75.0), entry("b", 50.0)]
    assert marks(entries, {"a": range(30), "b": range(10, 30)}, subjects=2) == ["best", "tie"]


def test_what_is_printed_alike_is_best_whatever_the_test_says() -> None:
    entries = [entry("a", 80.04), entry("b", 80.0), entry("c", 79.9)]
    assert marks(entries, {"a": range(30), "b": (), "c": range(29)}) == ["best", "best", "tie"]


def test_without_cases_no_tie_is_claimed() -> None:
    printed = entry("paper", 75.0, badge="published")
    assert marks([printed, entry("b", 74.0)], {"b": range(30)}) == ["best", ""]
    assert marks([replace(printed), entry("b", 76.0)], {"b": range(30)}) == ["", "best"]
    assert marks([entry("a", 75.0), entry("b", 74.0)], {"a": range(30)}) == ["best", ""]
    assert marks([entry("a", None), entry("b", 74.0)], {}) == ["", "best"]
    assert marks([entry("a", None)], {}) == [""]
    assert marks([], {}) == []


def test_rows_that_share_no_question_are_not_compared() -> None:
    found = samples({"a": range(30), "b": range(30)})
    other = found["b"][CELL]
    found["b"] = {CELL: Sample(other.questions + 1000, other.clusters, other.values)}
    rows = mark([entry("a", 75.0), entry("b", 74.0)], CELL, PairedTests(found))
    assert [sign for sign, _ in rows] == ["best", ""]


def test_holm_counts_the_rows_that_are_compared_with_a_best() -> None:
    """Six cases that differ have 2 / 2 ** 6 = 0.031: enough for one row, and too little for two."""
    right = {"a": range(30), "b": range(6, 30), "c": range(6, 30)}
    assert holm([1 / 32] * 2) == [1 / 16] * 2
    assert marks([entry("a", 75.0), entry("b", 60.0)], right) == ["best", ""]
    assert marks([entry("a", 75.0), entry("b", 60.0), entry("c", 60.0)], right) == ["best", "tie", "tie"]


def test_the_best_of_each_filter_has_its_own_ties() -> None:
    """paper leads, a leads without it and under model m, d under model n; c ties with a only, e with a and d."""
    entries = [
        entry("paper", 90.0, badge="published"), entry("a", 75.0), entry("c", 72.5),
        entry("d", 50.0, model="n"), entry("e", 47.5, model="n"),
    ]  # fmt: skip
    right = {"a": range(30), "c": range(1, 30), "d": range(10, 30), "e": range(11, 30)}
    assert ties(entries, CELL, PairedTests(samples(right))) == [(), (), (1,), (), (3,)]
    assert [sign for sign, _ in mark(entries, CELL, PairedTests(samples(right)))] == ["best", "", "", "", ""]


def test_rows_pair_over_the_cases_that_both_ran() -> None:
    """The differences 1 - 0 of questions 2 and 3 are of subject 7, 0 - 1 of question 5 is of subject 8."""
    a = Sample(np.array([1, 2, 3, 5]), np.array([7, 7, 7, 8]), np.array([1.0, 1.0, 1.0, 0.0]))
    b = Sample(np.array([2, 3, 4, 5]), np.array([9, 9, 9, 9]), np.array([0.0, 0.0, 1.0, 1.0]))
    sums = paired_sums(a, b)
    assert sums is not None and sums.tolist() == [2, -1]
    assert paired_sums(a, Sample(np.array([4]), np.array([1]), np.array([1.0]))) is None


def test_a_question_is_the_same_by_its_case_and_its_words() -> None:
    first, second = Collector(Keys(), "f1"), Collector(Keys(), "f1")  # as two processes have them
    first.add(CaseRecord.model_validate(case(0)))
    changed = case(0)
    changed["probes"][1]["prompt"] += " (asked otherwise)"
    second.add(CaseRecord.model_validate(changed))
    numbering = Numbering()
    a, b = (numbering.samples(one.gathered)[None] for one in (first, second))
    same = {cell: bool((a[cell].questions == b[cell].questions).all()) for cell in a}
    assert [cell for cell, equal in same.items() if not equal] == [("generality", "en")]
    assert len(same) == 7


def test_a_question_that_stands_there_twice_counts_once() -> None:
    collector = Collector(Keys(), "f1")
    twice = case(0)
    twice["probes"].append({**twice["probes"][0], "scores": {"f1": 0.0, "em": 0.0}})
    collector.add(CaseRecord.model_validate(twice))
    assert Numbering().samples(collector.gathered)[None]["reliability", "en"].values.tolist() == [1.0]


# In the page ----------------------------------------------------------------------------------------------------------


def generality(site: Path) -> list[dict[str, str | None]]:
    """The places of the overview's table in the column of generality in Chinese."""
    rows: list[list[dict[str, str | None]]] = []
    for tag, attributes in Page(site / "rows.html").elements:
        if tag == "tr":
            rows.append([])
        elif tag == "td" and "data-v" in attributes and "number" not in (attributes.get("class") or ""):
            rows[-1].append(attributes)
    return [row[2] for row in rows if len(row) == 7]


def test_the_page_tells_its_script_what_each_row_ties_with(tmp_path: Path) -> None:
    for method, right in {"a": range(30), "b": range(2, 30), "c": range(20, 30)}.items():
        made = result(method=method, n_cases=40, f1={CELL: score(2.5 * len(right))})
        put(tmp_path / method, made, answered(40, right, CELL))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    assert [(place.get("class"), place.get("data-t")) for place in generality(tmp_path / "site")] == [
        ("best", None), ("tie", "0"), (None, None), (None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["missing", "damaged", "too few"])
def test_a_result_whose_cases_can_t_be_read_ties_with_nothing(tmp_path: Path, damage: str) -> None:
    for method, right in {"a": range(30), "b": range(2, 30)}.items():
        made = result(method=method, n_cases=40, f1={CELL: score(2.5 * len(right))})
        put(tmp_path / method, made, answered(40, right, CELL))
    path = tmp_path / "b" / "cases.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if damage == "missing":
        path.unlink()
    else:
        rest = lines[:-1] if damage == "too few" else [*lines[:-1], json.dumps({"case_id": "39"})]
        path.write_text("".join(rest), encoding="utf-8")
    build_site([tmp_path], tmp_path / "site", with_published=False)
    assert [place.get("class") for place in generality(tmp_path / "site")] == ["best", None, None]
