"""The executor that a run names, with its options."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING

from xkeb.errors import RequestError
from xkeb.evaluation.executors import OpenedExecutor
from xkeb.registry.manager import get_plugins
from xkeb.registry.options import build_with_options
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.executors import Executor


def make_executor(config: RunConfig) -> Executor | OpenedExecutor:
    """The executor, ready to be called with jobs, or to be opened.

    Raises:
        RequestError: an unknown one, an option that it doesn't have, or a package of it that isn't installed.
    """
    name, options = config.executor, config.executor_args
    with importing():  # of most runs, it imports torch
        registered = get_plugins().executors.get(name)
    if inspect.isclass(registered):
        executor: Executor | OpenedExecutor = build_with_options("executor", name, registered, options)
        return executor
    if options:
        raise RequestError(
            f"Executor {name!r} has no options, so no {next(iter(options))!r}; others: xkeb ls executors."
        )
    return registered


@contextlib.contextmanager
def opened_executor(config: RunConfig) -> Iterator[Executor]:
    """The executor, inside of what it needs (see `OpenedExecutor`).

    Raises:
        RequestError: see `make_executor`.
    """
    executor = make_executor(config)
    if isinstance(executor, OpenedExecutor):
        with executor.opened(config) as ready:
            yield ready
    else:
        yield executor
