"""The metrics that come with the suite."""

from collections.abc import Callable

from xkeb.registry.hookspecs import hookimpl
from xkeb.types import Metric
from xkeb_plugins.metrics.overlap import em, f1, f1_pr, f1_units

__all__ = ["em", "f1", "f1_pr", "f1_units"]


@hookimpl
def register_metrics(register: Callable[[str, Metric | str], None]) -> None:
    for metric in (em, f1, f1_pr, f1_units):
        register(metric.__name__, metric)
