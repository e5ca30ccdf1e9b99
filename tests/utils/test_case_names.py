"""Cases named by id and by range."""

from __future__ import annotations

import pytest

from xkeb.utils.case_names import named_cases

NUMBERS = [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("asked", "known", "named"),
    [
        (["3", "1"], NUMBERS, ["3", "1"]),
        (["8-10"], NUMBERS, ["8", "9", "10"]),
        (["10-40", "9-10"], NUMBERS, ["10", "11", "9"]),
        (["2-4"], ["2", "4", "03"], ["2", "4"]),
        (["2-4"], ["2-4", "3"], ["2-4"]),
        (["4-2"], NUMBERS, ["4-2"]),
        (["20-30"], NUMBERS, ["20-30"]),
        (["en-3", "-1", "1-"], NUMBERS, ["en-3", "-1", "1-"]),
        (["0-999999999"], NUMBERS, NUMBERS),
        (["0-9"], ["1", "1" * 5000], ["1"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_range_stands_for_the_numbers_that_are_there(asked: list[str], known: list[str], named: list[str]) -> None:
    assert named_cases(asked, known) == named
