"""Answers to other questions that are the edit's own."""

from __future__ import annotations

import pytest
from made_records import located

from xkeb.results.echo import count_echoes
from xkeb.results.lines import CaseRecord, SequenceRecord
from xkeb.results.statistics import blank_scores


def answered(after: str, *, asked: str = "zh", target: str = "Bordeaux", name: str = "1") -> CaseRecord:
    """A case of an edit to `target`, which is 波尔多 in Chinese, and a question of locality with this answer to it."""
    case = located(name, 0.0, blank=True)
    edited, unrelated = case.probes
    probe = unrelated.model_copy(update={"after": after, "language": asked})
    told = edited.model_copy(update={"language": "zh", "property": "generality"})
    edit = case.edit.model_copy(update={"target": target})
    return case.model_copy(update={"edit": edit, "probes": [told, probe]})


@pytest.mark.parametrize("after", ["波尔多", "波尔多。它", "波", "Bordeaux", "BORDEAUX, France", " Ｂordeaux"])
def test_the_edits_answer_in_its_language_or_the_questions_is_an_echo(after: str) -> None:
    assert count_echoes([answered(after)]) == {"zh": 1}


@pytest.mark.parametrize("after", ["", "?", "\n", "巴黎", "Paris", "in Bordeaux"])
def test_silence_and_another_answer_are_none(after: str) -> None:
    assert count_echoes([answered(after)]) == {"zh": 0}


def test_the_answer_in_a_third_language_is_none() -> None:
    assert count_echoes([answered("波尔多", asked="de")]) == {"de": 0}


@pytest.mark.parametrize(("edits", "echoes"), [(3, 3), (2, 2), (1, 1)])
def test_in_a_sequence_the_answers_of_all_edits_so_far_are_echoes(edits: int, echoes: int) -> None:
    """Three questions that the model with so many edits answers with the first, the second and the third of them; and one
    of another sequence."""
    targets = ("Sapporo", "Lyon", "Basel")
    cases = [
        answered(target, target=other, name=str(place), asked="en").model_copy(
            update={"sequence": SequenceRecord(sha256="a" * 64, place=place, edits=edits)}
        )
        for place, (target, other) in enumerate(zip(targets, targets, strict=True), 1)
    ]
    turned = [
        case.model_copy(update={"probes": [case.probes[0], other.probes[1]]})
        for case, other in zip(cases, [*cases[1:], cases[0]], strict=True)
    ]
    assert count_echoes(turned) == {"en": echoes}
    elsewhere = SequenceRecord(sha256="b" * 64, place=1, edits=1)
    alone = answered("Sapporo", name="4", asked="en").model_copy(update={"sequence": elsewhere})
    assert count_echoes([*turned, alone]) == {"en": echoes}


def test_echoes_are_counted_among_what_is_left_out_alone() -> None:
    cases = [answered(after) for after in ("波尔多", "", "Bordeaux")]
    open_one = answered("波尔多")
    probes = [probe.model_copy(update={"blank": False}) for probe in open_one.probes]
    (blank,) = blank_scores([*cases, open_one.model_copy(update={"probes": probes})]).values()
    assert (blank.n, blank.echoes) == (3, 2)
