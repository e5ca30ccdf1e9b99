"""Checks on the bundled ``bizsre_mini`` data set.

Each test holds one property that the files promise: the schema, or the absence of one kind of dirt known from the
released Bi-ZsRE files (empty targets, a prefix on the locality questions, answers that are the same string in both
languages, answers leaked by the portability question, repeated questions, subjects missing from their prompts).
The files are read as plain JSON, so these tests need no loader.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Record = dict[str, Any]

DATA = Path(__file__).resolve().parents[3] / "plugins" / "datasets" / "bizsre_mini"
LANGUAGES = ("en", "zh")
TRAIN_FILES = {"en": "bizsre_mini_train.json", "zh": "bizsre_mini_train_chinese.json"}
SIDE_KEYS = {"subject", "src", "rephrase", "alt", "loc", "loc_ans", "portability"}
TRAIN_KEYS = {"subject", "src", "pred", "rephrase", "alt", "answers", "loc", "loc_ans", "cond"}
QUESTION_MARK = {"en": "?", "zh": "\uff1f"}
CJK = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH_MARKS = re.compile(r"[?!,;:]")
COUNTED_WORD_LENGTH = 4
LONGEST_ALT_WORDS = 4
LONGEST_ALT_CHARACTERS = 8

both_languages = pytest.mark.parametrize("lang", LANGUAGES)


def load(name: str) -> list[Record]:
    """Read one JSON list of records."""
    records = json.loads((DATA / name).read_text(encoding="utf-8"))
    assert isinstance(records, list)
    return records


TEST = load("bizsre_mini_test.json")
TRAIN = {lang: load(name) for lang, name in TRAIN_FILES.items()}


def sides(lang: str) -> list[Record]:
    """Return the test records of one language."""
    return [record[lang] for record in TEST]


def strings(value: Any) -> Iterator[str]:
    """Yield every string inside a nested JSON value, keys left aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def port_question(side: Record) -> str:
    """Return the portability question of a test side."""
    return str(side["portability"]["New Question"])


def port_answer(side: Record) -> str:
    """Return the portability answer of a test side."""
    return str(side["portability"]["New Answer"])


def questions(side: Record) -> list[str]:
    """Return every question of a test side or a training record."""
    found = [side["src"], side["rephrase"], side["loc"]]
    return [*found, port_question(side)] if "portability" in side else found


def answers(side: Record) -> list[str]:
    """Return every answer of a test side or a training record."""
    extra = [port_answer(side)] if "portability" in side else list(side["answers"])
    return [side["alt"], side["loc_ans"], *extra]


def words(text: str) -> set[str]:
    """Return the case-folded words of a text."""
    return set(re.findall(r"\w+", text.casefold()))


def normal(text: str) -> str:
    """Return a text as compared for repetition: case, space and final mark do not tell two questions apart."""
    return " ".join(text.casefold().split()).rstrip("?\uff1f")


def repeated(texts: list[str]) -> list[str]:
    """Return the texts that occur more than once."""
    return [text for text, count in Counter(map(normal, texts)).items() if count > 1]


# --- size and schema ---------------------------------------------------------------------------------------------


def test_the_test_file_has_at_least_60_records_and_12_relations() -> None:
    assert len(TEST) >= 60
    assert len({record["relation"] for record in TEST}) >= 12


def test_relations_are_evenly_spread() -> None:
    counts = Counter(record["relation"] for record in TEST)
    assert min(counts.values()) >= 4
    assert max(counts.values()) <= 6


@both_languages
def test_the_training_files_have_at_least_200_facts(lang: str) -> None:
    assert len(TRAIN[lang]) >= 200


def test_test_records_have_exactly_the_documented_keys() -> None:
    for record in TEST:
        assert set(record) == {"relation", *LANGUAGES}
        for lang in LANGUAGES:
            assert set(record[lang]) == SIDE_KEYS
            assert set(record[lang]["portability"]) == {"New Question", "New Answer"}
            assert all(isinstance(record[lang][key], str) for key in SIDE_KEYS - {"portability"})


