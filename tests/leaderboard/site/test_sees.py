"""The site says what a method was shown, and tells apart those that were shown the answer they are asked for; and models
that one plugin loads stand under names of their own."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from made_results import Json, put, result
from site_pages import Page, csv_lines, records, result_pages

import xkeb
from xkeb.editing.editor import editor_class
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.result_pages import SIGHTS
from xkeb.types import Sight

MARK = "sees target answer"


def seeing(method: str, *sees: str) -> Json:
    made = result(method=method)
    made["method"]["sees"] = sorted(sees)
    return made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    put(tmp_path / "results" / "plain", seeing("rome", "source_edit", "source_training"))
    put(tmp_path / "results" / "told", seeing("teller", "source_edit", "target_answer"))
    build_site([tmp_path / "results"], tmp_path / "site")
    return tmp_path / "site"


def test_every_sight_has_words() -> None:
    assert set(SIGHTS) == set(Sight)
    assert len(set(SIGHTS.values())) == len(SIGHTS)


def test_a_result_s_page_says_what_its_method_sees(site: Path) -> None:
    told, plain = sorted(result_pages(site), key=lambda page: "--teller--" not in str(page))
    assert (
        f"What the method sees: {SIGHTS[Sight.SOURCE_EDIT]}, {SIGHTS[Sight.TARGET_ANSWER]}. {MARK}" in Page(told).text
    )
    text = Page(plain).text
    assert f"What the method sees: {SIGHTS[Sight.SOURCE_EDIT]}, {SIGHTS[Sight.SOURCE_TRAINING]}." in text
    assert MARK not in text


def test_the_tables_mark_who_was_shown_the_answer_and_nobody_else(site: Path) -> None:
    """In the large table, and in the two of the overview; a mark is text, for those who see no colour."""
    rows = [row for row in Page(site / "rows.html").rows if row and MARK in row[0]]
    means = [row for row in Page(site / "index.html").rows if row and MARK in row[0]]
    large = [row for row in rows if len(row) == 15]
    assert {(row[0], row[5], row[6].partition(" ")[0]) for row in large} == {
        (f"ike-published {MARK}", "source edit, source training, target answer", "published"),
        (f"teller {MARK}", "source edit, target answer", "reproduced"),
    }  # fmt: skip
    assert len(large) == 8 + 1  # the paper's IKE: four models, two directions
    assert sorted(row[0] for row in means if len(row) == 6) == [*[f"ike-published {MARK}"] * 2, f"teller {MARK}"]
    assert f"{MARK} : the method is shown the new answer in another language, too." in Page(site / "rows.html").text


def test_the_data_says_what_each_method_sees(site: Path) -> None:
    sees = {(row["badge"], row["method"]): row["sees"] for row in records(site)}
    assert sees["reproduced", "teller"] == ["source_edit", "target_answer"]
    assert sees["reproduced", "rome"] == ["source_edit", "source_training"]
    assert sees["published", "ike-published"] == ["source_edit", "source_training", "target_answer"]
    assert sees["published", "rome"] is sees["baseline", "no edit"] is None
    lines = {(line["badge"], line["method"]): line["sees"] for line in csv_lines(site)}
    assert lines == {key: " ".join(value or ()) for key, value in sees.items()}


def test_the_paper_s_ike_is_said_to_see_what_the_method_of_that_name_sees() -> None:
    published = json.loads((files("xkeb_leaderboard") / "published.json").read_text(encoding="utf-8"))
    assert {published["method_names"][name]: sees for name, sees in published["sees"].items()} == {
        "ike-published": sorted(editor_class("ike-published").sees)
    }


def test_a_run_of_ike_published_is_marked_and_one_of_ike_is_not(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    xkeb.evaluate(
        tasks="bizsre_mini_en2zh",
        model="hf",
        model_args={"path": str(tiny_folders["llama"])},
        methods=["ike", "ike-published"],
        method_args={"ike.k": 1, "ike-published.k": 1},
        limit=1,
        train_size=10,
        device="cpu",
        output=tmp_path / "results",
    )
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    shown = {MARK in Page(page).text: page.parent.name for page in result_pages(tmp_path / "site")}
    assert "--ike--" in shown[False]
    assert "--ike-published--" in shown[True]


def test_two_models_of_one_plugin_stand_in_one_table_under_their_names(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """One goes by the name of its folder, the other by one of its own."""
    results = xkeb.evaluate(
        tasks="bizsre_mini_en2zh",
        model=["hf", "hf:second"],
        model_args={"hf.path": str(tiny_folders["llama"]), "second.path": str(tiny_folders["gpt2"])},
        methods="ft",
        method_args={"ft.steps": 1},
        limit=2,
        device="cpu",
        output=tmp_path / "results",
    )
    assert {(one.model.name, one.model.plugin) for one in results} == {("llama", "hf"), ("second", "hf")}
    assert len({one.model.sha256 for one in results}) == 2
    for name in ("llama", "second"):
        assert (tmp_path / "results" / "bizsre_mini_en2zh" / name / "ft" / "result.json").is_file()
    build_site([tmp_path / "results"], tmp_path / "site", with_published=False)
    rows = [(row["badge"], row["model"], row["method"]) for row in records(tmp_path / "site")]
    assert sorted(rows) == [
        *(("baseline", "llama", "no edit"), ("baseline", "second", "no edit")),
        *(("reproduced", "llama", "ft"), ("reproduced", "second", "ft")),
    ]
    assert {path.name for path in (tmp_path / "site" / "models").iterdir()} == {"llama.html", "second.html"}
