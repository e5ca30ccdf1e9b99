"""What the suite relies on in an editing method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xkeb.models.backbone import Backbone
from xkeb.testing import applying, editing
from xkeb.testing.expect import run_all
from xkeb.testing.trial import Trial

CHECKS: tuple[Callable[[Trial], None], ...] = (*editing.CHECKS, *applying.CHECKS)


def check_method(name: str, backbone: Backbone, **options: Any) -> None:
    """Makes three edits in every way in which a run makes them.

    That each makes its target more likely; that the model is as it was, to the bit, after an edit, after a change was applied,
    and after an exception in either; that an edit among others, and a change applied row by row, is what it is alone; that what
    is saved is loaded; that a seed gives the same again, and a model of other weights another change; that nothing global
    is left behind; that bad input is refused in one sentence.

    Args:
        name: what the method is registered as.
        backbone: a loaded model, such as the fixture `small_backbone`. It is left as it was.
        options: of the method; few steps are enough.

    Raises:
        AssertionError: a sentence for each check that failed.
    """
    with Trial(name, backbone, options) as trial:
        run_all(f"Method {name!r}", [it_edits, editing.one_change_for_each_edit], trial)  # else no check can say more
        run_all(f"Method {name!r}", CHECKS, trial)


def it_edits(trial: Trial) -> None:
    """It can be loaded, learns what it wants to learn, and edits."""
    assert trial.outcome
