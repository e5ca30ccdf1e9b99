"""The table of scores: on a terminal no wider than that, in a pipe for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from made_results import result, score
from rich.cells import cell_len
from terminal import CONTROL

from xkeb.cli.score_table import show_table
from xkeb.results.fields import validated
from xkeb.results.result import Result

LANGUAGES = ["en", "cz", "de", "du", "es", "fr", "pt", "ru", "th", "tr", "vi", "zh"]
PROPERTIES = ("Reliability", "Generality", "Locality", "Portability")


def in_languages(codes: list[str], **changes: Any) -> Result:
    """A result that was asked in these languages, each score another number, some of them as wide as can be."""
    made = result(source=codes[0], target=codes[-1], **changes)
    number = 0
    for name in ("generality", "locality", "portability"):
        for code in codes:
            number += 1
            for scores in (made["scores"], made["scores_before"]):
                wide = score(100.0) if name == "locality" else score(10 + number / 10)
                scores[name][code] = {"f1": wide, "em": wide}
    return validated(Result, made, any_name=True)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def show(results: list[Result], width: int) -> list[str]:
        for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}.items():
            monkeypatch.setenv(name, value)
        show_table(results, Path("results"))
        return [line.rstrip() for line in CONTROL.sub("", capsys.readouterr().out).splitlines()]

    return show


def numbers(lines: list[str], method: str) -> list[str]:
    """The means of a method in the order of the page."""
    rows = [line.split() for line in lines if method in line.split()]
    return [cell for row in rows for cell in " ".join(row).replace(" / ", "/").split() if "." in cell]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("codes", [["en", "zh"], ["en", "de", "zh"], LANGUAGES], ids=len)
def test_no_line_is_wider_than_the_terminal_and_no_number_is_lost(show: Any, codes: list[str], width: int) -> None:
    made = in_languages(codes)
    lines = show([made], width)
    assert max(map(cell_len, lines)) <= width
    means = made.scores
    places: list[tuple[Any, str]] = [("reliability", "en")]
    for code in ["en", *sorted(codes[1:])]:  # a language is whole before the next begins
        places += [(name, code) for name in ("generality", "locality", "portability")]
    expected = [f"{means[p][c]['f1'].mean:.2f}/{means[p][c]['em'].mean:.2f}" for p, c in places]
    assert numbers(lines, "rome") == expected


def test_two_languages_are_a_block_each_at_80_columns_and_one_table_where_it_fits(show: Any) -> None:
    made = in_languages(["en", "zh"])
    narrow = show([made], 80)
    heads = [line.split() for line in narrow if line.startswith("Method")]
    assert heads == [["Method", *PROPERTIES], ["Method", *PROPERTIES[1:]]]
    assert narrow[0].startswith("chinese-llama-2-7b, teacher forcing, f1 / em, edited in English: all 4")
    (head,) = [line.split() for line in show([made], 200) if line.startswith("Method")]
    assert head == ["Method", *PROPERTIES, *PROPERTIES[1:]]


def test_what_differs_between_rows_is_a_column(show: Any) -> None:
    one, other = in_languages(["en", "zh"]), in_languages(["zh", "en"], method="memit-with-a-long-name")
    lines = show([one, other], 80)
    assert max(map(cell_len, lines)) <= 80
    assert any(line.split()[:2] == ["Editing", "Method"] for line in lines)
    assert {line.split()[0] for line in lines if "memit-with-a-long-name" in line} == {"Chinese"}


def test_models_and_ways_of_asking_are_never_in_one_block(show: Any) -> None:
    results = [
        in_languages(["en", "zh"]),
        in_languages(["en", "zh"], model="other"),
        Result.model_validate(result(protocol="paper")),
    ]
    titles = [line for line in show(results, 200) if "edited in" in line]
    assert len(titles) == 3 and "paper, f1_pr / em" in titles[2]


def test_a_pipe_gets_every_mean_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    made = result()
    made["slices"] = {"answers=differ": made["scores"], "digit=no": made["scores"]}
    made["slices_before"] = {"answers=differ": made["scores_before"], "digit=no": made["scores_before"]}
    made["blank"] = {"en": {"n": 1, "scores": {"f1": score(100.0)}}}
    results = [Result.model_validate(made), in_languages(["zh", "de"], model="a\tb\nc")]
    show_table(results, Path("results"))
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert all(None not in row and None not in row.values() for row in rows), "each line has a cell a column"
    assert [(row["method"], row["when"], row["cases_of"], row["left_out.en"]) for row in rows[:4]] == [
        ("rome", "before", "all", "1"),
        ("rome", "before", "answers=differ", ""),
        ("rome", "after", "all", "1"),
        ("rome", "after", "answers=differ", ""),
    ]
    for row, made_of, when in ((rows[2], results[0], "scores"), (rows[4], results[1], "scores_before")):
        for name, languages in getattr(made_of, when).items():
            for code, metrics in languages.items():
                for metric, one in metrics.items():
                    assert row[f"{name}.{code}.{metric}"] == f"{one.mean:.2f}"
    assert rows[4]["portability.en.f1"] == "" != rows[4]["portability.de.f1"]
    assert rows[4]["model"] == "a    b\\nc"
    assert out.count("\n") == 1 + 6


def test_what_was_skipped_is_told_with_a_reason_and_no_empty_table(show: Any) -> None:
    skipped = [{"case_id": "7", "reason": "no subject."}, {"case_id": "8", "reason": "no answer"}]
    some = in_languages(["en", "zh"], skipped=skipped)
    assert (
        show([some], 200)[-2] == "bizsre_en2zh / chinese-llama-2-7b / rome: 2 cases skipped; the first, 7: no subject."
    )
    none = some.model_copy(update={"case_ids": [], "scores": {}, "scores_before": {}})
    assert show([none], 200) == [
        "bizsre_en2zh / chinese-llama-2-7b / rome: no case could be edited; the first, 7: no subject.",
        "Results: results",
    ]


def test_points_of_damage_that_stand_in_no_row_are_counted(show: Any) -> None:
    languages = {"en": {"n": 1, "changed": 0.0, "n_kl": 1, "kl": 0.1, "perplexity": None}}
    point = {"sequences": 1, "languages": languages}
    damage = {"after": {str(edits): point for edits in (1, 2, 3, 4)}, "texts": {}}
    made = in_languages(["en", "zh"], regime="sequential:4@after_each", damage=damage)
    lines = show([made], 200)
    assert "Measured after 2 more edits, too: damage in result.json." in lines
    assert [line.split()[0] for line in lines if line.split()[1:2] == ["en"] and "0.1000" in line] == ["1", "4"]


def test_two_protocols_stand_in_two_tables(show: Any) -> None:
    """Each under its own metrics, with its own baseline; both directions of one protocol in one."""
    made = [result(), result("bizsre_zh2en", "zh", "en"), result(protocol="generate", protocol_args={"cut": "line"})]
    lines = show([Result.model_validate(one) for one in made], 200)
    starts = [i for i, line in enumerate(lines) if line.startswith("chinese-llama-2-7b, ")]
    first, second = lines[: starts[1]], lines[starts[1] :]
    assert "teacher forcing, f1 / em" in first[starts[0]] and "generate, f1_units / exact" in second[0]
    assert [
        [sum(name in line.split() for line in part) for name in ("(baseline)", "rome")] for part in (first, second)
    ] == [
        [2, 2],
        [1, 1],
    ]
