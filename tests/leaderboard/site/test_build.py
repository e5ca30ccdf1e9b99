"""`xkeb leaderboard build`, as files: rows, marks, differences, data, and what becomes of bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from made_results import answered, case, put, result, score
from result_files import Runs
from sealed_lines import sealed_text
from site_pages import Page, contents, csv_lines, records, result_pages

from xkeb.errors import RequestError
from xkeb.leaderboard.rows.entries import find_results, published_entries
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.exports import records as table_records
from xkeb.leaderboard.site.folder import Site
from xkeb.leaderboard.site.tables import boards
from xkeb.leaderboard.site.ties import PairedTests
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result

pytest_plugins = ("finished_runs",)

PAPER = json.loads((Path(__file__).parents[3] / "leaderboard" / "published.json").read_text(encoding="utf-8"))


def test_the_made_up_results_are_in_the_true_format() -> None:
    Result.model_validate(result())
    CaseRecord.model_validate(case(0))


# What a run writes -----------------------------------------------------------------------------------------------------


def test_a_real_run_is_shown_with_its_cases(finished_runs: Runs, tmp_path: Path) -> None:
    built = build_site([finished_runs.output], tmp_path / "site")
    assert (built.n_published, built.n_results, built.broken) == (48, 2, [])
    for method in ("ft", "rome"):
        folder = finished_runs.folder(method)
        assert check_result(folder / "result.json", Sources(finished_runs.data)).problems == ()
        raw = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        (row,) = [row for row in records(tmp_path / "site") if row["method"] == method and row["badge"] == "reproduced"]
        assert row["scores"]["reliability_en"]["f1"]["mean"] == raw["scores"]["reliability"]["en"]["f1"]["mean"]
        (page,) = [page for page in result_pages(tmp_path / "site") if f"--{method}--" in str(page)]
        text = Page(page).text
        assert raw["settings"] in text
        assert "metrics f1, em, f1_pr, f1_units seed 0 hash" in text
        phases = raw["timing"]["phases"]
        share = 100 * phases["edit"] / sum(phases.values())
        assert f"edit {phases['edit']:.1f} s, {share:.0f}%" in text
        made = date.fromisoformat(raw["environment"]["date"])
        assert timedelta(0) <= datetime.now(UTC).date() - made <= timedelta(1)  # a run may go on over midnight
        assert f"Result {made} " in text
        assert all(skip["reason"] in text for skip in raw["skipped"])
        script = page.with_name("cases.js").read_text(encoding="utf-8")
        shown = json.loads(script.removeprefix("xkebCases(").removesuffix(");\n"))
        assert [item["id"] for item in shown] == raw["case_ids"]


def test_the_published_rows_stand_there_as_printed(tmp_path: Path) -> None:
    build_site([], tmp_path / "site")
    rows = {(row["task"], row["model"], row["method"]): row for row in records(tmp_path / "site")}
    assert len(rows) == 48
    for printed in PAPER["rows"]:
        method = {"ike": "ike-published"}.get(printed["method"], printed["method"])
        row = rows[printed["task"], printed["model"], method]
        assert (row["badge"], row["origin"], row["seconds_a_case"]) == ("published", printed["source"], None)
        for name, languages in printed["scores"].items():
            for code, metrics in languages.items():
                shown = row["scores"][f"{name}_{code}"]
                assert {metric: shown[metric]["mean"] for metric in shown} == {
                    "f1_pr": metrics["f1"],
                    "em": metrics["em"],
                }
                assert shown["f1_pr"]["ci95"] is None
        assert row["protocol"] == "paper"


def test_a_cell_with_both_shows_the_difference_and_our_own_ike_is_no_counterpart(tmp_path: Path) -> None:
    (printed,) = [
        row
        for row in PAPER["rows"]
        if (row["task"], row["model"], row["method"]) == ("bizsre_en2zh", "baichuan-7b", "ike")
    ]
    theirs = printed["scores"]["locality"]["zh"]["f1"]
    for method in ("ike", "ike-published"):
        cell = {("locality", "zh"): score(theirs + 1.25)}
        put(tmp_path / method, result(model="baichuan-7b", method=method, protocol="paper", f1=cell))
    other = tmp_path / "teacher"
    put(other, result(model="baichuan-7b", method="ike-published", f1={("locality", "zh"): score(theirs + 1.25)}))
    build_site([tmp_path], tmp_path / "site")
    rows = [row for row in records(tmp_path / "site") if row["badge"] == "reproduced"]
    own = {(row["method"], row["protocol"]): row["f1_minus_published"] for row in rows}
    differences = own.pop(("ike-published", "paper"))
    assert differences["locality_zh"] == pytest.approx(1.25)
    assert differences["reliability_en"] == pytest.approx(50 - printed["scores"]["reliability"]["en"]["f1"])
    assert own == {("ike", "paper"): {}, ("ike-published", "teacher_forcing"): {}}
    shown = [
        row
        for row in Page(tmp_path / "site" / "models" / "baichuan-7b.html").rows
        if len(row) == 15 and row[6].startswith("reproduced")
    ]
    assert sorted("+1.2" in row[12] or "+1.3" in row[12] for row in shown) == [False, False, True]
    assert not any("+" in row[12] for row in shown if row[0] == "ike")
    texts = {page.parent.name: page.read_text(encoding="utf-8") for page in result_pages(tmp_path / "site")}
    (said,) = [text for text in texts.values() if "No difference to them is shown" in text]
    assert "it was measured under another protocol (teacher_forcing), and its F1 is another metric" in said


def test_another_protocol_is_no_counterpart_and_has_marks_of_its_own(tmp_path: Path) -> None:
    """The entry is made from one of a protocol that there is."""
    put(tmp_path / "results" / "a", result())
    (found,) = find_results([tmp_path / "results"]).entries
    entries = [
        dataclasses.replace(found, protocol=protocol, group=protocol) for protocol in ("teacher_forcing", "guess")
    ]
    tables = boards([*published_entries(), *entries], "all", PairedTests())
    assert [table.asked for table in tables] == ["guess", "paper", "teacher_forcing"]
    own = [row for table in tables for row in table_records(table) if row["badge"] == "reproduced"]
    assert [row["f1_minus_published"] for row in own] == [{}, {}]
    for row in (row for table in tables for row in table.rows):
        if row.entry.badge == "reproduced":
            assert [place.mark for place in row.places] == ["best"] * 3 + [""] * 2 + ["best"] * 2  # locality has none
    put(tmp_path / "results" / "a", result() | {"protocol": "guess"})
    (broken,) = build_site([tmp_path / "results"], tmp_path / "site").broken
    assert broken.reason.endswith("protocol should be 'teacher_forcing', 'paper', 'generate' or 'wild', not 'guess'")


# Marks -----------------------------------------------------------------------------------------------------------------


def own_rows(site: Path) -> list[list[str]]:
    """The kind of each row of the overview's large table, and the mark of each number."""
    page = Page(site / "rows.html")
    found: list[list[str]] = []
    inside = False
    for tag, attributes in page.elements:
        if tag == "section":
            inside = "data-board" in attributes
        elif inside and tag == "tr" and attributes.get("class") not in (None, "group"):
            found.append([str(attributes["class"])])
        elif (
            inside
            and tag == "td"
            and "number" not in str(attributes.get("class"))
            and found
            and ("data-v" in attributes)
        ):
            found[-1].append(str(attributes.get("class") or ""))
    return found


