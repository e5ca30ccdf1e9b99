"""A loaded model, and what the rest of the suite asks of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from xkeb import encoding
from xkeb.encoding import Encoded
from xkeb.errors import RequestError
from xkeb.kernels import use_onednn
from xkeb.layout import Layout, find_layout
from xkeb.memory import activations
from xkeb.options import build
from xkeb.packing import enough
from xkeb.plugins import plugins
from xkeb.types import REPLACEMENT, Edit, Language, Prediction

if TYPE_CHECKING:
    from xkeb.changes import Route
    from xkeb.predict import Query


class Source(Protocol):
    """What a plugin registers as a backbone: a class whose fields are its ``--model-args``.

    It may have ``outline() -> Outline | None`` (see `xkeb.outline`), which says without loading anything what the plan
    needs to know of the model, and refuses what could not be loaded.
    """

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        """Loads the model, ready for inference, onto `device` in `dtype`."""
        ...


class Backbone:
    """A causal language model with its tokenizer and module layout.

    Parameters take no gradients: an editor optimises tensors of its own, and a `Change` carries the answer.
    """

    def __init__(self, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sha256: str) -> None:
        """
        Args:
            sha256: identifies the weights; artifacts and cached statistics are kept under it.

        Raises:
            RequestError: the model's layout can't be found, or its tokenizer reports no offsets.
        """
        if not encoding.reports_offsets(tokenizer):
            raise RequestError(
                f"The tokenizer of {name!r} ({type(tokenizer).__name__}) reports no offsets; a fast one is needed."
            )
        self.name = name
        self.model = model.eval().requires_grad_(False)
        use_onednn(self.model)
        self.tokenizer = tokenizer
        self.sha256 = sha256
        self.layout: Layout = find_layout(model)
        self.activations = activations(self.device)
        """Bytes that one batch of an editor may keep for its backward pass, about."""
        self.full_pass = enough(self.device)
        """Tokens that fill a forward pass: see `xkeb.packing`."""
        self.context: Callable[[str], str] = no_context
        self.routes: Callable[[Sequence[Query]], Sequence[Route | None]] = no_routes
        self._check_head()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @functools.cached_property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def n_layers(self) -> int:
        return self.layout.n_layers

    def module(self, path: str) -> nn.Module:
        """The module at a path of `layout`."""
        return self.model.get_submodule(path)

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter of that name, as in ``model.named_parameters()``."""
        return self.model.get_parameter(name)

    @functools.cached_property
    def pad_id(self) -> int:
        """An id to fill rows with; what stands there is never looked at."""
        tokenizer = self.tokenizer
        return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)

    # Text -----------------------------------------------------------------------------------------------------------

    def encode(self, prompt: str, target: str = "", language: str | Language = "en") -> Encoded:
        """Tokens of a prompt and its answer, joined as `language` joins them (see `xkeb.encoding.encode`)."""
        return encoding.encode(self.tokenizer, prompt, target, _language(language).joiner)

    def subject_last(self, edit: Edit, prefix: str = "") -> int:
        """Index of the subject's last token in ``encode(prefix + edit.prompt, edit.target)``."""
        start = edit.prompt.find(edit.subject)
        if not edit.subject or start < 0:
            raise RequestError(f"The subject {edit.subject!r} does not stand in the prompt {edit.prompt!r}.")
        encoded = self.encode(prefix + edit.prompt, edit.target, edit.language)
        return encoding.last_token(encoded, len(prefix) + start + len(edit.subject))

    def read(self, ids: Sequence[int]) -> Prediction:
        """Predicted ids as an answer."""
        return encoding.read(self.tokenizer, list(ids))

    def gold(self, text: str) -> Prediction:
        """A reference text as an answer."""
        return encoding.gold(self.tokenizer, text)

    def quote(self, answer: Prediction) -> Prediction:
        """Another model's answer, its text counted in this backbone's tokens."""
        if REPLACEMENT in answer.text:  # not to be encoded back, and equal to no answer of this backbone's
            return Prediction(answer.text, tuple(-1 - i for i in answer.ids), answer.ids)
        return Prediction(answer.text, self.gold(answer.text).tokens, answer.ids)

    # The forward pass in parts ----------------------------------------------------------------------------------------

    def hidden(self, ids: torch.Tensor, past: Cache | None = None, **kwargs: Any) -> torch.Tensor:
        """Final hidden states, after the last norm.

        Args:
            ids: [B, T]. Rows are padded on the right: causal attention keeps padding from what stands before it, so no
                mask is needed.
            past: keys and values of what stands before `ids`; extended in place.

        Returns:
            [B, T, hidden_size]
        """
        output = self.model.get_decoder()(input_ids=ids, past_key_values=past, use_cache=past is not None, **kwargs)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden.to(self.device)  # of a model on several devices, from the last one

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits of final hidden states: [..., hidden_size] -> [..., vocabulary].

        The head is the costly part of a small model with a large vocabulary: give it only the positions that count.
        """
        logits = self.module(self.layout.head)(hidden).to(hidden.device)
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    @torch.no_grad()
    def _check_head(self) -> None:
        """Refuses a model whose logits are more than its head on its last hidden states (a scale, say)."""
        ids = torch.arange(4, device=self.device).unsqueeze(0)
        whole, parts = self.model(ids, use_cache=False).logits, self.logits(self.hidden(ids))
        if whole.shape != parts.shape or not torch.allclose(whole.float(), parts.float(), rtol=1e-3, atol=1e-3):
            raise RequestError(
                f"{type(self.model).__name__} does something to its logits after the head that is not known here."
            )


def no_context(language: str) -> str:
    """What stands before every prompt until a `ContextChange` says otherwise: nothing."""
    return ""


def no_routes(queries: Sequence[Query]) -> Sequence[Route | None]:
    """Who else answers, until a change with a memory says otherwise: nobody."""
    return [None] * len(queries)


def _language(language: str | Language) -> Language:
    return language if isinstance(language, Language) else plugins().languages.get(language)


def pick_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise RequestError(f"Unknown device {device!r}: expected auto, cpu, cuda or cuda:N.") from error
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"There is no device {device!r} here: PyTorch sees {torch.cuda.device_count()} CUDA devices."
        )
    return picked


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto`` is float32 on a CPU and bfloat16 on a GPU."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in known:
        raise RequestError(f"Unknown dtype {dtype!r}: expected auto, float32 or bfloat16.")
    return known[dtype]


def load_backbone(name: str, *, device: str = "auto", dtype: str = "auto", **model_args: Any) -> Backbone:
    """Loads the backbone registered as `name`.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` (float32 on a CPU, bfloat16 on a GPU), ``float32`` or ``bfloat16``.
        model_args: the backbone's own options, e.g. ``path`` for a local folder.

    Raises:
        RequestError: an unknown name or option, or weights that aren't where they should be.
    """
    source: Source = build("model", name, plugins().models.get(name), model_args)
    place = pick_device(device)
    return source.load(place, pick_dtype(dtype, place))
