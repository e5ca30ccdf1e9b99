"""A plain MEMIT: whole forward passes, one text at a time, weights edited in place, and the normal equations solved as they
stand (Meng et al., 2023: Equations 14 to 20, Algorithm 1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.types import Case, Edit

LAYERS = (0, 1, 2)
TEMPLATES = ("The weather is fine. ", "Therefore, on the whole. ", "今天。")
GROUPS = (("",), TEMPLATES)
WEIGHT = 5.0
"""Small against the paper's 15000, as the models are: so that updates of lower layers matter to those above."""
STEPS = 8
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)


def memit(backbone: Backbone, training: Sequence[Case], **options: Any) -> Any:
    return fitted("memit", backbone, training, **{"mom2_update_weight": WEIGHT, **options})


def fitted(method: str, backbone: Backbone, training: Sequence[Case], **options: Any) -> Any:
    """A method of MEMIT's kin, with the settings of `naive_values`."""
    fields = {
        "layers": LAYERS,
        "context_templates": TEMPLATES,
        "mom2_corpus": "task",
        "steps": STEPS,
        "lr": 0.5,
        "weight_decay": 1e-3,
        "clamp": 4.0,
        **options,
    }
    editor = xkeb.load_editor(method, **fields)
    editor.fit(backbone, training)
    return editor


@dataclasses.dataclass
class Text:
    ids: torch.Tensor
    site: int
    """The token that completes the subject."""
    answer: list[int]
    """Those to be said after the prompt: they hold a character of the answer, or none of the prompt."""


def read(backbone: Backbone, edit: Edit, prefix: str = "") -> Text:
    question = prefix + edit.prompt + {"en": " ", "zh": ""}[edit.language]
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    end = len(prefix) + edit.prompt.index(edit.subject) + len(edit.subject)
    offsets = batch["offset_mapping"]
    site = max(i for i, (start, stop) in enumerate(offsets) if start < end <= stop)
    prompt = len(prefix + edit.prompt)
    answer = [i for i, (start, stop) in enumerate(offsets) if stop > len(question) or stop > start >= prompt]
    return Text(torch.tensor([batch["input_ids"]]), site, answer)


