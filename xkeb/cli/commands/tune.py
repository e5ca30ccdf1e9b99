"""xkeb tune: choose a method's settings on validation facts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xkeb.cli.completion import complete_registered, complete_tasks
from xkeb.cli.echo import complain
from xkeb.cli.options import (
    data_dir_option,
    device_options,
    include_option,
    model_args_option,
    prompt_option,
    seed_option,
    split_names,
)
from xkeb.cli.run_config import shared_config
from xkeb.errors import RequestError
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.evaluation.config import RunConfig

T = TypeVar("T")


@click.command("tune")
@click.option(
    "--method", required=True, metavar="M", shell_complete=complete_registered("methods"), help="Editing method."
)
@click.option("--model", required=True, metavar="M", shell_complete=complete_registered("models"), help="Backbone.")
@click.option(
    "--grid",
    required=True,
    metavar="K=V,V;K=V,V",
    help="Options of the method, each with the values to try, e.g. layer=4,8;lr=0.1,0.5. Every combination is tried.",
)
@click.option("--method-args", metavar="K=V,..", help="Options of the method that stay as they are, e.g. steps=40.")
@click.option(
    "--tasks",
    metavar="T[,T]",
    shell_complete=complete_tasks,
    help="Tasks or groups in whose source languages facts are edited and asked.  [default: the paper's]",
)
@click.option(
    "--limit", type=int, default=20, show_default=True, metavar="N", help="Validation facts of each task, at most."
)
@click.option(
    "--regime",
    default="single",
    show_default=True,
    metavar="single|batch:N|sequential:N[xM]",
    help="Edits of one model before it is asked, as of xkeb run.",
)
@click.option(
    "--cross-lingual",
    is_flag=True,
    help="Ask the facts in the tasks' other languages, too, and count that in the score.",
)
@click.option("--metric", default="f1", show_default=True, metavar="M", help="What the score is made of.")
@model_args_option
@prompt_option
@device_options
@seed_option
@data_dir_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Where the settings go.  [default: METHOD-MODEL.yaml]",
)
@click.option("--fresh", is_flag=True, help="Discard the points that are done, instead of going on.")
@include_option
def command(**options: Any) -> None:
    """Choose a method's settings without the test set.

    Tries every combination of the values in a grid on validation facts: those of the data set's validation file, or, where
    that isn't here, the last training facts, from which nothing is learned then. Prints the whole table, and writes the
    best settings and where they come from into a file for `xkeb run --settings`.

    Run the same command again to go on where it stopped.

    \b
    xkeb tune --method METHOD --model MODEL --grid "layer=4,8;lr=0.1,0.5"
    """
    with importing():
        from xkeb.cli.tuning_display import TuningDisplay, show_tuning
        from xkeb.evaluation.tuning import tune
        from xkeb.registry.options import parse_grid

    method = options["method"]
    grid = _own(parse_grid(options["grid"], "--grid"), method, "--grid")
    with TuningDisplay() as display:
        tuning = tune(
            _config(options),
            grid,
            options["output"],
            display,
            display.point_done,
            cross_lingual=options["cross_lingual"],
        )
    show_tuning(tuning, method, options["metric"])
    if tuning.chosen is None:
        complain("Every point of the grid failed, so there are no settings to write.")
        sys.exit(1)


def _config(options: Mapping[str, Any]) -> RunConfig:
    from xkeb.cli.run_files import paper_tasks
    from xkeb.evaluation.config import RunConfig
    from xkeb.registry.options import parse_options
    from xkeb.utils.secrets import command_line

    method = options["method"]
    fixed = _own(parse_options(options["method_args"], "--method-args"), method, "--method-args")
    return RunConfig(
        tasks=paper_tasks() if options["tasks"] is None else split_names(options["tasks"]),
        models=[options["model"]],
        methods=[method],
        method_args={f"{method}.{name}": value for name, value in fixed.items()},
        metrics=[options["metric"]],
        limit=options["limit"],
        regime=options["regime"],
        overwrite=options["fresh"],
        command=command_line(["xkeb", *sys.argv[1:]]),
        **shared_config(options),
    )


def _own(options: Mapping[str, T], method: str, flag: str) -> dict[str, T]:
    """Options without the method's name, with which other commands write them.

    Raises:
        RequestError: one is there with the name and without it.
    """
    own: dict[str, T] = {}
    for name, value in options.items():
        short = name.removeprefix(f"{method}.")
        if short in own:
            raise RequestError(f"{flag} names {short!r} twice.")
        own[short] = value
    return own
