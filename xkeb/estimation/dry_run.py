"""A dry run: a backbone without weights, and how to do in a few steps what takes many."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes
from transformers import AutoTokenizer, DynamicCache, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from xkeb.estimation.fake_tensors import FakeTensors, copy_fake
from xkeb.estimation.meter import Work
from xkeb.estimation.repeated_layers import LayerCosts
from xkeb.models.backbone import Backbone
from xkeb.models.batching import saturating_tokens
from xkeb.models.generation import Generations
from xkeb.models.memory import activation_budget
from xkeb.models.onednn import use_onednn
from xkeb.models.skeleton import Skeleton
from xkeb.models.token_axis import keep_token_axis
from xkeb.models.tokenization import reports_offsets
from xkeb.types import Case, PromptStyle
from xkeb.utils.artifacts import Make, artifacts_from
from xkeb.utils.attributes import replaced_attribute

T = TypeVar("T")
FACTS = 128
"""Training facts that statistics are taken over in a dry run: more than go into one batch."""
PIECES = "[\\x00-\\u024f]{1,4}|."
"""Of text whose tokenizer isn't at hand: four Latin letters to a token, and of any other script one."""


class DryRun:
    """A backbone without weights, on a meter that counts what happens while it is `open`."""

    def __init__(
        self,
        skeleton: Skeleton,
        dtype: torch.dtype,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        name: str = "",
        prompt: PromptStyle = "plain",
        device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
        costs: LayerCosts | None = None,
    ) -> None:
        """
        Args:
            name: display name of the backbone.
            prompt: how questions are put to it, and to others that it is asked with.
            tokenizer: None for the one that stands beside the skeleton's config, or a guess at the number of tokens.
            device: whose memory counts. The tensors have none anywhere.
            costs: of layers that are known from other dry runs; this one adds its own.
        """
        self.meter = FakeTensors()
        self.costs = costs or LayerCosts()
        self.device, self.prompt = device, prompt
        self.backbone = self.load(skeleton, dtype, tokenizer, name)
        self.training: Sequence[Case] = ()
        """The facts that the method learns from."""
        self.batch: Sequence[Case] = ()
        """The cases that are edited together."""
        self.retained: list[Any] = []
        """What a method holds from its learning to the end of the run."""
        self._decoded: dict[tuple[Any, ...], Work] = {}
        """By shape: what a batch of free answers was in this phase."""
        self._kept: dict[Path, dict[str, torch.Tensor | tuple[torch.Size, torch.dtype]]] = {}

    @property
    def on_host(self) -> bool:
        """Whether the memory that counts is the one that files are read into, not an accelerator's own."""
        return self.device.type == "cpu"

    def load(
        self, skeleton: Skeleton, dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase | None = None, name: str = ""
    ) -> Backbone:
        """Another model, without its weights."""
        model: Any = copy.deepcopy(skeleton.model)
        model.eval()
        self.meter.load(model, dtype)
        use_onednn(model)
        backbone = Backbone(name, model, tokenizer or find_tokenizer(skeleton), sha256="")
        keep_token_axis(model, backbone.layout)
        backbone.activation_budget, backbone.saturating_tokens = (
            activation_budget(self.device),
            saturating_tokens(self.device),
        )
        # A turn of a template that isn't at hand would be a few tokens more.
        known = self.prompt != "chat" or backbone.tokenizer.chat_template
        return backbone.asked_in(self.prompt) if known else backbone

    @contextmanager
    def open(self) -> Iterator[None]:
        """What happens inside is counted, and no file of the cache is read or written."""
        with ExitStack() as stack:
            stack.enter_context(artifacts_from(self._keep))
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # by copy.deepcopy
            # It would swap fake parameters for others, and can't; here, everything is in one place.
            stack.enter_context(replaced_attribute(nn.Module, "to", lambda module, *_, **__: module))
            stack.enter_context(replaced_attribute(FakeTensor, "__deepcopy__", copy_fake))
            decode = lambda *given: self._decode(*given)  # noqa: E731, PLW0108 - a bound method isn't given the instance
            stack.enter_context(replaced_attribute(Generations, "_pass", decode))
            stack.enter_context(self.costs.used(self.meter, layer_classes(self.backbone)))
            stack.enter_context(self.meter)
            yield

    def paused(self) -> AbstractContextManager[None]:
        """Inside, nothing is counted, and new tensors are real."""
        return _disable_current_modes()

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Of a run: ``before``, ``fit``, ``edit`` or ``evaluate``."""
        self._decoded.clear()  # another phase may answer under changes, which are work of their own
        return self.meter.phase(name)

    def longest(self, n: int = FACTS) -> Sequence[Case]:
        """The training facts with the most text: what they need is the most that any need."""
        return sorted(self.training, key=lambda case: -sum(case.text_lengths))[:n]

    def in_steps(self, steps: int, act: Callable[[int], T]) -> T:
        """What `act` gives, and the work of as many steps; no more than two of them are done.

        Args:
            act: does so many steps, all of them alike.
        """
        start = self.meter.work
        result = act(1)
        if steps > 1:
            first = self.meter.work
            del result
            result = act(2)
            step = (self.meter.work - first) - (first - start)
            self.meter.work = first + step * (steps - 1)
        return result

    @contextmanager
    def times(self, factor: float) -> Iterator[None]:
        """What happens inside is work for so many."""
        before = self.meter.work
        yield
        self.meter.work = before + (self.meter.work - before) * factor

    def _decode(
        self, passes: Generations, batch: Sequence[int], prefix: int, past: DynamicCache | None
    ) -> dict[int, list[int]]:
        """Free answers, all of half the tokens that they may have: where a model would end, nobody knows. The peak has the keys
        and values of two. Batches of about one shape are the same work, and one of them is run."""
        longest = max(len(passes.rows[i].ids) for i in batch) - prefix
        shape = (
            passes.backbone.name,
            passes.intervention is None,
            passes.max_tokens,
            len(batch),
            prefix // 32,
            longest // 8,
        )
        if shape in self._decoded:
            self.meter.work += self._decoded[shape]
            return {i: [0] for i in batch}
        before = self.meter.work
        said = self.in_steps(
            -(-passes.max_tokens // 2), lambda n: passes.decode(batch, prefix, past, lambda said: len(said) >= n)
        )
        self._decoded[shape] = self.meter.work - before
        return said

    def _keep(self, path: Path, make: Make) -> dict[str, torch.Tensor]:
        """An artifact as it comes from its file: the shapes that were made at first, in new memory."""
        if path not in self._kept:
            artifact = make()
            self._kept[path] = {name: _shape(value) for name, value in artifact.items()}
            if self.on_host:
                return artifact
            del artifact
        shapes = self._kept[path]
        tensors = {
            name: value if isinstance(value, torch.Tensor) else self._new(*value) for name, value in shapes.items()
        }
        if not self.on_host:
            self.meter.let_be(tensors.values())
        return tensors

    def _new(self, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        if self.on_host:
            return torch.empty(shape, dtype=dtype)
        with _disable_current_modes(), self.meter.fake:
            return torch.empty(shape, dtype=dtype)


def layer_classes(backbone: Backbone) -> set[type[nn.Module]]:
    """Of the decoder's layers."""
    return {type(backbone.module(backbone.layout.layer(index))) for index in range(backbone.layout.n_layers)}


def _shape(value: torch.Tensor) -> torch.Tensor | tuple[torch.Size, torch.dtype]:
    """What is left of a tensor without its numbers; whole numbers stay, since they may be counted with."""
    return (value.shape, value.dtype) if value.is_floating_point() else value


def find_tokenizer(skeleton: Skeleton) -> PreTrainedTokenizerBase:
    """The tokenizer beside an skeleton's config, or one that cuts text in pieces of about the length of tokens."""
    folder = Path(str(skeleton.model.config._name_or_path))
    if folder.is_dir():
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError):
            return guess_tokenizer()
        if reports_offsets(tokenizer):
            return tokenizer
    return guess_tokenizer()


def guess_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer that knows no token, but about how long they are."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
