"""Answers to other questions that are the edit's own."""

from __future__ import annotations

import pytest
from made_records import located

from xkeb.results.echo import echoes_edit
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.statistics import blank_scores


def answered(after: str, *, asked: str = "zh", target: str = "Bordeaux") -> tuple[CaseRecord, ProbeRecord]:
    """A case of an edit to `target`, which is 波尔多 in Chinese, and a question of locality with this answer to it."""
    case = located("1", 0.0, blank=True)
    edited, unrelated = case.probes
    probe = unrelated.model_copy(update={"after": after, "language": asked})
    told = edited.model_copy(update={"language": "zh", "property": "generality"})
    edit = case.edit.model_copy(update={"target": target})
    return case.model_copy(update={"edit": edit, "probes": [told, probe]}), probe


@pytest.mark.parametrize("after", ["波尔多", "波尔多。它", "波", "Bordeaux", "BORDEAUX, France", " Ｂordeaux"])
def test_the_edits_answer_in_its_language_or_the_questions_is_an_echo(after: str) -> None:
    assert echoes_edit(*answered(after))


@pytest.mark.parametrize("after", ["", "?", "\n", "巴黎", "Paris", "in Bordeaux"])
def test_silence_and_another_answer_are_none(after: str) -> None:
    assert not echoes_edit(*answered(after))


def test_the_answer_in_a_third_language_is_none() -> None:
    assert not echoes_edit(*answered("波尔多", asked="de"))


def test_echoes_are_counted_among_what_is_left_out_alone() -> None:
    cases = [answered(after)[0] for after in ("波尔多", "", "Bordeaux")]
    open_one = answered("波尔多")[0]
    probes = [probe.model_copy(update={"blank": False}) for probe in open_one.probes]
    (blank,) = blank_scores([*cases, open_one.model_copy(update={"probes": probes})]).values()
    assert (blank.n, blank.echoes) == (3, 2)
