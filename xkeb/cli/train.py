"""xkeb train: learn now what `xkeb run` would learn before its first edit."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import click

from xkeb.cli.run import names


@click.command("train")
@click.option("--method", "methods", required=True, metavar="M[,M]", help="Editing methods.")
@click.option("--model", "models", required=True, metavar="M[,M]", help="Backbones.")
@click.option(
    "--tasks",
    required=True,
    metavar="T[,T]",
    help="Tasks or groups whose source languages' training facts to learn from.",
)
@click.option("--train-size", type=int, metavar="N", help="Learn from the first N training facts only.")
@click.option("--model-args", metavar="K=V,..", help="Options of the backbone, e.g. path=FOLDER.")
@click.option("--method-args", metavar="M.K=V,..", help="Options of the methods, e.g. METHOD.steps=500.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where the model runs."
)
@click.option(
    "--dtype", default="auto", show_default=True, metavar="auto|float32|bfloat16", help="Precision of the weights."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn at random.")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where the data sets' folders are.")
@click.option(
    "--include-path", multiple=True, type=click.Path(path_type=Path), metavar="DIR", help="More task folders."
)
def command(**options: Any) -> None:
    """Learn what methods learn from training facts, or measure on a corpus, and keep it in the cache.

    `xkeb run` does the same where it is missing. Run the same command again to go on where it stopped.

    \b
    xkeb train --method METHOD --model MODEL --tasks TASK
    """
    from xkeb.backbone import load_backbone
    from xkeb.cli.show import Live
    from xkeb.editor import Learner, load_editor, options_of, settled
    from xkeb.memory import reusing
    from xkeb.options import parse
    from xkeb.plan import Request, plan
    from xkeb.utils.paths import cache_root
    from xkeb.utils.progress import reporting_to

    request = Request(
        tasks=names(options["tasks"]),
        models=names(options["models"]),
        methods=names(options["methods"]),
        model_args=parse(options["model_args"], "--model-args"),
        method_args=parse(options["method_args"], "--method-args"),
        train_size=options["train_size"],
        device=options["device"],
        dtype=options["dtype"],
        seed=options["seed"],
        data_dir=options["data_dir"],
        include=options["include_path"],
        output=cache_root(),
    )
    cells = plan(request)
    with Live() as listener, reporting_to(listener.learning):
        for model, group in itertools.groupby(cells, key=lambda cell: cell.model):
            listener.model(model)
            backbone = load_backbone(model, device=request.device, dtype=request.dtype, **request.options_of(model))
            for cell in group:
                editor = settled(load_editor(cell.method, **cell.options), backbone)
                listener.cell(cell)
                if not isinstance(editor, Learner):
                    listener.say(f"{cell.name}: learns nothing.")
                    continue
                listener.settled(cell, options_of(editor))
                listener.phase("fit")
                started = time.perf_counter()
                facts = cell.training()
                with reusing():
                    editor.fit(backbone, facts)
                listener.say(f"{cell.name}: {len(facts)} facts, {time.perf_counter() - started:.0f} s")
    click.echo(f"Kept in {cache_root()}")
