"""The metrics that come with the suite."""

from collections.abc import Callable

from xkeb.registry.hookspecs import hookimpl
from xkeb.types import AroundMetric, Metric
from xkeb_plugins.metrics.confusion import wrong_language
from xkeb_plugins.metrics.free import contains, contains_not_old, exact, repetition
from xkeb_plugins.metrics.overlap import em, f1, f1_pr, f1_units
from xkeb_plugins.metrics.wild import exact_wild

__all__ = [
    "contains",
    "contains_not_old",
    "em",
    "exact",
    "exact_wild",
    "f1",
    "f1_pr",
    "f1_units",
    "repetition",
    "wrong_language",
]


@hookimpl
def register_metrics(register: Callable[[str, Metric | AroundMetric | str], None]) -> None:
    metrics: tuple[Metric | AroundMetric, ...] = (
        em,
        f1,
        f1_pr,
        f1_units,
        exact,
        exact_wild,
        contains,
        contains_not_old,
        repetition,
        wrong_language,
    )
    for metric in metrics:
        register(str(getattr(metric, "__name__", "")), metric)
