"""Options of commands as the configuration of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.options import split_names
from xkeb.cli.run_files import METHOD_DEFAULTS
from xkeb.errors import RequestError

if TYPE_CHECKING:
    from xkeb.evaluation.config import RunConfig


def run_config(options: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run.

    Args:
        options: those of ``xkeb run``, by the names of its parameters.

    Raises:
        RequestError: one of them can't be read.
    """
    from xkeb.evaluation.config import RunConfig
    from xkeb.registry.options import parse_options
    from xkeb.utils.secrets import command_line

    return RunConfig(
        tasks=split_names(options["tasks"]),
        models=split_names(options["models"]),
        methods=split_names(options["methods"]) if options["methods"] is not None else None,
        method_args=parse_options(options["method_args"], "--method-args"),
        settings=[Path(name) for name in split_names(options["settings"])],
        method_defaults=click.get_current_context().meta.get(METHOD_DEFAULTS, {}),
        metrics=split_names(options["metrics"]) if options["metrics"] is not None else None,
        protocols=split_names(options["protocols"]),
        protocol_args=parse_options(options["protocol_args"], "--protocol-args"),
        regime=options["regime"],
        evaluate=options["evaluate"],
        damage=options["damage"],
        limit=options["limit"],
        train_size=options["train_size"],
        cases=split_names(options["cases"]),
        batch_size=_batch_size(options["batch_size"]),
        output=options["output"],
        overwrite=options["fresh"],
        executor=options["executor"],
        executor_args=_executor_args(options),
        observers=_observers(options),
        command=command_line(["xkeb", *sys.argv[1:]]),
        **shared_config(options),
    )


def shared_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run``, ``train`` and ``tune`` take alike, as fields of a ``RunConfig``."""
    from xkeb.registry.options import parse_options

    return {
        "model_args": parse_options(options["model_args"], "--model-args"),
        "prompt": options["prompt"],
        "device": options["device"],
        "dtype": options["dtype"],
        "seed": options["seed"],
        "data_dir": options["data_dir"],
        "include": options["include_path"],
    }


def _executor_args(options: Mapping[str, Any]) -> dict[str, Any]:
    """The executor's options; ``--workers`` is one of them."""
    from xkeb.registry.options import parse_options

    chosen = parse_options(options["executor_args"], "--executor-args")
    if options["workers"] is not None:
        if "workers" in chosen:
            raise RequestError("--workers and --executor-args both say how many workers.")
        chosen["workers"] = options["workers"]
    return chosen


def _observers(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The observers asked for, with their options."""
    from xkeb.registry.options import parse_options

    observers: dict[str, dict[str, Any]] = {name: {} for name in split_names(options["observe"])}
    for key, value in parse_options(options["observer_args"], "--observer-args").items():
        name, dot, option = key.partition(".")
        if not dot:
            raise RequestError(f"--observer-args takes observer.option=value, not {key!r}.")
        if name not in observers:
            raise RequestError(f"--observer-args sets options of {name!r}, which --observe doesn't name.")
        observers[name][option] = value
    if options["log_events"]:
        observers.setdefault("event-log", {})["path"] = str(options["log_events"])
    return observers


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"--batch-size must be auto or a number, not {text!r}.") from None
