"""A plain ROME: the whole model, one text a pass, one edit at a time, formulae of the paper (Meng et al., 2022: Equations 2
to 4, Appendix E.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.locate.optimize_value import KeyValue, ValueOptions

LAYER = 1
PREFIXES = ("", "The weather is fine. ", "Therefore, on the whole. ", "今天。")
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)
SETTINGS = {
    "paper": ValueOptions(steps=25, lr=0.5, kl_factor=0.0625, weight_decay=1e-3, clamp=4.0, stop_loss=5e-2),
    # So that the projection is at work, the divergence and the decay weigh, and the last step is the last.
    "tight": ValueOptions(steps=6, lr=0.5, kl_factor=1.0, weight_decay=0.01, clamp=0.75, stop_loss=5e-2),
    "decaying": ValueOptions(steps=6, lr=0.05, kl_factor=0.0, weight_decay=0.5, clamp=4.0, stop_loss=5e-2),
}
ALL = (*SETTINGS, "early")


def tokens(
    backbone: Backbone, text: str, subject_end: int, prompt: int, joiner: int
) -> tuple[torch.Tensor, int, list[int]]:
    """Ids [1, T], index of the token that completes the subject, and those to be said after a prompt of so many
    characters and a joiner of so many: they hold a character of the answer, or none of the prompt."""
    batch = backbone.tokenizer(text, return_offsets_mapping=True)
    offsets = batch["offset_mapping"]
    site = max(i for i, (start, end) in enumerate(offsets) if start < subject_end <= end)
    said = [i for i, (start, end) in enumerate(offsets) if end > start and (start >= prompt or end > prompt + joiner)]
    return torch.tensor([batch["input_ids"]]), site, said


@contextmanager
def added(module: torch.nn.Module, site: int, delta: torch.Tensor) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Adds `delta` to what leaves a module at one position; yields what entered and left it there, before that."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        seen.append((inputs[0][0, site].detach().clone(), output[0, site].detach().clone()))
        changed = output.clone()
        changed[0, site] = changed[0, site] + delta
        return changed

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def naive_value(backbone: Backbone, edit: Edit, layer: int, prefixes: Sequence[str], options: ValueOptions) -> KeyValue:
    """Key and optimised value."""
    model, module = backbone.model, backbone.module(backbone.layout.down(layer))
    joiner = {"en": " ", "zh": ""}[edit.language]
    texts = []
    for prefix in prefixes:
        end = len(prefix) + edit.prompt.index(edit.subject) + len(edit.subject)
        question = prefix + edit.prompt
        texts.append(tokens(backbone, question + joiner + edit.target, end, len(question), len(joiner)))
    essence, essence_site, _ = tokens(backbone, f"{edit.subject} is a", len(edit.subject), 0, 0)
    nothing = torch.zeros(backbone.layout.hidden_size)
    entered = []
    with torch.no_grad():
        for ids, site, _ in texts:
            with added(module, site, nothing) as seen:
                model(ids)
            entered.append(seen[0])
        before = model(essence).logits[0, essence_site].log_softmax(-1)
    key = torch.stack([k for k, _ in entered]).mean(0)
    mean_value = torch.stack([v for _, v in entered]).mean(0)
    bare_key, old = entered[0]

    delta = torch.zeros_like(old, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=options.lr)
    losses: list[float] = []
    for step in range(options.steps):
        optimizer.zero_grad()
        nll = []
        for ids, site, answer in texts:
            with added(module, site, delta):
                log_probs = model(ids).logits[0].log_softmax(-1)
            nll.append(-torch.stack([log_probs[i - 1, ids[0, i]] for i in answer]).mean())
        with added(module, essence_site, delta):
            now = model(essence).logits[0, essence_site].log_softmax(-1)
        # Equation 4: KL(edited model || model), as in the authors' code.
        divergence = (now.exp() * (now - before)).sum()
        decay = delta.norm() / old.norm() ** 2
        loss = torch.stack(nll).mean() + options.kl_factor * divergence + options.weight_decay * decay
        losses.append(float(loss.detach()))
        if losses[-1] < options.stop_loss or step == options.steps - 1:
            break
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            limit = options.clamp * old.norm()
            if delta.norm() > limit:
                delta *= limit / delta.norm()
    return KeyValue(key, bare_key, mean_value, old, old + delta.detach(), tuple(losses))


def naive_factors(fact: KeyValue, moment: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Equation 2, with u of length 1: left [d_out, 1], right [1, d_in]."""
    key = fact.key.double()
    u = key if moment is None else torch.linalg.inv(moment) @ key
    u = u / u.norm()
    left = (fact.new_value - fact.old_value).double() / (u @ fact.bare_key.double())
    return left[:, None].float(), u[None].float()


@torch.no_grad()
def naive_moment(backbone: Backbone, layer: int, texts: Sequence[str]) -> torch.Tensor:
    """E[k k^T] over every token, BOS among them, one text a pass, in float64."""
    module = backbone.module(backbone.layout.down(layer))
    keys: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: keys.append(inputs[0][0]))
    counted = []
    try:
        for text in texts:
            ids = backbone.tokenizer(text)["input_ids"]
            backbone.model(torch.tensor([ids]))
            counted.append(keys[-1])
    finally:
        handle.remove()
    every = torch.cat(counted).double()
    return every.T @ every / len(every)


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


_NAIVE: dict[tuple[str, str], list[KeyValue]] = {}


def settings(backbone: Backbone, setting: str) -> ValueOptions:
    """Those of `SETTINGS`, or the paper's with a bound that one edit passes after its third step, and not every one."""
    if setting != "early":
        return SETTINGS[setting]
    losses = min((fact.losses for fact in naive_values(backbone, "paper")), key=min)
    return dataclasses.replace(SETTINGS["paper"], stop_loss=(losses[2] + losses[3]) / 2)


def naive_values(backbone: Backbone, setting: str) -> list[KeyValue]:
    """Made once a backbone and setting; it takes a while."""
    key = (backbone.sha256, setting)
    if key not in _NAIVE:
        options = settings(backbone, setting)
        _NAIVE[key] = [naive_value(backbone, edit, LAYER, PREFIXES, options) for edit in EDITS]
    return _NAIVE[key]


def rome(options: ValueOptions = SETTINGS["paper"], **more: Any) -> Any:
    fields = {"layer": LAYER, "context_templates": PREFIXES[1:], **dataclasses.asdict(options), **more}
    return xkeb.load_editor("rome", **fields)
