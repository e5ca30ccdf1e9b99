"""Cases as a person names them: by id, or by the first and the last of a range."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})", re.ASCII)


def named_cases(asked: Sequence[str], known: Collection[str]) -> list[str]:
    """The ids that are asked for, each once, in the order asked.

    ``100-299`` stands for the known ids that are whole numbers between the two, both included. It stands for itself where it
    is an id, or where there is no such number.
    """
    ids: dict[str, None] = {}
    for one in asked:
        ids.update(dict.fromkeys((one not in known and _within(one, known)) or [one]))
    return list(ids)


def _within(text: str, known: Collection[str]) -> list[str]:
    ends = _RANGE.fullmatch(text)
    if ends is None:
        return []
    first, last = map(int, ends.groups())
    numbers = sorted(int(one) for one in known if _NUMBER.fullmatch(one))
    return [str(number) for number in numbers if first <= number <= last and str(number) in known]
