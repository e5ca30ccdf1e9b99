"""One process, one cell after another; each model is loaded once."""

from __future__ import annotations

import gc
import itertools
import time
import traceback
from collections.abc import Sequence

from xkeb.backbone import Backbone, load_backbone
from xkeb.errors import RequestError, XkebError
from xkeb.evaluation import run_cell
from xkeb.plan import Cell, Request
from xkeb.progress import Listener
from xkeb.results import Result
from xkeb.shortage import ShortageError, ran_out


class CellError(XkebError):
    """Some cells failed. The others are on disk, and in `results`."""

    def __init__(self, failed: Sequence[tuple[Cell, Exception]], results: Sequence[Result]) -> None:
        super().__init__("; ".join(f"{cell.name}: {error}" for cell, error in failed))
        self.failed = list(failed)
        self.results = list(results)

    @property
    def wrong_request(self) -> bool:
        """Whether nothing could be done, since all of it was asked for wrongly."""
        return not self.results and all(isinstance(error, RequestError) for _, error in self.failed)


def run(cells: Sequence[Cell], request: Request, listener: Listener | None = None) -> list[Result]:
    """Runs the cells, in the order of the plan. One that fails doesn't stop the others.

    Raises:
        CellError: after the last cell, if any failed.
    """
    listener = listener or Listener()
    results: list[Result] = []
    failed: list[tuple[Cell, Exception]] = []
    for model, group in itertools.groupby(cells, key=lambda cell: cell.model):
        backbone: Backbone | Exception
        started = time.perf_counter()
        try:
            listener.model(model)
            backbone = load_backbone(model, device=request.device, dtype=request.dtype, **request.options_of(model))
        except Exception as error:
            backbone = told(error)
        load = time.perf_counter() - started
        for cell in group:
            try:
                if isinstance(backbone, Exception):
                    raise backbone
                result = run_cell(cell, backbone, request, listener, load=load)
            except Exception as error:  # whatever a plugin raises costs its own cell, not the night's run
                failed.append((cell, told(error)))
                listener.cell_failed(*failed[-1])
            else:
                load = 0.0
                results.append(result)
                listener.cell_done(cell, result)
        del backbone
        gc.collect()
    if failed:
        raise CellError(failed, results)
    return results


def told(error: Exception) -> Exception:
    """The error to be kept to the end of the run, in words where memory ran out. What its frames hold is let go: tensors of a
    cell that failed would be missing in the next."""
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:  # a stranger's exception may well be its own cause
            seen.add(id(link))
            traceback.clear_frames(link.__traceback__)
            links += [link.__cause__, link.__context__]
    if ran_out(error) and not isinstance(error, ShortageError):
        shortage = ShortageError(f"Memory ran out: {' '.join(str(error).split())}")
        return shortage.with_traceback(error.__traceback__)
    return error
