"""MEND on facts that are known for certain: where the loss vanishes, so does its gradient, and so must the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from plain_answers import split

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.mend.editor import Mend
from xkeb_plugins.methods.mend.network import Hypernetworks
from xkeb_plugins.methods.mend.updates import edited_paths, make_updates

SURE = 1e6
"""Times its final hidden states, a tiny model gives its first choice all of the probability that float32 can hold."""


@contextmanager
def sure(backbone: Backbone) -> Iterator[None]:
    handle = backbone.module(backbone.layout.norm or "").register_forward_hook(lambda _, inputs, output: SURE * output)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def known(backbone: Backbone, count: int) -> list[Edit]:
    """Questions with what the model answers, where that is text that reads back as the same tokens."""
    found = []
    for case in xkeb.load_task("bizsre_mini_en2zh"):
        for probe in case.probes:
            given, _ = split(backbone, probe.prompt, "x", probe.language)
            ids = list(given)
            for _ in range(2):
                ids.append(int(backbone.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
                text = str(backbone.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
                answer = text.removeprefix(probe.prompt).removeprefix("" if probe.language == "zh" else " ")
                said = ids[len(given) :]
                if answer and split(backbone, probe.prompt, answer, probe.language) == (given, said):
                    found.append(Edit(probe.prompt, answer, probe.language))
        if len(found) >= count:
            return found[:count]
    raise AssertionError(f"only {len(found)} answers read back")


def gradients(backbone: Backbone, edit: Edit, paths: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """Of the answer's negative log-likelihood, by the whole model."""
    given, said = split(backbone, edit.prompt, edit.target, edit.language)
    parameters = [backbone.parameter(f"{path}.weight") for path in paths]
    try:
        for parameter in parameters:
            parameter.requires_grad_(True)
        logits = backbone.model(torch.tensor([given + said]), use_cache=False).logits[0].float()
        loss = F.cross_entropy(logits[len(given) - 1 : -1], torch.tensor(said))
        return torch.autograd.grad(loss, parameters)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)


def stirred(editor: Mend, backbone: Backbone, edits: Sequence[Edit]) -> Hypernetworks:
    """Networks far from the identity, which make something of nothing, with the statistics of some gradients."""
    networks = editor.untrained(backbone)
    torch.manual_seed(0)
    for parameter in networks.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        make_updates(backbone, networks, editor.layers or (), edits, observe=True)
    return networks


@pytest.mark.parametrize("combine", [True, False])
def test_a_fact_that_is_known_changes_nothing(tiny: Backbone, combine: bool) -> None:
    editor = Mend(rank=6, combine=combine, edit_lr=1e-2).configure(tiny.spec)
    paths = edited_paths(tiny, editor.layers or ())
    with sure(tiny):
        facts = known(tiny, 3)
        news = Edit("Which city is the capital of Japan?", "Sapporo", "en")
        for edit in facts:
            assert all(not gradient.any() for gradient in gradients(tiny, edit, paths))
        assert any(gradient.any() for gradient in gradients(tiny, news, paths))
        networks = stirred(editor, tiny, [news])
        with torch.no_grad():
            *nothing, something = make_updates(tiny, networks, editor.layers or (), [*facts, news])
            alone = make_updates(tiny, networks, editor.layers or (), facts)
    for change in (*nothing, *alone):
        deltas = change.deltas()
        assert deltas.keys() == {f"{path}.weight" for path in paths}
        for path, delta in zip(paths, deltas.values(), strict=True):
            assert not delta.any(), path
    assert any(delta.any() for delta in something.deltas().values())


def test_facts_that_are_known_leave_the_statistics_as_they_are(llama: Backbone) -> None:
    editor = Mend(rank=6).configure(llama.spec)
    with sure(llama), torch.no_grad():
        networks = stirred(editor, llama, [Edit("Which city is the capital of Japan?", "Sapporo", "en")])
        before = {name: value.clone() for name, value in networks.named_buffers()}
        make_updates(llama, networks, editor.layers or (), known(llama, 3), observe=True)
    assert before and all(torch.equal(value, before[name]) for name, value in networks.named_buffers())