def stream(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def hooked(module: torch.nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def log_probs(backbone: Backbone, text: Text, path: str, delta: torch.Tensor) -> torch.Tensor:
    """[T, V] with `delta` added to what leaves the module at `path` at the site."""

    def add(_: Any, inputs: Any, output: Any) -> Any:
        changed = stream(output).clone()
        changed[0, text.site] = changed[0, text.site] + delta
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with hooked(backbone.module(path), add):
        return backbone.model(text.ids).logits[0].log_softmax(-1)


@torch.no_grad()
def states(backbone: Backbone, text: Text, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input and output of a layer's down-projection at the site, and what leaves the last edited layer there."""
    seen: dict[str, torch.Tensor] = {}

    def down(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen["key"], seen["output"] = inputs[0][0, text.site].clone(), output[0, text.site].clone()

    def last(_: Any, inputs: Any, output: Any) -> None:
        seen["hidden"] = stream(output)[0, text.site].clone()

    layout = backbone.layout
    with hooked(backbone.module(layout.down(layer)), down), hooked(backbone.module(layout.layer(LAYERS[-1])), last):
        backbone.model(text.ids)
    return seen["key"], seen["output"], seen["hidden"]


@dataclasses.dataclass
class Naive:
    old: torch.Tensor
    delta: torch.Tensor
    """What is added to the value."""
    move: torch.Tensor
    """What that adds to the residual stream."""
    losses: list[float]


def naive_delta(backbone: Backbone, edit: Edit) -> Naive:
    """Equation 16, with the drift term and the weight decay of the released code. Behind a norm on the MLP's output, the
    value is what enters that norm."""
    texts = [read(backbone, edit, prefix) for group in GROUPS for prefix in group]
    essence = read(backbone, Edit(f"{edit.subject} is a", "", "en", edit.subject))
    layout, last = backbone.layout, LAYERS[-1]
    _, output, hidden = states(backbone, texts[0], last)
    start, path = (output, layout.down(last)) if layout.mlp_norm else (hidden, layout.layer(last))
    delta = torch.zeros_like(start, requires_grad=True)
    with torch.no_grad():
        before = log_probs(backbone, essence, path, delta)[essence.site]
    optimizer = torch.optim.Adam([delta], lr=0.5)
    losses: list[float] = []
    for step in range(STEPS):
        optimizer.zero_grad()
        nll = []
        for text in texts:
            probs = log_probs(backbone, text, path, delta)
            nll.append(-torch.stack([probs[i - 1, text.ids[0, i]] for i in text.answer]).mean())
        now = log_probs(backbone, essence, path, delta)[essence.site]
        divergence = (now.exp() * (now - before)).sum()
        loss = torch.stack(nll).mean() + 0.0625 * divergence + 1e-3 * delta.norm() / start.norm() ** 2
        losses.append(float(loss.detach()))
        if losses[-1] < 5e-2 or step == STEPS - 1:
            break
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            delta *= min(1.0, float(4 * start.norm() / delta.norm()))
    with torch.no_grad():
        norm = backbone.module(f"{layout.layer(last)}.{layout.mlp_norm}") if layout.mlp_norm else torch.nn.Identity()
        return Naive(start, delta.detach(), norm(start + delta) - norm(start), losses)


def brute_force(norm: torch.nn.Module, output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The o', as long as o, whose N(o') comes nearest to N(o) + wanted: by gradient descent, from many starts."""
    output = output.double()
    target = norm(output.float()).double() + wanted.double()
    length = output.norm()
    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(12, len(output), generator=generator, dtype=torch.float64)
    starts[0] = output
    free = starts.clone().requires_grad_(True)
    weight = norm(torch.ones(len(output))).double()

    def distances() -> torch.Tensor:
        normed = weight * free / free.pow(2).mean(-1, keepdim=True).sqrt()
        return (normed - target).pow(2).sum(-1)

    optimizer = torch.optim.LBFGS([free], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15, history_size=50)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = distances().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    best = free.detach()[distances().argmin()]
    return best * length / best.norm()


@torch.no_grad()
def naive_moment(backbone: Backbone, layer: int, texts: Sequence[str]) -> torch.Tensor:
    """E[k k^T] over every token, one text a pass, in float64."""
    keys: list[torch.Tensor] = []
    with hooked(backbone.module(backbone.layout.down(layer)), lambda _, inputs, output: keys.append(inputs[0][0])):
        for text in texts:
            backbone.model(torch.tensor([backbone.tokenizer(text)["input_ids"]]))
    every = torch.cat(keys).double()
    return every.T @ every / len(every)


def naive_share(layer: int, r: torch.Tensor, k: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    """MEMIT's update of a layer, from R [d_out, n], K [d_in, n] and C."""
    return r @ torch.linalg.solve(WEIGHT * moment + k @ k.T, k).T


def naive_updates(
    backbone: Backbone,
    edits: Sequence[Edit],
    moves: Sequence[torch.Tensor],
    texts: Sequence[str],
    share: Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] = naive_share,
) -> dict[int, torch.Tensor]:
    """Each layer's weight update, [d_out, d_in], for all of `edits` at once."""
    layout = backbone.layout
    moments = {layer: naive_moment(backbone, layer, texts) for layer in LAYERS}
    read_edits = [[[read(backbone, edit, prefix) for prefix in group] for group in GROUPS] for edit in edits]
    z = [states(backbone, groups[0][0], LAYERS[-1])[2] + move for groups, move in zip(read_edits, moves, strict=True)]
    originals = {layer: backbone.parameter(f"{layout.down(layer)}.weight").clone() for layer in LAYERS}
    updates = {}
    try:
        for i, layer in enumerate(LAYERS):
            keys, residuals = [], []
            for groups, wanted in zip(read_edits, z, strict=True):
                means = [torch.stack([states(backbone, t, layer)[0] for t in group]).mean(0) for group in groups]
                keys.append(torch.stack(means).mean(0).double())
                _, output, hidden = states(backbone, groups[0][0], layer)
                residual = (wanted - hidden) / (len(LAYERS) - i)
                if layout.mlp_norm:
                    norm = backbone.module(f"{layout.layer(layer)}.{layout.mlp_norm}")
                    residual = (brute_force(norm, output, residual) - output.double()).float()
                residuals.append(residual.double())
            k, r = torch.stack(keys, 1), torch.stack(residuals, 1)
            updates[layer] = share(layer, r, k, moments[layer])
            module = backbone.module(layout.down(layer))
            with torch.no_grad():
                weight = backbone.parameter(f"{layout.down(layer)}.weight")
                weight.add_(as_stored(module, updates[layer]).float())
    finally:
        with torch.no_grad():
            for layer, original in originals.items():
                backbone.parameter(f"{layout.down(layer)}.weight").copy_(original)
    return updates


_NAIVE: dict[str, list[Naive]] = {}


def naive_values(backbone: Backbone) -> list[Naive]:
    """Made once a backbone; it takes a while."""
    if backbone.sha256 not in _NAIVE:
        _NAIVE[backbone.sha256] = [naive_delta(backbone, edit) for edit in EDITS]
    return _NAIVE[backbone.sha256]


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


def same(change: LowRankChange, backbone: Backbone, updates: dict[int, torch.Tensor], within: float) -> None:
    deltas = change.deltas()
    assert set(deltas) == {f"{backbone.layout.down(layer)}.weight" for layer in updates}
    for layer, update in updates.items():
        assert error(deltas[f"{backbone.layout.down(layer)}.weight"], update) < within, layer
