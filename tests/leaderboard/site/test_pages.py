"""What a reader does in a browser: sorts, filters, opens an address, uses the keyboard, searches a thousand cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from driving import MANY, Browser, pause

pytest_plugins = ("browser",)

PAPER, OWN = "all--en-zh--paper", "all--en-zh--teacher-forcing"
"""The tables of the published numbers, and of those measured here."""
TAB, ENTER, ESCAPE, SPACE = "\ue004", "\ue007", "\ue00c", " "  # as WebDriver names them


def column(browser: Browser, number: int, table: str = PAPER) -> list[str]:
    """A column of a table, as far as its rows are shown."""
    script = """
      const rows = [...document.querySelectorAll(`#${arguments[1]} tbody tr:not(.group)`)].filter((row) => !row.hidden);
      return rows.map((row) => row.cells[arguments[0]].firstChild.textContent.trim());
    """
    found: list[str] = browser.js(script, number, table)
    return found


def marks(browser: Browser, number: int, table: str = PAPER) -> list[str]:
    script = """
      const rows = [...document.querySelectorAll(`#${arguments[1]} tbody tr:not(.group)`)].filter((row) => !row.hidden);
      return rows.map((row) => row.cells[arguments[0]].className);
    """
    found: list[str] = browser.js(script, number, table)
    return found


def head(browser: Browser, number: int) -> Any:
    return browser.driver.find_elements("css selector", f"#{PAPER} thead th")[number]


def choose(browser: Browser, field: str, value: str, table: str = PAPER) -> None:
    select = browser.driver.find_element("css selector", f"#{table} select[name={field}]")
    browser.js(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
        select,
        value,
    )


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        browser.driver.switch_to.active_element.send_keys(key)


def focused(browser: Browser) -> str:
    return str(browser.js("return document.activeElement.textContent.trim()"))


# Tables ----------------------------------------------------------------------------------------------------------------


def number(text: str) -> float:
    return float(text.partition(" / ")[0])


def test_a_click_sorts_within_each_group_and_says_so(browser: Browser) -> None:
    """No row of one task is ranked among those of another."""
    browser.open("rows.html")
    as_built = column(browser, 9)
    for expected, order in (("descending", -1), ("ascending", 1)):
        head(browser, 9).find_element("css selector", "button").click()
        assert head(browser, 9).get_attribute("aria-sort") == expected
        values = list(zip(column(browser, 2), map(number, column(browser, 9)), strict=True))
        assert values == sorted(values, key=lambda row: (row[0], order * row[1]))
        assert len(values) == len(as_built) and {row[0] for row in values} == {"bizsre_en2zh", "bizsre_zh2en"}
    head(browser, 9).find_element("css selector", "button").click()
    assert head(browser, 9).get_attribute("aria-sort") is None
    assert column(browser, 9) == as_built
    head(browser, 0).find_element("css selector", "button").click()
    assert head(browser, 0).get_attribute("aria-sort") == "ascending"
    names = list(zip(column(browser, 2), column(browser, 0), strict=True))
    assert names == sorted(names)
    assert browser.js("return document.querySelectorAll('#all--en-zh--paper [aria-sort]').length") == 1


def test_filters_hide_rows_and_columns_and_mark_anew(browser: Browser) -> None:
    browser.open("rows.html")
    every = len(column(browser, 0, OWN))
    choose(browser, "model", "chinese-llama-2-7b", OWN)
    choose(browser, "source", "en", OWN)
    assert set(column(browser, 1, OWN)) == {"chinese-llama-2-7b"}
    assert set(column(browser, 2, OWN)) == {"bizsre_en2zh"}
    choose(browser, "method", "memit", OWN)
    choose(browser, "badge", "reproduced", OWN)
    assert column(browser, 14, OWN) == ["99.4 / 25.0", "50.0 / 25.0"]
    assert marks(browser, 14, OWN) == ["best", ""]
    assert marks(browser, 11, OWN) == ["", ""]  # nothing is best in locality
    headings = browser.driver.find_elements("css selector", f"#{OWN} tr.group")
    shown = [one.text.removesuffix("; cases side by side") for one in headings if one.is_displayed()]
    assert shown == ["bizsre_en2zh, 20 cases, teacher forcing, f1 / em"]
    choose(browser, "property", "locality", OWN)
    shown = [
        cell.text for cell in browser.driver.find_elements("css selector", f"#{OWN} thead th") if cell.is_displayed()
    ]
    assert [text.split()[0].lower() for text in shown] == [
        "method", "model", "task", "cases", "protocol", "what", "kind", "overall", "locality", "locality",
    ]  # fmt: skip
    counted = browser.driver.find_element("css selector", f"#{OWN} .count").text
    assert counted == f"2 of {every} rows"
    for field, value in (("model", "gemma3-270m"), ("method", "mend"), ("badge", "reproduced")):
        choose(browser, field, value, OWN)
    assert column(browser, 0, OWN) == ["mend", "mend"]  # whatever stands beside the name
    browser.driver.find_element("css selector", f"#{OWN} button[type=reset]").click()
    browser.js("return new Promise((done) => setTimeout(done, 20))")
    assert len(column(browser, 0, OWN)) == every
    choose(browser, "model", "chinese-llama-2-7b")
    choose(browser, "method", "memit")
    assert column(browser, 2) == ["bizsre_en2zh", "bizsre_zh2en"]
    assert marks(browser, 9) == ["best", "best"]  # each of its own task


def test_the_script_marks_what_the_page_was_written_with(browser: Browser, site: Path) -> None:
    """Best and tie are worked out twice: when the site is built, and for the rows that are shown."""
    browser.open("methods/mend.html")
    script = """
      const written = new DOMParser().parseFromString(arguments[0], 'text/html');
      return [written, document].map((page) => [...page.querySelectorAll('[data-board] tbody td')].map((one) => one.className));
    """
    written, shown = browser.js(script, (site / "methods" / "mend.html").read_text(encoding="utf-8"))
    assert written == shown
    assert {"best", "tie", ""} <= set(written)


def test_an_address_opened_afresh_shows_the_same_view(browser: Browser) -> None:
    browser.open("rows.html")
    choose(browser, "source", "zh")
    choose(browser, "model", "baichuan-7b")
    head(browser, 10).find_element("css selector", "button").click()
    browser.driver.find_element("css selector", f"#{PAPER} .intervals").click()
    view = [column(browser, k) for k in range(15)]
    address = browser.driver.current_url
    browser.open(address.removeprefix(browser.address))
    assert [column(browser, k) for k in range(15)] == view
    assert (set(view[1]), set(view[2])) == ({"baichuan-7b"}, {"bizsre_zh2en"})
    assert head(browser, 10).get_attribute("aria-sort") == "descending"
    assert browser.driver.find_element("css selector", f"#{PAPER} .intervals").is_selected()
    chosen = browser.driver.find_element("css selector", f"#{PAPER} select[name=model]").get_attribute("value")
    assert chosen == "baichuan-7b"
    browser.open("rows.html#0.source=nonsense&1.sort=99up&x=%3Cscript%3E")
    assert len(column(browser, 0)) == 48


def test_intervals_are_shown_on_demand(browser: Browser) -> None:
    browser.open("models/gemma3-270m.html")
    interval = browser.driver.find_element("css selector", "[data-board] [data-i]")
    assert not interval.is_displayed()
    browser.driver.find_element("css selector", "[data-board] .intervals").click()
    assert interval.is_displayed()
    assert interval.text == "40.0 to 60.0"


# The keyboard ----------------------------------------------------------------------------------------------------------


def test_the_keyboard_reaches_the_content_the_menus_and_the_sorting(browser: Browser) -> None:
    browser.open("models/gemma3-270m.html")
    body = browser.driver.find_element("css selector", "body")
    body.send_keys(TAB)
    assert focused(browser) == "To the content"
    assert browser.js("return document.activeElement.getBoundingClientRect().left") >= 0
    press(browser, TAB)
    assert focused(browser) == "xkeb leaderboard"
    press(browser, TAB)
    assert focused(browser) == "All rows"
    press(browser, TAB)
    assert focused(browser) == "Cases side by side"
    press(browser, TAB)
    assert focused(browser) == "Tasks"
    press(browser, ENTER, TAB)
    assert browser.js("return document.activeElement.closest('details.menu').open") is True
    assert "bizsre_" in browser.js("return document.activeElement.closest('ul').textContent")
    press(browser, ESCAPE)
    assert focused(browser) == "Tasks"
    assert browser.js("return document.querySelectorAll('details[open]').length") == 0
    press(browser, TAB)
    assert focused(browser) == "Models"
    press(browser, TAB, TAB)
    assert focused(browser) == "How the numbers are made"
    reached = []
    while not browser.js("return document.activeElement.closest('[data-board] thead th') !== null"):
        press(browser, TAB)
        reached.append(focused(browser))
        assert len(reached) < 30
    assert reached[:2] == ["Published numbers", "Submit and cite"]
    sorted_by = "return document.querySelector('[data-board] thead th').getAttribute('aria-sort')"
    press(browser, ENTER)
    assert browser.js(sorted_by) == "ascending"
    press(browser, SPACE)
    assert browser.js(sorted_by) == "descending"
    assert focused(browser) == "Method"
    outline = browser.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_a_menu_closes_when_something_else_is_clicked(browser: Browser) -> None:
    browser.open("rows.html")
    browser.driver.find_elements("css selector", ".menu summary")[1].click()
    assert browser.driver.find_element("link text", "baichuan2-7b").is_displayed()
    browser.driver.find_elements("css selector", ".menu summary")[2].click()
    assert browser.js("return document.querySelectorAll('.menu[open]').length") == 1
    browser.driver.find_element("css selector", "footer p").click()  # no menu hangs over it
    assert browser.js("return document.querySelectorAll('.menu[open]').length") == 0


# Cases -----------------------------------------------------------------------------------------------------------------


def shown_cases(browser: Browser) -> list[str]:
    found: list[str] = browser.js(
        "return [...document.querySelectorAll('#cases h3')].map((title) => title.textContent)"
    )
    return found


def type_in(browser: Browser, text: str) -> None:
    field = browser.driver.find_element("css selector", "#find [name=text]")
    field.clear()
    field.send_keys(text)


def open_cases(browser: Browser, page: str) -> None:
    browser.open(page)
    assert any(browser.js("return !document.getElementById('find').hidden") or pause(browser) for _ in range(100))


def test_a_thousand_cases_are_searched_and_paged_ten_at_a_time(
    browser: Browser, result_page: Callable[[str], str]
) -> None:
    page = result_page("gemma3-270m--ft--")
    open_cases(browser, page)
    count = browser.driver.find_element("css selector", "#find .count")
    back, forth = browser.driver.find_elements("css selector", "#pager button")
    assert count.text == f"{MANY} cases"
    assert shown_cases(browser) == [f"Case {i}" for i in range(10)]
    assert not back.is_enabled()
    forth.click()
    assert shown_cases(browser) == [f"Case {i}" for i in range(10, 20)]
    assert "Page 2 of 104" in browser.driver.find_element("css selector", "#pager").text
    type_in(browser, "number 1036")
    assert (count.text, shown_cases(browser)) == (f"1 of {MANY} cases", ["Case 1036"])
    assert not forth.is_enabled()
    type_in(browser, "NUMBER 77, 里昂")
    assert shown_cases(browser) == ["Case 77"]
    type_in(browser, "nowhere to be found")
    assert (count.text, shown_cases(browser)) == (f"0 of {MANY} cases", [])
    open_cases(browser, f"{page}#text=number+103&page=2")  # 103 and 1030 to 1036
    assert shown_cases(browser) == [f"Case {i}" for i in (103, *range(1030, 1037))]
    open_cases(browser, f"{page}#where=elsewhere&page=3")
    assert shown_cases(browser) == [f"Case {i}" for i in range(200, 300, 10)]
    open_cases(browser, f"{page}#where=failed&page=99999")
    assert shown_cases(browser)[-1] == "Case 1035"
    assert browser.driver.find_element("css selector", "#find .count").text == f"518 of {MANY} cases"
    assert browser.complaints() == []


def test_a_page_of_cases_says_how_the_result_was_made(browser: Browser, result_page: Callable[[str], str]) -> None:
    browser.open(result_page("gemma3-270m--ft--"))
    text = browser.driver.find_element("css selector", "main").text
    for part in (
        "50.0 40.0 to 60.0",
        "20.0",
        "xkeb run",
        "3" * 64,
        "2" * 64,
        "the subject is not in the question",
        "layer",
    ):
        assert part in text, part
