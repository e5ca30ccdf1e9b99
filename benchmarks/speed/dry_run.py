"""What methods will need of models too large for the machine at hand: memory at its peak, operations and calls of a kernel,
found by a dry run on tensors without memory (`xkeb.estimation.estimator`). Neither the weights nor the device need be there.

Of the heaviest batch of the run, with every step that a method may make. Where a model's tokenizer isn't at hand, neither are
its token counts: they are guessed.

    python benchmarks/speed/dry_run.py --data-dir DIR [--task T --include-path DIR] [--models A,B] [--methods ft,rome]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import torch
from gpu_7b import TEST_SET

from xkeb.cli.telling import Telling
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run
from xkeb.models.device import pick_dtype
from xkeb.registry.options import parse_options

COLUMNS = ["model", "method", "weights, GB", "peak, GB", "learning, TFLOP", "before, TFLOP a case", "edit", "evaluate"]
COLUMNS += ["moved, GB a case", "calls a case", f"{TEST_SET:,} cases, min"]


def row(cost: Cost, speed: float) -> list[str]:
    """
    Args:
        speed: TFLOP/s that products reach.
    """
    phase = max(cost.peaks, key=lambda name: cost.peaks[name])
    learning = cost.works["fit"].flops / 1e12
    case = [cost.works[name] for name in ("before", "edit", "evaluate")]
    tflop = [work.flops / 1e12 for work in case]
    moved, calls = sum(work.moved for work in case) / 1e9, sum(work.operations for work in case)
    memory = [f"{cost.weights / 1e9:.1f}", f"{cost.peak / 1e9:.1f} ({phase})", f"{learning:.3g}"]
    minutes = TEST_SET * sum(tflop) / speed / 60
    return [*memory, *(f"{work:.1f}" for work in tflop), f"{moved:.0f}", f"{calls:,.0f}", f"{minutes:.1f}"]


@click.command(cls=Telling)
@click.option("--models", default="chinese-llama-2-7b,baichuan2-7b", show_default=True)
@click.option("--methods", default="ft,serac,ike,mend,kn,rome,memit", show_default=True)
@click.option("--task", default="bizsre_en2zh", show_default=True)
@click.option("--include-path", multiple=True, type=click.Path(path_type=Path), help="More task folders.")
@click.option("--batch-size", default=8, show_default=True)
@click.option("--data-dir", type=Path)
@click.option("--device", default="cuda", show_default=True, help="Whose memory counts, and how texts are grouped.")
@click.option("--dtype", default="bfloat16", show_default=True)
@click.option("--peak", default=989.0, show_default=True, help="TFLOP/s of the device in this precision; an H100's.")
@click.option("--share", default=0.4, show_default=True, help="Of the peak, what products reach.")
@click.option("--method-args", default="", help="m.key=value,..")
def main(
    models: str,
    methods: str,
    task: str,
    include_path: tuple[Path, ...],
    batch_size: int,
    data_dir: Path | None,
    device: str,
    dtype: str,
    peak: float,
    share: float,
    method_args: str,
) -> None:
    precision = pick_dtype(dtype, torch.device("cpu"))
    click.echo(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    config = RunConfig(
        tasks=[task],
        include=include_path,
        models=models.split(","),
        methods=methods.split(","),
        method_args=parse_options(method_args, "--method-args"),
        data_dir=data_dir,
        device="cpu",
        dtype=dtype,
        output=Path(tempfile.gettempdir()) / "xkeb-dry-run",
    )
    for job in plan_run(config, "estimate").jobs:
        if job.skeleton is None:
            raise click.ClickException(f"{job.model} has no skeleton.")
        estimator = Estimator(job.skeleton, precision, device=device, name=job.model)
        training = job.training() if job.needs_training else ()
        cost = estimator.cost(job.editor, job.cases, training, batch_size)
        cells = [cost.unknown] if cost.unknown else row(cost, share * peak)
        click.echo(f"| {' | '.join([job.model, job.method, *cells])} |")


if __name__ == "__main__":
    main()
