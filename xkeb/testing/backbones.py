"""What the suite relies on in a backbone."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from xkeb.editing.changes import DenseChange
from xkeb.evaluation.probing import case_queries
from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad
from xkeb.models.layout import widths
from xkeb.models.loader import display_name, find_skeleton, load_backbone, make_loader
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.tasks.task import shipped_task
from xkeb.testing.expect import expect, run_all
from xkeb.testing.state import difference, model_state
from xkeb.types import Edit, Query

CLOSE = 1e-3
"""Of two computations of the same logits in float32, relative to the largest."""


@dataclass
class Loaded:
    """A backbone, and what it is asked."""

    name: str
    model_args: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def backbone(self) -> Backbone:
        return load_backbone(self.name, device="cpu", dtype="float32", **self.model_args)

    @functools.cached_property
    def edits(self) -> list[Edit]:
        return [case.edit for case in list(shipped_task())[:3]]

    @functools.cached_property
    def queries(self) -> list[Query]:
        """Questions of different lengths, in two languages."""
        return case_queries(next(iter(shipped_task())), 0)

    @functools.cached_property
    def ids(self) -> list[tuple[int, ...]]:
        """Those, with their answers, as tokens."""
        return [self.backbone.encode(query.prompt, query.target, query.language).ids for query in self.queries]

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """[B, T, vocabulary] of rows that are filled up on the right, by way of the final hidden states."""
        backbone = self.backbone
        return backbone.logits(backbone.hidden(pad(rows, backbone.pad_id, backbone.device)))


def check_backbone(name: str, **model_args: Any) -> None:
    """Loads a backbone, on the CPU in float32, and asks it a few questions in every way in which a run asks them.

    That its layout leads to modules of the right widths, and what is written there reaches the answers; that offsets lead from
    characters to tokens; that logits are the model's own, whatever stands beside or after a text; and that it says before it
    is loaded what it will be.

    Args:
        name: what the backbone is registered as.
        model_args: its options, as in ``--model-args``.

    Raises:
        AssertionError: a sentence for each check that failed.
    """
    loaded = Loaded(name, model_args)
    run_all(f"Backbone {name!r}", [it_is_loaded_for_inference], loaded)
    run_all(f"Backbone {name!r}", CHECKS, loaded)


def it_is_loaded_for_inference(loaded: Loaded) -> None:
    backbone = loaded.backbone
    expect(isinstance(backbone, Backbone), f"`load` should give an xkeb.Backbone; it gave a {type(backbone).__name__}.")
    name = display_name(loaded.name, make_loader(loaded.name, **loaded.model_args))
    expect(backbone.name == name, f"It should be called {name!r}; it is called {backbone.name!r}.")
    expect(
        backbone.device == torch.device("cpu") and backbone.dtype == torch.float32,
        f"It should be where and in which precision it was asked for, cpu and float32; "
        f"it is on {backbone.device} in {backbone.dtype}.",
    )
    expect(not backbone.model.training, "The model should be in evaluation mode; it is in training mode.")
    expect(
        not any(parameter.requires_grad for parameter in backbone.model.parameters()),
        "Parameters should take no gradients; some do.",
    )
    expect(
        re.fullmatch(r"[0-9a-f]{64}", backbone.sha256),
        f"`sha256` should be 64 hexadecimal digits that identify the weights; it is {backbone.sha256!r}.",
    )


def the_layout_leads_to_modules(loaded: Loaded) -> None:
    backbone, layout = loaded.backbone, loaded.backbone.layout
    stack = backbone.module(layout.layers)
    expect(
        isinstance(stack, nn.ModuleList) and len(stack) == layout.n_layers,
        f"`layout.layers` should lead to {layout.n_layers} layers; {layout.layers} has {len(list(stack.children()))}.",
    )
    for index in range(layout.n_layers):
        into, out = (layout.hidden_size, layout.intermediate_size), (layout.intermediate_size, layout.hidden_size)
        for path, expected in [*((path, into) for path in layout.ups(index)), (layout.down(index), out)]:
            sizes = widths(backbone.module(path))
            expect(sizes == expected, f"{path} should lead from {expected[0]} to {expected[1]}; it leads {sizes}.")
    if layout.norm is not None:
        norm = backbone.module(layout.norm)(torch.ones(1, 1, layout.hidden_size))
        expect(
            norm.shape == (1, 1, layout.hidden_size),
            f"`layout.norm` should keep the width {layout.hidden_size}; it gives {norm.shape[-1]}.",
        )
    expect(
        backbone.module(layout.head) is backbone.model.get_output_embeddings(),
        f"`layout.head` should lead to the model's output embeddings; {layout.head} does not.",
    )


def what_is_written_to_a_layer_reaches_the_answer(loaded: Loaded) -> None:
    backbone, layout = loaded.backbone, loaded.backbone.layout
    before, untouched = model_state(backbone), loaded.logits(loaded.ids[:1])
    for index in (0, layout.n_layers - 1):
        name = f"{layout.down(index)}.weight"
        noise = torch.randn(
            layout.hidden_size, layout.intermediate_size, generator=torch.Generator().manual_seed(index)
        )
        change = DenseChange({name: noise * backbone.parameter(name).std()})
        with change.applied(backbone):
            edited = loaded.logits(loaded.ids[:1])
        expect(not torch.equal(edited, untouched), f"What is added to {name} should change the logits; it does not.")
    traces = difference(before, model_state(backbone))
    expect(not traces, f"A change that is taken back should leave the model as it was, to the bit; it left {traces}.")


def logits_are_the_model_s_own(loaded: Loaded) -> None:
    for ids in loaded.ids[:3]:
        with torch.inference_mode():
            whole = loaded.backbone.model(torch.tensor([ids]), use_cache=False).logits
        _expect_close(loaded.logits([ids]), whole, "Logits of the final hidden states should be the model's own")


def what_stands_beside_or_after_a_text_changes_nothing(loaded: Loaded) -> None:
    rows = loaded.ids[:3]
    together = loaded.logits(rows)
    for row, ids in enumerate(rows):
        _expect_close(
            together[row, : len(ids)],
            loaded.logits([ids])[0],
            "A text in a padded batch should have the logits it has alone",
        )


def a_prefix_can_be_kept(loaded: Loaded) -> None:
    backbone, ids = loaded.backbone, torch.tensor([max(loaded.ids, key=len)])
    half = ids.shape[1] // 2
    with torch.inference_mode():
        past = DynamicCache(config=backbone.model.config)
        backbone.hidden(ids[:, :half], past)
        rest = backbone.logits(backbone.hidden(ids[:, half:], past))
    _expect_close(
        rest,
        loaded.logits(ids.tolist())[:, half:],
        "What follows a prefix kept as keys and values should have the same logits",
    )


def predictions_are_those_from_growing_prefixes(loaded: Loaded) -> None:
    backbone = loaded.backbone
    queries = loaded.queries[::3]
    for query, answer in zip(queries, predict(backbone, queries), strict=True):
        encoded = backbone.encode(query.prompt, query.target, query.language)
        for place, token in zip(range(encoded.target, len(encoded.ids)), answer.ids, strict=True):
            with torch.inference_mode():
                last = backbone.model(torch.tensor([encoded.ids[:place]]), use_cache=False).logits[0, -1]
            near = float(last.max() - last[token]) <= CLOSE * float(last.abs().max())
            expect(
                near,
                f"Each token of an answer should be the likeliest after the tokens before it; of {query.target!r}, "
                f"token {place - encoded.target} is not.",
            )


def offsets_lead_from_characters_to_tokens(loaded: Loaded) -> None:
    backbone = loaded.backbone
    for query in loaded.queries:
        separator = get_plugins().languages.get(query.language).separator
        text = query.prompt + separator + query.target
        encoded = backbone.encode(query.prompt, query.target, query.language)
        spans = [(start, end) for start, end in encoded.offsets if end > start]
        covered = {place for start, end in spans for place in range(start, end)}
        lost = [character for place, character in enumerate(text) if place not in covered and not character.isspace()]
        expect(not lost, f"Offsets should cover every character of {text!r}; {''.join(lost)!r} is in no token.")
        expect(
            spans == sorted(spans) and covered <= set(range(len(text))),
            f"Offsets should run through {text!r} from left to right; they are {spans}.",
        )
        boundary = len(query.prompt) + len(separator)
        expect(
            all((end > boundary) == (i >= encoded.target) for i, (_, end) in enumerate(encoded.offsets)),
            f"Tokens of the answer should be those that hold any of {query.target!r}.",
        )
        length, before = len(query.prompt), encoded.offsets[: encoded.prompt_end]
        expect(
            encoded.prompt_end <= encoded.target
            and not any(length <= start < end for start, end in before)
            and all(start >= length for start, _ in encoded.offsets[encoded.prompt_end : encoded.target]),
            f"What is to be said should begin with the first token after {query.prompt!r}.",
        )
        if backbone.tokenizer.unk_token_id not in encoded.target_ids:
            answer = backbone.decode(encoded.target_ids).text
            expect(
                answer.casefold().endswith(query.target.strip().casefold()),  # some models read small letters only
                f"The tokens of the answer {query.target!r} should decode to it; they decode to {answer!r}.",
            )


def the_subject_s_last_token_is_found(loaded: Loaded) -> None:
    backbone = loaded.backbone
    for edit in loaded.edits:
        for prefix in ("", "In short. "):
            place = backbone.subject_last(edit, prefix)
            start, end = backbone.encode(edit.prompt, edit.target, edit.language, context=prefix).offsets[place]
            last = len(prefix) + edit.prompt.index(edit.subject) + len(edit.subject)
            expect(
                start < last <= end,
                f"The subject's last token should hold the last character of {edit.subject!r}; it holds {start} to {end}.",
            )


def its_skeleton_is_the_model_without_its_weights(loaded: Loaded) -> None:
    """Where its loader knows one."""
    skeleton = find_skeleton(make_loader(loaded.name, **loaded.model_args))
    if skeleton is None:
        return
    expect(
        skeleton.missing is None,
        f"`skeleton` should miss nothing where the model can be loaded; it says {skeleton.missing}",
    )
    expect(
        skeleton.n_parameters == loaded.backbone.n_parameters,
        f"`skeleton` should have the {loaded.backbone.n_parameters} parameters of the model; it has {skeleton.n_parameters}.",
    )
    expect(
        skeleton.spec(loaded.backbone.name) == loaded.backbone.spec,
        f"`skeleton` should have the model's layout; {skeleton.spec('')} is not {loaded.backbone.spec}.",
    )


def loaded_again_it_is_the_same(loaded: Loaded) -> None:
    again = load_backbone(loaded.name, device="cpu", dtype="float32", **loaded.model_args)
    expect(again.sha256 == loaded.backbone.sha256, "The same weights should have the same `sha256` each time.")
    pairs = zip(again.model.parameters(), loaded.backbone.model.parameters(), strict=True)
    expect(all(torch.equal(one, other) for one, other in pairs), "Loaded again, it should have the same weights.")


def _expect_close(values: torch.Tensor, expected: torch.Tensor, sentence: str) -> None:
    expect(values.shape == expected.shape, f"{sentence}; their shapes are {[*values.shape]} and {[*expected.shape]}.")
    apart = float((values - expected).abs().max() / expected.abs().max())
    expect(apart <= CLOSE, f"{sentence}; they are {apart:.1e} of the largest apart.")


CHECKS = (
    the_layout_leads_to_modules,
    what_is_written_to_a_layer_reaches_the_answer,
    logits_are_the_model_s_own,
    what_stands_beside_or_after_a_text_changes_nothing,
    a_prefix_can_be_kept,
    predictions_are_those_from_growing_prefixes,
    offsets_lead_from_characters_to_tokens,
    the_subject_s_last_token_is_found,
    its_skeleton_is_the_model_without_its_weights,
    loaded_again_it_is_the_same,
)
