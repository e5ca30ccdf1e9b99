"""xkeb run: the plan, the progress, the table."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.completion import complete_registered, complete_tasks
from xkeb.cli.cores import make_way
from xkeb.cli.echo import complain, say, say_json
from xkeb.cli.options import (
    DEBUG,
    data_dir_option,
    device_options,
    include_option,
    json_option,
    model_args_option,
    prompt_option,
    seed_option,
    settings_option,
    train_size_option,
)
from xkeb.cli.run_config import run_config
from xkeb.cli.run_files import read_config
from xkeb.cli.telling import is_told
from xkeb.errors import XkebError, one_line
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.evaluation.config import RunConfig
    from xkeb.evaluation.job import Job, JobError
    from xkeb.results.result import Result


@click.command("run")
@click.option(
    "--tasks", required=True, metavar="T[,T]", shell_complete=complete_tasks, help="Tasks or groups (xkeb ls tasks)."
)
@click.option(
    "--model",
    "models",
    required=True,
    metavar="M[,M]",
    shell_complete=complete_registered("models"),
    help="Backbones (xkeb ls models); PLUGIN:NAME gives one a name of its own.",
)
@model_args_option
@click.option(
    "--methods",
    metavar="M[,M]|all",
    shell_complete=complete_registered("methods", "all"),
    help="Editing methods (xkeb ls methods).  [default: the paper's]",
)
@click.option("--method-args", metavar="M.K=V,..", help="Options of the methods, e.g. METHOD.layer=5.")
@settings_option
@click.option(
    "--protocol",
    "protocols",
    metavar="P[,P]",
    default="teacher_forcing",
    show_default=True,
    help="How answers are predicted: teacher_forcing (each token after the gold ones), paper (as its released code does), "
    "generate (freely), wild (freely, by the rule of WILD). Of several, each edit is made once and asked under all.",
)
@click.option(
    "--protocol-args",
    metavar="K=V,..",
    help="Options of the protocol, e.g. reliability=english for paper; PROTOCOL.K=V where there are several.",
)
@prompt_option
@click.option(
    "--regime",
    metavar="single|batch:N|sequential:N[xM]",
    help="Edits of one model before it is asked: one, N in one batch, or N batches one after another, of M edits or one.  "
    "[default: as the task says]",
)
@click.option(
    "--evaluate",
    metavar="after_each|after_batch|after_all",
    help="When a sequence is asked.  [default: as the task says, or after_all]",
)
@click.option(
    "--damage",
    is_flag=True,
    help="Measure wherever a sequence is asked what its edits did to unrelated answers and to a text in each language.",
)
@click.option(
    "--metrics",
    metavar="M[,M]",
    shell_complete=complete_registered("metrics"),
    help="Metrics (xkeb ls metrics).  [default: the protocol's]",
)
@click.option("--limit", type=int, metavar="N", help="Only the first N cases of each task.")
@click.option("--cases", metavar="ID,..", help="Only these cases; 100-299 is a range.")
@train_size_option
@device_options
@click.option(
    "--batch-size",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Cases edited together. Where memory runs out, auto goes on with half as many; N is kept, and the job fails.",
)
@seed_option
@data_dir_option
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    metavar="DIR",
    help="Where results go.",
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Say what the run needs and what of it is missing here; run nothing."
)
@click.option("--verbose", is_flag=True, help="Say at the end where the time of each job went.")
@click.option("--fresh", is_flag=True, help="Discard the cases that are there, instead of going on.")
@click.option(
    "--executor", default="local", show_default=True, metavar="NAME", help="What runs the jobs (xkeb ls executors)."
)
@click.option(
    "--workers", type=int, metavar="N", help="Processes that an executor such as ray divides the cases among."
)
@click.option("--executor-args", metavar="K=V,..", help="Options of the executor, e.g. address=auto for ray.")
@click.option("--observe", metavar="NAME[,NAME]", help="Observers that watch the run (xkeb ls observers).")
@click.option("--observer-args", metavar="NAME.K=V,..", help="Options of the observers.")
@click.option(
    "--log-events",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append every event of the run to this file, a line of JSON each.",
)
@include_option
@json_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml|NAME",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="Options from a file, or from one that is shipped: paper.",
)
@click.pass_context
def command(context: click.Context, /, **options: Any) -> None:
    """Edit a model and measure it in two languages.

    Run the same command again to go on where it stopped. The scores go to the standard output, as tab-separated values where
    that is no terminal; plan and progress go to the standard error stream.

    \b
    xkeb run --tasks TASK --model MODEL --methods METHOD,METHOD
    """
    from xkeb.evaluation.finished import finished_results, note_finished

    config = run_config(options)
    if not options["only_plan"] and (found := finished_results(config)) is not None:
        say(f"All of it is finished (results: {len(found)}); --fresh runs it again.", err=True)
        _show(found, config.output, options)
        return
    if options["only_plan"]:
        _plan(config)
        return
    in_use = make_way()
    from xkeb.evaluation.executors.choice import opened_executor

    with opened_executor(config) as executor:  # it gets ready beside the imports below, and the plan
        with importing():
            from xkeb.cli.plan_table import show_plan
            from xkeb.cli.progress import ProgressDisplay
            from xkeb.evaluation.api import execute
            from xkeb.evaluation.job import JobError
            from xkeb.evaluation.planning import plan_run
            from xkeb.models.device import pick_device

        jobs = plan_run(config).jobs
        show_plan(jobs)
        if in_use and pick_device(config.device).type == "cpu":
            say(in_use, err=True)
        try:
            with ProgressDisplay() as display:
                results = execute(jobs, config, display, executor)
        except JobError as error:
            _show(error.results, config.output, options, error.failed)
            _show_failures(error, debug=bool(context.find_root().meta.get(DEBUG)))
            sys.exit(2 if error.wrong_request else 1)
        note_finished(config, jobs)
        _show(results, config.output, options)


def _plan(config: RunConfig) -> None:
    with importing():
        from xkeb.cli.requirements import show_requirements
        from xkeb.evaluation.planning import plan_run

    plan = plan_run(config, "estimate")
    show_requirements(plan.jobs, config, plan.absent)


def _show(
    results: Sequence[Result],
    output: Path,
    options: Mapping[str, Any],
    failed: Sequence[tuple[Job, Exception]] = (),
) -> None:
    from xkeb.cli.phases import show_phases
    from xkeb.cli.score_table import show_table

    if options["as_json"]:
        failures = [{"job": job.name, "error": _sentence(problem)} for job, problem in failed]
        say_json({"results": [result.model_dump(mode="json") for result in results], "failed": failures})
    else:
        show_table(results, output)
    if options["verbose"]:
        show_phases(results)


def _sentence(problem: Exception) -> str:
    """What went wrong with a job, on one line."""
    return " ".join((str(problem) if isinstance(problem, XkebError) else one_line(problem)).split())


def _show_failures(error: JobError, *, debug: bool) -> None:
    """A sentence for each kind of failure, after the jobs that it ended."""
    jobs_by_sentence: dict[str, list[str]] = {}
    for job, problem in error.failed:
        jobs_by_sentence.setdefault(_sentence(problem), []).append(job.name)
        if debug:
            say("".join(traceback.format_exception(problem)), err=True)
    for sentence, jobs in jobs_by_sentence.items():
        complain(f"{', '.join(jobs)}: {sentence}")
    if not debug and not all(is_told(problem) for _, problem in error.failed):
        complain("With --debug, the same command shows where in the code.")
