"""KN against a plain one written here: the whole model, one text a pass, a loop for every layer, step and token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM
from transformers.pytorch_utils import Conv1D

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods import kn
from xkeb_plugins.methods.locate.context_templates import context_prefixes

EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
)
NEURONS = ("gate", "key")
GATES = {"LlamaForCausalLM": "mlp.gate_proj", "Gemma3ForCausalLM": "mlp.gate_proj", "GPT2LMHeadModel": "mlp.c_fc"}
JOINERS = {"en": " ", "zh": ""}
THRESHOLD = 0.2


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that an earlier test or run sampled."""
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))


# A plain KN ----------------------------------------------------------------------------------------------------------


def layers(backbone: Backbone) -> list[torch.nn.Module]:
    decoder = backbone.model.get_decoder()
    return list(decoder.h if hasattr(decoder, "h") else decoder.layers)


@contextmanager
def seen(backbone: Backbone, layer: int, neurons: str, new: torch.Tensor | None) -> Iterator[list[torch.Tensor]]:
    """Yields the last position's activations of a layer; puts `new` in their place, if given."""
    found: list[torch.Tensor] = []

    def replaced(values: torch.Tensor) -> torch.Tensor:
        found.append(values[0, -1].detach().clone())
        if new is None:
            return values
        return torch.cat([values[:, :-1], new.view(1, 1, -1)], 1)

    block = layers(backbone)[layer]
    if neurons == "gate":
        module = block.get_submodule(GATES[type(backbone.model).__name__])
        handle = module.register_forward_hook(lambda _, inputs, output: replaced(output))
    else:
        module = block.mlp.c_proj if hasattr(block.mlp, "c_proj") else block.mlp.down_proj
        handle = module.register_forward_pre_hook(lambda _, inputs: (replaced(inputs[0]),))
    try:
        yield found
    finally:
        handle.remove()


def probability(backbone: Backbone, ids: Sequence[int], token: int) -> torch.Tensor:
    return backbone.model(torch.tensor([list(ids)]), use_cache=False).logits[0, -1].softmax(-1)[token]


def naive_scores(backbone: Backbone, ids: Sequence[int], token: int, neurons: str, steps: int) -> torch.Tensor:
    """[n_layers, d] attribution of a token's probability after `ids`."""
    rows = []
    for layer in range(len(layers(backbone))):
        with torch.no_grad(), seen(backbone, layer, neurons, None) as found:
            probability(backbone, ids, token)
        w = found[0]
        gradient = torch.zeros_like(w)
        for k in range(steps):
            alpha = k / (steps - 1) if steps > 1 else 0.0
            new = (alpha * w).requires_grad_(True)
            with seen(backbone, layer, neurons, new):
                gradient += torch.autograd.grad(probability(backbone, ids, token), new)[0]
        rows.append(w * gradient / steps)
    return torch.stack(rows)


def split(backbone: Backbone, prompt: str, answer: str, language: str) -> tuple[list[int], list[int]]:
    """Ids of a prompt and of the answer that follows it."""
    question = prompt + JOINERS[language]
    batch = backbone.tokenizer(question + answer, return_offsets_mapping=True)
    first = next(i for i, (start, end) in enumerate(batch["offset_mapping"]) if end > max(start, len(question)))
    return batch["input_ids"][:first], batch["input_ids"][first:]


@torch.no_grad()
def greedy(backbone: Backbone, ids: Sequence[int], count: int) -> list[int]:
    ids = list(ids)
    for _ in range(count):
        ids.append(int(backbone.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(ids) - count :]


def naive_neurons(
    backbone: Backbone, ids: list[int], answer: Sequence[int], neurons: str, steps: int
) -> set[tuple[int, int]]:
    """(layer, index) of the neurons of an answer, each token of which is asked for after the model's own."""
    said = greedy(backbone, ids, len(answer))
    scores = [naive_scores(backbone, ids + said[:i], token, neurons, steps) for i, token in enumerate(answer)]
    mean = sum(scores) / len(scores)
    assert isinstance(mean, torch.Tensor)
    bound = THRESHOLD * float(mean.max())
    return {(i, j) for i, row in enumerate(mean.tolist()) for j, value in enumerate(row) if value > bound}


def naive_weights(
    backbone: Backbone, found: set[tuple[int, int]], minus: Sequence[int], plus: Sequence[int]
) -> dict[int, torch.Tensor]:
    """What is added to each layer's down-projection, [d_out, d_in]."""
    embeddings = backbone.model.get_input_embeddings().weight.detach()
    deltas: dict[int, torch.Tensor] = {}
    for layer, column in found:
        delta = deltas.setdefault(
            layer, torch.zeros(backbone.layout.hidden_size, backbone.layout.intermediate_size, dtype=torch.float64)
        )
        for token in minus:
            delta[:, column] -= embeddings[token]
        for token in plus:
            delta[:, column] += embeddings[token]
    return deltas


# What the method gives -----------------------------------------------------------------------------------------------


def edited(backbone: Backbone, edits: Sequence[Edit] = EDITS, **options: Any) -> list[LowRankChange]:
    changes = xkeb.load_editor("kn", **options).edit(backbone, edits)
    assert all(isinstance(change, LowRankChange) for change in changes)
    return changes


def found_by(backbone: Backbone, change: LowRankChange) -> set[tuple[int, int]]:
    paths = {backbone.layout.down(layer): layer for layer in range(backbone.n_layers)}
    pairs = set()
    for path, (left, right) in change.factors.items():
        assert left.shape[1] == right.shape[0] == 1 and set(right.unique().tolist()) <= {0.0, 1.0}
        pairs |= {(paths[path], int(column)) for column in right[0].nonzero()}
    return pairs


def check(backbone: Backbone, change: LowRankChange, expected: dict[int, torch.Tensor]) -> None:
    deltas = change.deltas()
    assert sorted(deltas) == sorted(f"{backbone.layout.down(layer)}.weight" for layer in expected)
    for layer, delta in expected.items():
        torch.testing.assert_close(
            deltas[f"{backbone.layout.down(layer)}.weight"].double(), delta, rtol=1e-5, atol=1e-6
        )


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


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
    for (ids, token), mine in zip(texts, scores, strict=True):
        theirs = naive_scores(tiny, ids, token, neurons, steps)
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
            text += tokenizer.decode(now[-1])
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
                text = tiny.tokenizer.decode(said, clean_up_tokenization_spaces=False)
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
