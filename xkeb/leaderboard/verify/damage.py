"""Whether the damage that a result states is that of its lines, measured where its regime asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xkeb.results.damage import DAMAGE, Damage, damage_settings, mean_damage
from xkeb.results.reader import StoredResult
from xkeb.results.regime import Regime
from xkeb.results.result import Result
from xkeb.results.untrusted import inline

CLOSE = 1e-9
"""Of two means of the same numbers, relative to their size."""


def check_damage(submission: StoredResult, result: Result) -> Iterator[str]:
    """What is wrong with the damage. The numbers of a line are taken as given: no answer tells them."""
    stated = result.damage
    if stated is None or not submission.whole:
        return
    regime = Regime.read(result.regime)
    if regime.is_single:
        yield "damage is stated, and the regime is single"
        return
    sequences = {case.sequence.sha256 for case in submission.cases.values() if case.sequence and case.status == "ok"}
    settings = damage_settings(result.settings, stated.texts)
    for line in submission.damage.values():
        where = f"{DAMAGE}, {line.sequence[:12]}\u2026 after {line.edits}"
        if line.sequence not in sequences:
            yield f"{where}: is of no sequence of the cases"
        if line.edits not in regime.asked_at:
            yield f"{where}: is no point at which {result.regime} is asked"
        if line.settings != settings:
            yield f"{where}: was measured with other settings or texts than the result"
        if set(line.languages) != set(result.task.direction.languages):
            yield f"{where}: is of other languages than the task"
    measured = {(line.sequence, line.edits) for line in submission.damage.values()}
    for sequence in sorted(sequences):
        # a point before which every edit came to nothing has no line, so only the last must be there
        if (sequence, regime.edits) not in measured:
            yield f"{DAMAGE}: {sequence[:12]}\u2026 after {regime.edits} is missing"
    yield from _compare(stated, mean_damage(submission.damage.values(), stated.texts))


def _compare(stated: Damage, truth: Damage) -> Iterator[str]:
    claims, known = (_flat("damage", one.model_dump()) for one in (stated, truth))
    for place in sorted(claims.keys() | known.keys()):
        claim, is_ = claims.get(place), known.get(place)
        same = claim == is_ or (
            isinstance(claim, float) and isinstance(is_, float) and abs(claim - is_) <= CLOSE * max(1.0, abs(is_))
        )
        if not same:
            yield f"{place} is stated as {claim}, and is {is_} by its lines"


def _flat(place: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: one for name, part in value.items() for key, one in _flat(f"{place}.{inline(name)}", part).items()}
    return {place: value}
