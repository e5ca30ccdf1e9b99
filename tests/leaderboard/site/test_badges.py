"""What a result's row says of how it was looked at: computed again, run again, open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_results import put, result, score
from result_files import Runs, read_cases, read_result, write
from site_pages import Page, records, result_pages

from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.site.badges import open_text, openness
from xkeb.leaderboard.site.build import build_site
from xkeb.results.result import Result

pytest_plugins = ("command_line", "finished_runs")


def kinds(site: Path) -> dict[str, str]:
    """The Kind of each measured row."""
    rows = [row for row in Page(site / "rows.html").rows if len(row) == 15]
    return {row[0]: row[6] for row in rows if row[6].startswith("reproduced")}


def test_what_passes_the_check_is_marked_and_what_does_not_is_named(
    xkeb_cli: Callable[..., Any], runs: Runs, tmp_path: Path
) -> None:
    made, cases = read_result(runs.folder("rome")), read_cases(runs.folder("rome"))
    made["scores"]["reliability"]["en"]["em"]["mean"] += 1.0
    write(runs.folder("rome"), made, cases)
    site = tmp_path / "site"
    arguments = ["leaderboard", "build", "--results", runs.output, "--output", site, "--no-published"]
    outcome = xkeb_cli(*arguments, "--check", "--data-dir", runs.data)
    assert outcome.status == 1
    assert "rome/result.json doesn't pass the check: scores.reliability.en.em.mean is " in outcome.err
    assert {name: "recomputed" in text for name, text in kinds(site).items()} == {"ft": True, "rome": False}
    assert {row["method"]: row["recomputed"] for row in records(site)} == {
        "ft": True,
        "rome": False,
        "no edit": False,
    }
    texts = {"--ft--" in str(path): Page(path).text for path in result_pages(site)}
    assert "means recomputed" in texts[True] and "not computed again" in texts[False]
    assert xkeb_cli(*arguments).status == 0
    assert not any("recomputed" in text for text in kinds(site).values())  # nothing was looked at


def test_a_second_run_of_the_same_settings_and_cases_is_told_with_its_distance(tmp_path: Path) -> None:
    put(tmp_path / "results" / "a", result(settings="a" * 64))
    put(tmp_path / "results" / "b", result(method="ft", settings="b" * 64))
    put(tmp_path / "results" / "c", result(method="kn", settings="c" * 64))
    second = result(settings="a" * 64, f1={("locality", "zh"): score(47.75)}, environment={"date": "2026-12-24"})
    put(tmp_path / "again" / "a", second)
    put(tmp_path / "again" / "c", result(method="kn", settings="c" * 64, n_cases=3))  # of fewer cases
    (tmp_path / "copy").mkdir()
    for name in ("result.json", "cases.jsonl"):  # the same file is no second run
        (tmp_path / "copy" / name).write_bytes((tmp_path / "results" / "b" / name).read_bytes())
    again = [tmp_path / "again", tmp_path / "copy"]
    built = build_site([tmp_path / "results"], tmp_path / "site", with_published=False, reruns=again)
    site = built.index.parent
    marked = {name: "re-run by the maintainers" in text for name, text in kinds(site).items()}
    assert marked == {"rome": True, "ft": False, "kn": False}
    (page,) = [path for path in result_pages(site) if "--rome--" in str(path)]
    text = Page(page).text
    assert (
        "run again, 2026-12-24" in text and "the largest difference of a mean is 2.2." in text
    )  # 2.25, to the even digit
    assert len(list(result_pages(site))) == 3  # second runs have no rows of their own


def test_what_is_open_is_told_part_by_part(tmp_path: Path) -> None:
    made = result(method="rome", environment={"commit": "abc"})
    put(tmp_path / "a", made)
    (entry,) = find_results([tmp_path]).entries
    parts = openness(entry, {entry.id})
    assert {name for name, reason in parts.items() if reason is None} == {"weights", "code", "answers"}
    assert parts["data"] == "it has another hash than the data set is registered with"
    assert open_text(parts) == "open but for data"
    changes: list[dict[str, Any]] = [
        {"model": made["model"] | {"args": {"path": "/home/me"}}},
        {"environment": {"commit": "abc-dirty"}},
        {"method": made["method"] | {"name": "mine"}},
    ]
    for change, closed in zip(changes, ("weights", "code", "code"), strict=True):
        (tmp_path / "a" / "result.json").write_text(json.dumps(made | change), encoding="utf-8")
        Result.load(tmp_path / "a" / "result.json")
        (entry,) = find_results([tmp_path]).entries
        assert {name for name, reason in openness(entry, ()).items() if reason} == {closed, "data", "answers"}
    assert open_text({"weights": None}) == "all open" and open_text({"data": "x"}) == "nothing open"
