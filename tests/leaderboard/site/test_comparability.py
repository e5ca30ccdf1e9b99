"""A measured number stands against a published one only where it was measured in the same way."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from made_results import put, released_rules, result

from xkeb.evaluation.protocols.released_rules import ReleasedRules
from xkeb.leaderboard.rows.entries import Entry, find_results, published_entries
from xkeb.leaderboard.site.comparability import why_incomparable
from xkeb.leaderboard.site.tables import boards
from xkeb.leaderboard.site.ties import PairedTests
from xkeb.tasks.asked import RELEASED


def entry(folder: Path, **changes: Any) -> Entry:
    put(folder, result(**{"protocol": "paper", **changes}))
    (found,) = find_results([folder]).entries
    return found


def test_every_rule_but_the_reliability_is_the_released_one_by_default() -> None:
    rules = ReleasedRules()
    names = {field.name for field in fields(rules)} - {"reliability", "tokenizer", "scorer"}
    assert {name: getattr(rules, name) for name in names} == RELEASED


def test_as_released_it_is_compared(tmp_path: Path) -> None:
    found = entry(tmp_path)
    assert why_incomparable(found) is None
    assert why_incomparable(found, ("reliability", "en")) is None


OTHER = {
    "max_length": 0,
    "texts": "whole",
    "joiner": "language",
    "bos": "dropped",
    "bags": "without_space",
    "case": "kept",
}


@pytest.mark.parametrize(("rule", "value"), [*OTHER.items(), ("questions", "read")])
def test_with_one_rule_of_ours_it_is_not(tmp_path: Path, rule: str, value: object) -> None:
    found = entry(tmp_path, protocol_args=released_rules(**{rule: value}))
    assert why_incomparable(found) == f"{rule} is {value!r}, and {RELEASED[rule]!r} in the released code"
    (table,) = boards([*published_entries(), found], "all", PairedTests())
    assert all(place.difference is None for row in table.rows for place in row.places)


def test_bags_of_other_tokens_are_other_numbers(tmp_path: Path) -> None:
    reason = why_incomparable(entry(tmp_path, protocol_args=released_rules(tokenizer="", tokenizer_sha256=None)))
    assert reason is not None and "in the model's own tokens" in reason


def test_reliability_of_chinese_edits_only_against_the_english_target(tmp_path: Path) -> None:
    chinese = {"task": "bizsre_zh2en", "source": "zh", "target": "en"}
    for target, differs in (("own", False), ("english", True)):
        found = entry(tmp_path / target, **chinese, protocol_args=released_rules(reliability=target))
        assert (why_incomparable(found, ("reliability", "zh")) is None) is differs
        assert why_incomparable(found, ("generality", "zh")) is None
        (table,) = boards([*published_entries(), found], "all", PairedTests())
        (row,) = [row for row in table.rows if row.entry is found]
        assert (row.places[0].difference is not None) is differs
        assert all(place.difference is not None for place in row.places[1:])


@pytest.mark.parametrize("selection", ["first", "named"])
def test_some_cases_are_not_all(tmp_path: Path, selection: str) -> None:
    found = entry(tmp_path, selection=selection)
    assert why_incomparable(found) == "it is of 4 cases, and the published numbers are of all"


def test_rules_that_are_not_there_are_none_of_the_released_ones(tmp_path: Path) -> None:
    assert why_incomparable(entry(tmp_path, protocol_args={})) is not None
