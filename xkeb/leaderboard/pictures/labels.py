"""Where the labels of marks stand: beside their own mark, and upon nothing else where there is room."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LINE = 15
"""From one line of text to the next."""
UPON_LABEL, UPON_MARK, UPON_LINE, OUTSIDE = 100.0, 25.0, 15.0, 1000.0
"""What a place costs that lies upon something, in units of a picture away from its mark."""
REACH = 6
"""Lines above and below a mark that are tried."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have a point in common."""
        across = self.left <= other.right and other.left <= self.right
        return across and self.top <= other.bottom and other.top <= self.bottom

    def holds(self, other: Box) -> bool:
        """Whether all of the other is in this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True, slots=True)
class Label:
    """A text, and where it begins, ends, or has its middle."""

    x: float
    y: float
    """Of the line that it is written on."""
    anchor: str
    text: str

    @property
    def box(self) -> Box:
        """About what it covers, in the picture's font."""
        width = sum(12 if unicodedata.east_asian_width(letter) in "WF" else 6.5 for letter in self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return Box(left, self.y - 10, left + width, self.y + 3)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a label is of."""

    x: float
    y: float
    size: float
    text: str

    @property
    def box(self) -> Box:
        """What it covers."""
        return Box(self.x - self.size, self.y - self.size, self.x + self.size, self.y + self.size)


def place_labels(marks: Sequence[Mark], way: Sequence[tuple[float, float]], within: Box) -> Iterator[Label]:
    """A label for each mark that has a text, from the top down, each where it costs least beside those placed already.

    Args:
        way: the corners of a line that is drawn, of level and upright pieces.
        within: what no label should leave.
    """
    pieces = [Box(min(a, c), min(b, d), max(a, c), max(b, d)) for (a, b), (c, d) in itertools.pairwise(way)]
    taken: list[Box] = []
    for mark in sorted((mark for mark in marks if mark.text), key=lambda mark: (mark.y, mark.x)):
        others = [one.box for one in marks if one is not mark]

        def cost(place: tuple[float, Label], others: Sequence[Box] = others) -> float:
            away, label = place
            box = label.box
            upon = ((UPON_LABEL, taken), (UPON_MARK, others), (UPON_LINE, pieces))
            met = sum(weight * sum(box.meets(one) for one in boxes) for weight, boxes in upon)
            return away + met + (0.0 if within.holds(box) else OUTSIDE)

        _, label = min(_places(mark), key=cost)
        taken.append(label.box)
        yield label


def _places(mark: Mark) -> Iterator[tuple[float, Label]]:
    """Places for a label and how far each is from the best one: on the right of the mark, then on its left, above and below."""
    beside = mark.size + 5
    for k in range(2 * REACH * 3 + 1):
        lift = (k + 1) // 2 * (LINE / 3) * (1 if k % 2 else -1)  # up first
        yield abs(lift), Label(mark.x + beside, mark.y + 4 - lift, "start", mark.text)
        yield abs(lift) + 1, Label(mark.x - beside, mark.y + 4 - lift, "end", mark.text)
    for k in range(REACH):
        yield 4 + k * LINE, Label(mark.x, mark.y - beside - k * LINE, "middle", mark.text)
        yield 5 + k * LINE, Label(mark.x, mark.y + beside + 9 + k * LINE, "middle", mark.text)
