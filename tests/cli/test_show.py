"""``xkeb show``: a result in the terminal, and its cases by what the edit did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_results import HOSTILE, case, put, put_hostile, result
from rich.cells import cell_len
from terminal import in_terminal

pytest_plugins = ("command_line",)

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four cases. Case 0 is right everywhere, as it was before in English; case 2 takes in in English and breaks locality in
    Chinese; in case 3 an answer is lost, and one is in the wrong language."""
    cases = [case(i) for i in range(4)]
    for made in cases:
        made["slices"] = {"answers": "differ" if made["case_id"] != "1" else "equal"}
        for probe in made["probes"]:
            probe["scores"]["wrong_language"] = 0.0
            if probe["property"] == "locality":
                probe["scores"]["em"] = 1.0
    for probe in cases[0]["probes"]:
        probe["scores_before"]["em"] = float(probe["language"] == "en")
    place(cases[2], "locality", "zh")["scores"]["em"] = 0.0
    lost = place(cases[3], "generality", "en")
    lost["scores_before"]["em"], lost["scores"]["em"] = 1.0, 0.0
    place(cases[3], "generality", "zh")["scores"]["wrong_language"] = 1.0
    return put(tmp_path / "one", result(metrics=["f1", "em", "wrong_language"]), cases)


def place(made: dict[str, Any], name: str, code: str) -> dict[str, Any]:
    (probe,) = (one for one in made["probes"] if (one["property"], one["language"]) == (name, code))
    found: dict[str, Any] = probe
    return found


def test_the_scores_and_what_the_edits_did(xkeb_cli: Callable[..., Any], folder: Path) -> None:
    outcome = xkeb_cli("show", folder)
    assert outcome.status == 0, outcome.err
    assert re.search(r"^rome +50\.00 / 25\.00", outcome.out, re.MULTILINE)
    assert re.findall(r"^ +(\d+)  ([a-z-]+):", outcome.out, re.MULTILINE) == [
        ("2", "fixed"), ("2", "broken"), ("1", "crossed"), ("1", "wrong-language"),
    ]  # fmt: skip
    assert "Case " not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "cases"),
    [
        (["--only", "fixed"], ["0", "2"]),
        (["--only", "crossed"], ["0"]),
        (["--only", "broken"], ["2", "3"]),
        (["--only", "broken,fixed"], ["2"]),
        (["--only", "wrong-language"], ["3"]),
        (["--slice", "answers=equal"], ["1"]),
        (["--slice", "answers=differ", "--only", "fixed", "--limit", "1"], ["0"]),
        (["--cases", "3,1"], ["1", "3"]),
        (["--cases", "2-9,0"], ["0", "2", "3"]),
        (["--limit", "2"], ["0", "1"]),
        (["--limit", "0", "--only", "fixed"], []),
    ],
    ids=" ".join,
)
def test_cases_by_filter(xkeb_cli: Callable[..., Any], folder: Path, arguments: list[str], cases: list[str]) -> None:
    outcome = xkeb_cli("show", folder, *arguments)
    assert outcome.status == 0, outcome.err
    assert re.findall(r"^Case (\w+): ", outcome.out, re.MULTILINE) == cases
    told = json.loads(xkeb_cli("show", folder, *arguments, "--json").out)
    assert [one["case_id"] for one in told["cases"]] == cases
    assert told["counts"] == {"fixed": 2, "broken": 2, "crossed": 1, "wrong-language": 1}


def test_a_question_has_its_texts_and_what_became_of_it(xkeb_cli: Callable[..., Any], folder: Path) -> None:
    shown = xkeb_cli("show", folder, "--cases", "0").out
    (block,) = re.findall(r"^  generality zh .*\n(?:    .*\n)+", shown, re.MULTILINE)
    assert block.splitlines() == [
        "  generality zh  fixed  crossed  f1 1.00, em 1.00, wrong_language 0.00",
        "    question  What is it? (0)",
        "    expected  Lyon",
        "    before    Paris",
        "    after     Lyon",
    ]
    assert "  generality en  f1 1.00" in shown, "what was right already isn't fixed"


