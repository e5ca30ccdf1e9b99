"""The last layer where its output is looked at, and nowhere else.

Nothing stands above it. So at every position it must make the keys and values that later positions look at, but attention and
MLP only at the positions whose states are asked for. The layer's own code does both: it runs until it hands its keys and
values to its cache, and then again on the positions in question, with a cache that gives it all of them.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import Cache

from xkeb.utils.attributes import replaced_attribute

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PLAIN = (int, float, bool, str, type(None))
HIDDEN, CACHE, MASK, ROTATIONS, POSITIONS = (
    "hidden_states",
    "past_key_values",
    "attention_mask",
    "position_embeddings",
    "position_ids",
)
"""What layers call their arguments. One that is given a tensor of another name takes the whole way."""


class _Done(Exception):  # noqa: N818 - nothing went wrong
    """The keys and values are there."""


class _Keys:
    """Stands in for a layer's cache: keeps the keys and values of all positions, and gives them whoever asks later."""

    def __init__(self, past: Any) -> None:
        """
        Args:
            past: the cache that the layer was given, if any; extended in place.
        """
        self.past = past
        self.held: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.held is not None:
            return self.held
        self.held = (keys, values) if self.past is None else self.past.update(keys, values, *args, **kwargs)
        raise _Done

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0 if self.past is None else self.past.get_seq_length(layer_idx)


def is_plain(layer: nn.Module) -> bool:
    """Whether nobody looks into a layer or changes what it does: what is hooked into it may count on all positions."""
    return not any(
        "forward" in vars(module) or any(getattr(module, kind) for kind in HOOKS) for module in layer.modules()
    )


@contextmanager
def run_only_at(layer: nn.Module, columns: torch.Tensor) -> Iterator[None]:
    """Inside, the layer gives zeros at all positions but some, where it can.

    Args:
        layer: the last, and a plain one (`is_plain`).
        columns: [B, n] the positions in each row.
    """
    original: Callable[..., Any] = layer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        made = states_at(original, columns, args, kwargs)
        if made is None:
            return original(*args, **kwargs)
        hidden = args[0] if args else kwargs[HIDDEN]
        return _spread(made, columns.to(hidden.device), hidden.shape[1])

    with replaced_attribute(layer, "forward", forward):
        yield


