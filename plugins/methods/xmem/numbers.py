"""Texts that are the same but for their numbers, in two languages: "7 April 1970" and "1970年4月7日"."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence

NUMBER = re.compile("[0-9]+")
SLOT = "\0"
"""Stands for a number. No text has it."""
MOST = 5
"""Numbers of a text that can be slots; of one with more, none is."""

Filling = tuple[str | int, ...]
"""A text in pieces; an integer is the place of a number among the slots of the other text."""


def common_slots(one: str, other: str) -> list[int]:
    """The numbers of a text that are in the other, too, as their places; only those that each text has once. A month is a
    number in one language and a word in another, so it is part of the text."""
    here, there = NUMBER.findall(one), NUMBER.findall(other)
    if len(here) > MOST:
        return []
    return [i for i, number in enumerate(here) if here.count(number) == there.count(number) == 1]


def masked(text: str, slots: Collection[int]) -> str:
    """A text with some of its numbers taken out, by their places."""
    places = itertools.count()
    return NUMBER.sub(lambda found: SLOT if next(places) in slots else found[0], text)


def pieces(one: str, other: str, slots: Sequence[int]) -> Filling:
    """The other text, with the numbers in these slots of the first taken out."""
    numbers = NUMBER.findall(one)
    order = {numbers[place]: i for i, place in enumerate(slots)}
    parts = re.split(f"({NUMBER.pattern})", other)
    return tuple(order.get(part, part) if i % 2 else part for i, part in enumerate(parts))


def filled(filling: Filling, numbers: Sequence[str]) -> str:
    """The text, with numbers put into its slots."""
    return "".join(numbers[piece] if isinstance(piece, int) else piece for piece in filling)


def ways_to_mask(text: str) -> Iterator[tuple[int, ...]]:
    """All choices of a text's numbers, none first."""
    count = len(NUMBER.findall(text))
    for size in range(count + 1 if count <= MOST else 1):
        yield from itertools.combinations(range(count), size)
