"""Observers that come with the suite: they watch a run that names them."""

from collections.abc import Callable
from typing import Any

from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_observers(register: Callable[[str, type[Any] | str], None]) -> None:
    register("event-log", "xkeb_plugins.observers.event_log:EventLog")
    register("wandb", "xkeb_plugins.observers.wandb:WeightsAndBiases")
