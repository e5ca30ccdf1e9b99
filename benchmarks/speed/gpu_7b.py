"""Seconds a case, the share of the card's peak that this is, and peak memory of all seven methods on a random-weight model in
the shape of LLaMA-2-7B or Baichuan2-7B (`random_7b`).

SERAC's and IKE's own models are random, too, in the defaults' shape. Operations and bytes are counted in a dry run of the
heaviest batch (`xkeb.estimation.estimator`), with every step that a method may make; seconds are of the steps that it made,
which with random weights is nearly always all of them.

    python benchmarks/speed/gpu_7b.py [--shape llama2|baichuan2] [--limit 32] [--data-dir DIR] [--profile]
    python benchmarks/speed/gpu_7b.py --layers 4 --width 64 --vocabulary 2000 --device cpu --limit 2    # a small one
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

import xkeb
from xkeb.cli.telling import Telling
from xkeb.editing.editor import make_changes, prepare
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.evaluation.batches import auto_batch
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.executors.local import run_jobs
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.models.device import pick_device, pick_dtype
from xkeb.models.loader import load_backbone
from xkeb.results.result import Result
from xkeb.utils.progress_bars import show_progress_bars

sys.path.append(str(Path(__file__).parents[1]))

from random_7b import NAME, SHAPES, Random7B, register_random_7b, write_counterfactual, write_encoder

TEST_SET = 1037
"""Cases of one direction."""
SHORT: dict[str, dict[str, Any]] = {
    "mend": {"steps": 20, "validation": 8, "validate_every": 10},
    "serac": {"steps": 4, "validation": 8, "validate_every": 2},
}
"""Trainings are cut short: their memory is that of a whole one, their seconds a step are told apart from the edits'."""


def counted(job: Job, device: torch.device, dtype: torch.dtype) -> Cost:
    """What there is to do."""
    assert job.skeleton is not None
    estimator = Estimator(job.skeleton, dtype, Random7B.tokenizer, str(device), name=NAME)
    return estimator.cost(job.editor, job.cases, job.training() if job.needs_training else ())


def row(result: Result, cost: Cost | None, peak: float) -> str:
    """Of the seconds of editing and evaluating; the answers before them are made once for all methods."""
    timing, count = result.timing, len(result.case_ids)
    edit, evaluate = timing.edit_seconds / count, timing.evaluate_seconds / count
    learn = timing.wall_seconds - timing.edit_seconds - timing.evaluate_seconds
    cells = [result.method.name, f"{edit:.2f}", f"{evaluate:.2f}", f"{learn:.0f}"]
    if cost is None or cost.unknown:
        cells += ["?", "?"]
    else:
        work = sum(cost.works[part].flops for part in ("edit", "evaluate")) / 1e12
        cells += [f"{work:.3g}", f"{100 * work / (edit + evaluate) / peak:.0f}"]
    estimated = "?" if cost is None or cost.unknown else f"{cost.peak / 1e9:.1f}"
    cells += [f"{TEST_SET * (edit + evaluate) / 60:.1f}", f"{timing.peak_memory_bytes / 1e9:.1f}", estimated]
    return f"| {' | '.join(cells)} |"


def profile(job: Job, config: RunConfig, device: torch.device) -> None:
    """Where the seconds of one batch's edit go: the share in which the card is at work, calls, the costliest kernels."""
    gc.collect()
    backbone = load_backbone(NAME, device=config.device, dtype=config.dtype, **job.model_args)
    editor = prepare(job.editor, backbone, job.training() if job.needs_training else ())
    edits = [case.edit for case in job.cases[: config.batch_size or auto_batch(device)]]
    make_changes(editor, backbone, edits)  # warm
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    make_changes(editor, backbone, edits)
    torch.cuda.synchronize(device)
    seconds = time.perf_counter() - start
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as watched:
        make_changes(editor, backbone, edits)
        torch.cuda.synchronize(device)
    kernels = sorted(watched.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    busy = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    calls = sum(kernel.count for kernel in kernels if kernel.self_device_time_total)
    click.echo(
        f"  {job.method}: {len(edits)} edits in {seconds:.3f} s; the card is at work for {busy:.3f} s in {calls} calls"
    )
    for kernel in kernels[:12]:
        milliseconds = kernel.self_device_time_total / 1e3
        click.echo(f"    {milliseconds:9.1f} ms {kernel.count:7d} x {kernel.key[:100]}")


@click.command(cls=Telling)
@click.option("--shape", type=click.Choice(list(SHAPES)), default="llama2", show_default=True)
@click.option("--methods", default="ft,serac,ike,mend,kn,rome,memit", show_default=True)
@click.option("--task", default="bizsre_mini_en2zh", show_default=True)
@click.option("--limit", default=32, show_default=True)
@click.option("--batch-size", type=int, help="Cases at a time.  [default: as `xkeb run`]")
@click.option("--train-size", default=3000, show_default=True)
@click.option("--data-dir", type=Path)
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="bfloat16", show_default=True)
@click.option("--layers", default=32, show_default=True)
@click.option("--width", default=4096, show_default=True)
@click.option("--vocabulary", type=int, help="[default: the shape's]")
@click.option("--peak", default=989.0, show_default=True, help="TFLOP/s of the device in this precision; an H100's.")
@click.option("--count/--no-count", default=True, help="Count operations and bytes, which takes a minute a method.")
@click.option("--profile", "profiled", is_flag=True, help="Then say where the seconds of a batch's edit go, on a card.")
def main(
    shape: str,
    methods: str,
    task: str,
    limit: int,
    batch_size: int | None,
    train_size: int,
    data_dir: Path | None,
    device: str,
    dtype: str,
    layers: int,
    width: int,
    vocabulary: int | None,
    peak: float,
    count: bool,
    profiled: bool,
) -> None:
    place = pick_device(device)
    size = vocabulary or SHAPES[shape]
    small = width < 1024
    register_random_7b(task, data_dir, size)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    click.echo(f"{shape}: {layers} layers, width {width}, vocabulary {size:,}, {dtype}, {name}")
    columns = ["method", "edit, s a case", "evaluate, s a case", "the rest, s", "TFLOP a case", "% of the peak"]
    columns += [f"{TEST_SET:,} cases, min", "peak memory, GB", "estimated"]
    click.echo(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder, show_progress_bars(False):
        encoder = write_encoder(Path(folder) / "encoder", small)
        model = write_counterfactual(Path(folder) / "counterfactual", small)
        chosen = {**SHORT, "ike": {"encoder": encoder}}
        chosen["serac"] = {**SHORT["serac"], "classifier": encoder, "counterfactual": model}
        for method in methods.split(","):
            gc.collect()
            if place.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(place)
            options = {f"{method}.{option}": value for option, value in chosen.get(method, {}).items()}
            config = RunConfig(
                tasks=[task],
                models=[NAME],
                methods=[method],
                model_args={"vocabulary": size, "layers": layers, "width": width},
                method_args=options,
                limit=limit,
                batch_size=batch_size,
                train_size=train_size,
                device=device,
                dtype=dtype,
                data_dir=data_dir,
                output=Path(folder) / "results",
            )
            try:
                (job,) = plan_run(config).jobs
                (result,) = run_jobs([job], config)
                cost = counted(job, place, pick_dtype(dtype, place)) if count else None
            except xkeb.XkebError as error:  # one method that fails doesn't cost the others' numbers
                click.echo(f"| {method} | {' '.join(str(error).split())} |{' |' * (len(columns) - 2)}")
            else:
                click.echo(row(result, cost, peak))
                if profiled:
                    profile(job, config, place)


if __name__ == "__main__":
    main()
