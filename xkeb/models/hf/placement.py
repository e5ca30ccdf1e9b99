"""Where a model's weights go: one device, or several through accelerate; and whether they fit there at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import infer_auto_device_map
from torch import nn
from transformers import PreTrainedModel

from xkeb.errors import RequestError
from xkeb.models.memory import check_memory

DeviceMap = Literal["auto"] | dict[str, str | int]
"""``auto`` spreads whole layers over all GPUs. A mapping says which module goes where, as accelerate has it."""


@dataclass(frozen=True, slots=True)
class Devices:
    """Where each module goes."""

    map: Mapping[str, torch.device]
    """By the path of the module that stands there with all its parts; ``""`` is the whole model."""

    @property
    def several(self) -> bool:
        return len(set(self.map.values())) > 1

    def of(self, name: str) -> torch.device:
        """Where a parameter goes: where the nearest module around it does."""
        path = name
        while path not in self.map and path:
            path = path.rpartition(".")[0]
        if path not in self.map:
            raise RequestError(f"device_map says nothing of {name!r}.")
        return self.map[path]


@dataclass(frozen=True, slots=True)
class Placement:
    """What was asked for: a device, or a map that goes before it."""

    device: torch.device
    device_map: DeviceMap | None = None

    def devices(self, model: PreTrainedModel, dtype: torch.dtype) -> Devices:
        """Where the parts of a model go that has no weights yet.

        Raises:
            RequestError: there isn't room for it, or the map leaves weights where an edit can't reach them.
        """
        if self.device_map is None:
            self._check(model, dtype)
            return Devices({"": self.device})
        if self.device_map != "auto":
            return Devices({path: _device(place) for path, place in self.device_map.items()})
        n_gpus = torch.cuda.device_count()
        if not n_gpus:
            raise RequestError("device_map=auto spreads a model over GPUs, and PyTorch sees none here.")
        free: dict[int | str, int | str] = {i: int(torch.cuda.mem_get_info(i)[0] * ROOM) for i in range(n_gpus)}
        room = sum(map(int, free.values())) / 1e9
        free["cpu"] = 10**15
        spread = infer_auto_device_map(model, max_memory=free, no_split_module_classes=_layers(model), dtype=dtype)
        if "cpu" in spread.values():
            raise RequestError(
                f"{n_bytes(model, dtype) / 1e9:.1f} GB of weights don't fit on {n_gpus} GPUs with {room:.1f} GB to give."
            )
        return Devices({path: _device(place) for path, place in spread.items()})

    def _check(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        half = n_bytes(model, torch.bfloat16) / 1e9
        hints = [f"--dtype bfloat16 takes {half:.1f} GB"] if dtype == torch.float32 else []
        hints += ["--model-args device_map=auto spreads it over several GPUs"] if self.device.type == "cuda" else []
        check_memory(
            f"{type(model).__name__} in {str(dtype).removeprefix('torch.')}",
            n_bytes(model, dtype),
            self.device,
            "; ".join(hints) or "a smaller model would fit",
        )


ROOM = 0.8
"""The part of a GPU's free memory that weights may take; the rest is for what is computed."""


def n_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of a model's parameters in a precision."""
    return sum(parameter.numel() for parameter in model.parameters()) * dtype.itemsize


def _device(place: Any) -> torch.device:
    if place in ("disk", "meta"):
        raise RequestError(f"device_map can't leave weights on {place!r}: an edit must reach them.")
    try:
        return torch.device("cuda", place) if isinstance(place, int) else torch.device(place)
    except RuntimeError as error:
        raise RequestError(f"device_map names an unknown device {place!r}.") from error


def _layers(model: PreTrainedModel) -> list[str]:
    """Classes of the modules that stay whole."""
    stack = max((child for child in model.modules() if isinstance(child, nn.ModuleList)), key=len)
    return [type(stack[0]).__name__]
