"""Methods whose changes are wrong, each in a way of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from spoilt_methods import Good

from xkeb.editing.changes import DenseChange, WeightChange
from xkeb.editing.serialization import save_change
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.types import Edit


class UpTheGradient(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        return {name: -delta for name, delta in super().delta(backbone, edit).items()}


class Infinite(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        return {name: delta / 0 for name, delta in super().delta(backbone, edit).items()}


class Nothing(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        return {name: delta * 0 for name, delta in super().delta(backbone, edit).items()}


class WithGraph(Good):
    def delta(self, backbone: Backbone, edit: Edit) -> dict[str, torch.Tensor]:
        return {name: delta.requires_grad_(True) for name, delta in super().delta(backbone, edit).items()}


class ForItself(WeightChange):
    """A change with a weakness of its own."""

    def __init__(self, updates: dict[str, torch.Tensor]) -> None:
        self.updates = updates

    def deltas(self) -> dict[str, torch.Tensor]:
        return self.updates


class StaysOn(ForItself):
    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        for name, delta in self.updates.items():
            with torch.no_grad():
                backbone.parameter(name).add_(delta)
            yield
            with torch.no_grad():
                backbone.parameter(name).sub_(delta)  # rounds


class StaysOnAfterErrors(ForItself):
    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        before = {name: backbone.parameter(name).clone() for name in self.updates}
        with torch.no_grad():
            for name, delta in self.updates.items():
                backbone.parameter(name).add_(delta)
            yield
            for name, original in before.items():
                backbone.parameter(name).copy_(original)


class SwallowsErrors(ForItself):
    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        with super().applied(backbone):
            try:
                yield
            except Exception:
                return


class FirstOfAll(ForItself):
    """Every row sees the first change."""

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[ForItself]) -> Intervention | None:
        return DenseChange.batched(backbone, [DenseChange(changes[0].updates)] * len(changes))


class RightAtFirst(ForItself):
    """Every row sees the first change from the second token of an answer on."""

    @classmethod
    def batched(cls, backbone: Backbone, changes: Sequence[ForItself]) -> Intervention | None:
        intervention: Any = DenseChange.batched(backbone, [DenseChange(change.updates) for change in changes])
        select = intervention.select
        selected: list[list[int]] = [[]]

        def forget(rows: Sequence[int]) -> None:
            select([0] * len(rows) if list(rows) == selected[-1] else rows)
            selected.append(list(rows))

        intervention.select = forget
        return intervention


class SavedInHalf(ForItself):
    def save(self, folder: Path) -> None:
        save_change(folder, "DenseChange", {name: delta.half().float() for name, delta in self.updates.items()}, {})


def of(kind: type[ForItself], **options: Any) -> Any:
    class Method(Good):
        def change(self, backbone: Backbone, edit: Edit) -> Any:
            return kind(self.delta(backbone, edit))

    Method.__name__ = kind.__name__
    return dataclass(type(kind.__name__, (Method,), {"lr": 5.0, "__annotations__": {"lr": float}} if options else {}))


TAKEN_BACK = "`applied` should leave the model as it was, to the bit,"
CHANGES = {
    UpTheGradient: "An edit should make its target more likely; its log-probability changed by -",
    Infinite: "A change should hold numbers; that of model.layers.2.mlp.down_proj.weight holds NaN or infinity.",
    Nothing: "A change should change something; that of model.layers.2.mlp.down_proj.weight is zero everywhere.",
    WithGraph: "A change should be data; that of model.layers.2.mlp.down_proj.weight still carries its gradient's graph.",
    of(StaysOn): f"{TAKEN_BACK} on exit; it left the values of model.layers.2.mlp.down_proj.weight.",
    of(StaysOnAfterErrors): f"{TAKEN_BACK} after an exception, too; it left the values of",
    of(SwallowsErrors): "An exception inside `applied` should come out of it; it was swallowed.",
    of(FirstOfAll, strong=True): "Changes applied row by row should answer as one at a time;",
    of(RightAtFirst, strong=True): "Changes applied row by row should give the free answers of one at a time;",
    of(SavedInHalf): "A SavedInHalf that is saved and loaded should be the same; it became another.",
}
"""What a change does wrong, and what is said of it."""
