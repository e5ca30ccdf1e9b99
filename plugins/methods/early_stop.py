"""When gradient descent on one edit is done before its last step, as in EasyEdit's WISE and the code that follows it."""

from __future__ import annotations

STOP_LOSS, STOP_STEP = 2e-2, 1e-4


def has_settled(loss: float, before: float) -> bool:
    """Whether the loss of a step is at most `STOP_LOSS`, and within `STOP_STEP` of that of the step before."""
    return loss <= STOP_LOSS and abs(loss - before) <= STOP_STEP