def test_the_page_marks_the_best_and_what_ties_with_it_and_never_the_baseline(tmp_path: Path) -> None:
    cell = ("generality", "zh")
    for method, (mean, right) in {"a": (75, range(30)), "b": (70, range(2, 30)), "c": (30, range(18, 30))}.items():
        made = result(method=method, n_cases=40, f1={cell: score(mean)})
        put(tmp_path / method, made, answered(40, set(right)))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    rows = own_rows(tmp_path / "site")
    assert [(row[0], row[3]) for row in rows] == [
        ("reproduced", "best"), ("reproduced", "tie"), ("reproduced", ""), ("baseline", ""),
    ]  # fmt: skip
    assert rows[0][1] == rows[1][1] == rows[2][1] == "best"  # 50 each
    assert {mark for row in rows for mark in row[4:6]} == {""}  # locality


# Data ------------------------------------------------------------------------------------------------------------------


def test_csv_and_json_hold_the_same_numbers(tmp_path: Path) -> None:
    put(tmp_path / "a", result(f1={("locality", "en"): score(61.23456, 50.5, 70.25)}))
    build_site([tmp_path], tmp_path / "site")
    lines = csv_lines(tmp_path / "site")
    data = records(tmp_path / "site")
    assert len(lines) == len(data) == 48 + 1 + 1
    for line, record in zip(lines, data, strict=True):
        assert [line[key] for key in ("badge", "task", "model", "method")] == [
            record[key] for key in ("badge", "task", "model", "method")
        ]
        for name in ("reliability", "generality_en", "locality_zh"):
            there = record["scores"][f"reliability_{record['source']}" if name == "reliability" else name]
            column = "reliability_edited" if name == "reliability" else name
            headline = {"paper": "f1_pr", "teacher_forcing": "f1"}[record["protocol"]]
            assert float(line[f"{column}_f1"]) == there[headline]["mean"]
            assert float(line[f"{column}_em"]) == there["em"]["mean"]
    (own,) = [line for line in lines if line["badge"] == "reproduced"]
    assert [own[f"locality_en_f1{part}"] for part in ("", "_low", "_high")] == ["61.23456", "50.5", "70.25"]
    (page,) = result_pages(tmp_path / "site")
    assert "61.2 50.5 to 70.2" in Page(page).text


