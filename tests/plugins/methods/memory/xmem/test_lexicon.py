"""What an edit's answer is in another language: looked up, or said by the model, shown the nearest pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import regex
from small_xmem import changes_of, fitted, shown_of

from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Query
from xkeb_plugins.methods.memory.going_on import go_on
from xkeb_plugins.methods.xmem.demonstrations import Choice, Demonstrations
from xkeb_plugins.methods.xmem.lexicon import Gloss, Lexicon


def fact(number: int, answers: tuple[str, str], languages: tuple[str, str] = ("en", "zh")) -> Case:
    questions = dict(zip(languages, (f"Where is place {number}?", f"地点{number}在哪里？"), strict=True))
    texts = dict(zip(languages, answers, strict=True))
    return Case(str(number), Edit(questions[languages[0]], answers[0], languages[0], "", texts, questions), ())


PAIRS = [
    ("Berne", "伯尔尼"),
    ("Berlin", "柏林"),
    ("BERNE", "伯恩"),
    ("berne", "伯恩"),
    ("Oslo", "奥斯陆"),
    ("Bern", "伯恩"),
]
FACTS = [fact(i, pair) for i, pair in enumerate(PAIRS)]
EDIT = Edit("Where is the fair?", "Bernes", "en", "the fair")


def glosses(backbone: Backbone, facts: Sequence[Case], edits: Sequence[Edit]) -> list[dict[str, Gloss]]:
    return Lexicon(facts, 2).glosses(backbone, edits)


def test_a_known_answer_is_what_most_facts_say() -> None:
    lexicon = Lexicon(FACTS, 2)
    assert [lexicon.look_up(text, "en", "zh") for text in ("Berne", " BERNE ", "Oslo", "Os")] == [
        "伯恩",
        "伯恩",
        "奥斯陆",
        None,
    ]
    assert lexicon.look_up("伯恩", "zh", "en") == "BERNE"  # three times in three spellings: the first
    assert lexicon.look_up("Berne", "en", "de") is None


DATED = [
    fact(i, pair)
    for i, pair in enumerate(
        [
            ("7 April 1970", "1970年4月7日"),
            ("9 April 1811", "1811年4月9日"),
            ("4 April 1650", "1650年4月4日"),
            ("5 May 1994", "1994年5月5日"),
            ("12-class boat", "12级艇"),
            ("1704", "1704"),
            ("1809", "1809年"),
            ("1810", "1810"),
            ("3 or 3", "3或3"),
        ]
    )
]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("8 April 1864", "1864年4月8日"),
        ("8 april  1864", "1864年4月8日"),
        ("5 May 1994", "1994年5月5日"),
        ("6 May 1994", None),  # the fact says 5 twice: which of the two is the day?
        ("5 May 2001", "2001年5月5日"),
        ("368-class boat", "368级艇"),
        ("1999", "1999"),  # as most years are written
        ("1809", "1809年"),
        ("9 June 1811", None),
        ("4 or 4", None),
        ("1 2 3 4 5 6", None),
    ],
)
def test_answers_that_differ_in_their_numbers_alone_are_written_alike(answer: str, expected: str | None) -> None:
    assert Lexicon(DATED, 2).look_up(answer, "en", "zh") == expected


@pytest.mark.parametrize(("answer", "expected"), [("1864年4月8日", "8 April 1864"), ("1864年6月8日", None)])
def test_a_number_that_is_a_word_in_the_other_language_stays(answer: str, expected: str | None) -> None:
    assert Lexicon(DATED, 2).look_up(answer, "zh", "en") == expected


def test_the_way_that_most_facts_confirm_is_taken() -> None:
    """Two facts say that the first number is a day, one that the word before it is part of a name."""
    facts = [fact(0, ("No 5 of 7", "7之5")), fact(1, ("No 6 of 8", "8之6")), fact(2, ("No 9 of 8", "八号之9"))]
    assert Lexicon(facts, 2).look_up("No 1 of 8", "en", "zh") == "8之1"


def test_years_that_are_counted_otherwise_are_not_filled_in() -> None:
    """Two of three dates are of another calendar."""
    pairs = [("7 April 1970", "7 เมษายน 2513"), ("9 April 1811", "9 เมษายน 2354"), ("6 April 1650", "6 เมษายน 1650")]
    lexicon = Lexicon([fact(i, pair, ("en", "th")) for i, pair in enumerate(pairs)], 2)
    assert lexicon.look_up("8 April 1970", "en", "th") == "8 เมษายน 2513"  # of that year there is one
    assert lexicon.look_up("8 April 1864", "en", "th") is None
    assert lexicon.look_up("6 April 1650", "en", "th") == "6 เมษายน 1650"


def test_a_gloss_that_is_the_answer_itself_is_none(llama: Backbone) -> None:
    assert glosses(llama, DATED, [dataclasses.replace(EDIT, target="1999")]) == [{}]


def test_the_nearest_pairs_stand_before_an_answer_the_nearest_last() -> None:
    lexicon = Lexicon(FACTS, 2)
    assert lexicon.before("Bernes", "en", "zh") == "Bern\n伯恩\n\nBerne\n伯恩\n\nBernes\n"
    assert lexicon.nearest("Berne", "en", "zh")[0] == ("Bern", "伯恩"), "an answer is not shown its own translation"


def test_a_fact_in_other_languages_is_no_pair() -> None:
    lexicon = Lexicon([*FACTS, fact(9, ("Wien", "Vienna"), ("de", "en"))], 9)
    assert lexicon.languages == ["de", "en", "zh"]
    assert lexicon.nearest("Wiener", "en", "zh") == Lexicon(FACTS, 9).nearest("Wiener", "en", "zh")
    assert lexicon.nearest("Wiener", "de", "en") == [("Wien", "Vienna")]


def test_the_model_is_asked_only_what_is_not_known(llama: Backbone) -> None:
    known = dataclasses.replace(EDIT, target="Oslo")
    alone, together = glosses(llama, FACTS, [EDIT]), glosses(llama, FACTS, [known, EDIT])
    assert together == [{"zh": Gloss("奥斯陆", looked_up=True)}, *alone]
    (said,) = go_on(llama, [Lexicon(FACTS, 2).before("Bernes", "en", "zh")], 32)
    assert alone == [{"zh": Gloss(said, looked_up=False)}] if said else alone == [{}]


def test_what_goes_on_is_the_likeliest_token_each_time(gemma: Backbone) -> None:
    """Against one pass a token, and the embedded model writes Chinese."""
    text = "Norway\n挪威\n\nSweden\n瑞典\n\nDenmark\n"
    (said,) = go_on(gemma, [text], 8)
    assert said == "丹麦"
    so_far = ""
    while "\n" not in so_far and len(so_far) < len(said) + 1:
        answer = predict(gemma, [Query(text + so_far, "?", "zh")])[0]
        so_far += gemma.said(answer.ids[:1])
    assert so_far.strip() == said


@pytest.mark.parametrize("looked_up", [False, True])
def test_a_gloss_stands_behind_every_answer_or_before_it_if_it_was_looked_up(
    training: list[Case], looked_up: bool
) -> None:
    demonstrations = Demonstrations(training, Choice(1, "target", 0.3, 0), "en")
    plain = demonstrations.contexts(EDIT)
    glossed = demonstrations.contexts(EDIT, {"zh": Gloss("伯尔尼", looked_up)})
    assert glossed["en"] == plain["en"]
    (case,) = demonstrations.choose(EDIT, "zh")
    own = case.edit
    pairs = [(own.target, own.translations["zh"]), ("Bernes", "伯尔尼")]
    (one, two), (three, four) = [(b, a) if looked_up else (a, b) for a, b in pairs]
    assert glossed["zh"] == (
        f"New Fact: {own.prompt} {one} ({two})\n"
        f"Prompt: {own.questions['zh']}{own.translations['zh']}\n\n"
        f"New Fact: Where is the fair? {three} ({four})\nPrompt: "
    )


def test_the_editor_stores_what_the_lexicon_says(llama: Backbone, training: list[Case], cases: list[Case]) -> None:
    edit = dataclasses.replace(cases[0].edit, target=training[5].edit.target)
    case = dataclasses.replace(cases[0], edit=edit)
    options: dict[str, Any] = {"scope": "all", "demonstrations": 0}
    (with_it,) = changes_of(fitted(llama, training, **options), llama, [case])
    (without,) = changes_of(fitted(llama, training, lexicon=0, **options), llama, [case])
    told = Lexicon(training, 16).look_up(edit.target, "en", "zh")
    assert shown_of(with_it)["zh"] == f"New Fact: {edit.prompt} {told} ({edit.target})\nPrompt: "
    assert shown_of(without)["zh"] == shown_of(with_it)["en"] == f"New Fact: {edit.prompt} {edit.target}\nPrompt: "
    assert regex.search(r"\p{Han}", str(told))
