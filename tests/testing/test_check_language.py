"""`xkeb.testing.check_language`: each thing that a language can do wrong is caught by its own sentence."""

from __future__ import annotations

import random
import sys
import unicodedata
from typing import Any

import pytest

from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.testing import check_language, check_pair
from xkeb.types import Language, LanguagePair

TEXT = "Niño pequeño, ¿quién eres?"
SAMPLES = {
    "en": "The Seine runs through Paris, doesn't it? Yes.",
    "zh": "塞纳河流经巴黎。（２００６年）",
    "de": "Die Straße heißt „Königsallee“, größer geht's nicht!",
    "es": "¿Qué río atraviesa París, señor? ¡El Sena!",
    "fr": "L'été, la Seine coule à Paris : n'est-ce pas ?",
    "pt": "A Sé não fica em São Paulo, pois não?",
    "ru": "Сена течёт через Париж, не так ли? Ещё как!",
    "tr": "İstanbul'un ışıkları: Boğaz'dan görünür mü?",
    "vi": "Sông nào chảy qua Hà Nội? Sông Hồng.",
    "th": "แม่น้ำสายใดไหลผ่านกรุงเทพฯ",
    "cs": "Která řeka protéká Prahou? Vltava, že?",
    "nl": "Welke rivier stroomt door 's-Hertogenbosch?",
    "af": "Watter rivier vloei deur 'n stad soos Parys? Dié een, nè!",
    "ar": "أيُّ نهرٍ يمرُّ بباريس؟ نهر السين، ٢٠٠٦.",
    "az": "Parisdən hansı çay axır, İlqar? Bəlkə də IĞDIR?",
    "be": "Якая рака цячэ праз Парыж? Сена, у 1900-х; аб'ём вады.",
    "bg": "Коя река тече през Париж? Сена, нали?",
    "bn": "প্যারিসের মধ্য দিয়ে কোন নদী বয়ে যায়? সেন নদী।",
    "ca": "Quin riu travessa París? El Sena, l'any del col·legi.",
    "ceb": "Unsang suba ang nag-agos sa Paris? Ang Seine, di ba?",
    "cy": "Pa afon sy'n llifo trwy Baris? Y Seine, dŵr da.",
    "da": "Hvilken å løber gennem København? Ingen, vel?",
    "el": "Ποιος ποταμός διασχίζει το Παρίσι; Ο Σηκουάνας!",
    "et": "Milline jõgi voolab läbi Pariisi? Seine, küllap.",
    "eu": "Zein ibaik zeharkatzen du Paris? Sena ibaiak, ñabardurak.",
    "fa": "کدام رود از پاریس می‌گذرد؟ رود سن، ۲۰۰۶.",
    "fi": "Mikä joki virtaa Pariisin läpi? Seine, eikö niin?",
    "ga": "Cén abhainn a ritheann trí Pháras? An tSéin, nach ea?",
    "gl": "Que río atravesa París? O Sena, señor.",
    "he": "איזה נהר זורם בפריז? נהר הסיין, ג'יימס; צה\"ל.",
    "hi": "पेरिस से होकर कौन सी नदी बहती है? सीन नदी।",
    "hr": "Koja rijeka teče kroz Pariz? Sena, zar ne? Đakovo!",
    "hu": "Melyik folyó szeli át Párizst? A Szajna, ugye? Őszi út.",
    "hy": "Ո՞ր գետն է հոսում Փարիզով։ Սենը, իհարկե՛։",
    "id": "Sungai apa yang mengalir di Paris? Sungai-sungai itu, ya!",
    "it": "Quale fiume attraversa Parigi? È la Senna, l'unico.",
    "ja": "パリを流れる川は？セーヌ川（２００６年）。",
    "ka": "რომელი მდინარე მიედინება პარიზში? სენა, არა?",
    "ko": "파리를 흐르는 강은 무엇입니까? 센강입니다.",
    "la": "Quod flumen per Lutetiam fluit? Sequana, nonne?",
    "lt": "Kokia upė teka per Paryžių? Sena, ar ne? Žinoma!",
    "lv": "Kura upe tek caur Parīzi? Sēna, vai ne?",
    "ms": "Sungai apakah yang mengalir melalui Paris? Sungai Seine.",
    "pl": "Jaka rzeka płynie przez Paryż? Sekwana, źródła.",
    "ro": "Ce râu trece prin Paris? Sena, nu-i așa? Știu!",
    "sk": "Ktorá rieka preteká Parížom? Seina, však? Ľúbim ju.",
    "sl": "Katera reka teče skozi Pariz? Sena, kajne? Žal.",
    "sq": "Cili lumë kalon nëpër Paris? Sena, apo jo? Çfarë!",
    "sr": "Koja reka teče kroz Pariz? Sena, zar ne? Đura!",
    "sv": "Vilken å rinner genom Göteborg? Göta älv, va?",
    "ta": "பாரிஸ் வழியாக எந்த ஆறு பாய்கிறது? சென் ஆறு.",
    "uk": "Яка річка тече через Париж? Сена, об'їзд є.",
    "ur": "پیرس سے کون سا دریا گزرتا ہے؟ دریائے سین۔",
}
"""A sentence in each language, with its own letters and signs."""


def normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def words(text: str) -> list[str]:
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in normal(text)).split()


GOOD = Language("xx", "Good", words)
HEAD = "Language 'xx' fails "
CAUGHT: dict[str, tuple[Any, str]] = {
    "no language": ("xx", "registers the language 'xx' of type str; a xkeb.types.Language was expected."),
    "another code": (Language("yy", "Y", words), "Its code should be the name it is registered as; it is 'yy'."),
    "no name": (Language("xx", " ", words), "It should have an English name, for tables; it is empty."),
    "separator": (
        Language("xx", "X", words, separator="-"),
        "Between a question and its answer should stand a space or nothing, not '-'.",
    ),
    "no list": (
        Language("xx", "X", lambda text: tuple(words(text))),  # type: ignore[arg-type, return-value]
        "`segment` should give a list of texts; it gave (",
    ),
    "whole": (
        Language("xx", "X", lambda text: words(text)[:1]),
        "should cut 'Niño pequeño, ¿quién eres?' into several;",
    ),
    "empty units": (
        Language("xx", "X", lambda text: [*words(text), ""]),
        "Units should be neither empty nor hold spaces;",
    ),
    "at random": (
        Language("xx", "X", lambda text: random.sample(words(text) * 9, len(words(text)))),
        "The same text should be cut in the same way each time.",
    ),
    "punctuation": (
        Language("xx", "X", lambda text: normal(text).split()),
        "Spaces and punctuation should have no units;",
    ),
    "attached": (
        Language("xx", "X", lambda text: [w for w in normal(text).split() if any(map(str.isalnum, w))]),
        "Punctuation and space around words should make no difference;",
    ),
    "as written": (
        Language(
            "xx",
            "X",
            lambda text: "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text.lower()).split(),
        ),
        "The forms of a character should be one (NFKC); the text in NFD gives ",
    ),
    "narrow": (
        Language(
            "xx", "X", lambda text: words("".join(c for c in unicodedata.normalize("NFC", text) if ord(c) < 0xFF00))
        ),
        "Full-width letters and digits should be plain ones (NFKC);",
    ),
    "case": (
        Language("xx", "X", lambda text: [w.upper() if "NBA" in text else w for w in words(text)]),
        "Case should make no difference; 'nba 2006' gives ",
    ),
    "cut again": (
        Language("xx", "X", lambda text: [w + "x" for w in words(text)]),
        "Units joined again should be cut as before;",
    ),
    "no digits": (
        Language("xx", "X", lambda text: [w for w in words(text) if not w.isdigit()]),
        "A text with a number more should have other units; it has the same.",
    ),
}
"""A language, and what is said of it."""


def test_a_sound_language_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_plugins().languages.entries, "xx", Entry(GOOD, "test"))
    check_language("xx", TEXT)


@pytest.mark.parametrize("what", CAUGHT)
def test_what_a_language_does_wrong_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    language, sentence = CAUGHT[what]
    # By its place, since a thing that is a text is taken for one.
    monkeypatch.setattr(sys.modules[__name__], "GOOD", language)
    monkeypatch.setitem(get_plugins().languages.entries, "xx", Entry(f"{__name__}:GOOD", "test"))
    with pytest.raises(AssertionError) as caught:
        check_language("xx", TEXT)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(HEAD)
    assert [line for line in lines if sentence in line], lines


def test_a_code_is_iso_639_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_plugins().languages.entries, "x1", Entry(Language("x1", "X", words), "test"))
    with pytest.raises(AssertionError, match="A code should be ISO 639's two or three letters, not 'x1'"):
        check_language("x1", TEXT)


@pytest.mark.parametrize("code", list(get_plugins().languages))
def test_every_language_of_the_suite_passes(code: str) -> None:
    check_language(code, SAMPLES[code])


@pytest.mark.parametrize("name", list(get_plugins().pairs))
def test_every_pair_of_the_suite_passes(name: str) -> None:
    check_pair(name)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (LanguagePair("zh", "en"), "It should be registered as source-target, 'zh-en'."),
        (LanguagePair("en", "en"), "It should join two languages; both are 'en'."),
        (LanguagePair("en", "qq"), "Both its languages should be registered. Unknown language 'qq'"),
    ],
)
def test_what_a_pair_does_wrong_is_caught(pair: LanguagePair, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "en-zh" if pair.source == "zh" else pair.name
    monkeypatch.setitem(get_plugins().pairs.entries, name, Entry(pair, "test"))
    with pytest.raises(AssertionError) as caught:
        check_pair(name)
    assert f"- {sentence}" in str(caught.value)
