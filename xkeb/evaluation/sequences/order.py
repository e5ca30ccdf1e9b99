"""Which edits one model gets, in which order, and what is asked after which of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from xkeb.results.lines import CASES, RETENTION, SequenceRecord
from xkeb.results.regime import Regime, order_key, sequence_hash
from xkeb.types import Case


@dataclass(frozen=True)
class EditSequence:
    """The cases whose edits one model gets, in the order of the edits."""

    cases: Sequence[Case]
    regime: Regime
    retained: Sequence[int] = ()
    """After how many edits the earlier ones are asked again."""

    @functools.cached_property
    def sha256(self) -> str:
        return sequence_hash([case.id for case in self.cases])

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """By case, the place of its edit, from 1."""
        return {case.id: place for place, case in enumerate(self.cases, 1)}

    def batch(self, number: int) -> Sequence[Case]:
        """The cases that are edited together, by the number of the batch, from 1."""
        size = self.regime.batch
        return self.cases[(number - 1) * size : number * size]

    def asked_after(self, number: int) -> list[tuple[str, Sequence[Case]]]:
        """The file that lines go to, and the cases that are asked for it, once so many batches are edited."""
        edits = number * self.regime.batch
        asked: list[tuple[str, Sequence[Case]]] = []
        if due := [case for case in self.cases[:edits] if self._is_due(case, number)]:
            asked.append((CASES, due))
        if edits in self.retained:
            asked.append((RETENTION.format(edits), self.cases[:edits]))
        return asked

    def _is_due(self, case: Case, number: int) -> bool:
        return self.regime.edits_before(self.places[case.id]) == number * self.regime.batch

    def record(self, case: Case, edits: int | None = None) -> SequenceRecord:
        """What the line of a case says of its place.

        Args:
            edits: after which it is asked; None for its own point of evaluation.
        """
        place = self.places[case.id]
        return SequenceRecord(sha256=self.sha256, place=place, edits=edits or self.regime.edits_before(place))


def sequences_of(
    cases: Sequence[Case], regime: Regime, seed: int, retained: Sequence[int] = ()
) -> tuple[list[EditSequence], Sequence[Case]]:
    """The cases in an order by seed, parted into whole sequences, and those that are left over."""
    ordered = sorted(cases, key=lambda case: order_key(seed, case.id))
    whole = len(ordered) // regime.edits * regime.edits
    starts = range(0, whole, regime.edits)
    parts = [EditSequence(ordered[start : start + regime.edits], regime, retained) for start in starts]
    return parts, ordered[whole:]
