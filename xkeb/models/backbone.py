"""A loaded model, and what the rest of the suite asks of it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from transformers import Cache, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from xkeb.errors import PluginError, RequestError, nearest
from xkeb.models import tokenization
from xkeb.models.alignment import Alignment, find_alignment
from xkeb.models.batching import saturating_tokens
from xkeb.models.head import check_family, decode_hidden
from xkeb.models.last_layer import is_plain, pick, run_only_at, tried_early
from xkeb.models.layout import Layout
from xkeb.models.memory import activation_budget
from xkeb.models.products import choose_products
from xkeb.models.prompts import Frame, make_conversation, make_frame, template_hash
from xkeb.models.spec import ModelSpec
from xkeb.models.token_axis import keep_token_axis
from xkeb.models.tokenization import Encoded
from xkeb.registry.manager import get_plugins
from xkeb.types import REPLACEMENT, Edit, Language, Prediction, PromptStyle


class Backbone:
    """A causal language model with its tokenizer and module layout.

    Parameters take no gradients: an editor optimises tensors of its own, and a `Change` carries the answer.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sha256: str,
        *,
        revision: str | None = None,
    ) -> None:
        """Changes nothing of `model`; `load_backbone` calls `prepare` on what a plugin made.

        Args:
            name: display name.
            sha256: identifies weights, configuration and tokenizer; artifacts are kept under it.
            revision: commit of the hub's repository that the files are of.

        Raises:
            RequestError: the model's layout can't be found; its tokenizer reports no offsets, or is larger than its embedding.
        """
        if not tokenization.reports_offsets(tokenizer):
            raise RequestError(
                f"The tokenizer of {name!r} ({type(tokenizer).__name__}) reports no offsets; a fast one is needed."
            )
        self.model = model
        self.tokenizer = tokenizer
        self.sha256 = sha256
        self.revision = revision
        self.spec = ModelSpec.of(name, model)
        embedding: Any = model.get_input_embeddings()
        tokenization.check_size(tokenizer, embedding.weight.shape[0])
        self.languages = get_plugins().languages
        self.activation_budget = activation_budget(self.device)
        """Bytes that one batch of an editor may keep for its backward pass, about."""
        self.saturating_tokens = saturating_tokens(self.device)
        """Tokens that fill a forward pass: see `xkeb.models.batching`."""
        self.alignment = Alignment()
        """What its passes may be given; `prepare` finds it out."""
        self.ends_early = True
        """Whether its last layer gives the same states when only some are asked for; `prepare` finds it out."""
        self.intervention: object | None = None
        """What every question is answered under; see `xkeb.models.interventions.Intervention.installed`."""
        self.prompt: PromptStyle = "plain"
        """How questions are put to it; see `asked_in`."""
        self._frames: dict[str, Frame] = {}

    def prepare(self) -> Backbone:
        """Makes the model ready for inference: evaluation mode, no gradients for parameters, fast products on a CPU.

        Raises:
            RequestError: it is of a family that the suite's passes are not right for.
        """
        self.model.eval().requires_grad_(False)
        choose_products(self.model)
        keep_token_axis(self.model, self.layout)
        check_family(self.model, self.layout)
        with tried_early(self.model, self.layout.layer(self.n_layers - 1)) as same:
            self.alignment = find_alignment(self.hidden, self.new_cache, self.device)
        self.ends_early = bool(same) and all(same)
        return self

    def asked_in(self, prompt: PromptStyle) -> Backbone:
        """The same model and tokenizer, with questions put in a style.

        Raises:
            RequestError: the tokenizer has no chat template that can be used.
        """
        other = copy.copy(self)
        other.prompt, other._frames = prompt, {}
        if prompt == "chat":
            make_frame(prompt, Language("", "", str.split), self.tokenizer)
        return other

    @property
    def template_sha256(self) -> str | None:
        """Of the chat template that questions are put by; None in a style that has none."""
        return template_hash(self.prompt, self.tokenizer)

    @property
    def prompt_key(self) -> str:
        """What artifacts know `prompt` by: a chat by its template, too."""
        template = self.template_sha256
        return f"{self.prompt} {template}" if template else self.prompt

    @property
    def name(self) -> str:
        """Display name."""
        return self.spec.name

    @property
    def layout(self) -> Layout:
        """Where its modules stand."""
        return self.spec.layout

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

    @property
    def last_layer(self) -> nn.Module:
        """The decoder layer that stands highest."""
        return self.module(self.layout.layer(self.n_layers - 1))

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter of that name, as in ``model.named_parameters()``.

        Raises:
            PluginError: there is none; names the nearest.
        """
        try:
            return self.model.get_parameter(name)
        except AttributeError as error:
            near = nearest(name, (known for known, _ in self.model.named_parameters()))
            hint = f": did you mean {near!r}?" if near else "."
            raise PluginError(f"{self.spec.name!r} has no parameter {name!r}{hint}") from error

    @functools.cached_property
    def pad_id(self) -> int:
        """An id to fill rows with; what stands there is never looked at."""
        tokenizer = self.tokenizer
        return next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)

    # Text -----------------------------------------------------------------------------------------------------------

    def encode(
        self, prompt: str, target: str = "", language: str | Language | None = None, *, context: str = ""
    ) -> Encoded:
        """Tokens of a question and its answer, put as `prompt` says (see `xkeb.models.tokenization.encode`).

        Args:
            language: of the answer: it says what stands between the two. Needed where there is an answer; without one, the
                text is no question, and encoded as it stands.
            context: what stands before the question.
        """
        if not target:
            return tokenization.encode(self.tokenizer, context + prompt)
        if language is None:
            raise TypeError("encode() needs the language of the answer, which says how prompt and answer are joined")
        frame = self.frame(language)
        return tokenization.encode(self.tokenizer, frame.text(prompt, context), target, frame.separator)

    def encode_question(
        self,
        prompt: str,
        language: str | Language,
        *,
        context: str = "",
        earlier: tuple[str, str] | None = None,
    ) -> Encoded:
        """Tokens of a question that is to be answered freely, put as `prompt` says: the model says whatever stands between
        the two itself.

        Args:
            earlier: a question in the same language, and its answer, that stand before it in one conversation.

        Raises:
            RequestError: the model's chat template shows no second question.
        """
        if earlier is None:
            return tokenization.encode(self.tokenizer, self.frame(language).text(prompt, context))
        spoken = language if isinstance(language, Language) else self.languages.get(language)
        conversation = make_conversation(self.prompt, spoken, self.tokenizer)
        return tokenization.encode(self.tokenizer, conversation.text(prompt, earlier, context))

    def frame(self, language: str | Language) -> Frame:
        """What stands around a question in that language.

        Raises:
            RequestError: the language has no words for the style.
        """
        spoken = language if isinstance(language, Language) else self.languages.get(language)
        if isinstance(language, Language):
            return make_frame(self.prompt, spoken, self.tokenizer)
        if spoken.code not in self._frames:
            self._frames[spoken.code] = make_frame(self.prompt, spoken, self.tokenizer)
        return self._frames[spoken.code]

    def subject_last(self, edit: Edit, context: str = "") -> int:
        """Index of the subject's last token in ``encode(edit.prompt, edit.target, edit.language, context=context)``."""
        start = edit.prompt.find(edit.subject)
        if not edit.subject or start < 0:
            raise RequestError(f"The subject {edit.subject!r} does not stand in the prompt {edit.prompt!r}.")
        encoded = self.encode(edit.prompt, edit.target, edit.language, context=context)
        shift = self.frame(edit.language).start(context) if edit.target else len(context)
        return tokenization.last_token(encoded, shift + start + len(edit.subject))

    @functools.cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: of the begin, the end, a turn, padding."""
        tokenizer = self.tokenizer
        added = (token for token, content in tokenizer.added_tokens_decoder.items() if content.special)
        return frozenset([*tokenizer.all_special_ids, *added])

    def decode(self, ids: Sequence[int]) -> Prediction:
        """Predicted ids as an answer. Special ones are no part of it."""
        return tokenization.decode(self.tokenizer, list(ids), self.special_ids)

    def said(self, ids: Sequence[int]) -> str:
        """The text of ids that follow a prompt, letter for letter, without special ones."""
        kept = [token for token in ids if token not in self.special_ids]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def encode_reference(self, text: str) -> Prediction:
        """A reference text as an answer."""
        return tokenization.encode_reference(self.tokenizer, text)

    def retokenize(self, answer: Prediction) -> Prediction:
        """Another model's answer, its text counted in this backbone's tokens."""
        if REPLACEMENT in answer.text:  # not to be encoded back, and equal to no answer of this backbone's
            return dataclasses.replace(answer, tokens=tuple(-1 - i for i in answer.ids))
        return dataclasses.replace(answer, tokens=self.encode_reference(answer.text).tokens)

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
        output = self.module(self.layout.decoder)(
            input_ids=ids, past_key_values=past, use_cache=past is not None, **kwargs
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden.to(self.device)  # of a model on several devices, from the last one

    def hidden_at(
        self, ids: torch.Tensor, columns: torch.Tensor, past: Cache | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """Final hidden states, after the last norm, at some positions. The last layer makes keys and values of all, and
        runs whole only where the family, or what is hooked into it, needs that.

        Args:
            ids: [B, T], as for `hidden`.
            columns: [B, n] the positions in each row; with n = 0, `past` is extended and nothing else.

        Returns:
            [B, n, hidden_size]
        """
        layer = self.last_layer
        early = self.ends_early and columns.shape[1] < ids.shape[1] and is_plain(layer)
        with run_only_at(layer, columns) if early else nullcontext():
            hidden = self.hidden(ids, past, **kwargs)
        return pick(hidden, columns)

    def new_cache(self) -> DynamicCache:
        """Empty keys and values."""
        return DynamicCache(config=self.model.config)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits of final hidden states: [..., hidden_size] -> [..., vocabulary].

        The head is the costly part of a small model with a large vocabulary: give it only the positions that count.
        """
        return decode_hidden(self.model, self.layout, hidden)
