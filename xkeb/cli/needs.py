"""What ``xkeb run --plan`` shows: what a run needs, and what of it is missing on this machine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from rich.console import Console

from xkeb.backbone import pick_device, pick_dtype
from xkeb.cli.show import console, table
from xkeb.editor import load_editor
from xkeb.errors import NotHereError
from xkeb.estimate import Cost, Estimator, measure_speed
from xkeb.plan import Cell, Request
from xkeb.types import Case


def show_needs(cells: Sequence[Cell], request: Request, absent: Sequence[str]) -> None:
    """Models, cells, and what is missing."""
    out = console()
    device = pick_device(request.device)
    dtype = pick_dtype(request.dtype, device)
    fetched = _show_models(cells, dtype, out)
    unknown = _show_cells(cells, request, dtype, device, out)
    if fetched:
        out.print(f"{fetched / 1e9:.1f} GB to be fetched from the hub.")
    for sentence in unknown:
        out.print(f"Not estimated: {sentence}")
    for sentence in absent:
        out.print(f"Missing here: {sentence}")


def _show_models(cells: Sequence[Cell], dtype: torch.dtype, out: Console) -> int:
    """The bytes to be fetched."""
    precision = str(dtype).removeprefix("torch.")
    columns = ["Model", "Parameters", f"In {precision}", "Download", "Where"]
    models = table("Models", columns, out, right=columns[1:4])
    fetched = 0
    for model, group in itertools.groupby(cells, key=lambda cell: cell.model):
        outline = next(group).outline
        if outline is None:
            models.add_row(model, "?", "?", "?", "not fetched yet, or not described by its plugin")
            continue
        fetched += outline.download
        models.add_row(
            model,
            f"{outline.n_parameters:,}",
            f"{outline.n_bytes(dtype) / 1e9:.2f} GB",
            f"{outline.download / 1e9:.1f} GB" if outline.download else "",
            outline.missing or "here",
        )
    out.print(models)
    out.print()
    return fetched


def _show_cells(
    cells: Sequence[Cell], request: Request, dtype: torch.dtype, device: torch.device, out: Console
) -> list[str]:
    """A row for the tasks of a model and method. What could not be estimated, and why."""
    speed = measure_speed(device, dtype)
    columns = ["Model", "Method", "Tasks", "Cases", "Learns from", "Peak memory", "A case", "Learning", "All cases"]
    plan = table(f"Cells: {len(cells)}", columns, out, right=[columns[3], *columns[5:]])
    unknown: dict[str, None] = {}
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        pairs.setdefault((cell.model, cell.method), []).append(cell)
    for (model, method), members in pairs.items():
        n_cases = sum(len(cell.cases) for cell in members)
        facts = max((len(_training(cell)) for cell in members if cell.learns), default=0)
        row = [model, method, str(len(members)), str(n_cases or "?"), f"{facts} facts" if facts else ""]
        heaviest = max(members, key=lambda cell: len(cell.cases))
        with out.status(f"Rehearsing {method} on {model}"):
            cost = _cost(heaviest, request, dtype, device)
        if cost is not None and cost.unknown is None:
            a_case, learning = cost.seconds(speed), cost.seconds(speed, ["fit"])
            row += [f"{cost.peak / 1e9:.1f} GB", _time(a_case), _time(learning * len(members)), _time(a_case * n_cases)]
        else:
            why = "its data or its model's description is missing" if cost is None else str(cost.unknown)
            unknown[f"{method} on {model}: {why}."] = None
        plan.add_row(*row)
    out.print(plan)
    out.print()
    return list(unknown)


def _cost(cell: Cell, request: Request, dtype: torch.dtype, device: torch.device) -> Cost | None:
    """What one cell needs; None without its cases or its model's outline."""
    if cell.outline is None or not cell.cases:
        return None
    editor = load_editor(cell.method, **cell.options)
    estimator = Estimator(cell.outline, dtype, device=str(device), name=cell.model)
    return estimator.cost(editor, cell.cases, _training(cell), request.batch_size)


def _training(cell: Cell) -> Sequence[Case]:
    """What a method learns from, or nothing: that it is missing was found when the plan was made."""
    try:
        return cell.training()
    except NotHereError:
        return ()


def _time(seconds: float) -> str:
    """In a unit that fits; an estimate has no digits to spare."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 0.05 else ""
