"""The pictures as SVG: where marks stand, what the front is, and that each is a file of its own."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from made_results import put, result, score
from site_pages import Page

from xkeb.leaderboard.pictures.heatmap import heatmap
from xkeb.leaderboard.pictures.plots import Axis, PairRow, Point, bars, front, pairs, percent, scatter
from xkeb.leaderboard.pictures.svg import COLOURS, INK, SHAPES, Drawing
from xkeb.leaderboard.site.build import build_site

STYLES = Path(__file__).parents[3] / "leaderboard" / "static" / "site.css"


def marks(drawing: Drawing) -> list[tuple[float, float]]:
    """Where the marks stand, in their order."""
    found = re.findall(r"translate\(([\d.]+) ([\d.]+)\) scale", "".join(drawing.parts))
    return [(float(x), float(y)) for x, y in found]


def test_marks_stand_where_their_values_are() -> None:
    """The plot is from 46 to 426 across and from 278 up to 12."""
    axis = Axis("x", 0, 100, (0, 100))
    points = [Point(0, 0, 0, "a"), Point(100, 100, 1, "b"), Point(50, 25, 2, "c")]
    assert marks(scatter(points, axis, axis)) == [(46, 278), (426, 12), (236, 211.5)]
    logarithmic = Axis("facts", 10, 1000, (10, 100, 1000), log=True)
    assert [logarithmic.place(value) for value in (10, 100, 1000)] == pytest.approx([0.0, 0.5, 1.0])


def test_two_marks_a_line_stand_on_one_axis() -> None:
    """From 118 to 346; the other language is drawn first, below."""
    drawing = pairs([PairRow("mean of 2 models"), PairRow("rome", 100.0, 50.0), PairRow("ft", None, 0.0)], 25.0)
    assert marks(drawing) == [(232, 48), (346, 48), (118, 72)]
    assert 'class="base"' in "".join(drawing.parts) and "unedited: 25" in "".join(drawing.parts)
    assert "unedited" not in "".join(pairs([PairRow("rome", 1.0, 2.0)], None).parts)


@pytest.mark.parametrize(("before", "anchor"), [(0.0, "start"), (50.0, "middle"), (92.0, "end"), (100.0, "end")])
def test_what_the_unedited_model_has_is_not_cut_at_an_edge(before: float, anchor: str) -> None:
    (text,) = [part for part in pairs([PairRow("rome", 1.0, 2.0)], before).parts if "unedited: " in part]
    assert f'text-anchor="{anchor}"' in text


def test_the_front_is_what_nothing_surpasses_in_both() -> None:
    points = {name: Point(x, y, 0, name) for name, x, y in (
        ("a", 10, 90), ("b", 50, 90), ("c", 50, 40), ("d", 80, 60), ("e", 80, 60), ("f", 100, 5), ("g", 79, 59),
    )}  # fmt: skip
    assert [point.tip for point in front(points.values())] == ["b", "d", "f"]  # a is left of b, e is the same as d
    assert front([]) == []


def test_an_axis_goes_as_far_as_its_values() -> None:
    assert (percent("x").low, percent("x").high) == (-2, 102)
    narrow = percent("x", [63.0, 91.0])
    assert (narrow.low, narrow.high, list(narrow.ticks)) == (58, 102, [60, 70, 80, 90, 100])
    assert all(0 <= narrow.place(value) <= 1 for value in (63.0, 91.0))


def test_bars_are_as_long_as_their_values() -> None:
    drawing = "".join(bars([("father", 100.0, "n 3"), ("place of birth", 25.0, "n 9")]).parts)
    full, part = (float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawing))
    assert part / full == pytest.approx(0.25)


def test_a_matrix_has_a_cell_for_each_pair_the_fuller_the_further_from_zero() -> None:
    chart = heatmap("m", "Transfer", {("de", "en"): 100.0, ("en", "de"): -50.0, ("en", "th"): 0.0})
    (panel,) = chart.panels
    parts = re.findall(
        r'<rect x="(\d+)" y="(\d+)"[^>]* class="(s\d)" fill-opacity="([\d.]+)"', "".join(panel.drawing.parts)
    )
    assert parts == [("112", "42", "s0", "0.7"), ("72", "68", "s1", "0.35"), ("152", "68", "s0", "0")]
    assert (list(chart.heads), [list(row) for row in chart.rows]) == (
        ["edited in", "de", "en", "th"], [["de", "", "100.0", ""], ["en", "-50.0", "", "0.0"]],
    )  # fmt: skip
    assert re.findall(r"(?<=>)(?:edited|asked) in(?=<)", "".join(panel.drawing.parts)) == ["asked in", "edited in"]
    assert "Least is -50, en to de, most 100, de to en." in chart.alt


def test_strange_texts_are_text() -> None:
    drawing = Drawing(10, 10)
    drawing.text(0, 0, "<b>&\x00\x1b" + "w" * 100)
    drawing.mark(1, 1, 0, "</title><script>")
    drawing.bar(0, 0, 1, 1, "s0", "\x00<")
    drawing.path([(0, 0), (1, 1)], "front", tip="\x00<")
    root = ET.fromstring(drawing.file())
    texts = [element.text for element in root.iter() if element.tag.rpartition("}")[2] in ("text", "title")]
    assert texts[0] is not None and texts[0].startswith("<b>&  ww") and len(texts[0]) < 45
    assert texts[1:] == ["</title><script>", " <", " <"]


def test_colours_are_those_of_the_page_and_enough() -> None:
    style = STYLES.read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    for name, part in (("light", light), ("dark", dark)):
        for word, colour in zip(("ink", "soft", "line", "ground"), INK[name], strict=True):
            assert f"--{word}: {colour}" in part
        assert len(set(COLOURS[name])) == 8
    assert len(set(SHAPES)) == 6


def sized(method: str, size: int, f1: float) -> dict[str, Any]:
    made = result(method=method, settings=f"{size:064d}", f1={("generality", "zh"): score(f1)})
    made["method"]["train_size"] = size
    return made


def test_each_picture_is_there_as_svg_and_csv(tmp_path: Path) -> None:
    """The link of every page leads to a file whose numbers are those of the table below the picture."""
    for size, f1 in ((100, 20.0), (1000, 40.0)):
        put(tmp_path / "results" / str(size), sized("mend", size, f1))
    built = result(method="=rome", f1={("generality", "zh"): score(30.0)})
    built["slices"] = {f"relation={name}": built["scores"] for name in ("born in", "works for")}
    put(tmp_path / "results" / "rome", built)
    site = build_site([tmp_path / "results"], tmp_path / "site").index.parent
    shown = set()
    for page in site.rglob("*.html"):
        links = [str(link.get("href")) for link in Page(page).named("a") if "pictures/" in str(link.get("href"))]
        for link in links:
            assert (page.parent / link).is_file(), (page, link)
            shown.add((page.parent / link).resolve())
    assert shown == {path.resolve() for path in (site / "pictures").iterdir()}
    for path in shown:
        if path.suffix == ".svg":
            assert ET.parse(path).getroot().tag.endswith("svg")
    names = {path.name for path in shown}
    for kind in (
        "overview-crossing",
        "overview-cost",
        "task-bizsre-en2zh-sizes",
        "task-bizsre-en2zh-balance",
        "radar",
        "slices",
    ):
        assert any(kind in name for name in names), kind
    (relations,) = [path for path in shown if "slices" in path.name and path.suffix == ".csv"]
    with relations.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["relation", "F1, another language", "cases"], ["born in", "30.0", "4"], ["works for", "30.0", "4"],
        ]  # fmt: skip
    with (site / "pictures" / "overview-cost.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows["'=rome"]["generality in another language"] == "30.0"
    assert rows["'=rome"]["seconds a case"] == "3.00"
