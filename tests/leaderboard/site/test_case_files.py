"""What the case browser fetches, as files: marks, shared chunks, order, and answers as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from made_results import answered, case, put, result

from xkeb.leaderboard.site.browsing import BITS, CHUNK, text_direction
from xkeb.leaderboard.site.build import build_site
from xkeb.results.lines import CaseRecord
from xkeb.results.outcomes import case_outcomes


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def built(root: Path) -> tuple[Path, dict[str, Any]]:
    site = build_site([root], root / "site", with_published=False).index.parent
    return site, load(site / "cases" / "index.json")


def test_marks_are_the_outcomes_and_chunks_hold_every_answer(tmp_path: Path) -> None:
    lines = [case(i) for i in range(CHUNK + 6)]
    put(tmp_path / "a", result(n_cases=len(lines)), lines)
    site, index = built(tmp_path)
    (group,) = index["groups"]
    (listed,) = group["results"]
    order = load(site / "cases" / f"{group['order']}.json")
    assert order == [line["case_id"] for line in lines] and group["size"] == len(lines)
    files = load(site / "results" / listed["id"] / "cases.json")
    expected = [sum(BITS[one] for one in case_outcomes(CaseRecord.model_validate(line), "em")) for line in lines]
    assert [int(mark, 16) for mark in files["marks"]] == expected
    assert len(set(expected)) > 1 and len(files["chunks"]) == 2
    for number, names in enumerate(files["chunks"]):
        rows = zip(*(load(site / "cases" / f"{name}.json") for name in names), strict=True)
        for line, (questions, before, after) in zip(lines[CHUNK * number :], rows, strict=False):
            assert questions["edit"] == [line["edit"][key] for key in ("prompt", "subject", "target", "language")]
            for probe, asked, old, new in zip(line["probes"], questions["asked"], before, after, strict=True):
                assert asked == [probe[key] for key in ("property", "language", "prompt", "reference")]
                assert old[0] == probe["before"] and new[0] == probe["after"]
                assert new[1:3] == [round(100 * probe["scores"][metric], 1) for metric in ("f1", "em")]


def test_results_share_the_questions_and_those_of_a_model_the_answers_before(tmp_path: Path) -> None:
    for i, (model, before) in enumerate([("x", "Paris"), ("x", "Paris"), ("y", "Rome")]):
        lines = answered(10, range(i, 10))
        for line in lines:
            for probe in line["probes"]:
                probe |= {"before": before, "after": f"{probe['after']} {i}"}
        put(tmp_path / str(i), result(model=model, method=f"m{i}", n_cases=10), lines)
    site, index = built(tmp_path)
    names = {
        one["name"].split()[0]: load(site / "results" / one["id"] / "cases.json")["chunks"][0]
        for one in index["groups"][0]["results"]
    }
    asked, old, new = zip(*(names[f"m{i}"] for i in range(3)), strict=True)
    assert (len(set(asked)), len(set(old)), len(set(new))) == (1, 2, 3)
    assert old[0] == old[1]


def test_cases_of_all_results_of_a_group_have_one_place(tmp_path: Path) -> None:
    """One lacks a case in the middle, another ran one that the largest did not."""
    for name, ids in {"a": range(40), "b": [i for i in range(40) if i != 7], "c": [*range(38), 50]}.items():
        put(tmp_path / name, result(method=name, n_cases=0, case_ids=[str(i) for i in ids]), [case(i) for i in ids])
    site, index = built(tmp_path)
    (group,) = index["groups"]
    assert load(site / "cases" / f"{group['order']}.json") == [*map(str, range(40)), "50"]
    marks = {one["name"][0]: load(site / "results" / one["id"] / "cases.json")["marks"] for one in group["results"]}
    assert {name: [i for i, mark in enumerate(one) if mark == "."] for name, one in marks.items()} == {
        "a": [40], "b": [7, 40], "c": [38, 39],
    }  # fmt: skip


def test_a_result_whose_cases_are_damaged_is_not_browsed(tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    put(tmp_path / "b", result(method="ft"), [case(0)])
    _, index = built(tmp_path)
    assert [one["name"].split()[0] for group in index["groups"] for one in group["results"]] == ["rome"]


def test_answers_are_had_as_csv_and_no_answer_is_a_formula(tmp_path: Path) -> None:
    put(tmp_path / "a", result(n_cases=2), [case(0, after="=1+1"), case(1, prompt='Wer, «ist» "das"\n?')])
    site, _ = built(tmp_path)
    (path,) = site.glob("results/*/cases.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 14
    assert rows[0]["after"] == "'=1+1" and rows[0]["f1"] == "1.0"
    assert rows[7]["question"] == 'Wer, «ist» "das"\n? (1)'


def test_directions() -> None:
    assert [text_direction(code) for code in ("ar", "fa-IR", "he", "en", "zh", "../x")] == ["rtl"] * 3 + ["auto"] * 3
