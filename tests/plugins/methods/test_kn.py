"""KN against a plain one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from plain_answers import JOINERS, split
from plain_kn import (
    EDITS,
    NEURONS,
    THRESHOLD,
    check,
    edited,
    found_by,
    greedy,
    naive_neurons,
    naive_scores,
    naive_weights,
    probability,
    seen,
)
from plain_texts import error
from transformers import Phi3Config, Phi3ForCausalLM
from transformers.pytorch_utils import Conv1D

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods import kn
from xkeb_plugins.methods.locate.context_templates import context_prefixes

pytestmark = pytest.mark.usefixtures("fresh_cache")

# Finding -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neurons", NEURONS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_attributions_are_those_of_whole_passes(tiny: Backbone, neurons: str, steps: int) -> None:
    """Texts of several lengths in one batch, and tokens that are likely and unlikely."""
    texts = []
    for edit in EDITS:
        ids, target = split(tiny, edit.prompt, edit.target, edit.language)
        said = greedy(tiny, ids, 3)
        texts += [(tuple(ids + said[:i]), token) for i in range(3) for token in (said[i], target[i % len(target)])]
    scores = kn.attributions(tiny, texts, kn.find_site(tiny, neurons), steps)
    assert scores.shape == (len(texts), tiny.n_layers, tiny.layout.intermediate_size)
    for (asked, token), mine in zip(texts, scores, strict=True):
        theirs = naive_scores(tiny, asked, token, neurons, steps)
        assert theirs.abs().amax(1).all()  # every layer has a say
        for layer in range(tiny.n_layers):
            assert error(mine[layer], theirs[layer]) < 1e-4


def test_attributions_add_up_to_what_the_neurons_are_worth(tiny: Backbone) -> None:
    """The completeness of integrated gradients: over a layer, they sum to the difference that its neurons make."""
    ids, _ = split(tiny, EDITS[0].prompt, EDITS[0].target, "en")
    (token,) = greedy(tiny, ids, 1)
    scores = kn.attributions(tiny, [(tuple(ids), token)], kn.find_site(tiny, "key"), 2001)
    with torch.no_grad():
        full = float(probability(tiny, ids, token))
        for layer in range(tiny.n_layers):
            with seen(tiny, layer, "key", torch.zeros(tiny.layout.intermediate_size)):
                worth = full - float(probability(tiny, ids, token))
            assert float(scores[0, layer].sum()) == pytest.approx(worth, abs=2e-3)


def test_a_small_pass_finds_the_same(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows fit into one."""
    ids, target = split(tiny, EDITS[0].prompt, EDITS[0].target, "en")
    texts = [(tuple(ids[: len(ids) - i]), target[0]) for i in range(3)]
    site = kn.find_site(tiny, "gate")
    whole = kn.attributions(tiny, texts, site, 5)
    vocabulary = tiny.model.get_output_embeddings().weight.shape[0]
    for rows in (1, 4):
        monkeypatch.setattr(kn, "LOGITS", rows * vocabulary)
        assert error(kn.attributions(tiny, texts, site, 5), whole) < 1e-4


@pytest.mark.parametrize("answer", [None, "Kyoto, 东京"], ids=["own", "given"])
@pytest.mark.parametrize("neurons", NEURONS)
@pytest.mark.parametrize("steps", [1, 4])
def test_the_neurons_and_the_weights_are_the_plain_ones(
    tiny: Backbone, steps: int, neurons: str, answer: str | None
) -> None:
    changes = edited(tiny, steps=steps, neurons=neurons, answer=answer)
    lengths = set()
    for edit, change in zip(EDITS, changes, strict=True):
        ids, target = split(tiny, edit.prompt, edit.target, edit.language)
        now = greedy(tiny, ids, len(target))
        wanted = now if answer is None else split(tiny, edit.prompt, answer, edit.language)[1]
        lengths.add(len(wanted))
        found = naive_neurons(tiny, ids, wanted, neurons, steps)
        assert found and found_by(tiny, change) == found
        check(tiny, change, naive_weights(tiny, found, now, target))
    assert max(lengths) > 1


@pytest.mark.parametrize("neurons", NEURONS)
def test_as_easyedit_has_the_tokens(tiny: Backbone, neurons: str) -> None:
    """Targets by themselves; the prompt grows as text; of a lone answered token the embedding is taken off twice."""
    tokenizer = tiny.tokenizer
    lone = Edit("Which city is the capital of Japan?", "a", "en")
    for edit in (*EDITS, lone):
        (change,) = edited(tiny, [edit], neurons=neurons, joined=False, steps=3)
        target = tokenizer(edit.target)["input_ids"]
        text, now, scores = edit.prompt, [], []
        for _ in target:
            ids = tokenizer(text)["input_ids"]
            now += greedy(tiny, ids, 1)
            scores.append(naive_scores(tiny, ids, now[-1], neurons, 3))
            text += str(tokenizer.decode(now[-1]))
        mean = torch.stack(scores).mean(0)
        found = {(int(i), int(j)) for i, j in (mean > THRESHOLD * mean.max()).nonzero()}
        assert found_by(tiny, change) == found
        check(tiny, change, naive_weights(tiny, found, now * 2 if len(now) == 1 else now, target))


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_refined_neurons_are_those_of_more_than_a_share_of_the_prompts(tiny: Backbone, p: float) -> None:
    contexts = ((4, 3),)
    prefixes = context_prefixes(tiny, contexts, 7)
    assert len(prefixes) == 4 and prefixes[0] == ""
    changes = edited(tiny, EDITS[:2], refine=True, p=p, contexts=contexts, seed=7)
    kept = 0
    for edit, change in zip(EDITS[:2], changes, strict=True):
        ids, target = split(tiny, edit.prompt, edit.target, edit.language)
        now = greedy(tiny, ids, len(target))
        prompts = [split(tiny, prefix + edit.prompt, edit.target, edit.language)[0] for prefix in prefixes]
        coarse = [naive_neurons(tiny, prompt, now, "gate", 1) for prompt in prompts]
        every = set().union(*coarse)
        found = {neuron for neuron in every if sum(neuron in one for one in coarse) > p * len(coarse)}
        assert found != coarse[0] and found_by(tiny, change) == found
        check(tiny, change, naive_weights(tiny, found, now, target))
        kept += len(found)
    assert kept


