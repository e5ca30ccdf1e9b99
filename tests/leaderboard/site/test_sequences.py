"""Sequences on the site: a table a group, curves of what is kept, and two points of evaluation side by side."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from driving import Browser, pause, serving
from made_results import put, result, score
from site_pages import Page

from xkeb.leaderboard.site.build import build_site
from xkeb.results.group import comparable_group
from xkeb.results.result import Result

pytest_plugins = ("browser",)
Json = dict[str, Any]
METHODS = ("rome", "ft", "grace")


def sequence(method: str, point: str, reliability: float, **changes: Any) -> Json:
    """100 edits on one model."""
    made = result(
        method=method, regime=f"sequential:100@{point}", f1={("reliability", "en"): score(reliability)}, **changes
    )
    made["retention"] = {
        "10": {"reliability": {"en": {"f1": score(60.0, 50.0, 70.0), "em": score(9.0)}}},
        "100": {"reliability": {"en": {"f1": score(31.0, 21.0, 41.0), "em": score(9.0)}}},
    }
    return made | {"comparable_group": comparable_group(Result.model_validate(made))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("sequences")
    made = [
        sequence("rome", "after_all", 30.0), sequence("rome", "after_each", 95.0), sequence("ft", "after_all", 12.0),
        sequence("grace", "after_each", 77.0, case_ids=["8", "9"], n_cases=2), sequence("grace", "after_all", 66.0),
        result(),
    ]  # fmt: skip
    for i, one in enumerate(made):
        put(results / str(i), one)
    return build_site([results], tmp_path_factory.mktemp("built") / "site", with_published=False).index.parent


def test_a_table_holds_one_comparable_group(site: Path) -> None:
    page = Page(site / "index.html")
    text = page.text
    assert text.count("100 edits on a model, asked after all") == 1
    assert text.count("100 edits on a model, asked after each") == 2  # of other cases
    rows = [row for row in page.rows if row[:1] and row[0] in METHODS and len(row) == 9 and row[3] != "cpu"]
    assert {(row[0], row[3]) for row in rows} == {
        ("rome", "30.0"), ("ft", "12.0"), ("grace", "66.0"), ("rome", "95.0"), ("grace", "77.0"),
    }  # fmt: skip
    assert all(row[7] == "31.0 21.0 to 41.0" for row in rows)


def lines(site: Path, name: str) -> list[list[str]]:
    with (site / "pictures" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_curves_and_points_can_be_had_as_files(site: Path) -> None:
    found = [lines(site, path.name) for path in sorted((site / "pictures").glob("overview-retention-*.csv"))]
    methods = [{row[0] for row in rows[1:]} for rows in found]
    assert sorted(map(sorted, methods)) == [["ft", "grace", "rome"], ["grace"], ["rome"]]
    assert ["rome", "reliability", "en", "100", "31.0", "21.0", "41.0", "4"] in found[methods.index({"rome"})]
    heads, *rows = lines(site, "overview-points-0.csv")
    assert heads[4:] == ["f1, after each", "f1, after all", "gap"]
    assert {row[0] for row in rows} == {"rome"}  # grace ran other cases at the two points
    assert rows[0] == ["rome", "chinese-llama-2-7b", "reliability", "en", "95.0", "30.0", "-65.0"]
    assert not (site / "pictures" / "overview-points-1.csv").exists()
    for kind in ("methods/rome", "tasks/bizsre-en2zh", "models/chinese-llama-2-7b"):
        assert "Earlier edits, asked again" in Page(site / f"{kind}.html").text


def test_a_site_without_sequences_says_how_to_get_some(tmp_path: Path) -> None:
    put(tmp_path / "results", result())
    page = Page(build_site([tmp_path / "results"], tmp_path / "site").index)
    assert "No model here got several edits." in page.text
    assert not list((tmp_path / "site" / "pictures").glob("*retention*"))


def test_the_tab_in_a_browser(driver: Any, axe: str, site: Path) -> None:
    """It fits, a key brings its curve forward, a curve is had as PNG, and axe finds nothing."""
    with serving(site) as address:
        browser = Browser(driver, address)
        browser.complaints()
        for width, scheme in ((390, "dark"), (1440, "light")):
            browser.open("index.html#sequences", width=width, scheme=scheme)
            assert browser.js("return document.documentElement.scrollWidth") <= width
            assert browser.js("return document.querySelector('#sequences').offsetHeight") > 0
        figure = driver.find_element("css selector", "#sequences figure[data-chart=retention-0]")
        key = figure.find_element("css selector", ".key")
        key.click()
        away = "return [...arguments[0].querySelectorAll('.plots .away')].map((one) => one.getAttribute('class'))"
        faded = browser.js(away, figure)
        series = key.get_attribute("data-series")
        assert faded and not any(series in name.split() for name in faded)
        browser.js("""
          window.had = [];
          HTMLAnchorElement.prototype.click = function () { window.had.push(this.download); };
        """)
        figure.find_element("css selector", ".pngs button").click()
        assert any(browser.js("return window.had.length") or pause(browser) for _ in range(200))
        assert browser.js("return window.had[0]") in ("retention-0.png", "retention-0-1.png")
        browser.js(axe)
        run = """
          const done = arguments[arguments.length - 1];
          axe.run(document, {resultTypes: ["violations"]}).then((found) => done(JSON.stringify(found.violations)));
        """
        found = json.loads(driver.execute_async_script(run))
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert browser.complaints() == []
