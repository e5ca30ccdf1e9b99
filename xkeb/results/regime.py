"""Regimes: how many edits a model gets, in which batches, and when the questions are asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

from xkeb.errors import RequestError, unknown
from xkeb.utils.hashing import digest

Kind = Literal["single", "batch", "sequential"]
Point = Literal["after_each", "after_batch", "after_all"]
"""When the questions of an edit are asked: right after the edit, right after its batch, or after the last edit of the
sequence."""
POINTS: tuple[Point, ...] = get_args(Point)
NUMBER = "([1-9][0-9]{0,5})"
BATCH = re.compile(f"batch:{NUMBER}")
SEQUENTIAL = re.compile(f"sequential:{NUMBER}(?:x{NUMBER})?")
RETENTION = (1, 10, 100, 1000)
"""Edits after which the earlier ones of a sequence are asked again."""


@dataclass(frozen=True, slots=True)
class Regime:
    """Edits in `batches` that follow one another, of `batch` edits each, on one model."""

    kind: Kind
    batches: int
    batch: int
    point: Point

    @classmethod
    def parse(cls, text: str, point: str | None = None) -> Self:
        """A regime as ``--regime`` and ``--evaluate`` give it.

        Args:
            text: ``single``, ``batch:N`` (N edits in one batch) or ``sequential:N[xM]`` (N batches of M edits, or of one).
            point: None for the usual one, which for a sequence is ``after_all``.

        Raises:
            RequestError: there is no such regime or point, or the regime can't be asked at that point.
        """
        batches = batch = 1
        kind: Kind = "single"
        if found := BATCH.fullmatch(text):
            kind, batch = "batch", int(found[1])
        elif found := SEQUENTIAL.fullmatch(text):
            kind, batches, batch = "sequential", int(found[1]), int(found[2] or 1)
        elif text != "single":
            raise RequestError(
                f"A regime is single, batch:N or sequential:N[xM], N and M from 1 to 999999; not {text!r}."
            )
        points: dict[Kind, tuple[Point, ...]] = {"single": ("after_each",), "batch": ("after_batch",)}
        possible = points.get(kind, ("after_all", "after_each" if batch == 1 else "after_batch"))
        if point is not None and point not in POINTS:
            raise unknown("point of evaluation", point, POINTS)
        for one in possible:
            if one == (point or possible[0]):
                return cls(kind, batches, batch, one)
        raise RequestError(f"The regime {text} is asked {' or '.join(possible)}, not {point}.")

    @classmethod
    def read(cls, text: str) -> Self:
        """A regime as a result states it.

        Raises:
            RequestError: no regime is written so.
        """
        spelled, at, point = text.partition("@")
        found = cls.parse(spelled, point if at else None)
        if str(found) != text:
            raise RequestError(f"The regime {found} isn't written {text!r}.")
        return found

    def __str__(self) -> str:
        """With its point of evaluation, but for ``single``, which has no other."""
        return self.asked if self.is_single else f"{self.asked}@{self.point}"

    @property
    def asked(self) -> str:
        """As ``--regime`` gives it."""
        if self.kind == "sequential":
            return f"sequential:{self.batches}" + (f"x{self.batch}" if self.batch > 1 else "")
        return f"batch:{self.batch}" if self.kind == "batch" else "single"

    @property
    def is_single(self) -> bool:
        return self.kind == "single"

    @property
    def edits(self) -> int:
        """That one model gets."""
        return self.batches * self.batch

    @property
    def suffix(self) -> str:
        """What a method's folder has behind its name; the usual point of evaluation is not said."""
        if self.is_single:
            return ""
        usual = type(self).parse(self.asked).point
        return "-" + self.asked.replace(":", "-") + ("" if self.point == usual else f"-{self.point}")

    def edits_before(self, place: int) -> int:
        """Up to which place edits have been made when the case with the edit at `place` is asked."""
        return self.edits if self.point == "after_all" else -(-place // self.batch) * self.batch

    @property
    def retention(self) -> tuple[int, ...]:
        """After how many edits of a sequence the earlier ones are asked again: `RETENTION`, each as the first whole batch that
        reaches it, and the last edit."""
        if self.kind != "sequential":
            return ()
        reached = {-(-count // self.batch) * self.batch for count in RETENTION}
        return tuple(sorted({count for count in reached if count < self.edits} | {self.edits}))

    @property
    def asked_at(self) -> tuple[int, ...]:
        """After how many edits of a sequence any question is asked."""
        if self.point == "after_all":
            return self.retention
        return tuple(range(self.batch, self.edits + 1, self.batch))


SINGLE = Regime("single", 1, 1, "after_each")
"""Each edit alone on the untouched model."""


def order_key(seed: int, case_id: str) -> str:
    """What cases are sorted by before they are parted into sequences: an order that only the seed decides."""
    return digest([seed, case_id])


def sequence_hash(case_ids: Sequence[str]) -> str:
    """Of a sequence: of the ids of its cases, in the order of their edits."""
    return digest(list(case_ids))
