"""Each kind of page in a browser: it fits, asks nobody else, is accessible, reads without scripts, obeys no stranger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import Browser
from made_results import HOSTILE

pytest_plugins = ("browser",)


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (1440, "light"), (1440, "dark")])
def test_pages_fit_and_ask_nobody_else(browser: Browser, kinds: list[str], site: Path, width: int, scheme: str) -> None:
    strange = sorted(path.relative_to(site).as_posix() for path in site.glob("results/*/index.html"))
    grounds = set()
    for page in [*kinds, *(strange if width == 360 and scheme == "light" else [])]:
        browser.open(page, width=width, scheme=scheme)
        assert browser.js("return document.documentElement.scrollWidth") <= width, page
        grounds.add(browser.js("return getComputedStyle(document.body).backgroundColor"))
    assert browser.complaints() == []
    asked = browser.requests()
    assert {f"{browser.address}static/{name}" for name in ("site.css", "picture.css", "charts.js")} <= asked
    assert not [url for url in asked if not url.startswith((browser.address, "data:", "blob:", "about:"))]
    assert grounds == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(18, 23, 29)"}


def test_axe_finds_nothing_serious(browser: Browser, kinds: list[str], axe: str) -> None:
    run = """
      const done = arguments[arguments.length - 1];
      axe.run(document, {resultTypes: ["violations"]}).then((found) => done(JSON.stringify(found.violations)));
    """
    for scheme in ("light", "dark"):
        for page in kinds if scheme == "light" else [kinds[0], kinds[5]]:
            browser.open(page, scheme=scheme)
            browser.js("document.querySelectorAll('figure details').forEach((one) => { one.open = true; })")
            browser.js(axe)
            found = json.loads(browser.driver.execute_async_script(run))
            serious = [
                (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary"))
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], (page, scheme)


def test_it_reads_without_scripts(browser: Browser, result_page: Callable[[str], str]) -> None:
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for page in ("index.html", "rows.html", result_page("gemma3-270m--ft--")):
            browser.open(page)
            root = browser.cdp("DOM.getDocument", depth=-1)["root"]["nodeId"]

            def visible(selector: str, root: int = root) -> bool:
                node = browser.cdp("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
                assert node, selector
                try:
                    return bool(browser.cdp("DOM.getBoxModel", nodeId=node)["model"]["height"])
                except Exception as error:  # what chromedriver raises for a node that takes no room
                    assert "box model" in str(error).lower()
                    return False

            if page == "index.html":
                assert visible("figure .plots svg") and visible("figure summary") and visible("#by-method table")
                assert not visible("#by-model")
                browser.open("index.html#by-model")
                root = browser.cdp("DOM.getDocument", depth=-1)["root"]["nodeId"]
                assert visible("#by-model table", root) and not visible("#by-method", root)
            elif page == "rows.html":
                assert visible("#all--en-zh--paper tbody tr:last-child")
                assert visible("[data-board] [data-i]")
                assert not visible(".filters")
            else:
                assert visible("#cases .case:nth-child(10)")
                assert visible("#first")
                assert not visible("#find")
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_strange_texts_do_nothing(browser: Browser, site: Path) -> None:
    """No dialogue opens, no title changes, no element of theirs comes to be, and the texts are there."""
    pages = [
        "index.html",
        "rows.html",
        *(path.relative_to(site).as_posix() for path in sorted(site.glob("results/*/index.html"))),
    ]
    pages += [f"models/{path.name}" for path in sorted((site / "models").iterdir()) if "7b" not in path.name]
    seen = ""
    for page in pages:
        browser.open(page)
        assert "alert" not in browser.js("return document.title").replace("alert(1)", "")
        assert (
            browser.js("return document.querySelectorAll('img, b, iframe, [onerror], [href^=\"javascript\"]').length")
            == 0
        )
        sources = browser.js("return [...document.scripts].map((one) => one.src)")
        assert all(source.startswith(browser.address) for source in sources)
        seen += browser.js("return document.body.textContent")
    assert browser.complaints() == []
    assert all(text.partition("\0")[0] in seen for text in HOSTILE)