def states_at(
    forward: Callable[..., Any], columns: torch.Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> torch.Tensor | None:
    """What leaves a layer at some positions: [B, n, D]. None, and nothing done, where it is called with more than is known
    here.

    Args:
        forward: of the layer.
        columns: [B, n] the positions in each row.
        args: what the layer is called with, all positions of it.
        kwargs: likewise.
    """
    given = _named(forward, args, kwargs)
    hidden = given.get(HIDDEN)
    if not isinstance(hidden, torch.Tensor) or hidden.ndim != 3 or not _known(forward, given):
        return None
    columns = columns.to(hidden.device)
    keys = _Keys(given[CACHE])
    try:
        output = forward(**{**given, CACHE: keys})
    except _Done:
        assert keys.held is not None
    else:  # it makes no keys and values of its own
        return pick(output[0] if isinstance(output, tuple | list) else output, columns)
    if not columns.numel():
        return hidden.new_zeros(*columns.shape, hidden.shape[-1])
    there = {name: _part(name, value, columns) for name, value in given.items()}
    mask = given[MASK]
    there[MASK] = (
        _rows(mask, columns) if mask is not None else _causal(columns, hidden.shape[1], keys.held[0].shape[-2])
    )
    output = forward(**{**there, CACHE: keys})
    states: torch.Tensor = output[0] if isinstance(output, tuple | list) else output
    return states


def _named(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name."""
    signature = inspect.signature(forward)
    bound = signature.bind(*args, **kwargs).arguments
    rest = [name for name, parameter in signature.parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    for name in rest:
        bound.update(bound.pop(name, {}))
    return dict(bound)


def _known(forward: Callable[..., Any], given: Mapping[str, Any]) -> bool:
    """Whether it is known of each argument what becomes of it at some positions only."""
    width = given[HIDDEN].shape[1]
    if CACHE not in given or MASK not in given:
        return False
    for name, value in given.items():
        if name in (HIDDEN, CACHE) or isinstance(value, PLAIN):
            continue
        match name, value:
            case "attention_mask", torch.Tensor():
                known = value.ndim == 4 and value.shape[2] == width
            case "position_ids", torch.Tensor():
                known = value.ndim == 2 and value.shape[1] == width
            case "position_embeddings", tuple():
                known = all(isinstance(one, torch.Tensor) and one.ndim == 3 and one.shape[1] == width for one in value)
            case _:
                known = False
        if not known:
            return False
    return True


def _part(name: str, value: Any, columns: torch.Tensor) -> Any:
    """An argument at the positions in question."""
    if name in (HIDDEN, POSITIONS):
        return None if value is None else pick(value, columns)
    if name == ROTATIONS and value is not None:
        return tuple(pick(one, columns) for one in value)
    return value


def pick(value: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """[B or 1, T, ..] -> [B, n, ..]."""
    everyone = torch.arange(len(columns), device=value.device).unsqueeze(1)
    return value.expand(len(columns), *value.shape[1:])[everyone, columns.to(value.device)]


def _spread(states: torch.Tensor, columns: torch.Tensor, width: int) -> torch.Tensor:
    """[B, n, D] -> [B, T, D], zeros in other columns. A column that is there twice has the gradient once."""
    slots = torch.arange(columns.shape[1], device=columns.device).expand_as(columns)
    source = torch.full((len(columns), width), columns.shape[1], device=columns.device).scatter(1, columns, slots)
    return pick(torch.cat([states, states.new_zeros(len(states), 1, states.shape[-1])], 1), source)


def _rows(mask: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """[B or 1, H, T, K] -> [B, H, n, K]."""
    return pick(mask.transpose(1, 2), columns).transpose(1, 2)


def _causal(columns: torch.Tensor, width: int, n_keys: int) -> torch.Tensor:
    """[B, 1, n, K] True where a position sees a key: where a layer is given no mask, each sees itself and all before it."""
    places = columns + n_keys - width  # among the keys, the last of which are of these columns
    return (torch.arange(n_keys, device=columns.device) <= places.unsqueeze(-1)).unsqueeze(1)


@contextmanager
def tried_early(model: nn.Module, path: str) -> Iterator[list[bool]]:
    """Inside, each pass of a layer is made at its last two positions as well. Gives whether these states were the same as in
    the whole pass: what a family's layer does with fewer positions than keys can only be tried. Nothing is tried of a layer
    that isn't there, as a wrong layout may name one."""
    same: list[bool] = []
    layer = dict(model.named_modules()).get(path)
    if layer is None:
        yield same
        return
    original: Callable[..., Any] = layer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            hidden = args[0] if args else kwargs[HIDDEN]
            last = hidden.shape[1] - 1
            columns = torch.tensor([[last, last - 1]] * len(hidden), device=hidden.device)
            own = [copy.deepcopy(one) if isinstance(one, Cache) else one for one in (*args, *kwargs.values())]
            states = states_at(
                original, columns, tuple(own[: len(args)]), dict(zip(kwargs, own[len(args) :], strict=True))
            )
        except Exception:  # noqa: BLE001 - whatever a family's code raises where it isn't called as it expects
            states = None
        output = original(*args, **kwargs)
        whole = output[0] if isinstance(output, tuple | list) else output
        same.append(states is not None and _same(pick(whole, columns), states))
        return output

    with replaced_attribute(layer, "forward", forward):
        yield same


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    close = 1e-4 if one.dtype is torch.float32 else 1e-2  # of the largest number
    return one.shape == other.shape and float((one - other).abs().max()) <= close * float(one.abs().max())
