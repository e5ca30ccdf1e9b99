"""Seconds per case against the number of cases, the batch, the length of the prompt and the depth of the model, with a plot.

Each point is the median of `--repeats` runs of edit and evaluation (all probes after the edit), interleaved over the points of
one axis, so that a slow spell of the machine falls on all of them. More cases are the same two over and over, so that all are
as long; a longer prompt is the record's own behind sentences that have nothing to do with it; a shallower model is the same
with its upper layers taken away.

    OMP_NUM_THREADS=2 python benchmarks/speed/scaling.py --data-dir DIR [--model M] [--methods M,M] [--plot FILE.html]
"""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.editor import Editor, make_changes, prepare, supported_cases
from xkeb.evaluation.probing import predict_after
from xkeb.models.backbone import Backbone
from xkeb.models.memory import retain_freed_memory
from xkeb.types import Case

sys.path.append(str(Path(__file__).parents[1]))

from easyeditor_pairs import PREFIXES, Options

FILLER = "The harbour was built in stone, and the ships that came in autumn stayed until spring. "

OPTIONS: dict[str, Options] = {
    "rome": {"context_templates": PREFIXES},
    "memit": {"context_templates": PREFIXES, "mom2_corpus": "task"},
}

AXES: dict[str, tuple[str, Sequence[int]]] = {
    "cases": ("cases, 2 at a time", (2, 4, 8)),
    "batch": ("cases at a time, of 4", (1, 2, 4)),
    "prompt": ("sentences before the prompt", (0, 4, 8)),
    "depth": ("layers", (10, 20, 30)),
}

Point = Callable[[], float]
"""Runs once; gives the seconds of one case."""


def lengthened(case: Case, sentences: int) -> Case:
    """The case with its own prompt behind so many sentences."""
    prompt = FILLER * sentences + case.edit.prompt
    probes = tuple(
        dataclasses.replace(probe, prompt=prompt) if probe.property == "reliability" else probe for probe in case.probes
    )
    return Case(case.id, dataclasses.replace(case.edit, prompt=prompt), probes)


def shallow(name: str, layers: int) -> Backbone:
    """The model without its upper layers."""
    backbone = xkeb.load_backbone(name, device="cpu", dtype="float32")
    model = backbone.model
    model.get_decoder().layers = model.get_decoder().layers[:layers]
    model.config.num_hidden_layers = layers
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = model.config.layer_types[:layers]
    return Backbone(name, model, backbone.tokenizer, f"{backbone.sha256}-{layers}").prepare()


@retain_freed_memory()
def run(backbone: Backbone, editor: Editor, cases: Sequence[Case], batch: int) -> float:
    started = time.perf_counter()
    for start in range(0, len(cases), batch):
        chunk = cases[start : start + batch]
        predict_after(backbone, make_changes(editor, backbone, [case.edit for case in chunk]), chunk)
    return (time.perf_counter() - started) / len(cases)


def points(axis: str, method: str, model: str, cases: Sequence[Case], training: Sequence[Case]) -> Iterator[Point]:
    """What is measured for one axis, a point for each of its values."""

    def ready(backbone: Backbone) -> Editor:
        return prepare(xkeb.load_editor(method, **OPTIONS.get(method, {})), backbone, training)

    values = AXES[axis][1]
    if axis == "depth":
        for layers in values:
            backbone = shallow(model, layers)
            editor = ready(backbone)
            yield functools.partial(run, backbone, editor, supported_cases(editor, backbone, cases)[:2], 2)
        return
    backbone = xkeb.load_backbone(model, device="cpu", dtype="float32")
    editor = ready(backbone)
    cases = supported_cases(editor, backbone, cases)
    for value in values:
        if axis == "cases":
            yield functools.partial(run, backbone, editor, [*cases[:2]] * (value // 2), 2)
        elif axis == "batch":
            yield functools.partial(run, backbone, editor, cases[:4], value)
        else:
            yield functools.partial(run, backbone, editor, [lengthened(case, value) for case in cases[:2]], 2)


@click.command(cls=Telling)
@click.option("--data-dir", type=Path)
@click.option("--model", default="smollm2-135m", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--methods", default="ft,ike,kn,rome,memit", show_default=True)
@click.option("--axes", default=",".join(AXES), show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--train-size", default=500, show_default=True, help="Training facts for demonstrations and statistics.")
@click.option("--plot", type=Path, help="An HTML file with one panel an axis.")
def main(
    data_dir: Path | None,
    model: str,
    task: str,
    methods: str,
    axes: str,
    repeats: int,
    train_size: int,
    plot: Path | None,
) -> None:
    loaded = xkeb.load_task(task, data_dir=data_dir)
    cases, training = list(loaded)[:16], list(loaded.training.cases)[:train_size]
    found: dict[str, dict[str, list[float]]] = {}
    for axis in axes.split(","):
        label, values = AXES[axis]
        click.echo(f"{label}: {', '.join(map(str, values))}")
        for method in methods.split(","):
            measured = list(points(axis, method, model, cases, training))
            seconds: list[list[float]] = [[] for _ in measured]
            for _ in range(repeats):
                for times, point in zip(seconds, measured, strict=True):
                    times.append(point())
            medians = [statistics.median(times) for times in seconds]
            found.setdefault(axis, {})[method] = medians
            click.echo(f"  {method:6} {'  '.join(f'{value:7.3f}' for value in medians)}  s a case")
    click.echo(json.dumps(found))
    if plot:
        draw(found, f"{model}, {task}").write_html(plot, include_plotlyjs=True)


def draw(found: dict[str, dict[str, list[float]]], title: str) -> go.Figure:
    """One panel an axis, seconds on a logarithmic scale."""
    figure = make_subplots(rows=1, cols=len(found), shared_yaxes=True, subplot_titles=[AXES[axis][0] for axis in found])
    colours = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
    for column, (axis, methods) in enumerate(found.items(), start=1):
        for (method, medians), colour in zip(methods.items(), colours, strict=False):
            line = go.Scatter(
                x=AXES[axis][1], y=medians, name=method, legendgroup=method, showlegend=column == 1, line_color=colour
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_yaxes(type="log", title_text="seconds a case", col=1)
    return figure.update_layout(title=title, template="plotly_white", height=420, width=1200)


if __name__ == "__main__":
    main()
