"""Metrics of free answers, on answers written by hand in every language of the suite."""

from __future__ import annotations

import pytest

from xkeb.registry.manager import get_plugins
from xkeb.types import Around, Prediction
from xkeb_plugins.metrics import contains, contains_not_old, exact, repetition
from xkeb_plugins.metrics.normal_form import normal_form


def score(metric: str, said: str, gold: str, code: str, before: str = "") -> float:
    language = get_plugins().languages.get(code)
    if metric == "contains_not_old":
        return contains_not_old(
            Prediction(said, ()), Prediction(gold, ()), language, around=Around(Prediction(before, ()))
        )
    return get_plugins().metrics.get(metric)(Prediction(said, ()), Prediction(gold, ()), language)


SAME = [
    ("en", "The Beatles.", "beatles"),
    ("en", "“Paris”!", "Paris"),
    ("en", "12 May 1944", "May 12, 1944"),
    ("en", "1,000", "1000"),
    ("en", "Ｐａｒｉｓ", "Paris"),
    ("zh", "邁克爾·傑克遜", "迈克尔·杰克逊"),
    ("zh", "臺北。", "台北"),
    ("zh", "１９４４年", "1944"),
    ("zh", "1944年5月12日", "1944年 5月 12日"),
    ("zh", "二十", "20"),
    ("de", "1.000", "1000"),
    ("de", "12. Mai 1944", "12.05.1944"),
    ("fr", "l'Oréal", "L’Oréal"),
    ("es", "12 de mayo de 1944", "12/05/1944"),
    ("pt", "São Paulo", "são paulo."),
    ("nl", "De Beatles", "beatles"),
    ("ru", "1944 год", "1944"),
    ("ru", "12 мая 1944 года", "12.05.1944"),
    ("cs", "12. května 1944", "12.5.1944"),
    ("tr", "İstanbul", "istanbul"),
    ("vi", "Hà Nội", "hà nội"),
    ("th", "กรุงเทพ.", "กรุงเทพ"),
]
OTHER = [
    ("en", "12 May 1944", "12 May 1945"),
    ("en", "Paris, France", "Paris"),
    ("en", "1.5", "15"),
    ("zh", "三星", "3星"),
    ("zh", "北京", "南京"),
    ("zh", "2006", "2007年"),
    ("de", "1.000", "1,000"),
    ("en", "1944", "12 May 1944"),
    ("ru", "Москва", "Минск"),
]


@pytest.mark.parametrize(("code", "said", "gold"), SAME, ids=[f"{code}: {said}" for code, said, _ in SAME])
def test_spelling_makes_no_other_answer(code: str, said: str, gold: str) -> None:
    assert score("exact", said, gold, code) == score("exact", gold, said, code) == 1.0
    assert score("contains", said, gold, code) == score("contains", gold, said, code) == 1.0


@pytest.mark.parametrize(("code", "said", "gold"), OTHER, ids=[f"{code}: {said}" for code, said, _ in OTHER])
def test_another_answer_is_another(code: str, said: str, gold: str) -> None:
    assert score("exact", said, gold, code) == 0.0


@pytest.mark.parametrize("said", ["", "?", "。", "ab\ufffd"])
def test_a_blank_or_broken_answer_is_never_right(said: str) -> None:
    assert exact(Prediction(said, ()), Prediction(said, ()), get_plugins().languages.get("en")) == 0.0
    assert score("contains", said, "Paris", "en") == score("contains_not_old", said, "Paris", "en") == 0.0


