"""The languages that come with the suite. Any two of them make a direction; those listed are the paper's."""

import dataclasses
from collections.abc import Callable

from xkeb.registry.hookspecs import hookimpl
from xkeb.types import Language, LanguagePair
from xkeb_plugins.languages.segmentation import characters, words
from xkeb_plugins.languages.texts import passages

FAMILIES = {
    "Germanic": "de en nl",
    "Romance": "es fr pt",
    "Slavic": "cs ru",
    "Austroasiatic": "vi",
    "Kra-Dai": "th",
    "Sino-Tibetan": "zh",
    "Turkic": "tr",
}
"""Families, and of the Indo-European languages their branches, as Glottolog has them (https://glottolog.org)."""
FAMILY_OF = {code: family for family, codes in FAMILIES.items() for code in codes.split()}

LANGUAGES = (
    words("cs", "Czech", "Otázka: {}\nOdpověď:"),
    words("de", "German", "Frage: {}\nAntwort:", "der die das den dem des ein eine einen einem einer eines"),
    words("en", "English", "Question: {}\nAnswer:", "a an the", abbreviations="st. approx. vs. c. ca. jr. sr."),
    words("es", "Spanish", "Pregunta: {}\nRespuesta:", "el la los las lo un una unos unas"),
    words(
        "fr",
        "French",
        "Question : {}\nRéponse :",
        "le la les l un une des",
        elides=True,
        abbreviations="m. mm. mme. mlle. st. ste.",
    ),
    words("nl", "Dutch", "Vraag: {}\nAntwoord:", "de het een", abbreviations="d.w.z. o.a. m.n. ca. v.chr. n.chr. st."),
    words("pt", "Portuguese", "Pergunta: {}\nResposta:", "o a os as um uma uns umas"),
    words("ru", "Russian", "Вопрос: {}\nОтвет:", script="Cyrillic"),
    # A space is how Thai ends a sentence.
    characters(
        "th", "Thai", "คำถาม: {}\nคำตอบ:", separator=" ", script="Thai", abbreviations="พ. พ.ศ. ค. ค.ศ. ดร. จ. อ. ต."
    ),
    words(
        "tr",
        "Turkish",
        "Soru: {}\nCevap:",
        elides=True,
        abbreviations="m.ö. m.s. dr. prof. st.",
        capitals={"I": "ı", "İ": "i"},
    ),
    words("vi", "Vietnamese", "Câu hỏi: {}\nTrả lời:", abbreviations="tp. ts. ths. gs. pgs. tt. q. p."),
    characters("zh", "Chinese", "问题：{}\n答案：", separator="", script="Han"),
)


@hookimpl
def register_languages(register: Callable[[str, Language], None]) -> None:
    for language in LANGUAGES:
        code = language.code
        register(code, dataclasses.replace(language, family=FAMILY_OF[code], passages=passages(code)))


@hookimpl
def register_language_pairs(register: Callable[[str, LanguagePair], None]) -> None:
    for pair in (LanguagePair("en", "zh"), LanguagePair("zh", "en")):
        register(pair.name, pair)
