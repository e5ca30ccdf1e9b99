"""The page about the published numbers: what it says of them stands in them."""

from __future__ import annotations

from pathlib import Path

from site_pages import Page

from xkeb.leaderboard.rows.entries import published_entries
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.site.evidence import chinese_edits


def test_a_chinese_edit_scores_below_its_rephrase_in_all_rows_but_one_methods() -> None:
    rows = chinese_edits(list(published_entries()))
    assert len(rows) == 24 and rows[0].gap == max(row.gap for row in rows)
    assert {row.method for row in rows if row.gap <= 0} == {"ike-published"}
    assert max(row.reliability[1] for row in rows if row.gap > 0) == 20.44


def test_the_method_that_changes_nothing_stands_nearer_to_the_english_floor() -> None:
    rows = [row for row in chinese_edits(list(published_entries())) if row.method == "kn"]
    assert len(rows) == 4
    for row in rows:
        assert abs(row.reliability[0] - row.english[0]) < abs(row.reliability[0] - row.chinese[0])
    close = [row for row in rows if "baichuan" in row.model]
    assert all(abs(row.reliability[0] - row.english[0]) < 0.3 and row.chinese[0] - row.english[0] > 9 for row in close)
    assert all(1.9 < row.gap < 9.5 for row in rows)


def test_the_page_has_a_row_for_each_and_no_site_is_without_it(tmp_path: Path) -> None:
    build_site([], tmp_path / "site")
    page = Page(tmp_path / "site" / "published.html")
    for row in chinese_edits(list(published_entries())):
        assert f"{row.reliability[0]:.2f} / {row.reliability[1]:.2f}" in page.text
    assert "no row but IKE's is above 20.44" in page.text
    assert "KN has a mean of 3.09 (chinese-llama-plus-7b, zh edits)" in page.text
