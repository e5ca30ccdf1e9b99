"""No table, mark, mean or picture of the site sets one comparable group against another."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from made_results import crossed, put, put_several, released_rules, result, score
from site_pages import Page, records, result_pages

from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.rows.summary import summarize
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.tables import boards
from xkeb.leaderboard.site.ties import PairedTests

CELL = ("generality", "zh")


def free(f1: float, cut: str = "sentence", **changes: Any) -> dict[str, Any]:
    options = {"max_tokens": 32, "cut": cut}
    return result(protocol="generate", protocol_args=options, f1={CELL: score(f1)}, **changes)


def tables(folder: Path) -> dict[str, Any]:
    """By the way of asking: of each row, its task, method and mark in generality in Chinese."""
    found = boards(find_results([folder]).entries, "all", PairedTests())
    return {
        table.asked: [(row.entry.task, row.entry.method, row.places[2].mark) for row in table.rows] for table in found
    }


def test_each_way_of_asking_has_a_table_and_a_best_of_its_own(tmp_path: Path) -> None:
    """Told apart by protocol, prompt, and the options of the protocol in which results differ: not by others."""
    put(tmp_path / "a", free(60))
    put(tmp_path / "b", free(40, method="ft"))
    put(tmp_path / "c", free(90, cut="line"))
    put(tmp_path / "d", free(20, prompt="qa"))
    put(tmp_path / "e", result(f1={CELL: score(99)}))
    en = "bizsre_en2zh"
    assert tables(tmp_path) == {
        "generate (cut=line)": [(en, "rome", "best")],
        "generate (cut=sentence)": [(en, "rome", "best"), (en, "ft", "")],
        "generate (cut=sentence), qa": [(en, "rome", "best")],
        "teacher_forcing": [(en, "rome", "best")],
    }


def test_each_task_has_a_best_of_its_own_in_a_table_of_two_directions(tmp_path: Path) -> None:
    for method, (here, there) in {"rome": (60.0, 10.0), "ft": (50.0, 20.0)}.items():
        put(tmp_path / f"{method}-en", result(method=method, f1={CELL: score(here)}))
        back = result("bizsre_zh2en", "zh", "en", method=method, f1={CELL: score(there)})
        put(tmp_path / f"{method}-zh", back)
    en, zh = "bizsre_en2zh", "bizsre_zh2en"
    assert tables(tmp_path) == {
        "teacher_forcing": [(en, "rome", "best"), (en, "ft", ""), (zh, "ft", "best"), (zh, "rome", "")]
    }
    build_site([tmp_path], tmp_path / "site", with_published=False)
    rows = Page(tmp_path / "site" / "rows.html").rows
    table = [row for row in rows if len(row) in (1, 15) and row[0] != "Method"]
    assert [row[0].removesuffix("; cases side by side") for row in table] == [
        "bizsre_en2zh, 4 cases, teacher forcing, f1 / em", "rome", "ft", "no edit",
        "bizsre_zh2en, 4 cases, teacher forcing, f1 / em", "ft", "rome", "no edit",
    ]  # fmt: skip


def test_other_data_is_another_group(tmp_path: Path) -> None:
    other = result(method="ft", f1={CELL: score(90)})
    other["task"]["dataset"]["sha256"] = "9" * 64
    put(tmp_path / "a", result())
    put(tmp_path / "b", other)
    assert [mark for *_, mark in tables(tmp_path)["teacher_forcing"]] == ["best", "best"]


def test_how_the_paper_s_protocol_asks_a_method_makes_no_group(tmp_path: Path) -> None:
    for method, scorer, f1 in (("ike", "in_context", 90.0), ("rome", "growing", 50.0)):
        made = result(method=method, protocol="paper", f1={CELL: score(f1)})
        made["protocol_args"]["scorer"] = scorer
        put(tmp_path / method, made)
    assert tables(tmp_path) == {"paper": [("bizsre_en2zh", "ike", "best"), ("bizsre_en2zh", "rome", "")]}


def test_a_mean_is_of_one_group_and_of_methods_that_ran_on_the_same_models(tmp_path: Path) -> None:
    """ft ran on one model of two: its mean stands in no table beside that of both."""
    for model, f1 in (("a", 40.0), ("b", 60.0)):
        put(tmp_path / model, result(model=model, f1={CELL: score(f1)}))
    put(tmp_path / "c", result("bizsre_zh2en", "zh", "en", model="a"))
    put(tmp_path / "d", result(model="a", method="ft", f1={CELL: score(41.0)}))
    views = summarize(find_results([tmp_path]).entries, "reproduced")
    assert [(view.task, view.models, [(line.name, line.there) for line in view.methods]) for view in views] == [
        ("bizsre_en2zh", ["a", "b"], [("rome", 50.0)]),
        ("bizsre_en2zh", ["a"], [("ft", 41.0)]),
        ("bizsre_zh2en", ["a"], [("rome", 50.0)]),
    ]


def test_results_of_one_method_with_other_options_are_told_apart(tmp_path: Path) -> None:
    for lr, layer in ((0.01, 5), (0.3, 5)):
        made = result(model="a")
        made["method"]["params"] = {"layer": layer, "lr": lr}
        put(tmp_path / str(lr), made)
    alone = result(model="b")
    alone["method"]["params"] = {"layer": 7, "lr": 0.5}
    put(tmp_path / "b", alone)
    build_site([tmp_path], tmp_path / "site")
    text = Page(tmp_path / "site" / "tasks" / "bizsre-en2zh.html").text
    assert "lr=0.01" in text and "lr=0.3" in text
    assert "layer=5" not in text and "lr=0.5" not in text


def test_each_way_of_asking_has_pictures_of_its_own(tmp_path: Path) -> None:
    put(tmp_path / "a", free(60))
    put(tmp_path / "b", result(f1={CELL: score(99)}))
    build_site([tmp_path], tmp_path / "site")
    texts = " ".join(Page(tmp_path / "site" / "models" / "chinese-llama-2-7b.html").texts)
    for way, n in (("generate", "4"), ("paper", "1,037"), ("teacher forcing", "4")):
        assert f"chinese-llama-2-7b edited in en, bizsre_en2zh, {n} cases, {way}: F1 by property" in texts
    for path in (tmp_path / "site" / "pictures").glob("model-chinese-llama-2-7b-radar-*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            kinds = {row["kind"].partition(",")[0] for row in csv.DictReader(file)}
        assert kinds in ({"reproduced", "baseline"}, {"published"})


def test_published_rows_stand_in_a_radar_of_ours_only_where_they_are_measured_alike(tmp_path: Path) -> None:
    for name, limited in (("a", "all"), ("b", "first")):
        rules = released_rules(tokenizer="plus")
        put(
            tmp_path / name,
            result(protocol="paper", protocol_args=rules, selection=limited, n_cases=4 if limited == "all" else 2),
        )
    build_site([tmp_path], tmp_path / "site")
    found = []
    for path in (tmp_path / "site" / "pictures").glob("model-chinese-llama-2-7b-radar-*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if any(row["kind"].startswith("reproduced") for row in rows):
            found.append({row["kind"].partition(",")[0] for row in rows if row["method"] in ("rome", "no edit")})
    assert sorted(found, key=len) == [{"reproduced", "baseline"}, {"published", "reproduced", "baseline"}]


def test_a_page_says_what_its_result_is_comparable_with(tmp_path: Path) -> None:
    put(tmp_path / "a", free(60))
    build_site([tmp_path], tmp_path / "site")
    (page,) = result_pages(tmp_path / "site")
    assert "scored by f1_units+exact" in Page(page).text
    (row,) = [row for row in records(tmp_path / "site") if row["badge"] == "reproduced"]
    assert row["comparable_group"] in Page(page).text
    assert row["comparable_group"].startswith("bizsre_en2zh@1:11111111/generate:")


def test_a_second_turn_stands_on_the_page(tmp_path: Path) -> None:
    made = free(60)
    made["second_turn"] = {"reliability": {"en": {"f1_units": score(31.4), "reverted": score(25.0)}}}
    put(tmp_path / "a", made)
    build_site([tmp_path], tmp_path / "site")
    (page,) = result_pages(tmp_path / "site")
    (row,) = [row for row in Page(page).rows if "31.4" in " ".join(row)]
    assert row[:6] == ["reliability", "en", "50.0", "31.4 31.4 to 31.4", "25.0", "–"]
    assert row[6].startswith("1 of 4 ")


def test_a_table_of_many_languages_says_in_which_one_was_edited(tmp_path: Path) -> None:
    put_several(tmp_path / "results", crossed("en", {"de": 9.0, "zh": 3.0}))
    put(tmp_path / "results" / "pair", result())
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    text = Page(tmp_path / "site" / "rows.html").text
    assert "edits in en, asked in 3 languages" in text
    assert "edits in en, asked in both languages" in text
