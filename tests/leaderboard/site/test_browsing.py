"""The case browser, control by control: results, filters, search, keys, addresses, fetches; without scripts, too."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Browser, pause, serving
from made_results import Json, case, put, result

from xkeb.leaderboard.site.browsing import CHUNK
from xkeb.leaderboard.site.build import build_site

pytest_plugins = ("browser",)

N = 200
DOWN, UP, END, HOME, ESCAPE, ENTER = (
    "\ue015",
    "\ue013",
    "\ue010",
    "\ue011",
    "\ue00c",
    "\ue007",
)  # as WebDriver names them
TEXTS = {"en": ("Lyon", "Paris"), "zh": ("里昂", "巴黎"), "ar": ("ليون", "باريس")}
"""The reference, and what the model says before the edit."""


def answers(target: str, right: dict[str, range], broken: range = range(0), foreign: range = range(0)) -> list[Json]:
    """Cases in the suite's format.

    Args:
        right: language -> cases whose every question in it is right after the edit.
        broken: cases whose unrelated English answer changes.
        foreign: cases whose generality in the other language is answered in English.
    """
    found = []
    for i in range(N):
        made = case(i, target=target, prompt=f"Question number {i}")
        for probe in made["probes"]:
            code, name = probe["language"], probe["property"]
            reference, old = TEXTS[code]
            after = reference if i in right[code] and name != "locality" else old
            if name == "locality" and code == "en" and i in broken:
                after = "London"
            if name == "generality" and code == target and i in foreign:
                after = "Lyon"
            exact = float(after == (old if name == "locality" else reference))
            probe |= {"reference": reference, "before": old, "after": after}
            wrong = float(after == "Lyon" and code != "en")
            probe["scores"] = {"f1": exact, "em": exact, "f1_units": exact, "exact": exact, "wrong_language": wrong}
            probe["scores_before"] = dict.fromkeys(probe["scores"], float(name == "locality"))
        found.append(made)
    return found


@pytest.fixture(scope="module")
def browsed(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Three results of a group with Chinese, one of them without the last case, and two of free answers with Arabic."""
    root = tmp_path_factory.mktemp("browsed")
    methods = {
        "a-rome": answers("zh", {"en": range(150), "zh": range(50)}, broken=range(0, N, 5)),
        "b-memit": answers("zh", {"en": range(100, 200), "zh": range(140, 160)}, broken=range(3, N, 10)),
        "c-ft": answers("zh", {"en": range(0), "zh": range(0)})[:-1],
    }
    for name, lines in methods.items():
        put(root / name, result(method=name, n_cases=len(lines)), lines)
    for name in ("rome", "ft"):
        made = result("free_en2ar", target="ar", method=name, n_cases=N, protocol="generate")
        made["metrics"].append("wrong_language")
        put(root / f"free-{name}", made, answers("ar", {"en": range(N), "ar": range(9)}, foreign=range(20, 27)))
    build_site([root], root / "site", with_published=False)
    with serving(root / "site") as address:
        yield Browser(driver, address)


def shown(browser: Browser) -> tuple[str, str, str]:
    """The number of cases, the heading of the chosen one, and which it is of how many."""
    script = """
      const text = (selector) => document.querySelector(selector)?.textContent ?? "";
      return [text("#choice .count"), text("#case h2"), text("#case .turn span")];
    """
    count, title, where = browser.js(script)
    return count, title, where


def wait(browser: Browser, count: str, title: str) -> None:
    """Until so many cases, and that one, are seen."""
    assert any(shown(browser)[:2] == (count, title) or pause(browser) for _ in range(100)), shown(browser)


def address_of(browser: Browser, method: str, task: str = "bizsre-en2zh") -> str:
    """A result's id."""
    index = browser.js("return fetch('cases/index.json').then((answer) => answer.json())")
    (found,) = [
        one["id"]
        for group in index["groups"]
        for one in group["results"]
        if one["id"].startswith(f"{task}--chinese-llama-2-7b--{method}--")
    ]
    return str(found)


