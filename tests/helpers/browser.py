"""Fixtures: a headless Chromium, and a site with a bit of everything, served to it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from driving import MANY, Browser, serving
from made_results import answered, case, put, put_hostile, result, score

from xkeb.leaderboard.site.build import build_site

REQUIRED = "XKEB_REQUIRE_BROWSER"
"""Set where the browser tests must not be skipped."""


def missing(what: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what}, and {REQUIRED} is set")
    pytest.skip(what)


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        missing("no chromium with its chromedriver here (Debian: apt-get install chromium chromium-driver)")
    if importlib.util.find_spec("selenium") is None:
        missing("no selenium here (pip install 'xkeb[test]')")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published rows, two results of one cell, one with a published counterpart, many cases, training sizes, strange texts."""
    results = tmp_path_factory.mktemp("results")
    reasoned = ("portability", "zh")
    right = {"a": range(20), "b": range(10)}  # enough for a paired test to tell the two apart
    put(
        results / "a",
        result(method="memit", n_cases=20, f1={reasoned: score(99.4, 98, 99.9)}),
        answered(20, right["a"], reasoned),
    )
    put(
        results / "b",
        result(method="memit", n_cases=20, environment={"date": "2026-12-01"}),
        answered(20, right["b"], reasoned),
    )
    told = result("bizsre_zh2en", "zh", "en", "gemma3-270m", "rome")
    told["method"]["sees"].append("target_answer")
    put(results / "c", told)
    many = result(model="gemma3-270m", method="ft", n_cases=MANY)
    many["skipped"] = [{"case_id": "5000", "reason": "the subject is not in the question"}]
    put(results / "many", many, [case(i, prompt=f"Question number {i}, 里昂") for i in range(MANY)])
    for size in (100, 1000):
        crossed = {("generality", "zh"): score(60 - size / 100, 35, 65)}  # 59 and 50, by the same cases: a tie
        learnt = result(model="gemma3-270m", method="mend", settings=f"{size:064d}", f1=crossed)
        learnt["method"]["train_size"] = size
        put(results / str(size), learnt)
    put_hostile(results / "hostile")
    (results / "broken").mkdir()
    (results / "broken" / "result.json").write_text('{"schema_version": 0}', encoding="utf-8")
    return build_site([results], tmp_path_factory.mktemp("served") / "site").index.parent


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with serving(site) as found:
        yield found


@pytest.fixture
def browser(driver: Any, address: str) -> Browser:
    found = Browser(driver, address)
    found.complaints()
    found.requests()
    return found


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, out of a package whose own code isn't used."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or not spec.submodule_search_locations:
        missing("no axe-core here (pip install --no-deps axe-playwright-python)")
        raise AssertionError
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def result_page(site: Path) -> Callable[[str], str]:
    """The page of the only result whose folder holds a text."""

    def find(part: str) -> str:
        (found,) = site.glob(f"results/*{part}*/index.html")
        return found.relative_to(site).as_posix()

    return find


@pytest.fixture(scope="session")
def kinds(site: Path, result_page: Callable[[str], str]) -> list[str]:
    """A page of each kind."""
    names = ["index.html", "rows.html", "models/gemma3-270m.html", "methods/memit.html", "tasks/bizsre-en2zh.html"]
    return [
        *names,
        result_page("gemma3-270m--ft--"),
        "about.html",
        "published.html",
        "submit.html",
        result_page("gemma3-270m--rome--"),
        "cases.html",
    ]
