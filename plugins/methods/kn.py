"""KN: knowledge neurons (Dai et al., 2022, https://arxiv.org/abs/2104.08696), by default as EasyEdit runs it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad
from xkeb.models.layout import widths
from xkeb.models.suffix import SuffixForward
from xkeb.types import Edit
from xkeb_plugins.methods.locate.context_templates import context_prefixes

LOGITS = 2**25
"""Most logits of one pass, in rows times vocabulary. Bounds its memory whatever the number of edits and steps."""


@dataclass
class KnowledgeNeurons(Editor):
    """KN: the neurons that an answer hangs on are found by integrated gradients; from then on they write another one."""

    in_paper: ClassVar[bool] = True

    steps: int = 1
    """Points of the integral: activations scaled by ``linspace(0, 1, steps)``. So the default, EasyEdit's, looks at
    neurons that are switched off, and nowhere else; the paper takes 20."""
    neurons: Literal["gate", "key"] = "gate"
    """What a neuron is. ``gate``: what leaves the MLP's gate, or its only projection in, before the activation function
    (EasyEdit); ``key``: what enters the down-projection (the paper, Section 3.2)."""
    answer: str | None = None
    """The answer y* whose neurons are looked for. None: what the untouched model answers now, greedily, in as many tokens
    as the target has, with a separator that is a token of its own. The released code has no true answers either, and asks
    for ``<|endoftext|>``."""
    joined: bool = True
    """Whether answers are tokenised as everywhere in the suite, where they follow the prompt, and an answer that grows
    does so by ids. False: as in EasyEdit, targets are tokenised apart with the special tokens of a text, a growing
    answer is text that is tokenised anew with the prompt at each token, and a lone answered token is erased twice."""
    adaptive_threshold: float = 0.2
    """A coarse neuron's attribution is above this share of the largest of all layers."""
    refine: bool = False
    """Whether neurons must be coarse ones of several prompts: the bare one, and one after each sampled prefix."""
    p: float = 0.4
    """Refined neurons are coarse in more than this share of the prompts. The paper starts from 0.7."""
    contexts: tuple[tuple[int, int], ...] = ((10, 10),)
    """(tokens, how many) of the sampled prefixes; not used unless neurons are refined."""
    lr_scale: float = 1.0
    """Multiplies the change. EasyEdit has this option and ignores it. (The paper weighs what is erased and what is written
    apart, by lambda_1 and lambda_2; in EasyEdit both are 1.)"""
    seed: int = 0
    """Of the sampled prefixes."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is the number of points of an integral, at least 1, not {self.steps}")
        if not 0 <= self.p < 1:
            raise ValueError(f"p is a share of the prompts, from 0 to below 1, not {self.p}")
        if self.answer == "":
            raise ValueError("answer is a text; leave it out for the untouched model's own")

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change for each edit, rank-one in each layer that holds a neuron of its answer."""
        site = find_site(backbone, self.neurons)
        prefixes = context_prefixes(backbone, self.contexts, self.seed) if self.refine else ("",)
        facts = [self._encode(backbone, edit, prefixes) for edit in edits]
        answer_greedily(backbone, [(prompt, fact.length) for fact in facts for prompt in fact.prompts])
        texts = [text for fact in facts for text in fact.texts()]
        scores = attributions(backbone, texts, site, self.steps)
        by_fact = scores.split([len(fact.texts()) for fact in facts])
        return [
            self._change(
                backbone, fact, self._select(own.unflatten(0, (len(prefixes), len(fact.answer_ids()))).mean(1))
            )
            for fact, own in zip(facts, by_fact, strict=True)
        ]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        """Where neurons are refined, over prefixes that are too short."""
        return self.edit(session.backbone, edits)

    def _encode(self, backbone: Backbone, edit: Edit, prefixes: Sequence[str]) -> _Fact:
        """An edit as ids."""
        if not self.joined:
            if backbone.prompt != "plain":
                raise RequestError(f"kn.joined=false takes questions as they stand: not --prompt {backbone.prompt}.")
            tokenise = backbone.tokenizer
            texts = [prefix + edit.prompt for prefix in prefixes]
            prompts = [_Prompt(tuple(tokenise(text)["input_ids"]), tokenise, text) for text in texts]
            target = tuple(tokenise(edit.target)["input_ids"])
            answer = None if self.answer is None else tuple(tokenise(self.answer)["input_ids"])
            return _Fact(prompts, target, answer)
        encoded = [backbone.encode(edit.prompt, edit.target, edit.language, context=prefix) for prefix in prefixes]
        prompts = [_Prompt(text.ids[: text.prompt_end]) for text in encoded]
        target = encoded[0].continuation_ids
        if self.answer is None:
            return _Fact(prompts, target, None)
        return _Fact(prompts, target, backbone.encode(edit.prompt, self.answer, edit.language).continuation_ids)

    def _select(self, scores: torch.Tensor) -> torch.Tensor:
        """The coarse neurons of an answer, or the refined ones: [n_layers, d] of booleans.

        Args:
            scores: [prompts, n_layers, d] attributions, the bare prompt's first.
        """
        coarse = scores > self.adaptive_threshold * scores.amax((1, 2), keepdim=True)
        return coarse.sum(0) > self.p * len(coarse) if self.refine else coarse[0]

    def _change(self, backbone: Backbone, fact: _Fact, neurons: torch.Tensor) -> LowRankChange:
        """``W[:, i] - e(answered now) + e(target)`` for the columns of the found neurons (the paper's update of a fact),
        where e sums the rows of the input embedding matrix, as stored."""
        now = fact.prompts[0].reply[: len(fact.target)]
        if len(now) == 1 and not self.joined:
            now = now * 2
        embeddings: Any = backbone.model.get_input_embeddings().weight
        written = embeddings[list(fact.target)].float().sum(0) - embeddings[now].float().sum(0)  # (d_out,)
        left = (self.lr_scale * written).detach().unsqueeze(1)
        return LowRankChange(
            {
                backbone.layout.down(layer): (left, chosen.float().unsqueeze(0))
                for layer, chosen in enumerate(neurons)
                if chosen.any()
            }
        )