def status(browser: Browser, link: str) -> int:
    code: int = browser.js("return fetch(arguments[0]).then((answer) => answer.status)", link)
    return code


def start(browser: Browser, fragment: str = "") -> None:
    browser.open(f"cases.html{fragment}")
    assert any(shown(browser)[1] or pause(browser) for _ in range(100))


def choose(browser: Browser, name: str, value: str) -> None:
    script = """
      const select = document.querySelector(`[name=${arguments[0]}]`);
      select.focus();
      select.value = arguments[1];
      select.dispatchEvent(new Event("change", {bubbles: true}));
      return select.value;
    """
    assert browser.js(script, name, value) == value


def chosen(browser: Browser) -> list[str]:
    names = "[...document.querySelectorAll('[name^=result-]')].map((one) => one.selectedOptions[0].textContent)"
    found: list[str] = browser.js(f"return {names}.map((name) => name.split(' ')[0])")
    return found


def press(browser: Browser, *keys: str) -> None:
    for key in keys:
        browser.driver.switch_to.active_element.send_keys(key)


# Results ---------------------------------------------------------------------------------------------------------------


def test_results_are_chosen_added_and_removed(browsed: Browser) -> None:
    start(browsed)
    assert chosen(browsed) == ["a-rome", "b-memit"]
    assert shown(browsed) == ("200 cases", "Case 0", "1 of 200")
    assert "a-rome" in browsed.driver.find_element("css selector", ".answers thead").text
    browsed.driver.find_element("id", "add").click()
    assert any(chosen(browsed) == ["a-rome", "b-memit", "c-ft"] or pause(browsed) for _ in range(100))
    assert not browsed.driver.find_element("id", "add").is_enabled()  # the group has no more
    browsed.driver.find_element("css selector", "[aria-label='Remove A']").click()
    assert any(chosen(browsed) == ["b-memit", "c-ft"] or pause(browsed) for _ in range(100))
    choose(browsed, "result-B", address_of(browsed, "a-rome"))
    assert any(chosen(browsed) == ["b-memit", "a-rome"] or pause(browsed) for _ in range(100))
    assert browsed.js("return document.activeElement.name") == "result-B"  # the keyboard stays where it was
    heads = "return [...document.querySelectorAll('.answers thead a')].map((one) => one.textContent.split(' ')[0])"
    assert any(browsed.js(heads) == ["b-memit", "a-rome"] or pause(browsed) for _ in range(100))
    link = browsed.driver.find_element("css selector", ".answers thead a").get_attribute("href")
    assert status(browsed, link) == 200
    taken = browsed.js(
        "return [...document.querySelector('[name=result-A]').options].filter((one) => one.disabled).length"
    )
    assert taken == 1  # nothing is set beside itself


def test_another_group_has_its_own_results_and_is_never_mixed_with_this_one(browsed: Browser) -> None:
    start(browsed)
    choose(browsed, "group", "1")
    assert any(sorted(chosen(browsed)) == ["ft", "rome"] or pause(browsed) for _ in range(100))
    names = browsed.js("return [...document.querySelector('[name=result-A]').options].map((one) => one.textContent)")
    assert [name.split()[0] for name in names] == ["ft", "rome"]
    assert browsed.driver.find_element("css selector", ".answers tbody").text.count("f1_units / exact") == 1


def test_a_case_that_a_result_lacks_is_said_to_be_lacking(browsed: Browser) -> None:
    start(browsed)
    ids = [address_of(browsed, name) for name in ("c-ft", "a-rome")]
    start(browsed, f"#with={ids[0]}.{ids[1]}&case=199")
    wait(browsed, "200 cases", "Case 199")
    cells = browsed.driver.find_elements("css selector", ".answers tbody:nth-of-type(1) tr:nth-child(5) td")
    assert [cell.text for cell in cells] == ["has no such case", "Paris"]


