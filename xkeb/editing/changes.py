"""What an edit does to a model, as data.

A `Change` can be applied alone: parameters are altered, and restored to the bit on exit. Most can also be applied row by
row: in one batch, row i sees change i as an extra term in a forward hook, the weights untouched, so that N independent
single edits are evaluated together and nothing needs restoring.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import torch

from xkeb.editing.serialization import METHOD, read_change, save_change
from xkeb.errors import RequestError
from xkeb.models.interventions import Intervention
from xkeb.models.layout import as_stored
from xkeb.registry.manager import get_plugins

if TYPE_CHECKING:
    from xkeb.models.backbone import Backbone


@runtime_checkable
class Change(Protocol):
    """The least a change is. One that has no more than this is evaluated alone."""

    def applied(self, backbone: Backbone) -> AbstractContextManager[None]:
        """A context in which `backbone` behaves as edited; on exit, exceptions included, it is as it was, to the bit."""
        ...


@runtime_checkable
class Batchable(Protocol):
    """A change of a kind that can be applied row by row."""

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[Any]) -> Intervention | None:
        """Changes of this class as one intervention, a row each; None where these ones can't be."""
        ...


@runtime_checkable
class Savable(Protocol):
    """A change that can be written as data."""

    def save(self, folder: Path | str) -> None:
        """Writes it as `load_change` reads it."""
        ...


@runtime_checkable
class Exportable(Protocol):
    """A change that can be written into a checkpoint."""

    def export(self, backbone: Backbone, folder: Path | str) -> None:
        """Writes the edited model as a checkpoint of its own."""
        ...


def batched(backbone: Backbone, changes: Sequence[Change]) -> Intervention | None:
    """The changes as rows of one batch, or None where they can't be: an opaque one, or different kinds."""
    kinds = {type(change) for change in changes}
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    return kind.batched(backbone, changes) if issubclass(kind, Batchable) else None


class WeightChange(ABC):
    """A change that adds to parameters."""

    @abstractmethod
    def deltas(self) -> dict[str, torch.Tensor]:
        """What is added, by parameter name, dense. Matrices are [d_out, d_in], whatever the module's own order."""

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        originals: dict[str, torch.Tensor] = {}
        try:
            with torch.no_grad():
                for name, delta in self.deltas().items():
                    parameter = backbone.parameter(name)
                    originals[name] = parameter.detach().clone()
                    module = backbone.module(name.rpartition(".")[0])
                    parameter.add_(as_stored(module, delta).to(parameter))
            yield
        finally:
            with torch.no_grad():
                for name, original in reversed(originals.items()):  # of two names of one tensor, the first is right
                    backbone.parameter(name).copy_(original)

    def export(self, backbone: Backbone, folder: Path | str) -> None:
        """Writes the edited model as a checkpoint of its own."""
        with self.applied(backbone):
            backbone.model.save_pretrained(folder)
        backbone.tokenizer.save_pretrained(folder)


class LowRankChange(WeightChange):
    """A low-rank update of named matrices: ``W + left @ right``."""

    def __init__(self, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        """
        Args:
            factors: module path -> (left [d_out, r], right [r, d_in]).
        """
        for path, (left, right) in factors.items():
            if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
                raise ValueError(
                    f"{path}: left [d_out, r] and right [r, d_in] expected, not {[*left.shape]} and {[*right.shape]}"
                )
        self.factors = dict(factors)

    def deltas(self) -> dict[str, torch.Tensor]:
        return {f"{path}.weight": left @ right for path, (left, right) in self.factors.items()}

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[LowRankChange]) -> Intervention:
        return _LowRankIntervention(changes)

    def save(self, folder: Path | str) -> None:
        sides = {"left": 0, "right": 1}
        tensors = {f"{path}.{side}": pair[i] for path, pair in self.factors.items() for side, i in sides.items()}
        save_change(folder, type(self).__name__, tensors, {})

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        paths = sorted({name.rpartition(".")[0] for name in tensors})
        return cls({path: (tensors[f"{path}.left"], tensors[f"{path}.right"]) for path in paths})


class DenseChange(WeightChange):
    """A dense update of named parameters."""

    def __init__(self, updates: Mapping[str, torch.Tensor]) -> None:
        """
        Args:
            updates: parameter name -> what is added to it; a matrix as [d_out, d_in].
        """
        self.updates = dict(updates)

    def deltas(self) -> dict[str, torch.Tensor]:
        return dict(self.updates)

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[DenseChange]) -> Intervention | None:
        names = {name for change in changes for name in change.updates}
        linear = all(
            name.endswith(".weight") and change.updates[name].ndim == 2 for change in changes for name in change.updates
        )
        inside = all(name.startswith(f"{backbone.layout.layers}.") for name in names)
        return _DenseIntervention(changes, sorted(names)) if linear and inside else None

    def save(self, folder: Path | str) -> None:
        save_change(folder, type(self).__name__, self.updates, {})

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        return cls(tensors)