@pytest.mark.parametrize(
    ("code", "said", "gold", "expected"),
    [
        ("en", "It was written by J. R. R. Tolkien", "J. R. R. Tolkien", 1.0),
        ("en", "Parisian", "Paris", 0.0),  # a word, not a piece of one
        ("en", "France Paris", "Paris France", 0.0),
        ("zh", "他是邁克爾·傑克遜的弟弟", "迈克尔·杰克逊", 1.0),
        ("zh", "1944年出生", "1944", 1.0),
        ("zh", "生于1944", "1944年", 1.0),
        ("zh", "生于11944年", "1944年", 0.0),
        ("zh", "1912年", "12", 0.0),  # a number, not the end of one
        ("en", "born in 1944.", "1944", 1.0),
        ("ru", "в 1944 году", "1944 год", 1.0),
        ("en", "It is 1.5", "1.5", 1.0),
        ("th", "คือกรุงเทพมหานคร", "กรุงเทพ", 1.0),
        ("tr", "Ankara'nın başkenti", "Ankara", 1.0),
        ("en", "Paris", "", 0.0),
    ],
)
def test_an_answer_holds_another(code: str, said: str, gold: str, expected: float) -> None:
    assert score("contains", said, gold, code) == expected


def test_an_answer_that_holds_the_old_one_too_has_not_changed() -> None:
    english = get_plugins().languages.get("en")
    assert contains(Prediction("Lyon, not Paris", ()), Prediction("Lyon", ()), english) == 1.0
    assert score("contains_not_old", "Lyon, not Paris", "Lyon", "en", before="Paris") == 0.0
    assert score("contains_not_old", "Lyon", "Lyon", "en", before="Paris") == 1.0
    assert score("contains_not_old", "Lyon", "Lyon", "en", before="?") == 1.0


def test_any_alias_is_as_right_as_the_reference() -> None:
    """Spelled as it likes, whole or in a longer answer; another text isn't."""
    english = get_plugins().languages.get("en")
    gold = Prediction("United States", (), aliases=("USA", "the U.S.", "12 May 1944"))
    around = Around(Prediction("France", ()))

    def scores(said: str) -> tuple[float, float, float]:
        answer = Prediction(said, ())
        held = contains(answer, gold, english)
        return exact(answer, gold, english), held, contains_not_old(answer, gold, english, around=around)

    assert scores("The usa.") == scores("united states") == (1.0, 1.0, 1.0)
    assert exact(Prediction("May 12, 1944", ()), gold, english) == 1.0
    assert scores("It is the USA") == (0.0, 1.0, 1.0)
    assert scores("the USA, not France") == (0.0, 1.0, 0.0)
    assert scores("Canada") == scores("") == (0.0, 0.0, 0.0)


def test_repetition_is_the_share_of_runs_said_before() -> None:
    english = get_plugins().languages.get("en")

    def of(raw: str) -> float:
        return repetition(Prediction("Paris", (), raw=raw), Prediction("x", ()), english)

    assert of("one two three four") == 0.0
    assert of("paris is paris is paris is paris is") == pytest.approx(1 - 2 / 6)  # two runs, six times
    assert of("") == of("one two") == 0.0


@pytest.mark.parametrize(
    ("code", "text", "number"),
    [
        ("en", "-5", "-5"),
        ("en", "+3.140", "3.14"),
        ("en", "1,234,567.5", "1234567.5"),
        ("de", "1.234.567,5", "1234567.5"),
        ("ar", "٣٤", "34"),
        ("fa", "۱۲", "12"),
        ("hi", "१२३", "123"),
        ("ru", "12,5", "12.5"),
        ("zh", "一百二十三", "123"),
    ],
)
def test_a_number_is_one_in_any_script(code: str, text: str, number: str) -> None:
    assert normal_form(text, get_plugins().languages.get(code)) == ("number", number)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "1e5"), ("de", "1E5"), ("en", "1_000"), ("en", "1,e76"), ("de", "63,e57.8"), ("en", "1e9999999999"),
        ("en", "1" * 40 + ",1.1"), ("zh", "1e9999999999"),
    ],
)  # fmt: skip
def test_what_no_person_writes_as_a_number_is_its_units(code: str, text: str) -> None:
    language = get_plugins().languages.get(code)
    assert normal_form(text, language) == tuple(language.segment(text))


def test_a_number_of_a_language_that_no_library_knows_is_its_units() -> None:
    import dataclasses

    invented = dataclasses.replace(get_plugins().languages.get("en"), code="xx")
    assert normal_form("1,000", invented) == ("1", "000")
    assert normal_form("12 May 1944", invented) == ("12", "may", "1944")