def test_latex_has_a_tabular_for_each_group_with_names_that_tex_can_print(tmp_path: Path) -> None:
    cell = ("generality", "zh")
    put(
        tmp_path / "a",
        result(method="my_rome & co\n%", f1={cell: score(75.0)}, n_cases=40),
        answered(40, range(30), cell),
    )
    put(tmp_path / "b", result(method="ft", f1={cell: score(70.0)}, n_cases=40), answered(40, range(2, 30), cell))
    put(tmp_path / "c", result("bizsre_zh2en", "zh", "en"))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    text = (tmp_path / "site" / "tables" / "all--en-zh--teacher-forcing.tex").read_text(encoding="utf-8")
    first, second = text.split("\n\n")
    lines = first.splitlines()
    assert lines[0] == "% bizsre_en2zh: 40 cases, teacher_forcing, f1 / em"
    assert lines[1] == r"\begin{tabular}{llrrrrrrrr}"
    assert lines[3].startswith(r"Method & Model & Overall & Rel. edited & Gen. en & Gen. zh & Loc. en")
    best = r"\textbf{50.0 / 25.0}"
    start = rf"my\_rome \& co \% & chinese-llama-2-7b & 54.5 & {best} & {best} & \textbf{{75.0 / 25.0}} & 50.0"
    assert lines[5].startswith(start)
    assert r" & \underline{70.0 / 25.0} & " in lines[6]
    assert {line.count(" & ") for line in (lines[3], lines[6])} == {9}
    assert second.startswith("% bizsre_zh2en: 4 cases") and second.rstrip().endswith(r"\end{tabular}")


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    put(tmp_path / "a", result(method="=1+1", model="@x"))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    line = csv_lines(tmp_path / "site")[0]
    assert (line["method"], line["model"]) == ("'=1+1", "'@x")


def test_seconds_a_case_and_training_facts_are_those_of_the_result(tmp_path: Path) -> None:
    for size in (1000, 100, 500):
        made = result(method="mend", settings=f"{size:064d}")
        made["method"]["train_size"] = size
        put(tmp_path / str(size), made)
    put(tmp_path / "single", result(method="rome"))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    own = [row for row in records(tmp_path / "site") if row["badge"] == "reproduced"]
    assert [row["seconds_a_case"] for row in own] == [3.0] * 4  # 8 + 4 seconds, 4 cases
    assert [(row["method"], row["train_size"]) for row in own] == [
        *(("mend", size) for size in (100, 500, 1000)),
        ("rome", None),
    ]
    rows = Page(tmp_path / "site" / "rows.html").rows
    shown = [row[0] for row in rows if len(row) == 15 and row[6].startswith("reproduced")]  # others are of the pictures
    assert shown == ["mend 100 facts", "mend 500 facts", "mend 1,000 facts", "rome"]  # what they differ in
    page = Page(tmp_path / "site" / "methods" / "mend.html")
    assert "F1 against the number of training facts" in page.text
    assert ["mend, chinese-llama-2-7b: zh", "locality", "500", "50.0"] in page.rows


def test_languages_get_a_table_for_each_two(tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    put(tmp_path / "b", result(task="x_en2th", target="th"))
    put(tmp_path / "c", result(task="mono", target="en"))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    assert {path.stem for path in (tmp_path / "site" / "tables").glob("all--*.json")} == {
        f"all--{languages}--teacher-forcing" for languages in ("en-zh", "en-th", "en")
    }
    (row,) = [row for row in records(tmp_path / "site", "all--en") if row["badge"] == "reproduced"]
    assert list(row["scores"]) == ["reliability_en", "generality_en", "locality_en", "portability_en"]


# The same input, the same bytes ----------------------------------------------------------------------------------------


def test_building_twice_gives_the_same_bytes_whatever_stood_there_and_in_whatever_order(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name, result(method=name))
    (tmp_path / "a" / "deeper").mkdir()
    (tmp_path / "a" / "deeper" / "result.json").write_text("{", encoding="utf-8")
    build_site([tmp_path / "a", tmp_path / "b"], tmp_path / "one")
    first = contents(tmp_path / "one")
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "a")
    (tmp_path / "one" / "left over.html").write_text("old", encoding="utf-8")
    build_site([tmp_path / "b", tmp_path / "elsewhere" / "a"], tmp_path / "one")
    assert contents(tmp_path / "one") == first
    assert not [name for name, content in first.items() if str(tmp_path).encode() in content]


