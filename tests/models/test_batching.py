"""Which texts share a pass."""

from __future__ import annotations

import random

import pytest
import torch

from xkeb.models.batching import SATURATING_ON_CPU, WASTE, group_by_length, saturating_tokens


def test_by_hand() -> None:
    """100 + 90 tokens: padded to 200, of which a twentieth is padding. With 40 more a quarter of it would be."""
    assert group_by_length([40, 100, 90, 38], SATURATING_ON_CPU, most_tokens=1000) == [[1, 2], [0, 3]]


def test_short_texts_stand_together_whatever_is_wasted() -> None:
    assert group_by_length([30, 5, 5], SATURATING_ON_CPU, most_tokens=1000) == [[0, 1, 2]]


def test_a_text_longer_than_a_pass_stands_alone() -> None:
    assert group_by_length([50, 60, 10], SATURATING_ON_CPU, most_tokens=20) == [[1], [0], [2]]


@pytest.mark.parametrize("seed", range(20))
def test_each_text_once_within_the_bounds(seed: int) -> None:
    random.seed(seed)
    lengths = [random.randint(1, 90) for _ in range(random.randint(0, 60))]
    groups = group_by_length(lengths, SATURATING_ON_CPU, most_tokens=400)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        longest = max(lengths[i] for i in group)
        padded = longest * len(group)
        assert padded <= 400 or len(group) == 1
        waste = 1 - sum(lengths[i] for i in group) / padded
        assert waste <= WASTE or longest * (len(group) - 1) < SATURATING_ON_CPU


def test_on_a_card_larger_passes_are_worth_more_padding() -> None:
    lengths = [100, 90, 40]
    assert len(group_by_length(lengths, saturating_tokens(torch.device("cuda")), most_tokens=1000)) == 1
    assert len(group_by_length(lengths, saturating_tokens(torch.device("cpu")), most_tokens=1000)) == 2
