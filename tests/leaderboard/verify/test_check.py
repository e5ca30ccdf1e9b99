"""`xkeb.leaderboard.verify.check`: what a run writes is right, and whatever is changed of it is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forgeries import FORGERIES, RAN, Forgery, Json, consistent, ran, rehash, set_result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from result_files import EMPTY, RECORDS, WITHOUT_SUBJECT, Runs, read_cases, read_result, write

from xkeb.leaderboard.verify.check import Report, check_result
from xkeb.leaderboard.verify.source import Sources

pytest_plugins = ("finished_runs",)


def checked(runs: Runs, method: str = "rome", *, at_hand: bool = True) -> Report:
    return check_result(runs.folder(method) / "result.json", Sources(runs.data if at_hand else runs.output))


def forged(runs: Runs, forgery: Forgery, method: str = "rome", *, at_hand: bool = True) -> tuple[str, ...]:
    """The problems of a result after a change of it and of its cases."""
    folder = runs.folder(method)
    result, cases = read_result(folder), read_cases(folder)
    forgery(result, cases)
    write(folder, result, cases)
    return checked(runs, method, at_hand=at_hand).problems


# What is right ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "cases"), [("ft", RAN + 1), ("rome", RAN)])
def test_what_a_run_writes_is_right(finished_runs: Runs, method: str, cases: int) -> None:
    """A case has 7 probes, each with 4 scores after and 4 before the edit; so has the table's row 7 of 4, and that of each
    slice. Locality is told with its blank answers in 4 more."""
    report = checked(finished_runs, method)
    assert report.problems == ()
    result = read_result(finished_runs.folder(method))
    means = 56 * (1 + len(result["slices"])) + 4 * len(result["blank"])
    assert list(result["slices"]) == ["answers=differ", "digit=no", "training=no", "training=yes"]
    expected = f"bizsre_en2zh / llama / {method}: {cases} cases, {cases * 56} scores and {means} means recomputed"
    assert report.summary == expected
    lines = read_cases(finished_runs.folder("rome"))
    assert [line["case_id"] for line in lines if line["status"] == "skipped"] == [str(WITHOUT_SUBJECT)]
    assert str(EMPTY) not in {line["case_id"] for line in lines}


@pytest.mark.parametrize(("protocol", "counts"), [("teacher_forcing", False), ("paper", True), ("wild", True)])
def test_an_answer_that_says_nothing_is_no_problem_where_it_counts(
    make_runs: Callable[..., Runs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, counts: bool
) -> None:
    """As if no answer said anything: a check of a protocol that leaves such questions out misses their marks."""
    runs = make_runs(tmp_path / "results", limit=2, methods=["ft"], protocol=protocol)
    (result,) = (tmp_path / "results").rglob("result.json")
    sources = Sources(runs.data)
    assert check_result(result, sources).problems == ()
    monkeypatch.setattr("xkeb.leaderboard.verify.check.says_nothing", lambda text: True)
    problems = check_result(result, sources).problems
    assert (problems == ()) is counts and all("has a blank of false" in problem for problem in problems)


def test_a_result_of_fewer_cases_than_its_journal_is_right(make_runs: Callable[..., Runs], runs: Runs) -> None:
    make_runs(runs.output, limit=3)
    report = checked(runs)
    assert report.problems == ()
    assert report.summary.endswith(f"the first 3 of the data's {RECORDS - 1} cases; {RAN - 3} more in cases.jsonl, which the "
                                   "result leaves out")  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"metrics": ["em"]}, {"metrics": ["f1_units", "f1"]}, {"seed": 7}, {"command": ""}, {"batch_size": 1}],
    ids=str,
)
def test_a_run_with_other_options_is_right(
    make_runs: Callable[..., Runs], tmp_path: Path, changes: dict[str, Any]
) -> None:
    runs = make_runs(tmp_path, methods=["ft"], limit=2, **changes)
    assert checked(runs, "ft").problems == ()


def test_chosen_cases_are_right_and_noted_where_they_were_asked_for(
    make_runs: Callable[..., Runs], tmp_path: Path
) -> None:
    runs = make_runs(tmp_path, methods=["ft"], cases=["3", "1"], command="xkeb run --cases 3,1")
    report = checked(runs, "ft")
    assert report.problems == ()
    assert f"2 of the data's {RECORDS - 1} cases, not the first of them" in report.summary


def test_a_metric_of_a_third_party_is_kept_and_said_not_to_be_recomputed(runs: Runs) -> None:
    def rename(result: Json, cases: list[Json]) -> None:
        result["metrics"] = ["mine" if name == "f1_units" else name for name in result["metrics"]]
        for case in cases:
            for probe in case["probes"]:
                for key in ("scores", "scores_before"):
                    probe[key] = {"mine" if name == "f1_units" else name: s for name, s in probe[key].items()}
        rehash(result, cases)
        consistent(result, cases)

    assert forged(runs, rename) == ()
    assert "not recomputed: metric 'mine'" in checked(runs).summary


def test_resamples_of_another_scipy_may_differ_by_their_noise_only(runs: Runs) -> None:
    def widened(to: Callable[[float], float]) -> Forgery:
        def forgery(result: Json, cases: list[Json]) -> None:
            result["environment"]["packages"]["scipy"] = "1.0"
            interval = result["scores"]["locality"]["zh"]["f1"]["ci95"]
            interval[0] = to(interval[0])

        return forgery

    assert forged(runs, widened(lambda low: low + 1)) == ()
    (problem,) = forged(runs, widened(lambda low: 100.0))
    assert problem.startswith("scores.locality.zh.f1.ci95.0 is stated as 100.000000, and is ")


# What is forged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("forgery", "sentence"), FORGERIES.values(), ids=FORGERIES.keys())
def test_what_is_forged_is_named(runs: Runs, forgery: Forgery, sentence: str) -> None:
    problems = forged(runs, forgery)
    assert any(sentence in problem for problem in problems), problems
    assert all(problem.isprintable() and len(problem) < 400 for problem in problems)


@pytest.mark.parametrize(
    "name",
    [
        "mean",
        "stderr",
        "interval",
        "n",
        "n_clusters",
        "time",
        "a missing line",
        "a line twice",
        "other settings of a line",
    ],
)
def test_nothing_else_is_named(runs: Runs, name: str) -> None:
    forgery, sentence = FORGERIES[name]
    (problem,) = forged(runs, forgery)
    assert sentence in problem


def test_a_line_in_the_place_of_another_is_named_and_so_is_the_other(runs: Runs) -> None:
    def forgery(_: Json, cases: list[Json]) -> None:
        cases[3] = cases[1]

    assert forged(runs, forgery) == ("cases.jsonl, line 4: repeats case '0'.", "case '3': is missing from cases.jsonl.")


def test_tokens_that_would_raise_a_score_are_not_those_of_the_same_text(runs: Runs) -> None:
    """Locality is judged by the answer before: here both are given one token, as if they agreed, under two texts."""

    def forgery(result: Json, cases: list[Json]) -> None:
        for case in ran(result, cases)[:1]:
            probe = case["probes"][0]
            probe["tokens"]["reference"] = probe["tokens"]["after"]
            for name in ("f1", "f1_pr"):
                probe["scores"][name] = 1.0
        consistent(result, cases)

    assert any("is counted in other tokens than elsewhere in the file" in problem for problem in forged(runs, forgery))


# Where the data is -----------------------------------------------------------------------------------------------------


def test_data_that_is_not_here_is_known_by_its_registered_hash(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    registered = "caa15a319e8fd3acaaca15923756efa48f8c2f3893351c165b61bbf246a09b6e"
    (problem,) = checked(runs, at_hand=False).problems
    assert f"its data hash is foreign: 'bizsre' is {registered[:12]}…, not " in problem
    problems = forged(runs, set_result("task.dataset.sha256", registered), at_hand=False)
    assert not any("data hash" in problem for problem in problems)


def test_a_data_set_that_nobody_knows_is_noted(runs: Runs) -> None:
    def rename(result: Json, cases: list[Json]) -> None:
        result["task"]["name"] = result["task"]["dataset"]["name"] = "mine"
        rehash(result, cases)

    assert forged(runs, rename) == ()
    assert "the data set 'mine' isn't known here, so its cases were not compared with it" in checked(runs).summary


# Files that are no results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1."),
        (b'{"schema_version": 1', "is not JSON: Expecting ',' delimiter at line 1, column 21."),
        (b"\xff\xfe{", "is not UTF-8 text: invalid start byte at byte 0."),
        ("\ufeff{}".encode(), "is not JSON: Unexpected UTF-8 BOM"),
        (b"{}".decode().encode("utf-16-le"), "is not JSON: "),
        (b"[" * 100_000, "is nested more than 20 deep."),
        (b"[" * 30 + b"]" * 30, "is nested more than 20 deep at "),
        (b'{"schema_version": 1, "x": NaN}', "holds NaN, which is not JSON."),
        (b'{"schema_version": 1, "x": -Infinity}', "holds -Infinity, which is not JSON."),
        (b'{"schema_version": 1, "x": 1e999}', "has a number that is too large at x."),
        (b'{"schema_version": ' + b"1" * 5000 + b"}", "holds a number with more digits than can be read."),
        (b'{"schema_version": 1, "schema_version": 2}', "has the key 'schema_version' twice in one object."),
        (b"3", "is not a result: it has no schema_version that is a number."),
        (b"[]", "is not a result: it has no schema_version that is a number."),
        (b'{"schema_version": true}', "is not a result: it has no schema_version that is a number."),
        (b" " * (17 * 2**20), "is larger than 16,777,216 bytes."),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("name", ["result.json", "cases.jsonl"])
def test_a_file_that_is_none(runs: Runs, name: str, content: bytes, sentence: str) -> None:
    (runs.folder("rome") / name).write_bytes(content)
    problems = checked(runs).problems
    if name == "result.json":
        assert problems[0].startswith(sentence)
    else:
        assert problems
    assert all(problem.isprintable() and len(problem) < 400 for problem in problems)


def test_a_result_without_its_cases(runs: Runs) -> None:
    (runs.folder("rome") / "cases.jsonl").unlink()
    assert checked(runs).problems[0] == "has no cases.jsonl beside it."


def test_a_line_without_an_end(runs: Runs) -> None:
    path = runs.folder("rome") / "cases.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    (problem,) = checked(runs).problems
    assert problem.startswith("cases.jsonl, line 7: is not JSON: Unterminated string")


def test_a_line_that_is_longer_than_any(runs: Runs) -> None:
    with (runs.folder("rome") / "cases.jsonl").open("ab") as file:
        file.write(b'"' + b"x" * 2**25)
    assert "cases.jsonl: line 8 is longer than 16,777,216 bytes." in checked(runs).problems


# Whatever is in it -----------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**30, 10**40) | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(["\ud800", "../..", "x" * 140_000, "\x1b[31m", "{{7*7}}", "<script>alert(1)</script>", 1, 0, 0.5, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FREE = (
    "command",
    "environment",
    "load",
    "peak_memory_bytes",
    "before",
    "after",
    "tokens",
    "plugin",
    "args",
    "revision",
    "chain",
)
"""What a checker can't know: a text or a number of the machine, where the model came from, and the answers that a score
comes out the same of. And a checksum, which `write` makes anew: `tests/results/test_chain.py`."""


def places(value: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, item in inner for place in places(item, (*path, key)))]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_change_of_a_result_crashes_the_check_and_each_that_matters_is_named(
    finished_runs: Runs, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = finished_runs.folder("rome")
    whole: Json = {"result": read_result(folder), "cases": read_cases(folder)}
    *path, last = data.draw(st.sampled_from([place for place in places(whole) if len(place) > 1]))
    found = whole
    for part in path:
        found = found[part]
    old, new = found[last], data.draw(st.none() | VALUES)
    found[last] = new
    if new is None and data.draw(st.booleans()):
        del found[last]
    target = tmp_path_factory.mktemp("changed")
    try:
        write(target, whole["result"], whole["cases"])
    except ValueError:  # an infinity, or half a character, which Python writes in no file
        return
    report = check_result(target / "result.json", Sources(finished_runs.data))
    assert all(problem.isprintable() and len(problem) < 600 for problem in report.problems)
    if not any(part in FREE for part in [*path, last]) and not same(old, new):
        assert report.problems, (path, last, old, new)


def same(old: Json, new: Json) -> bool:
    """Whether a change is none: 1 for 1.0, a digit that rounding takes, or what may as well be absent (None)."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (old, new))
    return bool(old == new) or (numbers and math.isclose(old, new, rel_tol=0, abs_tol=1e-5))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(["result.json", "cases.jsonl"]),
    at=st.floats(0, 1),
    cut=st.integers(0, 40),
    put=st.binary(max_size=20) | st.sampled_from([b"\n", b"\0", b'"', b"}", b"[" * 5000, b"1" * 5000, b'"\\ud800"']),
)
def test_no_bytes_crash_the_check(
    finished_runs: Runs, tmp_path_factory: pytest.TempPathFactory, name: str, at: float, cut: int, put: bytes
) -> None:
    target = tmp_path_factory.mktemp("bytes")
    for file in ("result.json", "cases.jsonl"):
        (target / file).write_bytes((finished_runs.folder("rome") / file).read_bytes())
    content = (target / name).read_bytes()
    start = int(at * len(content))
    (target / name).write_bytes(content[:start] + put + content[start + cut :])
    report = check_result(target / "result.json", Sources(finished_runs.data))
    assert all(problem.isprintable() and len(problem) < 600 for problem in report.problems)