# Bad input -----------------------------------------------------------------------------------------------------------


def test_two_results_of_one_cell_are_both_kept_and_told_apart(tmp_path: Path) -> None:
    one = result(f1={("locality", "en"): score(10)})
    other = result(environment={"date": "2026-12-01"})
    put(tmp_path / "a", one)
    put(tmp_path / "b", other)
    put(tmp_path / "again", one)  # the same file is the same result
    build_site([tmp_path], tmp_path / "site")
    own = [row for row in records(tmp_path / "site") if row["badge"] == "reproduced"]
    assert [row["origin"][:10] for row in own] == ["2026-12-01", "2026-11-22"]  # the first is spoilt in locality
    assert len({row["origin"] for row in own}) == 2
    pages = result_pages(tmp_path / "site")
    assert len(pages) == 2
    assert {"2026-11-22" in Page(page).text for page in pages} == {True, False}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "has no cases.jsonl beside it"),
        (
            lambda path: path.write_text(sealed_text([case(0)]) + "{broken\n"),
            "damaged cases.jsonl, after 1 of its 4 cases",
        ),
        (lambda path: path.write_text(sealed_text([case(0)]) + "[]\n"), "damaged cases.jsonl, after 1 of its 4 cases"),
        (lambda path: path.write_text(sealed_text([case(1)])), "is of 4 cases, of which 1 are in its cases.jsonl"),
        (lambda path: path.write_text(json.dumps({**case(0), "probes": 3}) + "\n"), "damaged cases.jsonl, after 0"),
        (
            lambda path: path.write_text(json.dumps(case(0)).replace("0.254", "7")),
            "should be less than or equal to 1, not 7",
        ),
        (lambda path: path.write_bytes(b"\xff"), "damaged cases.jsonl"),
    ],
    ids=["missing", "broken line", "no case", "too few", "no probes", "impossible score", "bytes"],
)
def test_missing_and_damaged_cases_are_said_to_be_so(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    folder = put(tmp_path / "a", result())
    if said == "should be less than or equal to 1, not 7":
        put(folder, result(), [case(1)])
        (folder / "cases.jsonl").write_text(json.dumps(case(1)).replace("0.254", "7"), encoding="utf-8")
    else:
        spoil(folder / "cases.jsonl")
    built = build_site([tmp_path], tmp_path / "site")
    assert built.n_results == 1
    (page,) = result_pages(tmp_path / "site")
    assert said in Page(page).text
    script = page.with_name("cases.js").read_text(encoding="utf-8")
    json.loads(script.removeprefix("xkebCases(").removesuffix(");\n"))


def test_a_case_counts_once_and_a_metric_that_was_not_measured_is_a_dash(tmp_path: Path) -> None:
    lines = [case(0), case(0), case(1), case(99)]
    for line in lines:
        for probe in line["probes"]:
            del probe["scores"]["f1"]
    put(tmp_path / "a", result(n_cases=2), lines)
    build_site([tmp_path], tmp_path / "site")
    (page,) = result_pages(tmp_path / "site")
    assert "can't" not in Page(page).text
    rows = [row for row in Page(page).rows if row[0] == "reliability" and row[1:2] == ["en"] and "Lyon" in row]
    assert [row[6:] for row in rows] == [["–", "100.0"], ["–", "0.0"]]


def test_a_site_among_the_results_is_fine(tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    for _ in range(2):
        assert build_site([tmp_path], tmp_path / "site").n_results == 1


def test_a_build_that_fails_leaves_the_site_that_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a site is never seen: it is written beside its place, and exchanged when it is whole."""
    put(tmp_path / "a", result())
    output = tmp_path / "out" / "site"
    build_site([tmp_path / "a"], output)
    before = contents(output)
    seen: list[bool] = []
    write = Site.write

    def stop_at_the_end(site: Site, path: str, content: str) -> None:
        seen.append(contents(output) == before)
        if path == "submit.html":
            raise OSError(28, "No space left on device")
        write(site, path, content)

    monkeypatch.setattr(Site, "write", stop_at_the_end)
    with pytest.raises(RequestError, match="No space left on device"):
        build_site([tmp_path / "a"], output, with_published=False)
    assert len(seen) > 5 and all(seen)
    assert contents(output) == before
    assert list(output.parent.iterdir()) == [output]
