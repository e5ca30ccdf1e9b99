"""What strangers write is shown as text, and no file of the site is where it shouldn't be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from made_results import HOSTILE, put, put_hostile, result
from site_pages import Page, result_pages

from xkeb.leaderboard.site.build import build_site

OURS = {"static/menu.js", "static/table.js", "static/tabs.js", "static/charts.js", "static/cases.js", "cases.js"}
OURS |= {f"static/{name}.js" for name in ("differences", "casefiles", "caserows", "caseview", "browse")}


def test_hostile_texts_are_shown_as_text_and_escape_nowhere(tmp_path: Path) -> None:
    put_hostile(tmp_path / "results")
    before = set(tmp_path.rglob("*"))
    built = build_site([tmp_path / "results"], tmp_path / "deep" / "down" / "site")
    assert (built.n_results, built.broken) == (len(HOSTILE), [])
    site = tmp_path / "deep" / "down" / "site"
    new = {path for path in tmp_path.rglob("*") if path not in before}
    assert {path for path in new if not path.is_relative_to(site)} == {tmp_path / "deep", tmp_path / "deep" / "down"}
    assert all(set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for path in site.rglob("*"))
    known = tags(tmp_path)
    for path in site.rglob("*.html"):
        page = Page(path)
        for name, attributes in page.elements:
            assert name in known, (path, name)
            assert not [key for key in attributes if key.startswith("on")], (path, attributes)
            for key in ("href", "src"):
                value = attributes.get(key)
                assert value is None or not value.startswith(("javascript:", "data:", "//")), value
        for script in page.named("script"):
            assert str(script["src"]).replace("../", "") in OURS and "type" not in script
    for path in site.rglob("*.svg"):
        names = {element.tag.rpartition("}")[2] for element in ET.parse(path).iter()}
        assert names <= {"svg", "style", "rect", "line", "path", "text", "title", "g"}
    shown = dict.fromkeys(HOSTILE, False)
    for path in result_pages(site):
        for text in HOSTILE:
            tidy = " ".join(text.split())
            shown[text] |= tidy in Page(path).text
    assert all(shown.values()), [text[:40] for text, found in shown.items() if not found]


def tags(tmp_path: Path) -> set[str]:
    """The elements of a site with nothing strange in it."""
    made = result(skipped=[{"case_id": "9", "reason": "no subject"}])
    made["method"]["sees"].append("target_answer")
    made["slices"] = {f"relation={name}": made["scores"] for name in ("a", "b")}
    put(tmp_path / "harmless" / "a", made)
    (tmp_path / "harmless" / "b").mkdir()
    (tmp_path / "harmless" / "b" / "result.json").write_text("{", encoding="utf-8")
    build_site([tmp_path / "harmless"], tmp_path / "harmless site")
    return {name for path in (tmp_path / "harmless site").rglob("*.html") for name, _ in Page(path).elements}


def test_hostile_languages_and_equal_page_names_get_files_of_their_own(tmp_path: Path) -> None:
    names: Sequence[str] = ("a/b", "a-b", "A b", "../a.b")
    for i, name in enumerate(names):
        put(tmp_path / str(i), result(model=name, source=name, target="../../etc"))
    build_site([tmp_path], tmp_path / "site", with_published=False)
    assert len(list((tmp_path / "site" / "models").iterdir())) == len(names)
    assert len(list((tmp_path / "site" / "tables").glob("all--*.csv"))) == len(names)
    for path in (tmp_path / "site" / "models").iterdir():
        assert sum(name in Page(path).text.split() or f" {name} " in Page(path).text for name in names) >= 1