def test_what_locality_leaves_out_is_told(xkeb_cli: Callable[..., Any], folder: Path) -> None:
    cases = [case(i) for i in range(4)]
    place(cases[1], "locality", "zh")["blank"] = True
    score = result()["scores"]["locality"]["zh"]
    blank = {"zh": {"n": 1, "scores": score, "echoes": 1}}
    made = put(folder.parent / "blank", result(blank=blank), cases)
    outcome = xkeb_cli("show", made, "--cases", "0,1")
    assert outcome.status == 0, outcome.err
    assert re.search(r"^English +rome +Chinese +1 of 4 ", outcome.out, re.MULTILINE)
    assert re.findall(r"^  (\w+ \w+)  left out: no answer before the edit", outcome.out, re.MULTILINE) == [
        "locality zh"
    ]


def test_so_is_what_no_metric_has_a_score_of(xkeb_cli: Callable[..., Any], folder: Path) -> None:
    made = put(folder.parent / "silent", result(blank={"zh": {"n": 2, "scores": {}, "echoes": 0}}))
    outcome = xkeb_cli("show", made)
    assert outcome.status == 0, outcome.err
    assert re.search(r"^English +rome +Chinese +2 of 2 .* - +0 *$", outcome.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "brokn"], "Unknown filter 'brokn': did you mean 'broken'?"),
        (["--only", ","], "--only names nothing: fixed, broken, crossed, wrong-language."),
        (["--cases", "9"], "Unknown case of bizsre_en2zh / chinese-llama-2-7b / rome: '9': "),
        (
            ["--slice", "answers=same"],
            "Unknown slice of bizsre_en2zh / chinese-llama-2-7b / rome: 'answers=same': did you",
        ),
        (["--limit", "-1"], "Invalid value for '--limit': -1 is not in the range x>=0."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there(xkeb_cli: Callable[..., Any], folder: Path, arguments: list[str], message: str) -> None:
    outcome = xkeb_cli("show", folder, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"xkeb: {message}") and outcome.err.count("\n") == 1


def test_a_folder_without_results_or_with_several(xkeb_cli: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "two", result(), [case(i) for i in range(4)])
    for where, message in (
        (tmp_path / "empty", "There is no result.json in "),
        (tmp_path, " holds 2 results; name one"),
    ):
        outcome = xkeb_cli("show", where)
        assert outcome.status == 2 and message in outcome.err
    outcome = xkeb_cli("show", tmp_path / "two", "--only", "wrong-language")
    assert outcome.status == 2
    assert f"xkeb rescore {tmp_path / 'two'} --metrics f1,em,wrong_language --output DIR does." in outcome.err
    outcome = xkeb_cli("leaderboard", "build", "--results", tmp_path / "empty", "--output", tmp_path / "site")
    assert outcome.status == 2 and "There is no result.json in " in outcome.err and not (tmp_path / "site").exists()


def test_strange_texts_are_text(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    put_hostile(tmp_path)
    for i in range(len(HOSTILE)):
        outcome = xkeb_cli("show", tmp_path / str(i), "--limit", "1")
        assert not OBEYED.search(outcome.out + outcome.err)
        assert outcome.status in (0, 2)
    made = [case(i, HOSTILE[-1], prompt=HOSTILE[5]) for i in range(4)]
    outcome = xkeb_cli("show", put(tmp_path / "texts", result(), made), "--limit", "4")
    assert outcome.status == 0 and not OBEYED.search(outcome.out)


def test_at_80_columns(folder: Path) -> None:
    shown = in_terminal("show", folder, "--only", "fixed")
    assert shown.status == 0, shown.text
    heads = [line.split() for line in shown.lines if line.startswith("Method")]
    assert [len(head) for head in heads] == [5, 4], "a table for each language"
    table = shown.lines[: next(i for i, line in enumerate(shown.lines) if line.startswith("Of "))]
    assert max(map(cell_len, table)) <= 80