@both_languages
def test_training_records_have_exactly_the_documented_keys(lang: str) -> None:
    for record in TRAIN[lang]:
        assert set(record) == TRAIN_KEYS
        assert record["pred"] == ""
        assert isinstance(record["answers"], list)
        assert len(record["answers"]) == 1
        assert all(isinstance(record[key], str) for key in TRAIN_KEYS - {"answers"})


# --- dirt known from the released files --------------------------------------------------------------------------


def test_no_string_is_empty_or_untrimmed() -> None:
    training = [{**record, "pred": "-"} for lang in LANGUAGES for record in TRAIN[lang]]
    bad = [text for text in strings([TEST, training]) if not text or text != text.strip() or "  " in text]
    assert bad == []


@both_languages
def test_no_locality_question_carries_the_nq_prefix(lang: str) -> None:
    for side in [*sides(lang), *TRAIN[lang]]:
        assert "nq question" not in side["loc"].casefold()


@both_languages
def test_the_subject_stands_verbatim_in_every_test_question_about_it(lang: str) -> None:
    for side in sides(lang):
        for question in (side["src"], side["rephrase"], port_question(side)):
            assert side["subject"] in question


@both_languages
def test_the_subject_stands_verbatim_in_every_training_question_about_it(lang: str) -> None:
    for record in TRAIN[lang]:
        assert record["subject"] in record["src"]
        assert record["subject"] in record["rephrase"]


def test_test_answers_differ_between_the_languages() -> None:
    for record in TEST:
        for en, zh in zip(answers(record["en"]), answers(record["zh"]), strict=True):
            assert en.casefold() != zh.casefold()


def test_training_answers_differ_between_the_languages() -> None:
    for en, zh in zip(TRAIN["en"], TRAIN["zh"], strict=True):
        for left, right in zip(answers(en), answers(zh), strict=True):
            assert left.casefold() != right.casefold()


def test_no_word_of_the_new_answer_is_in_the_english_portability_question() -> None:
    for side in sides("en"):
        question = port_question(side)
        assert side["alt"].casefold() not in question.casefold()
        counted = {word for word in words(side["alt"]) if len(word) >= COUNTED_WORD_LENGTH}
        assert not counted & words(question), question


def test_the_new_answer_is_not_in_the_chinese_portability_question() -> None:
    for side in sides("zh"):
        assert side["alt"] not in port_question(side)


@both_languages
def test_the_portability_answer_is_not_in_its_question(lang: str) -> None:
    for side in sides(lang):
        assert port_answer(side).casefold() not in port_question(side).casefold()


@both_languages
def test_the_portability_answer_is_not_the_new_answer_or_a_part_of_it(lang: str) -> None:
    for side in sides(lang):
        alt, answer = side["alt"].casefold(), port_answer(side).casefold()
        assert alt not in answer
        assert answer not in alt


@both_languages
@pytest.mark.parametrize("field", ["subject", "src", "rephrase", "loc"])
def test_no_test_value_is_repeated_within_a_language(lang: str, field: str) -> None:
    assert repeated([side[field] for side in sides(lang)]) == []


@both_languages
def test_no_portability_question_is_repeated_within_a_language(lang: str) -> None:
    assert repeated([port_question(side) for side in sides(lang)]) == []


@both_languages
@pytest.mark.parametrize("field", ["src", "rephrase"])
def test_no_training_question_is_repeated_within_a_language(lang: str, field: str) -> None:
    assert repeated([record[field] for record in TRAIN[lang]]) == []


@both_languages
def test_a_rephrase_is_not_its_question_nor_any_other(lang: str) -> None:
    for group in (sides(lang), TRAIN[lang]):
        sources = {normal(side["src"]) for side in group}
        assert [side["rephrase"] for side in group if normal(side["rephrase"]) in sources] == []


@both_languages
def test_the_new_answer_is_not_in_the_edit_questions(lang: str) -> None:
    for side in [*sides(lang), *TRAIN[lang]]:
        assert side["alt"].casefold() not in side["src"].casefold()
        assert side["alt"].casefold() not in side["rephrase"].casefold()


