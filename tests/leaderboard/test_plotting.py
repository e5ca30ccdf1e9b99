"""`xkeb plot`: what is drawn of results, by hand; what is never drawn together; files that any program opens."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from command_line import Xkeb
from made_results import case, crossed, grouped, put, put_several, result, score

from xkeb.errors import RequestError
from xkeb.leaderboard.plotting import Picture, plot

pytest_plugins = ("command_line",)
Json = dict[str, Any]


def kept(method: str, curve: dict[int, float], **changes: Any) -> Json:
    made = result(method=method, regime="sequential:100@after_all", **changes)
    made["retention"] = {
        str(edits): {
            "reliability": {"en": {"f1": score(mean, mean - 5, min(100, mean + 5), n=min(edits, 4)), "em": score(mean)}}
        }
        for edits, mean in curve.items()
    }
    return grouped(made)


def rows(picture: Picture) -> list[list[str]]:
    (file,) = [file for file in picture.files if file.suffix == ".csv"]
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))


def texts(picture: Picture) -> list[str]:
    (file,) = [file for file in picture.files if file.suffix == ".svg"]
    return ["".join(part.itertext()) for part in ET.parse(file).getroot().iter() if part.tag.endswith("}text")]


def test_a_matrix_for_each_method_and_measure(tmp_path: Path) -> None:
    results = put_several(
        tmp_path / "results",
        crossed("en", {"de": 80.0, "th": 20.0}),
        crossed("de", {"en": 60.0, "th": -10.0}),
        crossed("en", {"de": 8.0, "th": 4.0}, "ft"),
    )
    drawn = plot("matrix", [results], tmp_path / "out")
    assert [picture.chart.title.split(":")[0] for picture in drawn] == 2 * [
        "Transfer of f1, in percent", "Right in both, em, in percent"
    ]  # fmt: skip
    assert rows(drawn[0]) == [["edited in", "de", "en", "th"], ["de", "", "60.0", "-10.0"], ["en", "80.0", "", "20.0"]]
    assert rows(drawn[3]) == [["method", "de", "th"], ["ft", "2.0", "1.0"]]  # edited in one language
    assert {"80", "60", "-10", "20"} <= set(texts(drawn[0]))


def test_methods_that_were_asked_the_same_share_a_matrix_of_one_source(tmp_path: Path) -> None:
    results = put_several(
        tmp_path / "results",
        crossed("en", {"de": 80.0, "th": 20.0}),
        crossed("en", {"de": 8.0, "th": 4.0}, "ft"),
        crossed("en", {"de": 9.0, "th": 9.0}, "ike") | {"prompt": "qa", "comparable_group": "another"},
    )
    drawn = plot("matrix", [results], tmp_path / "out")
    assert [rows(picture) for picture in drawn[::2]] == [
        [["method", "de", "th"], ["ft", "8.0", "4.0"], ["rome", "80.0", "20.0"]],
        [["method", "de", "th"], ["ike", "9.0", "9.0"]],
    ]


def test_families_and_scripts_have_a_line_each_the_highest_first(tmp_path: Path) -> None:
    results = put_several(tmp_path / "results", crossed("en", {"de": 80.0, "nl": 60.0, "th": 20.0, "xx": 10.0}))
    (drawn,) = plot("families", [results], tmp_path / "out")
    assert rows(drawn)[1:] == [
        ["rome", "de", "Germanic", "Latin", "80.0"], ["rome", "nl", "Germanic", "Latin", "60.0"],
        ["rome", "th", "Kra-Dai", "Thai", "20.0"], ["rome", "xx", "not said", "not said", "10.0"],
    ]  # fmt: skip
    labels = [text for text in texts(drawn) if text in {"Germanic", "Kra-Dai", "Latin", "Thai", "not said"}]
    assert labels == ["Germanic", "Kra-Dai", "not said", "Latin", "Thai", "not said"]


def test_retention_is_a_curve_with_intervals_for_each_method(tmp_path: Path) -> None:
    results = put_several(
        tmp_path / "results", kept("rome", {1: 100.0, 10: 60.0, 100: 20.0}), kept("ft", {1: 90.0, 10: 5.0, 100: 5.0})
    )
    (drawn,) = plot("retention", [results], tmp_path / "out")
    assert rows(drawn)[0] == ["method", "property", "language", "edits", "f1", "from", "to", "asked"]
    assert ["rome", "reliability", "en", "10", "60.0", "55.0", "65.0", "4"] in rows(drawn)
    svg = next(file for file in drawn.files if file.suffix == ".svg").read_text(encoding="utf-8")
    assert len(re.findall('class="shape thin', svg)) == 6 and len(re.findall('class="shape s', svg)) == 2
    across = [float(x) for x in re.findall(r'translate\(([\d.]+) [\d.]+\) scale\(4\)" class="mark s0"', svg)]
    assert len(across) == 3 and across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)  # logarithmic


def answers(em: Sequence[float]) -> list[Json]:
    """Cases whose answers in Chinese are right as far as `em` says."""
    cases = [case(i) for i in range(len(em))]
    for made, value in zip(cases, em, strict=True):
        for probe in made["probes"]:
            if (probe["property"], probe["language"]) == ("generality", "zh"):
                probe["scores"] = {"f1": 0.0, "em": value}
    return cases


def test_a_gap_is_of_the_cases_that_were_asked_in_both_ways(tmp_path: Path) -> None:
    for method, forced, free in (("rome", [1, 1, 1, 0], [1, 0, 0]), ("ft", [1, 0, 0, 0], [0, 0, 0])):
        made = result(method=method)
        put(tmp_path / "results" / method, grouped(made), answers(forced))
        other = result(method=method, protocol="generate", n_cases=3, protocol_args={})
        put(tmp_path / "results" / f"{method}-generate", grouped(other), answers(free))
    (drawn,) = plot("gap", [tmp_path / "results"], tmp_path / "out")
    heads, *found = rows(drawn)
    assert heads[4:] == ["em, teacher forcing", "em, generate", "gap"]
    chinese = [row for row in found if row[2:4] == ["generality", "zh"]]
    assert chinese == [
        ["ft", "chinese-llama-2-7b", "generality", "zh", "33.3", "0.0", "-33.3"],
        ["rome", "chinese-llama-2-7b", "generality", "zh", "100.0", "33.3", "-66.7"],
    ]
    with pytest.raises(
        RequestError, match=r"gap is of two results of a method that differ in their prompt|don't differ"
    ):
        plot("gap", [tmp_path / "results"], tmp_path / "out", across="prompt")


def test_what_is_not_comparable_is_refused_in_one_sentence(xkeb_cli: Xkeb, tmp_path: Path) -> None:
    results = put_several(tmp_path / "results", grouped(result()), grouped(result(method="ft", prompt="qa")))
    done = xkeb_cli("plot", "balance", results, "--output", tmp_path / "out")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "can't stand in one picture, since they differ in prompt (plain and qa)" in done.err
    assert not (tmp_path / "out").exists()
    other = put_several(tmp_path / "other", grouped(result()), grouped(result(method="ft", case_ids=["7"])))
    with pytest.raises(RequestError, match=r"differ in cases \(4 and 1, few of them the same\)"):
        plot("balance", [other], tmp_path / "out")
    third = put_several(tmp_path / "third", kept("rome", {1: 9.0}), kept("ft", {1: 9.0}, prompt="qa"))
    with pytest.raises(RequestError, match="prompt"):
        plot("retention", [third], tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["matrix"], "There is nothing to draw: matrix is of results of a task with several targets"),
        (["retention"], "nothing to draw: retention is of results of a sequence"),
        (["gap"], "gap is of two results of a method that differ in their protocol"),
        (["balance", "--formats", "jpg"], "jpg"),
        (["balance", "--formats", ","], "--formats names nothing"),
        (["balance", "--across", "regime"], "--across is for gap, not for balance"),
        (["balance", "--scale", "99"], "--scale"),
    ],
)
def test_a_wrong_request_is_one_sentence(xkeb_cli: Xkeb, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    results = put_several(tmp_path / "results", grouped(result()))
    kind, *options = arguments
    done = xkeb_cli("plot", kind, results, *options, "--output", tmp_path / "out")
    assert done.status == 2
    assert sentence in done.err and done.err.count("\n") == 1


def test_a_file_for_a_paper_needs_nothing_of_a_browser(tmp_path: Path) -> None:
    pytest.importorskip("cairosvg")
    low = {("locality", "zh"): score(10.0)}
    results = put_several(tmp_path / "results", grouped(result()), grouped(result(method="ft", f1=low)))
    (drawn,) = plot("balance", [results], tmp_path / "out", formats=["svg", "png"], scale=2.0)
    svg = next(file for file in drawn.files if file.suffix == ".svg")
    text = svg.read_text(encoding="utf-8")
    assert "var(" not in text and "@media" not in text and "system-ui" not in text
    png = next(file for file in drawn.files if file.suffix == ".png").read_bytes()
    width, height = (float(size or 0) for size in (ET.fromstring(text).get("width"), ET.fromstring(text).get("height")))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    size = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    assert size == pytest.approx((2 * width, 2 * height), abs=1)
