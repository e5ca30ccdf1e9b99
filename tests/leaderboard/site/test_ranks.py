"""Ranks as intervals: by a plain second implementation, by a simulation, and where nothing can be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_results import answered, put, result
from site_pages import Page, csv_lines, records

from xkeb.leaderboard.rows.entries import Cell, Entry
from xkeb.leaderboard.rows.overall import overall_parts
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.ranks import RankInterval, rank_intervals
from xkeb.leaderboard.site.samples import Sample

CELLS: list[Cell] = [
    ("reliability", "en"),
    *((name, code) for name in ("generality", "locality") for code in ("en", "zh")),
]


def entry(name: str, **changes: object) -> Entry:
    fields: dict[str, object] = {
        "id": name, "badge": "reproduced", "task": "t", "source": "en", "targets": ("zh",), "model": "m", "method": name,
        "protocol": "teacher_forcing", "group": "g", "scores": {}, "origin": "",
    }  # fmt: skip
    return Entry(**{**fields, **changes})  # type: ignore[arg-type]


def sampled(rows: Mapping[str, Sequence[Sequence[float]]], subjects: Sequence[int]) -> dict[str, dict[Cell, Sample]]:
    """A row's values, a line a place of the table, by question."""
    clusters = np.array(subjects, dtype=np.intp)
    return {
        name: {
            cell: Sample(np.arange(len(clusters)), clusters, np.array(values, dtype=np.float64))
            for cell, values in zip(CELLS, lines, strict=True)
        }
        for name, lines in rows.items()
    }


def plain(rows: Mapping[str, np.ndarray], subjects: Sequence[int], resamples: int = 2000) -> dict[str, tuple[int, int]]:
    """The same without matrices: subjects drawn one by one, by another generator."""
    names, groups = list(rows), [np.flatnonzero(np.array(subjects) == one) for one in dict.fromkeys(subjects)]

    def scores(chosen: Sequence[int]) -> np.ndarray:
        found = []
        for name in names:
            r, g_en, g_zh, l_en, l_zh = (rows[name][k][chosen].mean() for k in range(5))
            parts = [r, g_en, g_zh, (l_en + l_zh) / 2]
            found.append(0.0 if min(parts) == 0 else 4 / sum(1 / part for part in parts))
        return np.array(found)

    generator = np.random.default_rng(7)
    true = scores(range(len(subjects)))
    draws = [generator.integers(0, len(groups), len(groups)) for _ in range(resamples)]
    drawn = [scores(np.concatenate([groups[k] for k in draw]).tolist()) for draw in draws]
    found = {}
    for i, name in enumerate(names):
        others = [k for k in range(len(names)) if k != i]
        errors = {k: np.std([one[i] - one[k] for one in drawn], ddof=1) for k in others}
        furthest = [max(abs(one[i] - one[k] - true[i] + true[k]) / errors[k] for k in others) for one in drawn]
        bound = np.quantile(furthest, 0.95)
        better = sum(true[k] - true[i] > bound * errors[k] for k in others)
        worse = sum(true[i] - true[k] > bound * errors[k] for k in others)
        found[name] = (1 + better, len(names) - worse)
    return found


def test_intervals_are_those_of_a_plain_implementation() -> None:
    generator = np.random.default_rng(3)
    subjects = [int(one) for one in generator.integers(0, 40, 90)]
    rows = {
        name: (generator.random((5, 90)) < right).astype(float)
        for name, right in {"a": 0.9, "b": 0.89, "c": 0.6, "d": 0.55, "e": 0.2}.items()
    }
    found = rank_intervals([entry(name) for name in rows], sampled({k: v.tolist() for k, v in rows.items()}, subjects))
    assert {name: (one.low, one.high) for name, one in found.items()} == plain(rows, subjects)
    assert found == {
        "a": RankInterval(1, 2, 5), "b": RankInterval(1, 2, 5), "c": RankInterval(3, 4, 5), "d": RankInterval(3, 4, 5),
        "e": RankInterval(5, 5, 5),
    }  # fmt: skip


def test_true_ranks_are_within_the_interval_95_times_of_100() -> None:
    """Of rows that tie in truth, and of one that is better: the true rank of a tied row may be any of theirs."""
    generator, covered = np.random.default_rng(5), 0
    chances = {"a": 0.7, "b": 0.5, "c": 0.5, "d": 0.5}
    for _ in range(100):
        rows = {name: (generator.random((5, 60)) < right).tolist() for name, right in chances.items()}
        found = rank_intervals([entry(name) for name in rows], sampled(rows, range(60)))
        covered += found["b"].low <= 2 and found["b"].high == 4
    assert covered >= 90  # 95 are expected, with a standard deviation of 2.2


def test_where_nothing_can_be_said() -> None:
    same = {name: [[1.0, 0.0] * 15] * 5 for name in "abc"}
    entries = [entry(name) for name in "abc"]
    assert set(rank_intervals(entries, sampled(same, range(30))).values()) == {RankInterval(1, 3, 3)}
    apart = {"a": [[1.0] * 30] * 5, "b": [[0.5] * 30] * 5}
    assert rank_intervals(entries, sampled(apart, range(30)))["b"] == RankInterval(2, 2, 2)
    few = {"a": [[1.0] * 9] * 5, "b": [[0.5] * 9] * 5}
    assert rank_intervals(entries, sampled(few, range(9)))["b"] == RankInterval(1, 2, 2)
    assert rank_intervals(entries[:1], sampled(apart, range(30))) == {}
    lacking = {
        name: {cell: one for cell, one in sample.items() if cell[0] != "locality"}
        for name, sample in sampled(apart, range(30)).items()
    }
    assert rank_intervals(entries, lacking) == {}
    others = [entry("a"), entry("b", group="h")]
    assert rank_intervals(others, sampled(apart, range(30))) == {}
    assert [len(part) for part in overall_parts(entries[0])] == [1, 1, 1, 2]


def test_the_table_shows_ranks_of_the_group_on_every_page(tmp_path: Path) -> None:
    for method, right in {"a": range(40), "b": range(1, 40), "c": range(5)}.items():
        lines = answered(40, set(right))
        for line in lines:
            for probe in line["probes"]:
                probe["scores"] = {"f1": float(int(line["case_id"]) in right), "em": 0.0}
        made = result(method=method, n_cases=40)
        for languages in made["scores"].values():
            for metrics in languages.values():
                metrics["f1"]["mean"] = 100 * len(right) / 40
        put(tmp_path / method, made, lines)
    site = build_site([tmp_path], tmp_path / "site", with_published=False).index.parent
    rows = {row["method"]: row["rank"] for row in records(site)}
    assert rows == {"a": [1, 2], "b": [1, 2], "c": [3, 3], "no edit": None}
    assert [line["rank_high"] for line in csv_lines(site)] == ["2", "2", "", "3"]  # the unedited model has none
    for page, text in (("rows.html", "97.5 rank 1–2"), ("methods/c.html", "12.5 rank 3")):
        assert any(text in row for row in Page(site / page).rows), page


@pytest.mark.parametrize(("low", "high", "text"), [(1, 1, "1"), (2, 5, "2–5")])
def test_an_interval_in_words(low: int, high: int, text: str) -> None:
    assert RankInterval(low, high, 6).text == text