# Filters ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ({"A": "fixed"}, 150),
        ({"A": "broken"}, 40),
        ({"A": "crossed"}, 50),
        ({"B": "broken"}, 20),
        ({"A": "fixed", "B": "broken"}, 15),  # 3, 13, .. 143
        ({"A": "fixed", "B": "fixed"}, 50),  # 100 to 149
        ({"A": "crossed", "B": "crossed"}, 0),
    ],
)
def test_filters_show_the_cases_that_all_of_them_let_through(
    browsed: Browser, only: dict[str, str], count: int
) -> None:
    start(browsed)
    for letter, value in only.items():
        choose(browsed, f"only-{letter}", value)
    text = f"{count} of 200 cases"
    assert any(shown(browsed)[0] == text or pause(browsed) for _ in range(100)), shown(browsed)
    if not count:
        assert "No case fits all filters." in browsed.driver.find_element("id", "case").text


def test_wrong_language_is_a_filter_where_it_was_measured(browsed: Browser) -> None:
    start(browsed)
    option = "return document.querySelector('[name=only-A] [value=wrong-language]')"
    assert browsed.js(f"{option}.disabled") is True
    assert browsed.js(f"{option}.textContent") == "wrong language (not measured)"
    choose(browsed, "group", "1")
    assert any(not browsed.js(f"{option}.disabled") or pause(browsed) for _ in range(100))
    choose(browsed, "only-A", "wrong-language")
    wait(browsed, "7 of 200 cases", "Case 20")


def test_the_search_looks_at_questions_and_answers(browsed: Browser) -> None:
    start(browsed)
    field = browsed.driver.find_element("css selector", "#choice [name=text]")
    field.send_keys("NUMBER 19")
    wait(browsed, "11 of 200 cases", "Case 19")
    field.clear()
    field.send_keys("london")
    wait(browsed, "60 of 200 cases", "Case 0")  # 40 of A's and 20 of B's
    field.clear()
    field.send_keys("nowhere")
    assert any(shown(browsed)[0] == "0 of 200 cases" or pause(browsed) for _ in range(100))


# Keys ------------------------------------------------------------------------------------------------------------------


def test_the_keyboard_alone_goes_through_the_cases(browsed: Browser) -> None:
    start(browsed)
    assert "next case" in browsed.driver.find_element("id", "keys").text
    browsed.driver.find_element("css selector", "body").send_keys("j")
    wait(browsed, "200 cases", "Case 1")
    press(browsed, "j", "k", "k", "k")
    wait(browsed, "200 cases", "Case 0")
    press(browsed, "/")
    assert browsed.js("return document.activeElement.name") == "text"
    press(browsed, "number 7")
    wait(browsed, "11 of 200 cases", "Case 7")  # letters in the field are text
    press(browsed, ESCAPE)
    assert browsed.js("return document.activeElement.id") == "list"
    press(browsed, DOWN)
    wait(browsed, "11 of 200 cases", "Case 70")
    press(browsed, END)
    wait(browsed, "11 of 200 cases", "Case 79")
    active = "return document.getElementById(document.querySelector('#list').getAttribute('aria-activedescendant'))"
    assert "number 79" in browsed.js(f"{active}.textContent")
    assert browsed.js(f"{active}.getAttribute('aria-selected')") == "true"
    press(browsed, UP, HOME)
    wait(browsed, "11 of 200 cases", "Case 7")
    browsed.driver.find_element("id", "letters").click()
    press(browsed, "j")
    assert shown(browsed)[1] == "Case 7"


def test_buttons_turn_to_the_neighbours_and_keep_the_focus(browsed: Browser) -> None:
    start(browsed)
    button = browsed.driver.find_element("css selector", ".turn button:last-of-type")
    browsed.js("arguments[0].focus()", button)
    button.send_keys(ENTER)
    wait(browsed, "200 cases", "Case 1")
    assert any(browsed.js("return document.activeElement.textContent") == "Next" or pause(browsed) for _ in range(40))
    browsed.driver.find_element("css selector", "#list [role=option]:nth-child(4)").click()
    wait(browsed, "200 cases", "Case 3")


