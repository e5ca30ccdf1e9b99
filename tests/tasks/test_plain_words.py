"""Words of a task's YAML that YAML 1.1 takes for booleans: a language called ``no``, a column called ``yes``."""

from __future__ import annotations

from pathlib import Path

import pytest

import xkeb
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.tasks.config import TaskFile, read_definitions

YAML = """\
task: mine
version: 1
pair: en-no
description: on
dataset:
  format: csv
  path: facts.csv
  columns:
    en: {question: on, answer: yes, subject: s}
    no: {question: off, answer: no}
"""
TABLE = "on,yes,s,off,no\nWhere is Bo?,Rome,Bo,Hvor er Bo?,Roma\n"


@pytest.fixture
def norwegian(monkeypatch: pytest.MonkeyPatch) -> None:
    language = xkeb.Language("no", "Norwegian", str.split)
    monkeypatch.setitem(get_plugins().languages.entries, "no", Entry(language, "tests"))


@pytest.mark.usefixtures("norwegian")
def test_a_language_called_no_and_a_column_called_yes_stay_text(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "facts.csv").write_text(TABLE, encoding="utf-8")
    (definition,) = read_definitions(tmp_path / "mine.yaml")
    assert isinstance(definition.content, TaskFile) and definition.content.description == "on"
    task = xkeb.load_task("mine", include=[tmp_path])
    (case,) = task
    assert task.pair.languages == ("en", "no")
    assert (case.edit.prompt, case.edit.target, case.edit.subject) == ("Where is Bo?", "Rome", "Bo")
    assert case.edit.translations == {"en": "Rome", "no": "Roma"}
    assert case.edit.questions == {"en": "Where is Bo?", "no": "Hvor er Bo?"}


@pytest.mark.usefixtures("norwegian")
def test_a_column_that_is_not_there_is_called_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(YAML, encoding="utf-8")
    (tmp_path / "facts.csv").write_text(TABLE.replace("yes", "answer"), encoding="utf-8")
    with pytest.raises(xkeb.RequestError, match="'yes'"):
        len(xkeb.load_task("mine", include=[tmp_path]))


@pytest.mark.usefixtures("norwegian")
def test_a_family_may_have_a_pair_with_no(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        "task: mine_{source}2{target}\nversion: 1\npairs: [en-no, no-en]\ndataset: bizsre_mini\ngroup: no\n"
    )
    names = [definition.name for definition in read_definitions(tmp_path / "all.yaml")]
    assert names == ["mine_en2no", "mine_no2en", "no"]
