"""Labels of a scatter plot: beside their marks, inside of the picture, upon no other label."""

from __future__ import annotations

import itertools
import random

import pytest

from xkeb.leaderboard.pictures.labels import Box, Label, Mark, place_labels

WITHIN = Box(46, 0, 440, 278)


def placed(marks: list[Mark], way: list[tuple[float, float]] | None = None) -> list[Label]:
    return list(place_labels(marks, way or [], WITHIN))


def test_one_alone_stands_at_the_right_of_its_mark() -> None:
    (label,) = placed([Mark(100, 150, 5, "rome")])
    assert (label.x, label.y, label.anchor) == (110, 154, "start")


def test_one_at_the_right_edge_stands_at_the_left_of_its_mark() -> None:
    (label,) = placed([Mark(420, 150, 5, "rome on llama")])
    assert (label.x, label.y, label.anchor) == (410, 154, "end")


def test_one_doesn_t_stand_upon_a_line_beside_it() -> None:
    """The line leads level to the right, where the label would stand, and up at the left."""
    (label,) = placed([Mark(100, 150, 5, "rome")], [(90, 20), (90, 150), (400, 150)])
    assert not label.box.meets(Box(90, 20, 90, 150)) and not label.box.meets(Box(90, 150, 400, 150))


def test_a_wide_letter_counts_as_two() -> None:
    assert Label(0, 0, "start", "大学").box.right == 24


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_a_steep_front_stand_upon_no_other_and_near_their_marks(seed: int) -> None:
    draw = random.Random(seed)
    across = draw.uniform(60, 420)
    marks = [Mark(across + draw.uniform(0, 9), 60 + 6 * i, draw.uniform(4, 9), f"method-{i}") for i in range(8)]
    labels = placed(marks)
    assert [label.text for label in labels] == [mark.text for mark in marks]
    assert not any(a.box.meets(b.box) for a, b in itertools.combinations(labels, 2))
    assert all(WITHIN.holds(label.box) for label in labels)
    assert all(abs(label.y - mark.y) < 95 for label, mark in zip(labels, marks, strict=True))
