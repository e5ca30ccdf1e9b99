"""Where a free answer ends, in every language of the suite: answers written by hand."""

from __future__ import annotations

import pytest

from xkeb.evaluation.protocols.sentences import cut_answer, first_line, is_past_first_line
from xkeb.registry.manager import get_plugins
from xkeb.types import Language

ENDS = [
    ("en", "J. R. R. Tolkien wrote it. He was English.", "J. R. R. Tolkien wrote it."),
    ("en", "St. Louis. It is a city.", "St. Louis."),
    ("en", "About 3.5 million people. Next.", "About 3.5 million people."),
    ("en", "Washington, D.C. in 1990. Then", "Washington, D.C. in 1990."),
    ("en", "Paris... and London. Rome.", "Paris... and London."),
    ("en", "Paris", "Paris"),
    ("en", "? The 100 Mile Challenge. Next", "? The 100 Mile Challenge."),
    ("zh", "？巴黎。伦敦", "？巴黎。"),
    ("en", "?", "?"),
    ("zh", "巴黎。伦敦。", "巴黎。"),
    ("zh", "J.R.R.托尔金。他是英国人。", "J.R.R.托尔金。"),
    ("zh", "3.5米。好", "3.5米。"),
    ("zh", "是巴黎！是的。", "是巴黎！"),
    ("zh", "Volkswagen汽车。它", "Volkswagen汽车。"),
    ("de", "Am 3. Mai 1990. Danach", "Am 3. Mai 1990."),
    ("de", "z. B. Berlin. Dann", "z. B. Berlin."),
    ("fr", "M. Dupont est là. Il", "M. Dupont est là."),
    ("fr", "Paris ! Oui", "Paris !"),
    ("es", "El Sr. López. Él", "El Sr. López."),
    ("es", "¿Dónde? Aquí", "¿Dónde?"),
    ("pt", "O Sr. Silva. Ele", "O Sr. Silva."),
    ("nl", "d.w.z. Amsterdam. Dan", "d.w.z. Amsterdam."),
    ("ru", "А. С. Пушкин. Он", "А. С. Пушкин."),
    ("ru", "в 1990 г. в Москве. Потом", "в 1990 г. в Москве."),
    ("cs", "3. května 1990. Pak", "3. května 1990."),
    ("cs", "např. Praha. Pak", "např. Praha."),
    ("tr", "M.Ö. 50. Sonra", "M.Ö. 50."),
    ("vi", "TP. Hồ Chí Minh. Nó", "TP. Hồ Chí Minh."),
    ("th", "กรุงเทพฯ เป็นเมืองหลวง", "กรุงเทพฯ เป็นเมืองหลวง"),  # Thai ends no sentence by a sign
    ("th", "พ.ศ. 2540", "พ.ศ. 2540"),
]


@pytest.mark.parametrize(("code", "text", "expected"), ENDS, ids=[f"{code}: {text}" for code, text, _ in ENDS])
def test_a_sentence_ends_where_its_language_says(code: str, text: str, expected: str) -> None:
    assert cut_answer(text, get_plugins().languages.get(code), "sentence") == expected


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("ar", "باريس. لندن", "باريس."),
        ("ar", "أين؟ هنا", "أين؟"),
        ("hi", "पेरिस। लंदन", "पेरिस।"),
        ("ja", "パリ。ロンドン", "パリ。"),
    ],
)
def test_a_plugins_language_is_cut_by_its_code(code: str, text: str, expected: str) -> None:
    """From right to left, or without spaces."""
    assert cut_answer(text, Language(code, "A plugin's", str.split), "sentence") == expected


def test_a_line_ends_an_answer_and_blank_ones_before_it_do_not() -> None:
    english = get_plugins().languages.get("en")
    said = "\n\n  Paris. London\nRome"
    assert first_line(said) == "Paris. London"
    assert cut_answer(said, english, "line") == "Paris. London"
    assert cut_answer(said, english, "sentence") == "Paris."
    assert cut_answer(said, english, "none") == said.strip()
    assert [is_past_first_line(text) for text in ("", "\n", "\nParis", "\nParis\n", "Paris\n\n", "a\u2028b")] == [
        *(False, False, False, True, True, True),
    ]


@pytest.mark.parametrize("text", ["", " ", "\n \n"])
def test_nothing_stays_nothing(text: str) -> None:
    for cut in ("sentence", "line", "none"):
        assert cut_answer(text, get_plugins().languages.get("zh"), cut) == ""
