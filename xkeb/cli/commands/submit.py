"""xkeb submit: a run as jobs of a Slurm cluster."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.commands.run import command as run_command
from xkeb.cli.echo import complain, say
from xkeb.cli.run_config import run_config
from xkeb.errors import RequestError
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.cli.submitting.resources import Resources
    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.parts import Cell, Part

NOT_OF_PARTS = ("only_plan", "verbose", "fresh", "as_json")
"""Options of a run that the parts of one can't have: those that discard cases, or print what nobody sees."""


@click.command("submit")
@click.option(
    "--cases-per-job",
    "size",
    type=click.IntRange(1),
    metavar="N",
    help="Cut each job into parts.  [default: a job whole]",
)
@click.option("--partition", metavar="NAME", help="Of the cluster.")
@click.option("--account", metavar="NAME", help="That is charged.")
@click.option("--time", "limit_of_time", default="12:00:00", show_default=True, metavar="TIME", help="Of each part.")
@click.option("--gpus", metavar="[TYPE:]N", help="Of each part.")
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="Of each part.")
@click.option("--memory", metavar="SIZE", help="Of each part, as in 64G.")
@click.option("--at-once", type=click.IntRange(1), metavar="N", help="Parts that run at the same time, at most.")
@click.option("--sbatch-args", metavar="K=V,..", help="Any other options of sbatch, e.g. qos=low,constraint=a100.")
@click.option(
    "--parts",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where parts and what jobs print are kept.  [default: the output folder's name with -parts behind it]",
)
@click.option(
    "--cluster",
    type=click.Choice(["slurm", "local"]),
    default="slurm",
    show_default=True,
    help="local: this machine, one part after another.",
)
@click.option("--print", "only_print", is_flag=True, help="Print a shell script that submits it; needs no Slurm here.")
@click.option("--join", "only_join", is_flag=True, help="Only join the parts that are there; submit nothing.")
def command(**options: Any) -> None:
    """Run on a Slurm cluster what `xkeb run` with the same options would run here.

    What methods learn is learned first, by jobs of their own. Each part goes on where it was when its time is up; the last job
    joins the parts. Run the same command again to submit what is missing.

    \b
    xkeb submit --tasks TASK --model MODEL --cases-per-job 130 --gpus 1 --print
    """
    with importing():
        from xkeb.evaluation.parts import check_room, cut
        from xkeb.evaluation.planning import plan_run

    config = run_config({**options, "fresh": False})
    folder = options["parts"] or config.output.with_name(f"{config.output.name}-parts")
    resources = _resources(options)
    cells = cut(plan_run(_planned_here(config)).jobs, config, options["size"], folder)
    for cell in cells:
        check_room(cell, config)
    missing = [part for cell in _unfinished(cells, config) for part in _missing(cell, config)]
    if options["only_join"] or not missing:
        _join(cells, config)
    else:
        _submit(cells, missing, config, resources, folder, options)


command.params = [parameter for parameter in run_command.params if parameter.name not in NOT_OF_PARTS] + command.params


def _planned_here(config: RunConfig) -> RunConfig:
    """For the plan, which needs no GPU: this machine may have none."""
    named = re.fullmatch(r"cuda(:\d+)?", config.device)
    return dataclasses.replace(config, device="cpu") if named else config


def _resources(options: Mapping[str, Any]) -> Resources:
    from xkeb.cli.submitting.resources import Resources, minutes
    from xkeb.registry.options import parse_options

    if options["gpus"] is not None and not re.fullmatch(r"([\w.-]+:)?\d+", options["gpus"]):
        raise RequestError(f"--gpus takes a number, or TYPE:NUMBER, not {options['gpus']!r}.")
    return Resources(
        minutes(options["limit_of_time"]),
        options["partition"],
        options["account"],
        options["gpus"],
        options["cpus"],
        options["memory"],
        parse_options(options["sbatch_args"], "--sbatch-args"),
    )


def _unfinished(cells: Sequence[Cell], config: RunConfig) -> list[Cell]:
    """The jobs whose results aren't where the run's results go."""
    from xkeb.evaluation.parts import is_done

    return [cell for cell in cells if not is_done(cell.job, config, config.output, cell.case_ids)]


def _missing(cell: Cell, config: RunConfig) -> list[Part]:
    """The parts of an unfinished job that aren't done."""
    from xkeb.evaluation.parts import is_done

    return [part for part in cell.parts if part.whole or not is_done(part.job, config, part.output, part.case_ids)]


def _submit(
    cells: Sequence[Cell],
    missing: Sequence[Part],
    config: RunConfig,
    resources: Resources,
    folder: Path,
    options: Mapping[str, Any],
) -> None:
    from xkeb.cli.submitting.queue import queued_parts, run_here, submit
    from xkeb.cli.submitting.scripts import shell_script
    from xkeb.cli.submitting.stages import JOIN, make_stages

    on_slurm = options["cluster"] == "slurm" and not options["only_print"]
    queued = queued_parts(folder) if on_slurm else {}
    wanted = [part for part in missing if part.name not in queued]
    n_parts = sum(len(cell.parts) for cell in cells)
    say(
        f"Jobs: {len(cells)}. Parts: {n_parts}, of which {n_parts - len(missing)} are finished, "
        f"{len(missing) - len(wanted)} in the queue, {len(wanted)} to be made.",
        err=True,
    )
    if not wanted:
        return
    again = [argument for argument in sys.argv[1:] if argument != "--print"]
    waiting = {job for part in missing if (job := queued.get(part.name))}
    stages = make_stages(config, cells, wanted, [*again, "--join"], waiting)
    if options["only_print"]:
        say(shell_script(stages, resources, folder / "logs", options["at_once"]), nl=False)
    elif on_slurm:
        for stage, jobs in submit(stages, resources, folder, options["at_once"]).items():
            say(f"{stage}: {', '.join(jobs)}", err=True)
        say(f"What they print goes to {folder / 'logs'}; the same command submits what is missing then.", err=True)
    else:
        run_here([stage for stage in stages if stage.name != JOIN], resources, folder, complain)
        _join(cells, config)


def _join(cells: Sequence[Cell], config: RunConfig) -> None:
    """Joins the jobs all of whose parts are there, and shows what there is. Exits with 1 where something isn't."""
    from xkeb.cli.score_table import show_table
    from xkeb.evaluation.parts import join
    from xkeb.results.result import RESULT, Result

    lacking: set[str] = set()
    for cell in _unfinished(cells, config):
        missing = len(_missing(cell, config))
        if missing:
            lacking.add(cell.job.name)
            complain(f"{cell.job.name}: not finished, parts that are missing: {missing} of {len(cell.parts)}.")
        else:
            join(cell, config)
    there = [cell.job for cell in cells if cell.job.name not in lacking]
    results = [Result.load(one.folder / RESULT) for job in there for one in job.measurements]
    if results:
        show_table(results, config.output)
    if lacking:
        sys.exit(1)
