"""xkeb run: the plan, the progress, the table."""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from xkeb.errors import RequestError, XkebError

if TYPE_CHECKING:
    from xkeb.results import Result


def names(text: str | None) -> list[str]:
    """``a,b`` as a list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def run_file(path: Path) -> Path:
    """The file itself, or the shipped one of that name."""
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    from xkeb.errors import unknown
    from xkeb.plugins import plugins

    folders = [Path(plugins().task_folders.get(name)) / "runs" for name in plugins().task_folders]
    shipped = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
    if path.name not in shipped:
        raise unknown("run file", path.name, shipped)
    return shipped[path.name]


def read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Options from a file become the command's defaults; what stands on the command line wins."""
    if path is None:
        return None
    path = run_file(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"Can't read the run file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RequestError(f"{path} should map options of `xkeb run` to values.")
    from xkeb.errors import unknown

    known = {
        option: p
        for p in ctx.command.params
        if p.name != "config"
        for option in [p.opts[-1].lstrip("-").replace("-", "_")]
    }
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        option = str(key).replace("-", "_")
        if option not in known:
            raise RequestError(f"{path}: {unknown('option', str(key), known)}")
        several = getattr(known[option], "multiple", False)  # an option that may be given often takes a list as it is
        defaults[str(known[option].name)] = value if several and isinstance(value, list) else _flat(value)
    ctx.default_map = defaults
    return path


def _flat(value: Any) -> Any:
    """A YAML list or mapping as the command line would write it."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={json.dumps(item, ensure_ascii=False, default=str)}" for key, item in value.items())
    return ",".join(str(item) for item in value) if isinstance(value, list) else value


@click.command("run")
@click.option("--tasks", required=True, metavar="T[,T]", help="Tasks or groups (xkeb ls tasks).")
@click.option("--model", "models", required=True, metavar="M[,M]", help="Backbones (xkeb ls models).")
@click.option("--model-args", metavar="K=V,..", help="Options of the backbone, e.g. path=FOLDER.")
@click.option("--methods", metavar="M[,M]|all", help="Editing methods (xkeb ls methods).  [default: the paper's]")
@click.option("--method-args", metavar="M.K=V,..", help="Options of the methods, e.g. METHOD.layer=5.")
@click.option(
    "--protocol",
    type=click.Choice(["teacher_forcing"]),
    default="teacher_forcing",
    show_default=True,
    help="How answers are predicted.",
)
@click.option("--metrics", metavar="M[,M]", help="Metrics (xkeb ls metrics).  [default: f1,em,f1_pr,f1_units]")
@click.option("--limit", type=int, metavar="N", help="Only the first N cases of each task.")
@click.option("--cases", metavar="ID,..", help="Only these cases.")
@click.option("--train-size", type=int, metavar="N", help="Learn from the first N training facts only.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where the model runs."
)
@click.option(
    "--dtype", default="auto", show_default=True, metavar="auto|float32|bfloat16", help="Precision of the weights."
)
@click.option(
    "--batch-size",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Cases edited together. Where memory runs out, auto goes on with half as many; N is kept, and the cell fails.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn at random.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where the data sets' folders are.")
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
@click.option("--verbose", is_flag=True, help="Say at the end where the time of each cell went.")
@click.option("--fresh", is_flag=True, help="Discard the cases that are there, instead of going on.")
@click.option(
    "--executor", type=click.Choice(["local"]), default="local", show_default=True, help="What runs the cells."
)
@click.option(
    "--include-path", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="More task folders."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml|NAME",
    is_eager=True,
    expose_value=False,
    callback=read_config,
    help="Options from a file, or from one that is shipped: paper.",
)
def command(**options: Any) -> None:
    """Edit a model and measure it in two languages.

    Run the same command again to go on where it stopped.

    \b
    xkeb run --tasks TASK --model MODEL --methods METHOD,METHOD
    """
    from xkeb.cli.needs import show_needs
    from xkeb.cli.show import Live, show_plan
    from xkeb.executors.local import CellError, run
    from xkeb.metrics import DEFAULT
    from xkeb.options import parse
    from xkeb.plan import Request, plan

    request = Request(
        tasks=names(options["tasks"]),
        models=names(options["models"]),
        methods=names(options["methods"]) or None,
        model_args=parse(options["model_args"], "--model-args"),
        method_args=parse(options["method_args"], "--method-args"),
        metrics=names(options["metrics"]) or DEFAULT,
        protocol=options["protocol"],
        limit=options["limit"],
        train_size=options["train_size"],
        cases=names(options["cases"]),
        device=options["device"],
        dtype=options["dtype"],
        batch_size=_batch_size(options["batch_size"]),
        seed=options["seed"],
        data_dir=options["data_dir"],
        output=options["output"],
        fresh=options["fresh"],
        include=options["include_path"],
        command=shlex.join(["xkeb", *sys.argv[1:]]),
    )
    if options["only_plan"]:
        absent: list[str] = []
        show_needs(plan(request, absent), request, absent)
        return
    cells = plan(request)
    show_plan(cells)
    try:
        with Live() as listener:
            results = run(cells, request, listener)
    except CellError as error:
        _show(error.results, request.output, verbose=options["verbose"])
        told: dict[str, list[str]] = {}
        for cell, problem in error.failed:
            kind = "" if isinstance(problem, XkebError) else f"{type(problem).__name__}: "
            told.setdefault(kind + " ".join(str(problem).split()), []).append(cell.name)
            if "--debug" in sys.argv:
                traceback.print_exception(problem)
        for sentence, names_of_cells in told.items():
            click.echo(f"xkeb: {', '.join(names_of_cells)}: {sentence}", err=True)
        sys.exit(2 if error.wrong_request else 1)
    _show(results, request.output, verbose=options["verbose"])


def _show(results: Sequence[Result], output: Path, *, verbose: bool) -> None:
    from xkeb.cli.phases import show_phases
    from xkeb.cli.show import show_table

    show_table(results, output)
    if verbose:
        show_phases(results)


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise RequestError(f"--batch-size must be auto or a number, not {text!r}.") from None