class _Prompt:
    """A prompt that grows by what the untouched model answers."""

    def __init__(self, ids: tuple[int, ...], tokenizer: Any = None, text: str = "") -> None:
        """
        Args:
            tokenizer: where the answer grows as text.
        """
        self.tokenizer, self.text = tokenizer, text
        self.ids = [ids]
        """Of the prompt with the first 0, 1, 2, ... tokens of the answer."""
        self.reply: list[int] = []

    def grow(self, token: int) -> None:
        self.reply.append(token)
        if self.tokenizer is None:
            self.ids.append((*self.ids[-1], token))
        else:
            self.text += self.tokenizer.decode(token)
            self.ids.append(tuple(self.tokenizer(self.text)["input_ids"]))


@dataclass(frozen=True, slots=True)
class _Fact:
    """An edit as ids."""

    prompts: list[_Prompt]
    """The bare one first."""
    target: tuple[int, ...]
    answer: tuple[int, ...] | None
    """y*, if it isn't what the model says to the bare prompt."""

    @property
    def length(self) -> int:
        """How far a prompt must grow, in tokens."""
        return max(len(self.target), len(self.answer or ()))

    def answer_ids(self) -> tuple[int, ...]:
        """The ids of y*, known once the bare prompt is answered."""
        return tuple(self.prompts[0].reply[: len(self.target)]) if self.answer is None else self.answer

    def texts(self) -> list[tuple[tuple[int, ...], int]]:
        """(ids, token whose probability is attributed at their last position), by prompt and then by token of y*. What
        comes before a token is the model's own answer, whatever y* is."""
        return [(prompt.ids[i], token) for prompt in self.prompts for i, token in enumerate(self.answer_ids())]


@torch.no_grad()
def answer_greedily(backbone: Backbone, prompts: Sequence[tuple[_Prompt, int]]) -> None:
    """Grows each prompt by its number of tokens, the likeliest at each step."""
    for step in range(max((length for _, length in prompts), default=0)):
        growing = [prompt for prompt, length in prompts if step < length]
        rows = [prompt.ids[-1] for prompt in growing]
        hidden = backbone.hidden(pad(rows, backbone.pad_id, backbone.device))  # (B, T, D)
        last = torch.tensor([len(row) - 1 for row in rows], device=hidden.device)
        tokens = backbone.logits(hidden[torch.arange(len(rows), device=hidden.device), last]).argmax(-1)
        for prompt, token in zip(growing, tokens.tolist(), strict=True):
            prompt.grow(token)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the activations of a layer's neurons stand."""

    module: str
    """Relative to a layer."""
    enters: bool
    """Whether they are what enters the module, not what leaves it."""

    def hook(self, backbone: Backbone, layer: int, act: Callable[[torch.Tensor], torch.Tensor | None]) -> Any:
        """Shows `act` the activations [B, T, d] of every pass; what it returns, if anything, replaces them."""
        module = backbone.module(f"{backbone.layout.layer(layer)}.{self.module}")
        if self.enters:
            return module.register_forward_pre_hook(lambda _, inputs: act(inputs[0]))
        return module.register_forward_hook(lambda _, inputs, output: act(output))


