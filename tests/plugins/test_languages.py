"""How English and Chinese are cut into the units that ``f1_units`` counts, and how a question meets its answer."""

from __future__ import annotations

import pytest

from xkeb.plugins import plugins

EN, ZH = (plugins().languages.get(code) for code in ("en", "zh"))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Bordeaux", ["bordeaux"]),
        ("the United  States of America.", ["united", "states", "of", "america"]),
        ("São Paulo, Brazil", ["são", "paulo", "brazil"]),
        ("O'Neill's", ["o'neill's"]),
        ("well-known", ["well", "known"]),
        ("2006-01-01", ["2006", "01", "01"]),
        ("A", ["a"]),
        ("The An", ["the", "an"]),
        ("ＵＳＡ", ["usa"]),
        ("ﬁre", ["fire"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("snake_case", ["snake", "case"]),
        ("", []),
        ("?!…", []),
    ],
)
def test_english_is_cut_into_words(text: str, units: list[str]) -> None:
    assert EN.units(text) == units


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("波尔多", ["波", "尔", "多"]),
        ("《红楼梦》。", ["红", "楼", "梦"]),
        ("２００６年", ["2", "0", "0", "6", "年"]),
        ("ＮＢＡ 球员", ["n", "b", "a", "球", "员"]),
        ("约翰·史密斯", ["约", "翰", "史", "密", "斯"]),
        ("100℃", ["1", "0", "0", "°", "c"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("", []),
        ("，。！", []),
    ],
)
def test_chinese_is_cut_into_characters(text: str, units: list[str]) -> None:
    assert ZH.units(text) == units


def test_a_space_stands_before_an_english_answer_and_none_before_a_chinese_one() -> None:
    assert (EN.joiner, ZH.joiner) == (" ", "")


def test_both_directions_are_registered() -> None:
    pairs = {name: plugins().pairs.get(name) for name in plugins().pairs}
    assert {name: (pair.source, pair.target, pair.languages) for name, pair in pairs.items()} == {
        "en-zh": ("en", "zh", ("en", "zh")),
        "zh-en": ("zh", "en", ("zh", "en")),
    }
    assert all(pair.name == name for name, pair in pairs.items())
