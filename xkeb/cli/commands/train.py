"""xkeb train: learn now what `xkeb run` would learn before its first edit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.completion import complete_registered, complete_tasks
from xkeb.cli.echo import complain, say
from xkeb.cli.options import (
    data_dir_option,
    device_options,
    include_option,
    model_args_option,
    prompt_option,
    seed_option,
    settings_option,
    split_names,
    train_size_option,
)
from xkeb.cli.run_config import shared_config
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.evaluation.job import Job


@click.command("train")
@click.option(
    "--methods",
    "--method",
    "methods",
    required=True,
    metavar="M[,M]",
    shell_complete=complete_registered("methods"),
    help="Editing methods.",
)
@click.option(
    "--model",
    "models",
    required=True,
    metavar="M[,M]",
    shell_complete=complete_registered("models"),
    help="Backbones.",
)
@click.option(
    "--tasks",
    required=True,
    metavar="T[,T]",
    shell_complete=complete_tasks,
    help="Tasks or groups whose source languages' training facts to learn from.",
)
@train_size_option
@model_args_option
@click.option("--method-args", metavar="M.K=V,..", help="Options of the methods, e.g. METHOD.steps=500.")
@settings_option
@prompt_option
@device_options
@seed_option
@data_dir_option
@include_option
def command(**options: Any) -> None:
    """Learn what methods learn from training facts, or measure on a corpus, and keep it in the cache.

    `xkeb run` does the same where it is missing. Run the same command again to go on where it stopped.

    \b
    xkeb train --method METHOD --model MODEL --tasks TASK
    """
    with importing():
        from xkeb.cli.progress import ProgressDisplay
        from xkeb.evaluation.config import RunConfig
        from xkeb.evaluation.executors.local import train_jobs
        from xkeb.evaluation.job import JobError
        from xkeb.evaluation.planning import plan_run
        from xkeb.registry.options import parse_options
        from xkeb.utils.paths import cache_root

    config = RunConfig(
        tasks=split_names(options["tasks"]),
        models=split_names(options["models"]),
        methods=split_names(options["methods"]),
        method_args=parse_options(options["method_args"], "--method-args"),
        settings=[Path(name) for name in split_names(options["settings"])],
        train_size=options["train_size"],
        **shared_config(options),
    )
    jobs = plan_run(config, "train").jobs
    try:
        with ProgressDisplay() as display:
            trained = train_jobs(jobs, config, display)
    except JobError as error:
        _show(error.results)
        for job, problem in error.failed:
            complain(f"{job.name}: {problem}")
        sys.exit(2 if error.wrong_request else 1)
    _show(trained)
    say(f"Kept in {cache_root()}")


def _show(trained: Sequence[tuple[Job, int, float]]) -> None:
    for job, facts, seconds in trained:
        say(f"{job.name}: {facts} facts, {seconds:.0f} s")
