"""The number that orders rows: neither doing nothing nor answering at random leads."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import put, result, score
from site_pages import Page

from xkeb.leaderboard.rows.entries import Entry, PublishedScore
from xkeb.leaderboard.rows.overall import overall
from xkeb.leaderboard.site.build import build_site

Four = tuple[float, float, float, float]
"""Reliability, generality here and there, locality in both languages."""


def entry(*four: float, targets: tuple[str, ...] = ("zh",)) -> Entry:
    takes, here, there, stays = four
    cells = {("reliability", "en"): takes, ("generality", "en"): here, ("locality", "en"): stays}
    cells |= {(name, code): value for code in targets for name, value in (("generality", there), ("locality", stays))}
    scores = {cell: {"f1": PublishedScore(value)} for cell, value in cells.items()}
    return Entry("a", "reproduced", "t", "en", targets, "m", "a", "teacher_forcing", "g", scores, "here")


def test_it_is_the_harmonic_mean_of_four() -> None:
    """4 / (1/100 + 1/50 + 1/25 + 1/100) = 50."""
    assert overall(entry(100.0, 50.0, 25.0, 100.0)) == pytest.approx(50.0)
    assert overall(entry(100.0, 50.0, 25.0, 100.0, targets=("zh", "th"))) == pytest.approx(50.0)
    assert overall(entry(100.0, 0.0, 25.0, 100.0)) == 0.0
    assert overall(entry(-1e-10, 5.0, 25.0, 100.0)) == 0.0  # rounding of a mean


def test_in_one_language_it_is_the_harmonic_mean_of_three() -> None:
    """3 / (1/100 + 1/50 + 1/25) = 300/7."""
    assert overall(entry(100.0, 50.0, 0.0, 25.0, targets=())) == pytest.approx(300 / 7)


def test_there_is_none_where_a_part_was_not_measured() -> None:
    full = entry(100.0, 50.0, 25.0, 100.0)
    for cell in (("reliability", "en"), ("generality", "en"), ("generality", "zh")):
        scores = {key: value for key, value in full.scores.items() if key != cell}
        assert (
            overall(Entry(*("a", "reproduced", "t", "en", ("zh",), "m", "a", "teacher_forcing", "g"), scores, "here"))
            is None
        )


ROWS: dict[str, Four] = {
    "edits": (95.0, 70.0, 35.0, 93.0),  # 62.4
    "floods": (100.0, 100.0, 100.0, 4.0),  # says the new answer to every question: 14.3
    "idle": (20.0, 20.0, 20.0, 100.0),  # what the unedited model has: 25
    "random": (2.0, 1.0, 1.0, 3.0),  # 1.4
}


def test_neither_idling_nor_chance_nor_flooding_leads(tmp_path: Path) -> None:
    for method, (takes, here, there, stays) in ROWS.items():
        f1 = {("reliability", "en"): takes, ("generality", "en"): here, ("generality", "zh"): there}
        f1 |= {("locality", "en"): stays, ("locality", "zh"): stays}
        made = result(method=method, f1={cell: score(value, value, value) for cell, value in f1.items()})
        for code in ("en", "zh"):
            made["scores_before"]["locality"][code]["f1"] = score(100.0)
        put(tmp_path / method, made)
    build_site([tmp_path], tmp_path / "site", with_published=False)
    page = Page(tmp_path / "site" / "rows.html")
    table = [row for row in page.rows if len(row) == 15 and row[0] != "Method"]
    assert [(row[0], row[7].partition(" rank")[0]) for row in table] == [
        ("edits", "62.4"), ("no edit", "25.0"), ("idle", "25.0"), ("floods", "14.3"), ("random", "1.4"),
    ]  # fmt: skip
    means = [
        row
        for row in Page(tmp_path / "site" / "index.html").rows
        if len(row) == 6 and row[0] in ROWS and row[2] != "reproduced"
    ]
    assert [row[0] for row in means] == ["edits", "idle", "floods", "random"]
