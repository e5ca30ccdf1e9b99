"""In which language an answer is given: answers written by hand."""

from __future__ import annotations

import pytest

from xkeb.registry.manager import get_plugins
from xkeb.results.answers import elsewhere
from xkeb.types import Around, Prediction, Probe
from xkeb_plugins.metrics import wrong_language

NOBODY_KNOWS = None


@pytest.mark.parametrize(
    ("asked", "other", "said", "gold", "foreign", "expected"),
    [
        ("zh", "en", "大众集团", "大众集团", "Volkswagen Group", 0.0),
        ("zh", "en", "Volkswagen Group.", "大众集团", "Volkswagen Group", 1.0),  # right fact, wrong language
        ("zh", "en", "Toyota", "大众集团", "Volkswagen Group", 1.0),  # wrong fact, wrong language
        ("zh", "en", "丰田", "大众集团", "Volkswagen Group", 0.0),
        ("zh", "en", "Volkswagen汽车", "大众集团", "Volkswagen Group", NOBODY_KNOWS),  # both scripts
        ("zh", "en", "Nokia", "IBM公司", "IBM Corporation", NOBODY_KNOWS),  # Chinese writes such names in Latin letters
        ("zh", "en", "2006", "2006", "2006", NOBODY_KNOWS),  # the same text in both
        ("zh", "en", "IBM", "IBM", "IBM", NOBODY_KNOWS),
        ("zh", "en", "1999", "2006年", "2006", NOBODY_KNOWS),  # one number in both
        ("zh", "en", "", "大众集团", "Volkswagen Group", NOBODY_KNOWS),
        ("en", "zh", "大众集团", "Volkswagen Group", "大众集团", 1.0),
        ("en", "zh", "Paris", "Volkswagen Group", "大众集团", 0.0),
        ("en", "ru", "Москва", "Minsk", "Минск", 1.0),
        ("th", "en", "กรุงเทพ", "ปารีส", "Paris", 0.0),
        ("de", "en", "der Rhein", "der Rhein", "the Rhine", 0.0),
        ("de", "en", "The Rhine", "der Rhein", "the Rhine", 1.0),
        ("de", "en", "die Elbe fließt durch Hamburg und Dresden", "der Rhein", "the Rhine", 0.0),
        ("de", "en", "the river that flows through the city", "der Rhein", "the Rhine", 1.0),
        ("de", "en", "Wolfsburg", "der Rhein", "the Rhine", NOBODY_KNOWS),  # too short for a detector
    ],
)
def test_the_record_then_the_script_then_a_detector(
    asked: str, other: str, said: str, gold: str, foreign: str, expected: float | None
) -> None:
    language = get_plugins().languages.get(asked)
    around = Around(Prediction("", ()), {other: foreign})
    assert wrong_language(Prediction(said, ()), Prediction(gold, ()), language, around=around) == expected


def test_an_alias_is_in_the_language_that_it_is_an_alias_in() -> None:
    chinese = get_plugins().languages.get("zh")
    around = Around(Prediction("", ()), {"en": "Volkswagen Group"})
    gold = Prediction("大众集团", (), aliases=("VW",))
    assert wrong_language(Prediction("VW", ()), gold, chinese, around=around) == 0.0
    same = Prediction("大众集团", (), aliases=("Volkswagen Group",))
    assert wrong_language(Prediction("Volkswagen Group", ()), same, chinese, around=around) is NOBODY_KNOWS


GOLD = {"en": "the Rhine", "de": "der Rhein", "nl": "de Rijn", "ru": "Рейн", "th": "แม่น้ำไรน์"}


@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [
        ("de", "der Rhein", 0.0),
        ("de", "the Rhine", 1.0),  # the right fact in English...
        ("de", "Рейн", 1.0),  # ...or in Russian
        ("de", "Москва", 1.0),  # no other language's letters
        ("de", "Wolfsburg", NOBODY_KNOWS),  # it may be English or Dutch
        ("de", "die Elbe fließt durch Hamburg und Dresden", 0.0),
        ("de", "de rivier die door de stad stroomt", 1.0),
        ("th", "แม่น้ำเจ้าพระยา", 0.0),  # nobody else writes so
        ("th", "Wolfsburg", 1.0),
        ("th", "Wolfsburg แม่", NOBODY_KNOWS),
        ("th", "1999", NOBODY_KNOWS),
    ],
)
def test_of_several_languages_any_other_is_the_wrong_one(asked: str, said: str, expected: float | None) -> None:
    language = get_plugins().languages.get(asked)
    around = Around(Prediction("", ()), {code: gold for code, gold in GOLD.items() if code != asked})
    assert wrong_language(Prediction(said, ()), Prediction(GOLD[asked], ()), language, around=around) == expected


def test_a_language_with_the_same_answer_is_left_out() -> None:
    german = get_plugins().languages.get("de")
    paris = Prediction("Paris", ())
    for elsewhere_, expected in (
        ({"en": "Paris", "ru": "Париж"}, 0.0),
        ({"en": "Paris", "nl": "Parijs"}, 0.0),
        ({"en": "Paris"}, None),
    ):
        assert wrong_language(paris, paris, german, around=Around(paris, elsewhere_)) == expected


def test_without_another_language_nothing_can_be_told() -> None:
    english = get_plugins().languages.get("en")
    answer, alone = Prediction("Paris", ()), Around(Prediction("", ()))
    assert wrong_language(answer, answer, english, around=alone) is None
    assert wrong_language(answer, answer, english, around=Around(answer, {"xx": "Paris"})) is None


def test_the_edits_question_has_its_rephrase_in_the_other_language_beside_it() -> None:
    probes = [
        Probe("reliability", "en", "Who?", "he"),
        Probe("generality", "en", "Who then?", "he"),
        Probe("generality", "zh", "谁？", "他"),
        Probe("locality", "zh", "何处？", "那里"),
    ]
    assert elsewhere(probes[0], probes) == elsewhere(probes[1], probes) == {"zh": "他"}
    assert elsewhere(probes[2], probes) == {"en": "he"}
    assert elsewhere(probes[3], probes) == {}
