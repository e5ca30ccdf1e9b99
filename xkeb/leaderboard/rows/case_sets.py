"""Which results of a comparable group ran the same cases: three of them say nothing beside a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xkeb.leaderboard.rows.entries import Entry

SHARED = 0.9
"""Part of the cases of the larger of two results that both must have run to be of one case set. A method may leave out cases
that it can't edit, so the sets of two methods are rarely equal."""


@dataclass(slots=True)
class _CaseSet:
    """A result and all smaller ones that ran its cases."""

    largest: frozenset[str]
    members: list[Entry] = field(default_factory=list)


def with_case_sets(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, their `group` made narrower where the results of a comparable group ran different cases.

    The largest result begins a set. Each smaller one joins the first set with whose largest it shares `SHARED` of the cases,
    or begins one.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    names: dict[str, str] = {}  # by id
    for members in groups.values():
        sets = _case_sets(members)
        sizes = [len(one.largest) for one in sets]
        for number, one in enumerate(sets):
            name = f"/{sizes[number]} cases"
            if sizes.count(sizes[number]) > 1:
                name += f", set {sizes[:number].count(sizes[number]) + 1}"
            names |= dict.fromkeys((entry.id for entry in one.members), name if len(sets) > 1 else "")
    return [replace(entry, group=entry.group + names[entry.id]) for entry in entries]


def _case_sets(entries: Sequence[Entry]) -> list[_CaseSet]:
    sets: list[_CaseSet] = []
    for entry in sorted(entries, key=lambda entry: (-(entry.n_cases or 0), entry.id)):
        ids = frozenset(entry.result.case_ids if entry.result else ())
        for one in sets:
            if len(ids & one.largest) >= SHARED * len(one.largest):
                break
        else:
            one = _CaseSet(ids)
            sets.append(one)
        one.members.append(entry)
    return sets
