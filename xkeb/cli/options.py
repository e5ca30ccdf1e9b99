"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from xkeb.cli.echo import PlainFormatter
from xkeb.errors import RequestError
from xkeb.types import PROMPT_STYLES

F = TypeVar("F", bound=Callable[..., Any])

DEBUG = "xkeb.debug"
"""Key of the root context's `meta`: whether errors show their traceback."""
LEVELS = ("debug", "info", "warning", "error")


def split_names(text: str | None) -> list[str]:
    """``a,b`` as a list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _existing(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path | None:
    if folder is not None and not folder.expanduser().is_dir():
        raise RequestError(f"There is no folder {folder}, which --data-dir names.")
    return folder


def data_dir_option(function: F) -> F:
    return _data_dir(_existing)(function)


def new_data_dir_option(function: F) -> F:
    """The folder may be made."""
    return _data_dir(None)(function)


def _data_dir(callback: Callable[..., Any] | None) -> Callable[[F], F]:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        callback=callback,
        metavar="DIR",
        help="Folder that holds the data sets' own folders.  [default: $XKEB_DATA_DIR, then the cache]",
    )


def model_args_option(function: F) -> F:
    return click.option("--model-args", metavar="K=V,..", help="Options of the backbone, e.g. path=FOLDER.")(function)


def train_size_option(function: F) -> F:
    return click.option("--train-size", type=int, metavar="N", help="Learn from the first N training facts only.")(
        function
    )


def seed_option(function: F) -> F:
    return click.option(
        "--seed", type=int, default=0, show_default=True, help="Of everything that is drawn at random."
    )(function)


def include_option(function: F) -> F:
    return click.option(
        "--include-path", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="More task folders."
    )(function)


def settings_option(function: F) -> F:
    return click.option(
        "--settings",
        metavar="FILE.yaml[,FILE.yaml]",
        help="Options of methods from files that `xkeb tune` wrote; --method-args goes before them.",
    )(function)


def prompt_option(function: F) -> F:
    return click.option(
        "--prompt",
        type=click.Choice(PROMPT_STYLES),
        help="How questions are put: as they stand, with the words for question and answer, or by the chat template of the "
        "model's tokenizer.  [default: as the task says]",
    )(function)


def device_options(function: F) -> F:
    dtype = click.option(
        "--dtype", default="auto", show_default=True, metavar="auto|float32|bfloat16", help="Precision of the weights."
    )
    device = click.option(
        "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where the model runs."
    )
    return device(dtype(function))


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def add_common_options(command: click.Command) -> click.Command:
    """Gives a command, and every command below it, the options that all have."""
    if not any(parameter.name == "debug" for parameter in command.params):
        command.params += [_debug(), _log_level()]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        add_common_options(below)
    return command


def _debug() -> click.Option:
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an error."
    )


def _log_level() -> click.Option:
    return click.Option(
        ["--log-level"],
        type=click.Choice(LEVELS),
        expose_value=False,
        callback=_set_log_level,
        help="Print what the library logs from this level on.  [default: warning]",
    )


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta[DEBUG] = True


def _set_log_level(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        handler = logging.StreamHandler()
        handler.setFormatter(PlainFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(handlers=[handler])
        for package in ("xkeb", "xkeb_plugins"):
            logging.getLogger(package).setLevel(value.upper())
