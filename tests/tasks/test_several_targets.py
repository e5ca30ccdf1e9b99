"""Tasks with several targets, and with none, as their YAML says them."""

from __future__ import annotations

from pathlib import Path

import pytest

from xkeb.errors import RequestError
from xkeb.tasks.config import read_definitions
from xkeb.tasks.task import load_task
from xkeb.types import Direction, LanguagePair

GOOD = "task: mine\nversion: 1\ndataset: mzsre\nsource: en\ntargets: [de, ru, th]\n"
FAMILY = (
    "task: m_{source}\nversion: 1\ndataset: mzsre\nlanguages: [en, de, ru]\ndescription: In {source_name}\ngroup: m\n"
)


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_source_and_its_targets_are_a_task(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    pair = load_task("mine", include=[tmp_path]).pair
    assert pair == Direction("en", ("de", "ru", "th"))
    assert (pair.name, pair.languages) == ("en-de+ru+th", ("en", "de", "ru", "th"))


def test_one_target_is_a_pair(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("[de, ru, th]", "[de]"))
    assert load_task("mine", include=[tmp_path]).pair == LanguagePair("en", "de")


def test_an_empty_list_of_targets_is_a_task_of_one_language(tmp_path: Path) -> None:
    write(tmp_path, GOOD.replace("[de, ru, th]", "[]"))
    pair = load_task("mine", include=[tmp_path]).pair
    assert pair == Direction("en", ())
    assert (pair.name, pair.languages) == ("en", ("en",))


def test_a_list_of_languages_is_a_task_for_each_as_the_source(tmp_path: Path) -> None:
    names = [definition.name for definition in read_definitions(write(tmp_path, FAMILY))]
    assert names == ["m_en", "m_de", "m_ru", "m"]
    task = load_task("m_de", include=[tmp_path])
    assert (task.pair, task.description) == (Direction("de", ("en", "ru")), "In German")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("source: en\n", ""), ":1: `source` is missing: `source` and `targets` belong together."),
        (
            GOOD.replace("targets: [de, ru, th]\n", ""),
            ":1: `targets` is missing: name the other languages to ask in, or write `targets: []` to ask in the source alone.",
        ),
        (
            GOOD + "pair: en-de\n",
            ":1: `pair` and `source` and `targets` both say the languages; one of them is enough.",
        ),
        (GOOD.replace("[de, ru, th]", "[de, xx]"), ":5: Unknown language 'xx'"),
        (
            GOOD.replace("[de, ru, th]", "[de, en]"),
            ":5: Beside its source, 'en', a task asks in other languages, each once; ",
        ),
        (
            GOOD.replace("[de, ru, th]", "[de, de]"),
            ":5: Beside its source, 'en', a task asks in other languages, each once; ",
        ),
        (
            GOOD.replace("[de, ru, th]", "[en]"),
            ":5: Beside its source, 'en', a task asks in other languages, each once; ",
        ),
        (GOOD.replace("[de, ru, th]", ""), ":5: targets: Input should be a valid list."),
        (GOOD.replace("[de, ru, th]", "de"), ":5: targets: Input should be a valid list."),
        (
            GOOD.replace("source: en\ntargets: [de, ru, th]\n", ""),
            ":1: the languages are missing: `pair`, or `source` and `tar",
        ),
        (FAMILY.replace("[en, de, ru]", "[]"), ":4: languages: a list of at least one was expected."),
        (
            FAMILY.replace("[en, de, ru]", "[en]"),
            ":4: A list of languages has two at least; found en.",
        ),
        (FAMILY.replace("[en, de, ru]", "[en, de, xx]"), ":4: Unknown language 'xx'"),
        (
            FAMILY.replace("m_{source}", "m_{target}"),
            ":1: task: 'm_{target}' can't be filled in ('target'); there are {source},",
        ),
        (FAMILY.replace("m_{source}", "m"), ":1: task: 'm' gives several tasks the same name."),
    ],
)
def test_what_is_wrong_is_told_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RequestError) as caught:
        read_definitions(path)
    assert str(caught.value).startswith(f"{path}{message}")
