"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xkeb.plan import Cell
    from xkeb.results import Result


class Listener:
    """Hears of a run's progress; this one does nothing."""

    def model(self, name: str) -> None:
        """A backbone is being loaded."""

    def cell(self, cell: Cell) -> None:
        """A cell begins."""

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        """A phase of the cell begins: ``before``, ``fit`` or ``edit``; `total` cases, `done` of them from an earlier run."""

    def case_done(self) -> None:
        """One more case of the phase is on disk."""

    def cell_done(self, cell: Cell, result: Result) -> None:
        """A cell is finished."""

    def cell_failed(self, cell: Cell, error: Exception) -> None:
        """A cell could not be finished; the run goes on with the next."""
