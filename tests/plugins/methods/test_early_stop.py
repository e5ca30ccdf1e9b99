"""When gradient descent on one edit is done."""

from __future__ import annotations

import pytest

from xkeb_plugins.methods.early_stop import has_settled


@pytest.mark.parametrize(
    ("loss", "before", "expected"),
    [
        (0.01, 0.01005, True),
        (0.01, 0.00995, True),
        (0.01, 0.012, False),  # still falls
        (0.03, 0.03, False),  # still large
        (0.02, 0.02, True),
        (0.01, float("inf"), False),
    ],
)
def test_a_small_loss_that_moves_no_more(loss: float, before: float, expected: bool) -> None:
    assert has_settled(loss, before) is expected
