"""What an edit becomes: a codebook, at work in a hook on one module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch

from xkeb.editing.serialization import METHOD, save_change
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb_plugins.methods.grace.codebook import Codebook

TENSORS = ("keys", "values", "radii")


class CodebookChange:
    """No weight is touched: a module's output is replaced at each token whose input is in an entry's scope."""

    def __init__(self, path: str, codebook: Codebook) -> None:
        """
        Args:
            path: of the module.
        """
        self.path, self.codebook = path, codebook

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Inside, the codebook is at work in every pass."""

        def replace(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            return self.codebook.look_up(inputs[0], output)

        handle = backbone.module(self.path).register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[CodebookChange]) -> Intervention | None:
        """None where they are at different modules."""
        return _CodebookIntervention(changes) if len({change.path for change in changes}) == 1 else None

    def save(self, folder: Path | str) -> None:
        tensors = {name: getattr(self.codebook, name) for name in TENSORS}
        save_change(folder, f"{METHOD}grace", tensors, {"path": self.path, "answers": self.codebook.answers})

    @classmethod
    def from_saved(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> Self:
        answers = tuple(tuple(answer) for answer in data["answers"])
        return cls(data["path"], Codebook(tensors["keys"], tensors["values"], tensors["radii"], answers))


class _CodebookIntervention(Intervention):
    def __init__(self, changes: Sequence[CodebookChange]) -> None:
        super().__init__()
        self.changes = changes

    def hooks(self, backbone: Backbone) -> Iterator[Any]:
        yield backbone.module(self.changes[0].path).register_forward_hook(self._replace)

    def _replace(self, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        for change in sorted(set(self.selected)):
            rows = [row for row, selected in enumerate(self.selected) if selected == change]
            output[rows] = self.changes[change].codebook.look_up(inputs[0][rows], output[rows])
        return output