def find_site(backbone: Backbone, neurons: str) -> Site:
    """The neurons of that kind.

    Raises:
        RequestError: the gate is fused with another projection.
    """
    layout = backbone.layout
    if neurons == "key":
        return Site(layout.down_proj, enters=True)
    gate = next((path for path in layout.up_proj if "gate" in path.rsplit(".", 1)[-1]), layout.up_proj[0])
    width = widths(backbone.module(f"{layout.layer(0)}.{gate}"))[1]
    if width != layout.intermediate_size:
        raise RequestError(
            f"{gate} of {backbone.name!r} has {width} outputs for {layout.intermediate_size} neurons: use kn.neurons=key."
        )
    return Site(gate, enters=False)


def attributions(
    backbone: Backbone, texts: Sequence[tuple[tuple[int, ...], int]], site: Site, steps: int
) -> torch.Tensor:
    """``Attr(w_i) = w_i / m * sum over alpha of dP(y | alpha w) / dw_i`` at the last position, where w are all activations
    of one layer and y is one token: a Riemann sum for the integrated gradient of the paper's Section 3.2.

    Tokens before the last are computed once for all layers, layers below the one in question once; every text and every
    alpha is a row of its own.

    Args:
        texts: (ids, y) of each.

    Returns:
        [len(texts), n_layers, d], float32.
    """
    layout, device = backbone.layout, backbone.device
    total = torch.zeros(len(texts), backbone.n_layers, layout.intermediate_size, device=device)
    rows = [(i, alpha) for i in range(len(texts)) for alpha in torch.linspace(0, 1, steps).tolist()]
    size = max(1, LOGITS // widths(backbone.module(layout.head))[1])
    for batch in (rows[start : start + size] for start in range(0, len(rows), size)):
        owners = torch.tensor([i for i, _ in batch], device=device)
        alphas = torch.tensor([alpha for _, alpha in batch], device=device).unsqueeze(1)
        tokens = torch.tensor([texts[i][1] for i, _ in batch], device=device)
        ids = [texts[i][0] for i, _ in batch]
        last = SuffixForward(backbone, 0, ids, [len(text) - 1 for text in ids])
        if last.sites.any():
            raise RequestError(
                f"kn asks about one position again and again, and {backbone.name!r} has layers that keep no keys and values "
                "of what stands before it."
            )
        suffixes, activations = _by_layer(backbone, last, site)
        for layer, (suffix, w) in enumerate(zip(suffixes, activations, strict=True)):
            scaled = (alphas * w).requires_grad_(True)  # (b, d)
            handle = site.hook(backbone, layer, _instead(scaled))
            try:
                hidden = suffix.run()[:, 0]
            finally:
                handle.remove()
            nll = F.cross_entropy(backbone.logits(hidden).float(), tokens, reduction="none")
            (gradient,) = torch.autograd.grad((-nll).exp().sum(), scaled)
            total[:, layer].index_add_(0, owners, w * gradient / steps)
    return total


def _instead(activations: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Gives these activations, [B, d], for those of the last position."""
    return lambda now: activations.unsqueeze(1).to(now)


@torch.no_grad()
def _by_layer(backbone: Backbone, suffix: SuffixForward, site: Site) -> tuple[list[SuffixForward], list[torch.Tensor]]:
    """From the suffix of all layers, which is one position long, the one that begins at each layer, and the activations
    [B, d] of the layer's neurons there, in float32. All share the keys and values before the suffix."""
    entering: list[torch.Tensor] = []
    activations: list[torch.Tensor] = []
    with ExitStack() as stack:
        for layer in range(backbone.n_layers):
            module = backbone.module(backbone.layout.layer(layer))
            enter = module.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))
            stack.callback(enter.remove)
            neurons = site.hook(backbone, layer, lambda now: activations.append(now[:, 0].float().to(backbone.device)))
            stack.callback(neurons.remove)
        suffix.run()
    suffixes = []
    for layer, hidden in enumerate(entering):
        upper = copy.copy(suffix)
        upper.layer, upper.entering, upper.calls = layer, hidden, suffix.calls[layer:]
        suffixes.append(upper)
    return suffixes, activations