# Addresses -------------------------------------------------------------------------------------------------------------


def test_an_address_holds_results_filters_text_and_case(browsed: Browser) -> None:
    start(browsed)
    ids = [address_of(browsed, name) for name in ("b-memit", "a-rome")]
    fragment = f"#with={ids[0]}.{ids[1]}&only=broken.fixed&text=number+1&case=113"
    start(browsed, fragment)
    wait(browsed, "6 of 200 cases", "Case 113")  # 13, 103, 113, 123, 133, 143
    assert chosen(browsed) == ["b-memit", "a-rome"]
    assert browsed.js("return location.hash") == fragment
    press(browsed, "j")
    wait(browsed, "6 of 200 cases", "Case 123")
    assert browsed.js("return location.hash").endswith("&case=123")
    browsed.js("location.hash = arguments[0]", f"#with={ids[1]}.{ids[0]}&only=crossed.&case=4")
    wait(browsed, "50 of 200 cases", "Case 4")
    assert chosen(browsed) == ["a-rome", "b-memit"]
    start(browsed, "#with=nothing.like-it&only=x.y.z&case=none")
    assert shown(browsed) == ("200 cases", "Case 0", "1 of 200")
    assert browsed.complaints() == []


def test_other_pages_lead_to_it(browsed: Browser) -> None:
    browsed.open("rows.html")
    link = browsed.driver.find_element("link text", "cases side by side")
    browsed.driver.get(link.get_attribute("href"))
    assert any(len(chosen(browsed)) == 2 or pause(browsed) for _ in range(100))
    link = browsed.driver.find_element("css selector", ".answers thead a").get_attribute("href")
    browsed.driver.get(link)
    browsed.driver.find_element("link text", "Beside other results").click()
    assert any(len(chosen(browsed)) == 2 or pause(browsed) for _ in range(100))


# What is shown ---------------------------------------------------------------------------------------------------------


def test_only_visible_rows_are_in_the_page_and_only_their_files_are_fetched(browsed: Browser) -> None:
    browsed.requests()
    start(browsed)
    data = {url for url in browsed.requests() if "/cases/" in url}
    assert (
        len(data) == 2 + 4
    )  # index, order; of the first chunk, questions and answers before, which are shared, and two after
    count = "return document.querySelectorAll('#list [role=option]').length"
    assert 5 < browsed.js(count) < 35
    browsed.js("document.getElementById('list').scrollTop = 1e6")
    last = "return [...document.querySelectorAll('#list [role=option]')].map((one) => one.textContent).join()"
    assert any("number 199" in browsed.js(last) or pause(browsed) for _ in range(100))
    assert browsed.js(count) < 35
    more = {url for url in browsed.requests() if "/cases/" in url}
    assert 0 < len(more) <= 2 * 4 and N > 3 * CHUNK  # of the chunks that were scrolled over, none
    sizes = browsed.js(
        "return [...document.querySelectorAll('#list [role=option]')].map((one) => [one.ariaSetSize, one.offsetHeight])"
    )
    assert {tuple(one) for one in sizes} == {("200", 56)}


def test_nothing_in_the_page_moves_while_it_loads_and_turns(browsed: Browser) -> None:
    start(browsed)
    browsed.js("""
      window.shift = 0;
      new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shift += one.value; })
        .observe({ type: "layout-shift", buffered: true });
    """)
    press(browsed, "j", "j")
    wait(browsed, "200 cases", "Case 2")
    pause(browsed)
    assert browsed.js("return window.shift") < 0.01


