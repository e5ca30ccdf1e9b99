"""How each language is cut into the units that ``f1_units`` counts, and how a question meets its answer."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from xkeb.leaderboard.site.browsing import text_direction
from xkeb.registry.manager import get_plugins
from xkeb.types import Prediction
from xkeb_plugins.metrics.overlap import f1_units

EN, ZH = (get_plugins().languages.get(code) for code in ("en", "zh"))


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
    assert EN.segment(text) == units


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
    assert ZH.segment(text) == units


@pytest.mark.parametrize(
    ("code", "text", "units"),
    [
        ("de", "Die Straße des 17. Juni", ["strasse", "17", "juni"]),
        ("de", "„Ein“", ["ein"]),
        ("es", "¿La Habana (Cuba)?", ["habana", "cuba"]),
        ("fr", "L’Île-de-France, l'eau", ["île", "de", "france", "eau"]),
        ("pt", "O Globo — os Três", ["globo", "três"]),
        ("nl", "Het Rijksmuseum, Jan's foto’s", ["rijksmuseum", "jan's", "foto’s"]),
        ("cs", "Český Krumlov; 2006 n. l.", ["český", "krumlov", "2006", "n", "l"]),
        ("ru", "«Ёлка», 2006 г.", ["ёлка", "2006", "г"]),
        ("tr", "İSTANBUL’UN ışığı", ["istanbul", "un", "ışığı"]),
        ("tr", "IĞDIR", ["ığdır"]),
        ("vi", "Hà Nội", ["hà", "nội"]),
        ("vi", unicodedata.normalize("NFD", "Hà Nội"), ["hà", "nội"]),
        ("th", "ที่นี่", ["ที่", "นี่"]),
        ("th", "น้ำ", ["น\u0e49\u0e4d", "า"]),  # NFKC takes SARA AM apart, on both sides of a comparison
        ("th", "พ.ศ. ๒๕๔๙ ๚", ["พ", "ศ", "๒", "๕", "๔", "๙"]),
        ("th", "ดีๆ", ["ดี", "ๆ"]),
        ("th", "IAAF 1", ["i", "a", "a", "f", "1"]),
        ("ja", "ジェームズ・マッカーシーのFC", [*"ジェームズマッカーシーの", "f", "c"]),
        ("ko", "셀틱 FC의 감독", [*"셀틱", "f", "c", *"의감독"]),
        ("ar", "سلتيك، ٢٠٠٦؟", ["سلتيك", "٢٠٠٦"]),
        ("fa", "ساوت\u200cهمپتون اف.سی.", ["ساوتهمپتون", "اف", "سی"]),
        ("ur", "ایف۔ سی۔", ["ایف", "سی"]),
        ("he", 'צה"ל, ג\'יימס ("שלום")', ['צה"ל', "ג'יימס", "שלום"]),
        ("hi", "सेल्टिक एफ.सी.।", ["सेल्टिक", "एफ", "सी"]),
        ("bn", "র\u200d্যাম", ["র্যাম"]),
        ("ta", "செல்டிக் எஃப்.சி.", ["செல்டிக்", "எஃப்", "சி"]),
        ("hy", "Ո՞վ է Սելտիկը։", ["ով", "է", "սելտիկը"]),
        ("ka", "სელტიკი („FC“)", ["სელტიკი", "fc"]),
        ("el", "Ο Άρης της Θεσσαλονίκης;", ["άρησ", "θεσσαλονίκησ"]),
        ("az", "İSTANBUL, IĞDIR", ["istanbul", "ığdır"]),
        ("uk", "п'ять об’єктів", ["п'ять", "об’єктів"]),
        ("ca", "L'Hospitalet, el Col·legi", ["hospitalet", "col·legi"]),
        ("it", "L'Aquila e il Po", ["aquila", "e", "po"]),
        ("ceb", "Ang Katsila (1521)", ["ang", "katsila", "1521"]),
    ],
)
def test_the_others_are_cut_as_they_are_written(code: str, text: str, units: list[str]) -> None:
    assert get_plugins().languages.get(code).segment(text) == units


def categories(text: str) -> set[str]:
    return {unicodedata.category(c)[0] for form in (text, unicodedata.normalize("NFKC", text)) for c in form}


SIGNS = "".join(c for c in map(chr, range(0x30000)) if categories(c) <= {"P", "Z"})
assert len(SIGNS) > 700


@pytest.mark.parametrize("code", list(get_plugins().languages))
def test_case_width_and_every_script_s_punctuation_don_t_count(code: str) -> None:
    segment = get_plugins().languages.get(code).segment
    assert segment("Ａbc" + SIGNS + "42") == segment("abc 42") != []
    assert segment(f"._ {SIGNS} ") == []


@pytest.mark.parametrize("code", list(get_plugins().languages))
@given(text=st.text(max_size=30))
def test_every_letter_and_digit_is_in_one_unit_and_order_is_kept(code: str, text: str) -> None:
    """Whatever the text: nothing but articles is lost, and cutting the units again changes nothing."""
    language = get_plugins().languages.get(code)
    units = language.segment(text)
    assert [again for unit in units for again in language.segment(unit)] == units
    small = text.replace("İ", "i").replace("I", "ı") if code == "tr" else text
    kept = [c for c in unicodedata.normalize("NFKC", small).casefold() if unicodedata.category(c)[0] in "LN"]
    found = [c for unit in units for c in unicodedata.normalize("NFKD", unit) if unicodedata.category(c)[0] in "LN"]
    if code in ("cs", "ru", "tr", "vi"):  # no articles, and words: so exactly the letters and digits
        assert found == [
            d for c in kept for d in unicodedata.normalize("NFKD", c) if unicodedata.category(d)[0] in "LN"
        ]


def test_half_of_a_thai_answer_counts_half() -> None:
    """By words there would be nothing between all and nothing, since no space stands between them."""
    thai = get_plugins().languages.get("th")
    right, half = Prediction("กรุงเทพ", ()), Prediction("กรุงxyz", (1,))
    assert thai.segment("กรุงเทพ") == ["ก", "รุ", "ง", "เ", "ท", "พ"]
    assert f1_units(half, right, thai) == pytest.approx(0.5)


def test_no_space_stands_before_a_chinese_or_japanese_answer_and_one_before_every_other() -> None:
    languages = [get_plugins().languages.get(code) for code in get_plugins().languages]
    assert {language.code for language in languages if language.separator != " "} == {"ja", "zh"}
    assert {language.separator for language in languages} == {" ", ""}


def test_each_language_is_named_by_its_code() -> None:
    named = {code: get_plugins().languages.get(code).name for code in get_plugins().languages}
    assert all(get_plugins().languages.get(code).code == code for code in named)
    assert (named["th"], named["cs"], named["nl"], named["ceb"]) == ("Thai", "Czech", "Dutch", "Cebuano")
    assert len(set(named.values())) == len(named) == 53


@pytest.mark.parametrize("code", list(get_plugins().languages))
def test_each_has_a_family_a_script_and_words_of_its_own_for_a_question(code: str) -> None:
    """The script is that of its words for a question; so a name of a script that Unicode doesn't know would be found, too."""
    language = get_plugins().languages.get(code)
    assert language.family and language.qa and language.qa.count("{}") == 1
    letters = regex.findall(r"\p{L}", language.qa)
    written = regex.compile("|".join(rf"\p{{Script={script}}}" for script in language.scripts))
    assert letters and all(written.match(letter) for letter in letters)