@both_languages
def test_locality_is_about_something_else(lang: str) -> None:
    for side in [*sides(lang), *TRAIN[lang]]:
        loc = f"{side['loc']} {side['loc_ans']}".casefold()
        assert side["subject"].casefold() not in loc
        assert side["alt"].casefold() not in loc


@both_languages
def test_a_locality_question_does_not_hold_its_answer(lang: str) -> None:
    for side in sides(lang):
        if lang == "en":
            assert not words(side["loc_ans"]) <= words(side["loc"]), side["loc"]
        else:
            assert side["loc_ans"] not in side["loc"], side["loc"]


# --- form of the text --------------------------------------------------------------------------------------------


@both_languages
def test_every_question_ends_in_the_question_mark_of_its_language(lang: str) -> None:
    for side in [*sides(lang), *TRAIN[lang]]:
        for question in questions(side):
            assert question.endswith(QUESTION_MARK[lang]), question


def test_chinese_strings_hold_chinese_characters_and_full_width_punctuation() -> None:
    for side in [*sides("zh"), *TRAIN["zh"]]:
        for text in [side["subject"], *questions(side), *answers(side)]:
            assert CJK.search(text), text
            assert not HALF_WIDTH_MARKS.search(text), text


def test_english_strings_hold_no_chinese_characters() -> None:
    for text in strings([sides("en"), TRAIN["en"]]):
        assert not CJK.search(text), text


def test_new_answers_are_short() -> None:
    for record in TEST:
        assert len(record["en"]["alt"].split()) <= LONGEST_ALT_WORDS
        assert len(record["zh"]["alt"]) <= LONGEST_ALT_CHARACTERS


@both_languages
def test_the_subject_stands_at_the_start_in_the_middle_and_at_the_end(lang: str) -> None:
    places: Counter[str] = Counter()
    for side in sides(lang):
        bare = side["src"].strip("?\uff1f\u300a\u300b")
        if bare.startswith(side["subject"]):
            places["start"] += 1
        elif bare.endswith(side["subject"]):
            places["end"] += 1
        else:
            places["middle"] += 1
    assert min(places[place] for place in ("start", "middle", "end")) >= len(TEST) // 8


# --- test file against training files, and the training files among themselves -----------------------------------


@both_languages
def test_test_and_training_share_no_subject(lang: str) -> None:
    trained = {normal(record["subject"]) for record in TRAIN[lang]}
    assert [side["subject"] for side in sides(lang) if normal(side["subject"]) in trained] == []


@both_languages
def test_no_training_fact_is_about_a_new_answer_of_the_test_file(lang: str) -> None:
    edited_to = {normal(side["alt"]) for side in sides(lang)}
    assert [record["subject"] for record in TRAIN[lang] if normal(record["subject"]) in edited_to] == []


@both_languages
def test_test_and_training_share_no_question(lang: str) -> None:
    trained = {normal(question) for record in TRAIN[lang] for question in questions(record)}
    tested = [question for side in sides(lang) for question in questions(side)]
    assert [question for question in tested if normal(question) in trained] == []


def test_training_files_are_aligned_by_index() -> None:
    assert len(TRAIN["en"]) == len(TRAIN["zh"])
    for field in ("subject", "loc"):
        pairs = {(en[field], zh[field]) for en, zh in zip(TRAIN["en"], TRAIN["zh"], strict=True)}
        assert repeated([en for en, _ in pairs]) == []
        assert repeated([zh for _, zh in pairs]) == []


def test_a_training_answer_has_one_translation() -> None:
    translation: dict[str, set[str]] = {}
    for en, zh in zip(TRAIN["en"], TRAIN["zh"], strict=True):
        for left, right in zip(answers(en), answers(zh), strict=True):
            translation.setdefault(left, set()).add(right)
    assert {left: right for left, right in translation.items() if len(right) > 1} == {}


@both_languages
def test_a_training_alternative_is_not_a_true_answer(lang: str) -> None:
    for record in TRAIN[lang]:
        assert record["alt"].casefold() not in {answer.casefold() for answer in record["answers"]}


@both_languages
def test_cond_spells_out_the_edit(lang: str) -> None:
    for record in TRAIN[lang]:
        assert record["cond"] == f"{record['answers'][0]} >> {record['alt']} || {record['src']}"
