"""Products of a model's shapes on this processor: MKL and oneDNN in float32, float32 out of bfloat16 parts, and bfloat16.

*Split* divides each number into two of bfloat16's precision and makes three products of them, whose sums are float32: PyTorch
has such products only of numbers that are given as float32 (``fp32_precision``), which it converts anew in every call.
*Error* is the norm of the difference from float64 in norms of the product.

    OMP_NUM_THREADS=2 python benchmarks/speed/products.py [--shape 576x1536 ..] [--rows 12,128,1000]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import click
import torch
import torch.nn.functional as F

from xkeb.cli.telling import Telling
from xkeb.models.memory import retain_freed_memory
from xkeb.models.onednn import onednn_product
from xkeb.utils.processor import processor_name

SHAPES = ("576x1536", "1536x576", "640x2048", "640x262144", "4096x11008")
"""Of smollm2-135m, of gemma3-270m, of a 7B model: from and to how many numbers."""
RUNS = 9


@contextmanager
def bfloat16_parts() -> Iterator[None]:
    """Inside, products of float32 are made of bfloat16 numbers, with sums in float32."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined] # made when it is imported
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def split(x: torch.Tensor, high: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """``x @ (high + low).T`` of two pieces a number; the product of both low ones is left out."""
    x_high = x.bfloat16().float()
    product = F.linear(x_high, high)
    product += F.linear(x_high, low)
    product += F.linear(x - x_high, high)
    return product


def median_seconds(make: Callable[[], torch.Tensor]) -> float:
    make()
    spent = []
    for _ in range(RUNS):
        start = time.perf_counter()
        make()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


@click.command(cls=Telling)
@click.option("--shape", "shapes", multiple=True, default=SHAPES, help="INxOUT.")
@click.option("--rows", default="12,128,1000", show_default=True)
@torch.no_grad()
@retain_freed_memory()
def main(shapes: tuple[str, ...], rows: str) -> None:
    click.echo(f"{processor_name()}, {torch.get_num_threads()} threads, GFLOP/s (error)\n")
    columns = ["from, to", "rows", "MKL", "oneDNN", "gradient: MKL", "gradient: oneDNN", "split", "bfloat16"]
    click.echo(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    torch.manual_seed(0)
    for shape in shapes:
        d_in, d_out = map(int, shape.split("x"))
        weight = torch.randn(d_out, d_in) * 0.05
        high = weight.bfloat16().float()
        low = (weight - high).bfloat16().float()
        for n in map(int, rows.split(",")):
            if n * d_out > 2**26:
                continue
            x, grad = torch.randn(n, d_in), torch.randn(n, d_out)
            exact = x.double() @ weight.double().T
            half, half_weight = x.bfloat16(), weight.bfloat16()
            makers: dict[str, Callable[[], torch.Tensor]] = {
                "MKL": partial(F.linear, x, weight),
                "oneDNN": partial(onednn_product, x, weight, None),
                "gradient: MKL": partial(torch.matmul, grad, weight),
                "gradient: oneDNN": partial(onednn_product, grad, weight.t(), None),
                "split": partial(split, x, high, low),
                "bfloat16": partial(F.linear, half, half_weight),
            }
            cells = [f"{d_in}, {d_out}", str(n)]
            for name, make in makers.items():
                with bfloat16_parts() if name == "split" else nullcontext():
                    rate, product = 2 * weight.numel() * n / median_seconds(make) / 1e9, make()
                error = "" if "gradient" in name else f" ({float((product - exact).norm() / exact.norm()):.0e})"
                cells.append(f"{rate:.0f}{error}")
            click.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
