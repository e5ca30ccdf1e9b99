"""From which cosine on a question is in an edit's scope. It grows with the number of edits in the memory.

Among n edits, a question that concerns none of them is accepted where the nearest of them is too near. For a question q that
has nothing to do with the held-out facts it is compared with, let p_q(c) be the share of these facts whose cosine with q is at
least c. A memory of n facts drawn like these accepts q with probability ``1 - (1 - p_q(c))^n``, and

    A_n(c) = mean over q of 1 - (1 - p_q(c))^n

is the share of such questions that it accepts. The cut-off of a memory of n edits is the least c at which A_n(c) is at most a
given rate, for unrelated questions and for those about other facts, each with a rate of its own. The probability is taken
question by question, since some questions are near to everything.

Where there are no unrelated questions, those about other facts stand in for them, at a rate `STAND_IN` times theirs. They do so
for a single edit alone, below whose cut-off no larger memory's is: held to that rate whatever its size, a memory would hardly
accept anything.

Questions in the edit's own language and questions in another have a cut-off each: cosines across languages are lower.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SIZES = tuple(2**i for i in range(17))
"""Numbers of edits for which a cut-off is kept; a memory of another size takes the next larger one's."""
PRECISION = 14
"""Halvings of the interval in which a cut-off is looked for: 2 / 2^14, about 1e-4."""
STAND_IN = 3.5
"""How much more often a single edit accepts a question about another fact than an unrelated one, near the usual rate of these:
3 to 4.5 times by gates that were trained without unrelated questions, on facts of MzsRE that were held out, German and Russian
ones, against the English file's unrelated questions."""
HIGHEST = 0.999
"""The edit's own question is always in scope, whatever rounding says."""


@dataclass(frozen=True, slots=True)
class FalsePairs:
    """Questions and facts that they don't concern."""

    cosines: torch.Tensor
    """[questions, facts]"""
    counted: torch.Tensor
    """[questions, facts] False where the question does concern the fact, or may."""
    rate: float
    """Share of the questions that a memory may accept."""
    of_one: bool = False
    """Whether the rate is that of a memory of one fact, however many there are."""

    def accepted(self, cutoff: float, n: int) -> float:
        """A_n: the share of the questions that a memory of n such facts accepts; 0 where there are none."""
        totals = self.counted.sum(1)
        rows = totals > 0
        if not rows.any():
            return 0.0
        near = ((self.cosines >= cutoff) & self.counted).sum(1)[rows]
        share = near.double() / totals[rows]
        return float((1 - (1 - share) ** n).mean())


@dataclass(frozen=True, slots=True)
class CutOffs:
    """The cut-offs of memories of each of `SIZES`."""

    same: tuple[float, ...]
    """For a question in the edit's language."""
    other: tuple[float, ...]
    """For a question in another one."""

    def of(self, n: int, *, same: bool) -> float:
        """The cut-off in a memory of n edits."""
        table = self.same if same else self.other
        return table[min(bisect.bisect_left(SIZES, n), len(SIZES) - 1)]


def calibrated(pairs: Sequence[FalsePairs]) -> tuple[float, ...]:
    """The cut-offs of memories of each of `SIZES`: the least at which no kind of pairs goes over its rate."""
    cutoffs = [max((_least(kind, n) for kind in pairs), default=0.0) for n in SIZES]
    return tuple(min(cutoff, HIGHEST) for cutoff in cutoffs)


def _least(pairs: FalsePairs, n: int) -> float:
    n = 1 if pairs.of_one else n
    low, high = -1.0, 1.0
    for _ in range(PRECISION):
        middle = (low + high) / 2
        if pairs.accepted(middle, n) <= pairs.rate:
            high = middle
        else:
            low = middle
    return high