class ContextChange:
    """Text before every prompt; no weight is touched."""

    def __init__(self, text: str | Mapping[str, str], before: str | Mapping[str, str] | None = None) -> None:
        """
        Args:
            text: the context, or one for each language that may be asked in.
            before: likewise, under which the answers are given that locality compares with; None: no context.
        """
        self.text = text if isinstance(text, str) else dict(text)
        self.before = None if before is None else ContextChange(before)

    def context(self, language: str) -> str:
        """What stands before a prompt in `language`."""
        if isinstance(self.text, str):
            return self.text
        if language not in self.text:
            raise RequestError(f"This edit has a context for {', '.join(sorted(self.text))}, none for {language!r}.")
        return self.text[language]

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Inside, the text stands before every prompt, instead of that of another `ContextChange` around this one; weight
        changes around it stay at work."""
        with _ContextIntervention([self]).installed(backbone):
            yield

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[ContextChange]) -> Intervention:
        return _ContextIntervention(changes)

    def save(self, folder: Path | str) -> None:
        before = {} if self.before is None else {"before": self.before.text}
        save_change(folder, type(self).__name__, {}, {"text": self.text, **before})

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        return cls(data["text"], data.get("before"))


class _LowRankIntervention(Intervention):
    def __init__(self, changes: Sequence[LowRankChange]) -> None:
        super().__init__()
        self.changes = changes

    def hooks(self, backbone: Backbone) -> Iterator[Any]:
        for path in sorted({path for change in self.changes for path in change.factors}):
            yield self._hook(backbone, path)

    def _hook(self, backbone: Backbone, path: str) -> Any:
        module = backbone.module(path)
        like = backbone.parameter(f"{path}.weight")
        pairs = [change.factors.get(path) for change in self.changes]
        left0, right0 = next(pair for pair in pairs if pair is not None)
        rank = max(pair[0].shape[1] for pair in pairs if pair is not None)
        left = like.new_zeros(len(pairs), left0.shape[0], rank)  # [N, d_out, r]
        right = like.new_zeros(len(pairs), rank, right0.shape[1])  # [N, r, d_in]
        for i, pair in enumerate(pairs):
            if pair is not None:
                left[i, :, : pair[0].shape[1]] = pair[0].to(like)
                right[i, : pair[1].shape[0]] = pair[1].to(like)

        def add(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            index = torch.tensor(self.selected, device=output.device)
            # the shapes: (B, T, d_in) @ (B, d_in, r) @ (B, r, d_out)
            return output + (inputs[0] @ right[index].transpose(1, 2)) @ left[index].transpose(1, 2)

        return module.register_forward_hook(add)


class _DenseIntervention(Intervention):
    def __init__(self, changes: Sequence[DenseChange], names: Sequence[str]) -> None:
        super().__init__()
        self.changes = changes
        self.names = names

    def hooks(self, backbone: Backbone) -> Iterator[Any]:
        for name in self.names:
            yield self._hook(backbone, name)

    def _hook(self, backbone: Backbone, name: str) -> Any:
        module = backbone.module(name.removesuffix(".weight"))
        updates = [change.updates.get(name) for change in self.changes]

        def add(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            extra = torch.zeros_like(output)
            # One product a change: gathering a dense matrix for each row would copy it as often as it has rows.
            for change in sorted(set(self.selected)):
                if (update := updates[change]) is not None:
                    rows = [row for row, selected in enumerate(self.selected) if selected == change]
                    extra[rows] = inputs[0][rows] @ update.T.to(output)
            return output + extra

        return module.register_forward_hook(add)


class _ContextIntervention(Intervention):
    def __init__(self, changes: Sequence[ContextChange]) -> None:
        super().__init__()
        self.changes = changes

    def context(self, index: int, language: str) -> str:
        return self.changes[index].context(language)


KINDS: dict[str, type[LowRankChange | DenseChange | ContextChange]] = {
    kind.__name__: kind for kind in (LowRankChange, DenseChange, ContextChange)
}
"""Those that are saved under their own names."""


def load_change(folder: Path | str) -> Change:
    """A change written by its ``save``.

    Raises:
        RequestError: there is none, or it is of no known kind.
    """
    saved = read_change(folder)
    if saved.kind in KINDS:
        return KINDS[saved.kind].from_saved(saved.tensors, saved.data)
    if saved.kind.startswith(METHOD):
        method = get_plugins().methods.get(saved.kind.removeprefix(METHOD))
        restore: Callable[..., Change] | None = getattr(method, "restore", None)
        if restore is not None:
            return restore(saved.tensors, saved.data)
    raise RequestError(f"{saved.path} holds no change of a known kind ({', '.join(sorted(KINDS))}).")