def test_prefixes_are_sampled_only_to_refine(llama: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(kn, "context_prefixes", fail)
    edited(llama, EDITS[:1])
    with pytest.raises(AssertionError):
        edited(llama, EDITS[:1], refine=True)


# Writing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("neurons", NEURONS)
def test_an_edit_in_a_batch_is_the_same_edit_alone(tiny: Backbone, neurons: str) -> None:
    for edit, change in zip(EDITS, edited(tiny, neurons=neurons, steps=3), strict=True):
        (lone,) = edited(tiny, [edit], neurons=neurons, steps=3)
        assert lone.factors.keys() == change.factors.keys()
        for path, (left, right) in change.factors.items():
            assert torch.equal(left, lone.factors[path][0]) and torch.equal(right, lone.factors[path][1])


def test_a_target_that_is_answered_already_changes_nothing(tiny: Backbone) -> None:
    known = []
    for case in xkeb.load_task("bizsre_mini_en2zh"):
        for probe in case.probes:
            ids = list(tiny.encode(probe.prompt, "x", probe.language).ids[:-1])
            for count in (1, 2, 3):
                said = greedy(tiny, ids, count)
                text = str(tiny.tokenizer.decode(said, clean_up_tokenization_spaces=False))
                text = text.removeprefix(JOINERS[probe.language])
                if text and split(tiny, probe.prompt, text, probe.language) == (ids, said):
                    known.append(Edit(probe.prompt, text, probe.language))
        if len(known) >= 4:
            break
    assert known
    for options in ({}, {"answer": "Kyoto"}, {"neurons": "key", "steps": 2}):
        changes = edited(tiny, [*known, EDITS[0]], **options)
        for change in changes[:-1]:
            assert change.factors and not any(delta.any() for delta in change.deltas().values())
        assert all(delta.any() for delta in changes[-1].deltas().values())


def test_the_change_is_scaled(llama: Backbone) -> None:
    for one, half in zip(edited(llama), edited(llama, lr_scale=0.5), strict=True):
        assert one.deltas().keys() == half.deltas().keys()
        for name, delta in one.deltas().items():
            torch.testing.assert_close(half.deltas()[name], delta / 2)


def test_the_written_weights_are_the_stored_ones_and_their_columns(tiny: Backbone) -> None:
    """In place: only the columns of the found neurons have changed, whatever way round a matrix is stored."""
    (change,) = edited(tiny, EDITS[:1])
    found = found_by(tiny, change)
    before = {layer: tiny.parameter(f"{tiny.layout.down(layer)}.weight").clone() for layer in range(tiny.n_layers)}
    with change.applied(tiny):
        for layer, old in before.items():
            module = tiny.module(tiny.layout.down(layer))
            delta = tiny.parameter(f"{tiny.layout.down(layer)}.weight") - old
            columns = (delta.T if isinstance(module, Conv1D) else delta).any(0).nonzero().flatten().tolist()
            assert {(layer, column) for column in columns} == {pair for pair in found if pair[0] == layer}


def test_in_half_precision_it_finds_nearly_the_same(tiny_folders: dict[str, Path], tiny: Backbone) -> None:
    family = {"LlamaForCausalLM": "llama", "Gemma3ForCausalLM": "gemma3", "GPT2LMHeadModel": "gpt2"}
    folder = tiny_folders[family[type(tiny.model).__name__]]
    half = xkeb.load_backbone("hf", path=str(folder), device="cpu", dtype="bfloat16")
    ids, target = split(tiny, EDITS[0].prompt, EDITS[0].target, "en")
    texts = [(tuple(ids), target[0]), (tuple(ids), greedy(tiny, ids, 1)[0])]
    for neurons in NEURONS:
        site = kn.find_site(tiny, neurons)
        mine, exact = (kn.attributions(model, texts, site, 3) for model in (half, tiny))
        assert mine.dtype == torch.float32
        for one, other in zip(mine, exact, strict=True):
            assert float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0)) > 0.9
    for change in edited(half):
        assert all(left.dtype == right.dtype == torch.float32 for left, right in change.factors.values())


# Refusing ------------------------------------------------------------------------------------------------------------


def test_a_gate_that_is_fused_with_another_projection_is_refused(llama: Backbone) -> None:
    config = Phi3Config(
        vocab_size=len(llama.tokenizer),
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    fused = Backbone("fused", Phi3ForCausalLM(config), llama.tokenizer, "0")
    with pytest.raises(RequestError, match=r"gate_up_proj of 'fused' has 160 outputs for 80 neurons.*kn\.neurons=key"):
        edited(fused)
    assert all(found_by(fused, change) for change in edited(fused, neurons="key"))


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"p": 1.0}, {"p": -0.1}, {"answer": ""}, {"neurons": "value"}], ids=str
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(options))):
        xkeb.load_editor("kn", **options)
