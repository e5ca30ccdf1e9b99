"""Which slices a case is in."""

from __future__ import annotations

from pathlib import Path

import pytest

import xkeb
from xkeb.results.slices import normal
from xkeb.tasks.slices import slices_of
from xkeb.types import Case, Edit


def case(target: str, **translations: str) -> Case:
    return Case("0", Edit("Who?", target, "en", translations={"en": target, **translations}), ())


@pytest.mark.parametrize(
    ("english", "chinese", "expected"),
    [
        ("Paris", "巴黎", "differ"),
        ("2006", "2006", "equal"),
        ("2006", "２００６", "equal"),  # full width
        ("IBM", "ibm ", "equal"),
        ("2006", "2006年", "differ"),
        ("Michael Jackson", "迈克尔·杰克逊", "differ"),
    ],
)
def test_answers_are_equal_but_for_width_case_and_space(english: str, chinese: str, expected: str) -> None:
    assert slices_of(case(english, zh=chinese))["answers"] == expected


@pytest.mark.parametrize(
    ("target", "expected"), [("2006", "yes"), (" 7th", "yes"), ("٣", "yes"), ("in 2006", "no"), ("二", "no")]
)
def test_an_answer_begins_with_a_digit(target: str, expected: str) -> None:
    assert slices_of(case(target))["digit"] == expected


def test_what_the_data_cannot_tell_is_missing() -> None:
    assert slices_of(case("Paris")) == {"digit": "no"}
    assert "training" not in slices_of(case("Paris", zh="巴黎"))
    labelled = Case("0", case("Paris").edit, (), labels={"relation": "capital"})
    assert slices_of(labelled) == {"digit": "no", "relation": "capital"}


def test_an_answer_among_the_training_facts() -> None:
    trained = {normal("PARIS "), normal("巴黎")}
    assert slices_of(case("Paris"), trained)["training"] == "yes"
    assert slices_of(case("Lyon"), trained)["training"] == "no"


def test_the_tasks_training_answers_are_those_of_its_source_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    task = xkeb.load_task("bizsre_mini_en2zh")
    assert task.trained_answers == frozenset(normal(fact.edit.target) for fact in task.training.cases)
    assert xkeb.load_task("bizsre_en2zh", data_dir=tmp_path).trained_answers is None  # its file isn't here


def test_slices_of_the_shipped_data_are_what_a_reader_would_say() -> None:
    """Each case looked at: the answers in both languages, and the slice."""
    for one in xkeb.load_task("bizsre_mini_en2zh"):
        english, chinese = (one.edit.translations[code] for code in ("en", "zh"))
        assert slices_of(one)["answers"] == ("equal" if english == chinese else "differ")
        assert slices_of(one)["digit"] == ("yes" if english[0] in "0123456789" else "no")
