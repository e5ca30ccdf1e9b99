"""What edits that follow one another cost: seconds, and MB of a saved session, which holds the change of all edits so far and
what a method carries.

    python benchmarks/speed/sessions.py --data-dir DIR [--methods ft,rome] [--model M] [--task T] [--edits 3]

A Markdown table: the median of an edit's seconds, MB (10⁶ bytes) after the first edit and after the last, and what each edit
between them added.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

import click

import xkeb
from xkeb.cli.options import split_names
from xkeb.cli.telling import Telling
from xkeb.editing.editor import prepare, supported_cases
from xkeb.editing.session import Session
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run

METHODS = "ft,ft-m,ft-l,lora,rome,r-rome,memit,emmet,alphaedit,langedit,ultraedit,locft-bf,kn,mend,serac,grace,wise,memoir,xmem"


@click.command(cls=Telling)
@click.option("--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--methods", default=METHODS, show_default=True)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--task", "task_name", default="bizsre_en2zh", show_default=True)
@click.option("--edits", default=3, show_default=True, type=click.IntRange(min=2))
def main(data_dir: Path | None, methods: str, model: str, task_name: str, edits: int) -> None:
    config = RunConfig(tasks=[task_name], models=[model], methods=split_names(methods), data_dir=data_dir)
    backbone = xkeb.load_backbone(model)
    click.echo(f"| method | s an edit | MB after 1 | MB after {edits} | MB an edit |\n|---|---|---|---|---|")
    for job in plan_run(config).jobs:
        editor = prepare(job.editor, backbone, job.training() if job.needs_training else ())
        session = editor.begin(backbone)
        sizes, seconds = [], []
        for case in supported_cases(editor, backbone, job.cases[: 2 * edits])[:edits]:
            start = time.perf_counter()
            session.edit([case.edit])
            seconds.append(time.perf_counter() - start)
            sizes.append(_megabytes(session))
        added = (sizes[-1] - sizes[0]) / (len(sizes) - 1)
        click.echo(f"| {job.method} | {median(seconds):.2f} | {sizes[0]:.3f} | {sizes[-1]:.3f} | {added:.3f} |")


def _megabytes(session: Session) -> float:
    with tempfile.TemporaryDirectory() as folder:
        session.save(Path(folder) / "session")
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
