"""A change that is a module of EasyEdit's: it stands at one projection of the model, and does what it does there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention

Forward = Callable[[torch.Tensor, torch.Tensor, int | None], torch.Tensor]
"""What enters a projection, [1, T, d_in] float32, what leaves it, [1, T, d_out] float32, and the position of the question's
last token, None where nobody says -> what leaves it instead."""


class AdapterChange:
    """No weight is touched: what leaves a projection goes through EasyEdit's module, one text at a time and without padding, as
    its code puts questions. It can't be saved."""

    def __init__(self, path: str, forward: Forward) -> None:
        """
        Args:
            path: of the projection.
        """
        self.path, self.forward = path, forward

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        """Inside, it is at work in every pass."""
        with _AdapterIntervention([self]).installed(backbone):
            yield

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[AdapterChange]) -> Intervention | None:
        """None where they are at different projections."""
        return _AdapterIntervention(changes) if len({change.path for change in changes}) == 1 else None


class _AdapterIntervention(Intervention):
    def __init__(self, changes: Sequence[AdapterChange]) -> None:
        super().__init__()
        self.changes = changes
        self._lengths: list[int] | None = None
        self._mask: torch.Tensor | None = None

    def read_questions(self, questions: Sequence[Sequence[int]]) -> None:
        self._lengths = [len(question) for question in questions]

    def hooks(self, backbone: Backbone) -> Iterator[Any]:
        decoder = backbone.module(backbone.layout.decoder)
        yield decoder.register_forward_pre_hook(self._begin, with_kwargs=True)
        yield decoder.register_forward_hook(self._end)
        yield backbone.module(self.changes[0].path).register_forward_hook(self._replace)

    def _begin(self, _: Any, __: Any, kwargs: dict[str, Any]) -> None:
        past = kwargs.get("past_key_values")
        if past is not None and past.get_seq_length() > 0:
            self._lengths = None  # the question went before
        self._mask = kwargs.get("attention_mask")

    def _end(self, *_: Any) -> None:
        self._lengths = self._mask = None

    def _replace(self, _: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        size = len(output)
        selected = self.selected if len(self.selected) == size else [self.selected[0]] * size
        lengths = self._lengths if self._lengths is not None and len(self._lengths) == size else None
        for row, (number, counts) in enumerate(zip(selected, self._counting(inputs[0]), strict=True)):
            last = None if lengths is None else lengths[row] - 1
            entering, leaving = inputs[0][row : row + 1, counts], output[row : row + 1, counts]
            made = self.changes[number].forward(entering.float(), leaving.float(), last)
            output[row, counts] = made[0].to(output)
        return output

    def _counting(self, entering: torch.Tensor) -> torch.Tensor:
        """[B, T] True where there is no padding."""
        size, width = entering.shape[:2]
        given = self._mask
        if isinstance(given, torch.Tensor) and given.ndim == 2 and len(given) == size and given.shape[1] >= width:
            return given[:, -width:].to(entering.device).bool()
        return torch.ones(size, width, dtype=torch.bool, device=entering.device)
