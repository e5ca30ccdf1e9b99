"""The overview in a browser: tabs by mouse, keyboard and address; keys and pictures; how much a first screen weighs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import Browser, pause
from made_results import put, result

from xkeb.leaderboard.site.build import build_site

pytest_plugins = ("browser",)

RIGHT, LEFT, END, HOME, ENTER = "\ue014", "\ue012", "\ue010", "\ue011", "\ue007"  # as WebDriver names them
FIRST_SCREEN = 200_000
"""Bytes."""


def shown(browser: Browser) -> list[str]:
    """The sections that are seen."""
    script = "return [...document.querySelectorAll('.tabs > section')].filter((one) => one.offsetHeight).map((one) => one.id)"
    found: list[str] = browser.js(script)
    return found


def tab(browser: Browser, name: str) -> Any:
    return browser.driver.find_element("css selector", f".tabs nav a[href='#{name}']")


def test_a_click_turns_the_tab_and_the_address_and_back_turns_them_back(browser: Browser) -> None:
    browser.open()
    assert shown(browser) == ["by-method"]
    for name in ("by-model", "by-cost"):
        tab(browser, name).click()
        assert shown(browser) == [name]
        assert browser.driver.current_url.endswith(f"#{name}")
        assert tab(browser, name).get_attribute("aria-selected") == "true"
    browser.driver.back()
    assert any(shown(browser) == ["by-model"] or pause(browser) for _ in range(100))
    assert browser.complaints() == []


def test_an_address_opens_its_tab_also_by_a_place_within(browser: Browser) -> None:
    for name in ("by-model", "by-pair", "matrix", "by-protocol", "sequences", "by-cost"):
        browser.open(f"index.html#{name}")
        assert shown(browser) == [name]
    for nowhere in ("", "#nowhere", "#%F0%9F%98%80", "#main"):
        browser.open(f"index.html{nowhere}")
        assert shown(browser) == ["by-method"]
    assert browser.complaints() == []


def test_arrow_keys_turn_the_tabs(browser: Browser) -> None:
    browser.open()
    browser.js("arguments[0].focus()", tab(browser, "by-method"))
    turns = [
        (RIGHT, "by-model"),
        (LEFT, "by-method"),
        (LEFT, "by-cost"),
        (RIGHT, "by-method"),
        (END, "by-cost"),
        (HOME, "by-method"),
    ]
    for key, name in turns:
        browser.driver.switch_to.active_element.send_keys(key)
        assert shown(browser) == [name]
        assert browser.js("return document.activeElement.hash") == f"#{name}"
    stops = browser.js("return [...document.querySelectorAll('[role=tab]')].filter((one) => one.tabIndex === 0).length")
    assert stops == 1


def test_a_key_brings_its_marks_forward(browser: Browser) -> None:
    browser.open()
    figure = browser.driver.find_element("css selector", "figure[data-chart=crossing]")
    away = "return [...arguments[0].querySelectorAll('.plots .away')].map((one) => one.classList.contains('s0'))"
    key = figure.find_element("css selector", ".key")
    key.click()
    faded = browser.js(away, figure)
    assert faded and not any(faded)  # those of the other language
    browser.js("arguments[0].focus()", key)
    key.send_keys(ENTER)
    assert browser.js(away, figure) == []


def test_a_picture_is_had_as_png(browser: Browser) -> None:
    """Three times its size, with the colours of the page."""
    browser.open(scheme="dark")
    browser.js("""
      window.had = [];
      HTMLAnchorElement.prototype.click = function () { window.had.push([this.download, this.href]); };
    """)
    browser.driver.find_element("css selector", "figure[data-chart=crossing] .pngs button").click()
    assert any(browser.js("return window.had.length") or pause(browser) for _ in range(200))
    read = browser.js("return window.had[0]")
    assert read[0] == "crossing-1.png" and read[1].startswith("blob:")
    pixel = browser.driver.execute_async_script("""
      const done = arguments[arguments.length - 1];
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.width; canvas.height = image.height;
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        const data = context.getImageData(0, 0, image.width, image.height).data;
        const colours = new Set();
        for (let i = 0; i < data.length; i += 4) colours.add(data.slice(i, i + 3).join());
        done([image.width, [...colours]]);
      };
      image.onerror = () => done("no image");
      image.src = window.had[0][1];
    """)
    assert pixel[0] == 360 * 3
    assert {"18,23,29", "108,180,238", "242,154,92"} <= set(pixel[1])  # ground and both series, in the dark
    assert browser.complaints() == []


LANGUAGES = ("en", "zh", "de", "fr")
PAIRS = [(source, target) for source in LANGUAGES for target in LANGUAGES if source != target]


def spread(i: int) -> dict[str, Any]:
    """Twelve tasks, six models, seven methods."""
    source, target = PAIRS[i % len(PAIRS)]
    return result(f"task_{source}2{target}", source, target, f"model-{i // 12 % 6}", f"method-{i // 72}")


def many_tasks(i: int) -> dict[str, Any]:
    return result(f"task_{i}", method=f"method-{i % 9}")


def one_task(i: int) -> dict[str, Any]:
    """In two ways."""
    return result(
        model=f"model-{i // 20}", method=f"method-{i // 2 % 10}", protocol=("teacher_forcing", "generate")[i % 2]
    )


def two_tasks(i: int) -> dict[str, Any]:
    """Of ten models, each with 25 methods."""
    source, target = (("en", "zh"), ("zh", "en"))[i % 2]
    return result(f"bizsre_{source}2{target}", source, target, f"model-{i // 50}-7b", f"method-{i // 2 % 25}")


@pytest.mark.parametrize("made", [spread, many_tasks, one_task, two_tasks])
def test_a_first_screen_is_light_with_500_results(tmp_path: Path, made: Callable[[int], dict[str, Any]]) -> None:
    """Page, styles and scripts; nothing else is asked for."""
    for i in range(500):
        put(tmp_path / "results" / str(i), made(i) | {"settings": f"{i:064d}"})
    site = build_site([tmp_path / "results"], tmp_path / "site").index.parent
    page = (site / "index.html").read_text(encoding="utf-8")
    needed = [site / "static" / part for part in ("site.css", "picture.css", "menu.js", "tabs.js", "charts.js")]
    assert all(str(path.relative_to(site)) in page for path in needed)
    weight = len(page.encode()) + sum(path.stat().st_size for path in needed)
    assert weight < FIRST_SCREEN, weight
