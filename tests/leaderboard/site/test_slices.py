"""The slice that is told first, on the site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from made_results import answered, put, result, score
from site_pages import Page

from xkeb.leaderboard.site.build import build_site

CELL = ("generality", "zh")


def sliced(differ: float, equal: float, **changes: Any) -> dict[str, Any]:
    """A result whose cases of either slice have this F1 in one place."""
    made = result(**changes)
    parts = {"answers=differ": differ, "answers=equal": equal}
    made["slices"] = {name: result(**{**changes, "f1": {CELL: score(f1)}})["scores"] for name, f1 in parts.items()}
    made["slices_before"] = dict.fromkeys(parts, made["scores_before"])
    return made


def tables(site: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((site / "tables").glob("all*.json"))
    }


def test_cases_whose_answers_differ_have_the_first_table(tmp_path: Path) -> None:
    put(tmp_path / "results" / "a", sliced(30.0, 90.0))
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    found = tables(tmp_path / "site")
    assert list(found) == ["all--en-zh--teacher-forcing", "all-answers-differ--en-zh--teacher-forcing"]
    first = {row["badge"]: row for row in found["all-answers-differ--en-zh--teacher-forcing"]}
    assert first["reproduced"]["slice"] == "answers=differ" and set(first) == {"reproduced", "baseline"}
    assert first["reproduced"]["scores"]["generality_zh"]["f1"]["mean"] == 30.0
    assert first["baseline"]["scores"]["generality_zh"]["f1"]["mean"] == 20.0
    assert {row["slice"] for row in found["all--en-zh--teacher-forcing"]} == {None}
    page = (tmp_path / "site" / "rows.html").read_text(encoding="utf-8")
    assert page.index("Cases whose answers differ between the languages, teacher forcing: edits") < page.index(
        "All cases, teacher forcing: edits"
    )
    (told,) = [row for row in Page(tmp_path / "site" / "index.html").rows if row[:1] == ["rome"] and len(row) == 6]
    assert told[4] == "30.0"


def test_where_all_answers_differ_one_table_is_enough(tmp_path: Path) -> None:
    made = sliced(30.0, 90.0)
    for key in ("slices", "slices_before"):
        del made[key]["answers=equal"]
    put(tmp_path / "results" / "a", made)
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    assert list(tables(tmp_path / "site")) == ["all--en-zh--teacher-forcing"]


def test_ties_of_a_slice_are_of_its_cases(tmp_path: Path) -> None:
    """Of 40 cases, two rows agree on the 20 whose answers differ and are far apart on the others."""
    for method, right in (("rome", range(40)), ("ft", range(20))):
        cases = answered(40, right)
        for i, case in enumerate(cases):
            case["slices"] = {"answers": "differ" if i < 20 else "equal"}
        f1 = {"rome": (100.0, 100.0), "ft": (100.0, 0.0)}[method]
        made = sliced(*f1, method=method, n_cases=40, f1={CELL: score(100.0 if method == "rome" else 50.0)})
        put(tmp_path / "results" / method, made, cases)
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    page = (tmp_path / "site" / "rows.html").read_text(encoding="utf-8")
    first, rest = page.split("All cases, teacher forcing: edits")
    assert first.count('class="best"') > rest.split("</table>")[0].count('class="best"')


def test_results_without_that_slice_are_told_beside_those_that_have_it(tmp_path: Path) -> None:
    """Each group by the cases that it has, with their number."""
    made = sliced(30.0, 90.0)
    for languages in made["slices"]["answers=differ"].values():
        for metrics in languages.values():
            for value in metrics.values():
                value["n"] = 3
    put(tmp_path / "results" / "a", made)
    put(tmp_path / "results" / "b", result("bizsre_zh2en", "zh", "en"))
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    text = Page(tmp_path / "site" / "index.html").text
    assert "edits in en, asked in zh; 3 cases, answers differ, teacher forcing" in text
    assert "edits in zh, asked in en; 4 cases, teacher forcing" in text
    assert "reproduced bizsre_en2zh , 3 cases" in text and "reproduced bizsre_zh2en , 4 cases" in text


def test_numbers_of_two_protocols_have_no_common_mean(tmp_path: Path) -> None:
    put(tmp_path / "results" / "a", result())
    put(tmp_path / "results" / "b", result(protocol="generate", f1={CELL: score(10.0)}))
    build_site([tmp_path / "results"], tmp_path / "site")
    text = Page(tmp_path / "site" / "index.html").text
    for way in ("teacher forcing", "generate"):
        assert text.count(f"reproduced bizsre_en2zh , 4 cases, {way}, 1 model") == 1
