"""The gap between two protocols: one method's answers under both, on the same cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from result_files import Runs, read_cases, read_result, write

from xkeb.errors import RequestError
from xkeb.results.gap import find_gap

pytest_plugins = ("finished_runs", "command_line")


@pytest.fixture(scope="module")
def both(
    make_runs: Callable[..., Runs], finished_runs: Runs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """FT under teacher forcing, and its first four cases with free answers."""
    options = {"protocol": "generate", "protocol_args": {"max_tokens": 6}}
    free = make_runs(tmp_path_factory.mktemp("free"), methods=["ft"], limit=4, **options)
    return finished_runs.folder("ft"), free.folder("ft-generate")


@pytest.fixture
def copies(both: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    for path, name in zip(both, "ab", strict=True):
        (tmp_path / name).mkdir()
        write(tmp_path / name, read_result(path), read_cases(path))
    return tmp_path / "a", tmp_path / "b"


def scores(folder: Path, metric: str, case_ids: set[str]) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for case in read_cases(folder):
        if case["case_id"] in case_ids:
            for probe in case["probes"]:
                found.setdefault((probe["property"], probe["language"]), []).append(probe["scores"][metric])
    return found


def test_the_gap_by_hand_for_all_cases_and_for_each_slice(both: tuple[Path, Path]) -> None:
    gap = find_gap(*both, "protocol")
    assert gap.differences == {"protocol": ("teacher_forcing", "generate")}
    assert set(gap.metrics) == {"f1_units", "em"}
    lines = {case["case_id"]: case for case in read_cases(both[1]) if case["status"] == "ok"}
    assert (gap.shared, gap.only_b) == (len(lines), 0)
    told = {f"{kind}={value}" for case in lines.values() for kind, value in case["slices"].items()}
    kinds = {name.partition("=")[0] for name in told}
    expected = {name for name in told if sum(other.startswith(name.partition("=")[0] + "=") for other in told) > 1}
    assert kinds and {part.within for part in gap.parts} == {None, *expected}
    for part in gap.parts:
        ids = {
            i for i, case in lines.items()
            if part.within is None or part.within in {f"{k}={v}" for k, v in case["slices"].items()}
        }  # fmt: skip
        assert part.cases == len(ids)
        for metric in gap.metrics:
            a, b = (scores(path, metric, ids) for path in both)
            for row in (row for row in part.rows if row.metric == metric and row.property != "locality"):
                place = (row.property, row.language)
                means = [100 * fmean(values[place]) for values in (a, b)]
                assert [row.a, row.b] == pytest.approx(means)
                assert row.gap == pytest.approx(means[1] - means[0])
                assert row.ci95[0] - 1e-9 <= row.gap <= row.ci95[1] + 1e-9


def test_one_slice(both: tuple[Path, Path]) -> None:
    gap = find_gap(*both, "protocol", within="answers=differ")
    assert [part.within for part in gap.parts] == ["answers=differ"]


def test_the_command_calls_it_a_gap_and_nothing_better(xkeb_cli: Callable[..., Any], both: tuple[Path, Path]) -> None:
    outcome = xkeb_cli("compare", "--across", "protocol", *both, "--cases", "1")
    assert (outcome.status, outcome.err) == (0, "")
    said = " ".join(outcome.out.split())
    assert said.startswith("Gap across protocol: bizsre_en2zh / llama / ft A: ")
    assert "They differ in protocol (teacher_forcing and generate)." in said
    assert "neither is better; the gap" in said and "B - A" in said
    assert "Holm" not in said and "McNemar" not in said and "+/=/-" not in said
    assert "All cases (" in said and outcome.out.count("\nCase ") <= 1
    found = json.loads(xkeb_cli("compare", "--across", "protocol", *both, "--json").out)
    assert found["differences"] == {"protocol": ["teacher_forcing", "generate"]}
    assert [found[side]["scorer"] for side in "ab"] == ["f1+em", "f1_units+exact"]
    assert found["a"]["comparable_group"] != found["b"]["comparable_group"]
    assert set(found["parts"][0]["rows"][0]) == {
        "property", "language", "metric", "pairs", "clusters", "a", "b", "gap", "ci95",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--across", "prompt"], "don't differ in their prompt, so there is no gap across it."),
        (["--across", "method"], "'method' is not one of"),
        (["--across", "protocol", "--power"], "--power is of a difference between two methods"),
        (["--across", "protocol", "--cases", "-1"], "--cases must be at least 0, not -1."),
        (["--across", "protocol", "--slice", "answers=difer"], "did you mean"),
    ],
)
def test_what_makes_no_gap_is_refused(
    xkeb_cli: Callable[..., Any], both: tuple[Path, Path], options: list[str], sentence: str
) -> None:
    outcome = xkeb_cli("compare", *both, *options)
    assert (outcome.status, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("method", "name"), "rome", "these differ in method (rome and ft)."),
        (("method", "params"), {"steps": 9}, "these differ in the method's "),
        (("model", "sha256"), "0" * 12, "these differ in model (llama and llama)."),
        (("prompt",), "qa", "these differ in prompt (qa and plain)."),
    ],
)
def test_results_that_differ_in_more_than_was_asked_for_are_refused(
    copies: tuple[Path, Path], place: tuple[str, ...], value: Any, sentence: str
) -> None:
    result = read_result(copies[0])
    found = result
    for part in place[:-1]:
        found = found[part]
    found[place[-1]] = value
    write(copies[0], result, read_cases(copies[0]))
    with pytest.raises(RequestError) as caught:
        find_gap(*copies, "protocol")
    assert sentence in str(caught.value)