def test_the_site_knows_which_are_written_from_right_to_left() -> None:
    languages = [get_plugins().languages.get(code) for code in get_plugins().languages]
    ours = {language.code for language in languages if language.script in ("Arabic", "Hebrew")}
    assert ours == {code for code in (language.code for language in languages) if text_direction(code) == "rtl"}
    assert ours == {"ar", "fa", "he", "ur"}


def test_the_paper_s_directions_are_registered() -> None:
    pairs = {name: get_plugins().pairs.get(name) for name in get_plugins().pairs}
    assert {name: (pair.source, pair.target, pair.languages) for name, pair in pairs.items()} == {
        "en-zh": ("en", "zh", ("en", "zh")),
        "zh-en": ("zh", "en", ("zh", "en")),
    }
    assert all(pair.name == name for name, pair in pairs.items())


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


@pytest.mark.skipif(
    not (Path(os.environ.get("XKEB_DATA_DIR") or "nowhere") / "bizsre").is_dir(), reason="XKEB_DATA_DIR is not set"
)
def test_the_paper_s_texts_are_cut_as_by_the_plainest_rules() -> None:
    """English: runs of what `str.isalnum` knows, with inner apostrophes; Chinese: one code point after the other."""
    word = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
    records = json.loads((Path(os.environ["XKEB_DATA_DIR"]) / "bizsre" / "bizsre_test.json").read_text("utf-8"))
    compared = 0
    for text in {text for record in records for text in texts(record)}:
        normal = unicodedata.normalize("NFKC", text).casefold()
        found = word.findall(normal)
        assert EN.segment(text) == ([one for one in found if one not in {"a", "an", "the"}] or found)
        assert ZH.segment(text) == [c for c in normal if unicodedata.category(c)[0] in "LMNS"]
        compared += 1
    assert compared > 5_000
