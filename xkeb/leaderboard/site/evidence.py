"""Evidence in the published numbers themselves for what they are: which target one column was scored against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xkeb.leaderboard.rows.entries import Entry


@dataclass(frozen=True)
class ChineseEdits:
    """One published row of Chinese edits: F1 and EM of each column that asks for the fact itself."""

    model: str
    method: str
    reliability: tuple[float, float]
    """Of the edited Chinese question."""
    chinese: tuple[float, float]
    """Chinese generality: the same in other words."""
    english: tuple[float, float]
    """English generality."""

    @property
    def gap(self) -> float:
        """F1 points by which the edited question scores below its own rephrase: negative where it doesn't."""
        return self.chinese[0] - self.reliability[0]


def chinese_edits(entries: Sequence[Entry]) -> list[ChineseEdits]:
    """The published rows of Chinese edits, the largest gap first."""
    rows = [_row(entry) for entry in entries if entry.badge == "published" and entry.source == "zh"]
    return sorted(rows, key=lambda row: (-row.gap, row.model, row.method))


def _row(entry: Entry) -> ChineseEdits:
    def pair(name: str, language: str) -> tuple[float, float]:
        f1, em = (entry.mean((name, language), metric) for metric in entry.headlines)
        assert f1 is not None and em is not None
        return f1, em

    return ChineseEdits(
        entry.model, entry.method, pair("reliability", "zh"), pair("generality", "zh"), pair("generality", "en")
    )
