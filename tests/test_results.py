"""`xkeb.results`: means, errors and intervals worked out by hand, and the file of the contract."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkeb.errors import RequestError
from xkeb.results.schema import SCHEMA_VERSION, Result, Score
from xkeb.results.statistics import mean_scores, score_of


def entry(case: str, **scores: float) -> dict[str, Any]:
    return {
        "case_id": case,
        "status": "ok",
        "probes": [
            {"property": "reliability", "language": "en", "scores": scores},
            {"property": "locality", "language": "zh", "scores": {"f1": 1.0}},
        ],
    }


def made(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": {
            "name": "t",
            "version": 1,
            "source": "en",
            "target": "zh",
            "dataset": {"name": "d", "sha256": "0", "n_cases": 3},
        },
        "model": {"name": "m", "dtype": "float32", "n_parameters": 7, "sha256": "1"},
        "method": {"name": "e", "params": {"layer": 3, "lr": 1e-5, "on": None}},
        "protocol": "teacher_forcing",
        "scores": mean_scores([entry("0", f1=1.0, em=1.0), entry("1", f1=0.5, em=0.0), entry("2", f1=0.25, em=0.0)]),
        "scores_before": mean_scores([entry("0", f1=0.0, em=0.0)]),
        "skipped": [{"case_id": "3", "reason": "zh: empty alt"}],
        "case_ids": ["0", "1", "2"],
        "metrics": ["f1", "em"],
        "seed": 3,
        "timing": {"edit_seconds": 1.0, "wall_seconds": 2.0, "phases": {"load": 0.5, "edit": 1.0}},
        "environment": {"python": "3.11"},
        "command": "xkeb run --tasks 中文",
        "settings": "hash",
    }
    return Result(**(values | changes))


def test_mean_and_standard_error_by_hand() -> None:
    found = score_of([1.0, 0.5, 0.0, 0.5])
    assert found.mean == 50
    # deviations 50, 0, -50, 0: variance 5000 / 3, over 4 values
    assert found.stderr == pytest.approx(math.sqrt(5000 / 3 / 4))
    assert found.n == 4


def test_the_interval_is_the_bootstrap_s_percentiles() -> None:
    """Of two values 0 and 1, a resample's mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4: the interval spans all."""
    assert score_of([0.0, 1.0]).ci95 == (0, 100)
    sample = np.random.default_rng(1).random(400)
    found = score_of(sample.tolist())
    # the central limit theorem's interval, to within the noise of the resampling
    assert found.ci95[0] == pytest.approx(found.mean - 1.96 * found.stderr, abs=0.25)
    assert found.ci95[1] == pytest.approx(found.mean + 1.96 * found.stderr, abs=0.25)


def test_a_constant_sample_is_certain() -> None:
    assert score_of([0.3] * 5) == Score(pytest.approx(30), 0.0, (pytest.approx(30), pytest.approx(30)), 5)
    assert score_of([1.0] * 5) == Score(100.0, 0.0, (100.0, 100.0), 5)


def test_a_single_value_is_its_own_interval() -> None:
    assert score_of([0.25]) == Score(25.0, 0.0, (25.0, 25.0), 1)


def test_a_result_is_a_function_of_its_cases() -> None:
    sample = np.random.default_rng(2).random(50).tolist()
    assert score_of(sample) == score_of(sample)
    np.random.seed(5)  # the global generator must not matter
    assert score_of(sample) == score_of(list(sample))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_scores_are_finite_and_the_interval_holds_the_mean(sample: list[float]) -> None:
    found = score_of(sample)
    assert all(math.isfinite(value) for value in (found.mean, found.stderr, *found.ci95))
    assert -1e-9 <= found.ci95[0] <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.ci95[1] <= 100 + 1e-9
    assert found.stderr >= 0


def test_values_are_gathered_by_property_language_and_metric() -> None:
    found = mean_scores([entry("0", f1=1.0, em=1.0), entry("1", f1=0.5, em=0.0)])
    assert {
        (name, language, metric): (made.mean, made.n)
        for name, languages in found.items()
        for language, metrics in languages.items()
        for metric, made in metrics.items()
    } == {
        ("reliability", "en", "f1"): (75, 2),
        ("reliability", "en", "em"): (50, 2),
        ("locality", "zh", "f1"): (100, 2),
    }


def test_a_skipped_case_counts_nowhere() -> None:
    skipped = {"case_id": "9", "status": "skipped", "reason": "why", "probes": []}
    assert mean_scores([skipped, entry("0", f1=0.5), skipped]) == mean_scores([entry("0", f1=0.5)])
    assert mean_scores([skipped]) == {}


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    made().save(tmp_path)
    assert Result.load(tmp_path / "result.json") == made()


def test_the_file_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    made().save(tmp_path)
    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert set(found) >= {
        *("schema_version", "task", "model", "method", "protocol", "scores", "skipped", "timing", "environment"),
        "command",
    }
    assert set(found["scores"]["reliability"]["en"]["f1"]) == {"mean", "stderr", "ci95", "n"}
    assert len(found["scores"]["reliability"]["en"]["f1"]["ci95"]) == 2
    assert set(found["task"]) >= {"name", "version", "source", "target", "dataset"}
    assert "中文" in text
    assert text.endswith("}\n")


def test_a_number_that_json_doesn_t_have_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        made(timing={"edit_seconds": float("nan")}).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"scores": {}}', '{"scores": 3}', '{"scores": {"a": {"b": {"c": {"mean": 1}}}}}'],
)
def test_what_is_no_result_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=f"{path} is not a result of schema version {SCHEMA_VERSION}"):
        Result.load(path)


def test_a_result_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    made(schema_version=SCHEMA_VERSION + 1).save(tmp_path)
    with pytest.raises(RequestError, match=f"it is of schema version {SCHEMA_VERSION + 1}, newer than"):
        Result.load(tmp_path / "result.json")
    made(schema_version=SCHEMA_VERSION - 1).save(tmp_path)
    with pytest.raises(RequestError, match="the command that made it, given again, writes it anew from its cases"):
        Result.load(tmp_path / "result.json")


def test_a_result_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"{tmp_path / 'no.json'} is not a result"):
        Result.load(tmp_path / "no.json")
