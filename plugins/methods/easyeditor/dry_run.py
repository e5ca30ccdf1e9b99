"""A dry run of what is edited one case after the other: two of the edits are made, and count for all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

from xkeb.editing.changes import Change
from xkeb.editing.dry_run import DryRunSession
from xkeb.types import Edit

C = TypeVar("C", bound=Change)


def two_for_all(session: DryRunSession, edits: Sequence[Edit], edit: Callable[[Edit], C]) -> list[C]:
    """A change for each edit. The longest edit is made last, beside the changes of all others, as often as there are others.

    Args:
        edit: makes one.
    """
    first, *others = sorted(edits, key=lambda edit: len(edit.prompt) + len(edit.target))
    changes = [edit(first)]
    if others:
        changes += [copy.deepcopy(changes[0]) for _ in others[1:]]
        with session.times(len(others)):
            changes.append(edit(others[-1]))
    return changes
