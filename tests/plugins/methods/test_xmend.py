"""xmend against plain loops: MEND's losses in every language of a fact."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from plain_mend import answer_loss, divergence, edited_weights, random_networks

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import editor_class, load_editor, make_changes, prepare
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Sight
from xkeb_plugins.methods.mend.cross_lingual import CrossLingualMend

pytestmark = pytest.mark.usefixtures("cache_of_this_module")
SMALL: dict[str, Any] = {
    "rank": 6, "steps": 12, "validate_every": 4, "batch_size": 4, "validation": 4, "lr": 1e-3, "lr_lr": 1e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def facts() -> list[Case]:
    """English ones, the first of which is in English alone."""
    cases = list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:40]
    alone = dataclasses.replace(cases[0].edit, questions={}, translations={})
    return [dataclasses.replace(cases[0], edit=alone), *cases[1:]]


def test_the_loss_is_of_each_language_and_counts_them_the_same(tiny: Backbone, facts: list[Case]) -> None:
    editor = CrossLingualMend(**SMALL, edit_lr=1e-2).configure(tiny.spec)
    networks = random_networks(editor, tiny)
    trainee = editor._trainee(tiny, networks)
    batch = facts[1:4]
    trainee.validate(batch)  # takes the statistics
    expected = []
    for case, other in zip(batch, [*batch[1:], batch[0]], strict=True):
        edited = edited_weights(tiny, editor, networks, case.edit)
        rephrase, unrelated = case.probe("generality"), case.probe("locality")
        edit = [
            answer_loss(tiny, rephrase.prompt, rephrase.reference, "en", edited),
            answer_loss(tiny, case.edit.questions["zh"], case.edit.translations["zh"], "zh", edited),
        ]
        stay = [
            divergence(tiny, unrelated.prompt, unrelated.reference, "en", edited),
            divergence(tiny, other.edit.questions["zh"], other.edit.translations["zh"], "zh", edited),
        ]
        expected.append(editor.cedit * torch.stack(edit).mean() + editor.cloc * torch.stack(stay).mean())
    loss, _ = trainee._losses(batch, observe=False)
    assert torch.allclose(loss, torch.stack(expected).mean(), rtol=1e-4)


def test_a_fact_alone_in_its_batch_has_no_other_to_stay_at(tiny: Backbone, facts: list[Case]) -> None:
    editor = CrossLingualMend(**SMALL).configure(tiny.spec)
    trainee = editor._trainee(tiny, editor.untrained(tiny))
    assert [len(trainee._unrelated(facts[1:n], 0)) for n in (2, 3)] == [1, 2]


def test_it_learns_from_facts_in_both_languages_alone(llama: Backbone, facts: list[Case]) -> None:
    assert CrossLingualMend().lessons(facts) == facts[1:]
    with pytest.raises(RequestError, match=r"xmend learns from training facts .* at least 20, and 9 of 10 are"):
        prepare(load_editor("xmend", **SMALL), llama, facts[:10])


def test_it_sees_nothing_of_the_edit_in_another_language(llama: Backbone, facts: list[Case]) -> None:
    assert editor_class("xmend").sees == {Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING}
    editor = prepare(load_editor("xmend", **SMALL), llama, facts)
    edit = next(iter(xkeb.load_task("bizsre_mini_en2zh"))).edit
    scrambled = dataclasses.replace(edit, translations={"zh": "胡说"}, questions={"zh": "什么？"}, aliases=("某人",))
    (first,), (second,) = make_changes(editor, llama, [edit]), make_changes(editor, llama, [scrambled])
    assert isinstance(first, LowRankChange) and isinstance(second, LowRankChange)
    for path, delta in first.deltas().items():
        assert torch.equal(delta, second.deltas()[path]) and bool(delta.any())
