"""`xkeb.data.subjects`: where a subject stands in its question. The questions are our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkeb.data.subjects import LocatedSubject, locate_subject, split_words


@pytest.mark.parametrize(
    ("subject", "question", "aliases", "text", "kind"),
    [
        # letter for letter, even inside a word, and before any alias
        ("Ada", "Where does Ada live?", ("does",), "Ada", "exact"),
        ("Ada", "Is Canada large?", (), "Ada", None),
        ("ada", "Is Canada large?", (), "ada", "exact"),
        # case, width, spaces and punctuation
        ("red house", "Who built the Red House?", (), "Red House", "normalised"),
        ("Ｒｅｄ　Ｈｏｕｓｅ", "Who built the Red House?", (), "Red House", "normalised"),
        ("Red-House (Bo)", "Who owns Red House, Bo?", (), "Red House, Bo", "normalised"),
        ("l'Île", "Où est L’Île ?", (), "L’Île", "normalised"),
        ("STRASSE", "Wo ist die Straße?", (), "Straße", "normalised"),
        # the other language's name; before a span of its own
        ("Rotes Haus", "Wer baute das Red House?", ("Red House",), "Red House", "alias"),
        ("Das Rote Haus", "Wer baute das rote Red House?", ("Red House",), "Red House", "alias"),
        ("Annette Daniels"[::-1], "วันเกิดของ Bo Berg คืออะไร", ("Bo Berg",), "Bo Berg", "alias"),
        # inflected
        ("Анна Белова", "Где родилась дочь Анны Беловой?", (), "Анны Беловой", "span"),
        ("Jan Novák", "Jaké je povolání Jana Nováka?", (), "Jana Nováka", "span"),
        ("Kırmızı Ev", "Kırmızı Evin mimarı kim?", (), "Kırmızı Ev", "exact"),
        ("Kırmızı Köprü", "KIRMIZI KÖPRÜNÜN mimarı kim?", (), None, None),  # "ı" is no small "I" to Unicode
        ("Yeşil Köprü", "Yeşil köprünün mimarı kim?", (), "Yeşil köprünün", "span"),
        ("Schwarzer Turm", "Wer baute den Schwarzen Turm?", (), "Schwarzen Turm", "span"),
        ("Bo Berk", "Kdo je dcera Anny Standingové?", ("Anna Standing",), "Anny Standingové", "span"),
        ("Jim Eno", "Kde se narodil otec Jima Ena?", (), None, None),  # two letters in common aren't enough: half of it
        # part of it: two thirds of the characters, or nothing
        ("Robert Smith von Bell", "Wer ist Robert Smith of Bell?", (), "Robert Smith", None),
        ("Robert Smithson von Bo", "Wer ist Robert Smithson of Bo?", (), "Robert Smithson", "span"),
        ("เอมมา สมิธ", "เอมมา สมิท เกิดที่ไหน", (), "เอมมา สมิ", "span"),
        # nowhere
        ("Rom", "Wo wohnt Ada?", (), None, None),
        ("...", "Wo wohnt Ada ...? .", (), "...", "exact"),
        ("?!", "Wo wohnt Ada?", (), None, None),
        ("Rom", "", (), None, None),
    ],
)  # fmt: skip
def test_where_a_subject_stands(
    subject: str, question: str, aliases: tuple[str, ...], text: str | None, kind: str | None
) -> None:
    found = locate_subject(subject, question, aliases)
    if kind is None:
        assert found is None
    else:
        assert found == LocatedSubject(str(text), kind)  # type: ignore[arg-type]


TEXT = st.text("aAbB ',éЯяกี่้漢１. ", max_size=12)


@given(subject=TEXT, question=TEXT, alias=TEXT)
def test_what_is_found_is_a_piece_of_the_question_between_its_words(subject: str, question: str, alias: str) -> None:
    found = locate_subject(subject, question, (alias,))
    if subject and subject in question:
        assert found == LocatedSubject(subject, "exact")
    elif found is not None:
        start = question.find(found.text)
        assert start >= 0
        bounds = split_words(question)
        assert start in {word.start for word in bounds}
        assert start + len(found.text) in {word.end for word in bounds}
        if found.kind != "span":
            name = subject if found.kind == "normalised" else alias
            assert [word.text for word in split_words(found.text)] == [word.text for word in split_words(name)]


def test_words_are_cut_by_script() -> None:
    assert [word.text for word in split_words("Ada's 2ที่นี่漢字 +x")] == ["ada", "s", "2", "ที่", "นี่", "漢", "字", "+", "x"]


def test_a_place_that_its_text_does_not_name_is_not_given() -> None:
    """Whoever edits at the subject looks for its first occurrence, which is here the beginning of another word."""
    assert locate_subject("ada", "Is Ada here?") == LocatedSubject("Ada", "normalised")
    assert locate_subject("ada", "Is Adamant Ada here?") is None