def test_every_text_has_its_language_and_direction_and_differences_are_marked(browsed: Browser) -> None:
    start(browsed)
    ids = [address_of(browsed, name, "free-en2ar") for name in ("rome", "ft")]
    start(browsed, f"#with={ids[0]}.{ids[1]}&case=20")
    wait(browsed, "200 cases", "Case 20")
    cells = browsed.js("""
      return [...document.querySelectorAll(".answers tbody td:not(.figures)")].map((one) => [one.lang, one.dir]);
    """)
    assert {tuple(one) for one in cells} == {("en", "auto"), ("ar", "rtl")}
    bodies = "[...document.querySelectorAll('.answers tbody')]"
    body = f"{bodies}.find((one) => one.textContent.startsWith('generality, asked in ar'))"
    marks = "[...one.querySelectorAll('mark')].map((mark) => mark.textContent).join()"
    after = browsed.js(f"return [...{body}.rows[4].cells].map((one) => {marks})")
    assert after == ["", "Lyon", "Lyon"]
    assert browsed.js(f"return {body}.rows[4].querySelector('.missing').title") == "missing: ليون"
    fonts = browsed.js(f"return getComputedStyle({body}.rows[4].cells[1]).fontFamily")
    assert "Noto Naskh Arabic" in fonts


def common(a: str, b: str) -> int:
    """The length of the longest common subsequence, row by row."""
    row = [0] * (len(b) + 1)
    for one in a:
        last = row
        row = [0]
        for j, other in enumerate(b):
            row.append(last[j] + 1 if one == other else max(last[j + 1], row[j]))
    return row[-1]


def test_differences_are_those_of_the_longest_common_subsequence(browsed: Browser) -> None:
    start(browsed)
    generator = random.Random(0)
    pairs = [
        ("".join(generator.choices("abc 里昂", k=generator.randrange(14))), "".join(generator.choices("abc 里昂", k=9)))
        for _ in range(80)
    ]
    found = browsed.js(
        "return JSON.parse(arguments[0]).map(([a, b]) => [subsequence([...a], [...b]), differences(a, b)])",
        json.dumps(pairs),
    )
    for (text, expected), (raw, parts) in zip(pairs, found, strict=True):
        assert sum(kind == "same" and len(part) for kind, part in raw) == common(text, expected)
        for one in (raw, parts):
            assert "".join(part for kind, part in one if kind != "missing") == text
            assert "".join(part for kind, part in one if kind != "extra") == expected
    assert browsed.js("return differences('ที่', 'ที')") == [
        ["extra", "ที่"],
        ["missing", "ที"],
    ]  # a mark is no character of its own
    assert browsed.js("return differences('Lyons', 'Lyon')") == [["same", "Lyon"], ["extra", "s"]]


# Without scripts, without a server ---------------------------------------------------------------------------------------


def test_without_scripts_it_says_so_and_leads_to_the_files(browsed: Browser) -> None:
    browsed.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browsed.open("cases.html")
        text = browsed.driver.find_element("css selector", "main").text
        assert "needs scripts for that" in text and "Results of" not in text
        links = [link.get_attribute("href") for link in browsed.driver.find_elements("css selector", "noscript a")]
    finally:
        browsed.cdp("Emulation.setScriptExecutionDisabled", value=False)
    assert len(links) == 3 * 5
    start(browsed)
    for link in links:
        assert status(browsed, link) == 200, link


def test_opened_as_a_file_it_says_what_is_needed(browsed: Browser, tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    site = build_site([tmp_path / "a"], tmp_path / "site").index.parent
    browsed.driver.get((site / "cases.html").as_uri())
    text = browsed.driver.find_element("css selector", "main").text
    assert "opened as a file" in text and "xkeb leaderboard serve" in text
    assert not browsed.driver.find_element("id", "browser").is_displayed()
    browsed.driver.get(next(site.glob("results/*/index.html")).as_uri())
    assert any(browsed.js("return !document.getElementById('find').hidden") or pause(browsed) for _ in range(100))


def test_files_that_are_gone_are_said_to_be(browsed: Browser, tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    site = build_site([tmp_path / "a"], tmp_path / "site").index.parent
    (site / "cases" / "index.json").unlink()
    with serving(site) as address:
        Browser(browsed.driver, address).open("cases.html")
        message = "return document.getElementById('failed').textContent"
        assert any("404" in browsed.js(message) or pause(browsed) for _ in range(100))
    browsed.complaints()
