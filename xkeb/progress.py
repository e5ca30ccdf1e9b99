"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from xkeb.plan import Cell
    from xkeb.results import Result

Phase = Literal["load", "before", "fit", "edit", "evaluate", "suite"]
"""What a cell's time goes to: loading the model (told of the first cell that needed it), its answers before any edit, learning,
editing, its answers after the edits, and all else."""


class Listener:
    """Hears of a run's progress; this one does nothing."""

    def model(self, name: str) -> None:
        """A backbone is being loaded."""

    def cell(self, cell: Cell) -> None:
        """A cell begins."""

    def settled(self, cell: Cell, options: Mapping[str, Any]) -> None:
        """The backbone is there, and so the method's options that depend on it: all of them, as the result keeps them."""

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        """A phase of the cell begins: ``before``, ``fit`` or ``edit``; `total` cases, `done` of them from an earlier run."""

    def learning(self, what: str, done: int, total: int) -> None:
        """So much of what a method learns is learnt; `what` says in a few words what and how well."""

    def smaller(self, size: int) -> None:
        """Memory ran out: from here on no more than `size` cases of the cell are edited together."""

    def case_done(self) -> None:
        """One more case of the phase is on disk."""

    def cell_done(self, cell: Cell, result: Result) -> None:
        """A cell is finished."""

    def cell_failed(self, cell: Cell, error: Exception) -> None:
        """A cell could not be finished; the run goes on with the next."""
