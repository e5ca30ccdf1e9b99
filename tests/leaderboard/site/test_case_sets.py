"""Results of other cases stand apart, however alike they are otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_results import put, result, score
from site_pages import Page, records

from xkeb.leaderboard.rows.case_sets import SHARED, with_case_sets
from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.site.build import build_site

CELL = ("generality", "zh")


def of_cases(cases: range, method: str = "rome", f1: float = 50.0) -> dict[str, Any]:
    return result(method=method, n_cases=len(cases), case_ids=[str(i) for i in cases], f1={CELL: score(f1)})


def sets(folder: Path, *cases: range) -> list[str]:
    """What each result's group adds to that of the file, in the order of the cases that are given."""
    for i, ids in enumerate(cases):
        put(folder / str(i), of_cases(ids, f"m{i}"), [])
    found = find_results([folder]).entries
    return [new.group.removeprefix(old.group) for new, old in zip(with_case_sets(found), found, strict=True)]


def test_nine_tenths_of_the_larger_one_are_enough(tmp_path: Path) -> None:
    assert SHARED == 0.9
    assert sets(tmp_path / "a", range(100), range(90)) == ["", ""]
    assert sets(tmp_path / "b", range(100), range(89)) == ["/100 cases", "/89 cases"]


def test_what_counts_is_which_cases_and_not_how_many(tmp_path: Path) -> None:
    assert sets(tmp_path, range(100), range(50, 150)) == ["/100 cases, set 1", "/100 cases, set 2"]


def test_sets_do_not_grow_from_one_result_to_the_next(tmp_path: Path) -> None:
    """Each is measured against the largest, or 100 would stand beside 73 by way of 90 and 81."""
    found = sets(tmp_path, range(100), range(90), range(81), range(73))
    assert found == ["/100 cases", "/100 cases", "/81 cases", "/81 cases"]


def test_three_cases_never_stand_beside_many(tmp_path: Path) -> None:
    """A heading, a best and a baseline of their own."""
    put(tmp_path / "many", of_cases(range(1037), f1=60.0), [])
    put(tmp_path / "few", of_cases(range(3), "ft", 100.0), [])
    build_site([tmp_path], tmp_path / "site", with_published=False)
    rows = [row for row in Page(tmp_path / "site" / "rows.html").rows if len(row) in (1, 15) and row[0] != "Method"]
    assert [row[0] for row in rows] == [
        "bizsre_en2zh, 1,037 cases, teacher forcing, f1 / em", "rome", "no edit",
        "bizsre_en2zh, 3 cases, teacher forcing, f1 / em", "ft", "no edit",
    ]  # fmt: skip
    assert [row[3] for row in rows if len(row) == 15] == ["1,037", "1,037", "3", "3"]
    groups = {
        (row["method"], row["n_cases"], row["comparable_group"].rpartition("/")[2])
        for row in records(tmp_path / "site")
    }
    assert groups == {
        ("rome", 1037, "1037 cases"), ("ft", 3, "3 cases"), ("no edit", 1037, "1037 cases"), ("no edit", 3, "3 cases"),
    }  # fmt: skip
    text = Page(tmp_path / "site" / "index.html").text
    assert text.count("reproduced bizsre_en2zh , 1,037 cases") == text.count("reproduced bizsre_en2zh , 3 cases") == 1
