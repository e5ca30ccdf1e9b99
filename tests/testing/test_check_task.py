"""`xkeb.testing.check_task`: each thing that a task can do wrong is caught by its own sentence."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xkeb.data import Dataset, Split
from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.testing import check_task
from xkeb.types import Case, Direction, Edit, Probe, Skipped

EDIT = Edit("Which river flows through Paris?", "the Rhine", "en", "Paris")
PROBES = (
    Probe("reliability", "en", EDIT.prompt, EDIT.target),
    Probe("generality", "zh", "哪条河流经巴黎？", "莱茵河"),
)
CASE = Case("0", EDIT, PROBES)
GOOD = Split(Path("facts.json"), "0" * 64, (CASE, dataclasses.replace(CASE, id="1")), (Skipped("2", "en: empty alt"),))
ENDLESS = itertools.count()


def probes(*more: Probe, drop: int = 0) -> tuple[Case, ...]:
    return (dataclasses.replace(CASE, probes=(*PROBES[: len(PROBES) - drop], *more)),)


def refuse(text: str) -> Callable[[], Split]:
    def read() -> Split:
        raise RequestError(text)

    return read


TEST: dict[str, tuple[Any, str]] = {
    "unreadable": (refuse("There is no facts.json."), "Its file and its data should be read. There is no facts.json."),
    "no cases": ({"cases": ()}, "It should have cases; all 1 records of its data are skipped."),
    "no reliability": (
        {"cases": (dataclasses.replace(CASE, probes=PROBES[1:]),)},
        "Every case should ask the edit itself, in en; case 0 does not.",
    ),
    "other property": (
        {"cases": probes(Probe("beauty", "zh", "?", "!"))},  # type: ignore[arg-type]
        "Probes should be of reliability, generality, locality, portability, in the languages of en-zh; case 0 has ",
    ),
    "other language": (
        {"cases": probes(Probe("generality", "de", "?", "!"))},
        "in the languages of en-zh; case 0 has ",
    ),
    "one language": (
        {"cases": probes(drop=1)},
        "Every case should ask in all languages of en-zh that it isn't said to lack; case 0 does not.",
    ),
    "same ids": ({"cases": (CASE, CASE)}, "Every case should have an id of its own; some share one."),
    "edit elsewhere": (
        {"cases": (dataclasses.replace(CASE, edit=dataclasses.replace(EDIT, language="zh")),)},
        "Edits should be made in en; that of case 0 is in zh.",
    ),
    "empty answer": (
        {"cases": probes(Probe("locality", "zh", "谁？", " "))},
        "Every question and answer should hold text; case 0 has an empty one.",
    ),
    "no reason": ({"skipped": (Skipped("2", ""),)}, "What is skipped should have a reason; record 2 has none."),
    "no hash": ({"sha256": "later"}, "Its data should have a sha256; it has 'later'."),
}
"""What the test data is like, and what is said of it."""

TRAINING: dict[str, tuple[Any, str]] = {
    "two lines": (refuse("There are none.\nSorry."), "should say so in one sentence, not 'There are none.\\nSorry.'."),
    "elsewhere": (
        lambda: dataclasses.replace(GOOD, cases=(dataclasses.replace(CASE, edit=Edit("谁", "他", "zh")),)),
        "Training facts should be in en; those of ['0'] are not.",
    ),
}


class Data(Dataset):
    """A data set that is what it is told to be."""

    name = "mine"

    def __init__(self, test: Callable[[], Split] = lambda: GOOD, training: Callable[[], Split] = lambda: GOOD) -> None:
        self._test, self._training = test, training

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        return self._test()

    def training(self, language: str, data_dir: Path | None = None) -> Split:
        return self._training()


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Data], None]:
    def run(data: Data) -> None:
        (tmp_path / "mine.yaml").write_text("task: mine\nversion: 1\ndataset: mine\npair: en-zh\n")
        monkeypatch.setitem(get_plugins().datasets.entries, "mine", Entry(data, "test"))
        check_task("mine", include=[tmp_path])

    return run


def test_a_sound_task_passes_with_training_facts_and_without(check: Callable[[Data], None]) -> None:
    check(Data())
    check(Data(training=refuse("There are no training facts.")))


@pytest.mark.parametrize("what", TEST)
def test_what_is_wrong_with_a_task_is_caught(what: str, check: Callable[[Data], None]) -> None:
    values, sentence = TEST[what]
    data = Data(values if callable(values) else lambda: dataclasses.replace(GOOD, **values))
    with pytest.raises(AssertionError) as caught:
        check(data)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("Task 'mine' fails ")
    assert [line for line in lines if sentence in line], lines


@pytest.mark.parametrize("what", TRAINING)
def test_what_is_wrong_with_training_facts_is_caught(what: str, check: Callable[[Data], None]) -> None:
    training, sentence = TRAINING[what]
    with pytest.raises(AssertionError) as caught:
        check(Data(training=training))
    assert sentence in str(caught.value)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(AssertionError, match=r"Unknown task 'bizsre_mini_en2zhh': did you mean 'bizsre_mini_en2zh'\?"):
        check_task("bizsre_mini_en2zhh")


@pytest.mark.parametrize("name", ["bizsre_mini_en2zh", "bizsre_mini_zh2en"])
def test_the_shipped_tasks_pass(name: str) -> None:
    check_task(name)


def test_the_tasks_of_the_paper_pass(data_dir: Path) -> None:
    check_task("bizsre_en2zh", data_dir=data_dir)
