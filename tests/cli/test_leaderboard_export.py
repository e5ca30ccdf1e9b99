"""``xkeb leaderboard export``: records that Every Eval Ever's own schemas accept, with the numbers of the result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from made_results import answered, put, result
from result_files import Runs, read_cases, read_result

from xkeb.leaderboard.every_eval_ever import VERSION

pytest_plugins = ("command_line", "finished_runs")


def validator(name: str) -> Draft7Validator:
    """By a schema of its own package, whose code needs Python 3.12 and isn't run."""
    path = metadata.distribution("every-eval-ever").locate_file(f"every_eval_ever/schemas/{name}.schema.json")
    schema = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    assert schema["version"] == VERSION
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def exported(xkeb_cli: Callable[..., Any], folder: Path, output: Path, *options: str) -> tuple[Any, list[Any], Path]:
    outcome = xkeb_cli("leaderboard", "export", folder, "--output", output, "--organization", "A lab", *options)
    assert (outcome.status, outcome.err) == (0, "")
    path = Path(outcome.out.strip())
    record = json.loads(path.read_text(encoding="utf-8"))
    samples = output / record["detailed_evaluation_results"]["file_path"]
    return record, [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()], samples


def test_a_real_result_is_accepted_and_keeps_its_numbers(
    xkeb_cli: Callable[..., Any], finished_runs: Runs, tmp_path: Path
) -> None:
    folder = finished_runs.folder("rome")
    record, samples, path = exported(
        xkeb_cli, folder, tmp_path, "--developer", "Some one", "--relationship", "third_party"
    )
    assert list(validator("eval").iter_errors(record)) == []
    instances = validator("instance_level_eval")
    assert [error.message for one in samples for error in instances.iter_errors(one)] == []
    raw, cases = read_result(folder), read_cases(folder)
    scores = {one["evaluation_result_id"]: one["score_details"] for one in record["evaluation_results"]}
    assert len(scores) == 7 * 2
    for name, languages in raw["scores"].items():
        for code, metrics in languages.items():
            for metric in ("f1", "em"):
                found, stated = scores[f"{name}/{code}/{metric}"], metrics[metric]
                assert found["score"] == stated["mean"]
                assert found["uncertainty"]["standard_error"]["value"] == stated["stderr"]
                interval = found["uncertainty"]["confidence_interval"]
                assert [interval["lower"], interval["upper"]] == stated["ci95"]
                alike = [one for one in samples if one["evaluation_result_id"] == f"{name}/{code}/{metric}"]
                answers = [one["evaluation"]["score"] for one in alike]
                assert len(answers) == stated["n"]
                assert sum(answers) / len(answers) == pytest.approx(stated["mean"])
    ran = [case for case in cases if case["status"] == "ok"]
    assert list(dict.fromkeys(one["sample_id"] for one in samples)) == [case["case_id"] for case in ran]
    (of_locality, *_) = (one for one in samples if one["evaluation_result_id"].startswith("locality/en"))
    assert of_locality["input"]["reference"] == [of_locality["metadata"]["before"]]
    details = record["detailed_evaluation_results"]
    assert details["checksum"] == hashlib.sha256(path.read_bytes()).hexdigest() and details["total_rows"] == len(
        samples
    )
    assert record["model_info"]["id"] == "Some-one/llama"
    assert record["model_info"]["additional_details"]["method"] == "rome"
    assert record["source_metadata"]["evaluator_relationship"] == "third_party"
    assert re.fullmatch(r"xkeb/Some-one/llama/\d+\.\d+", record["evaluation_id"])
    assert {one["evaluation_id"] for one in samples} == {record["evaluation_id"]}


def test_a_model_of_the_hub_has_its_name_there_and_a_file_its_record(
    xkeb_cli: Callable[..., Any], tmp_path: Path
) -> None:
    made = result(n_cases=3)
    made["model"] |= {"args": {"path": "org/name-1B"}, "revision": "a" * 40}
    put(tmp_path / "a", made, answered(3, range(2)))
    record, _, path = exported(xkeb_cli, tmp_path / "a", tmp_path / "out")
    assert list(validator("eval").iter_errors(record)) == []
    assert record["model_info"]["id"] == "org/name-1B"
    assert record["model_info"]["additional_details"]["model_availability"] == "open_weights"
    assert path.relative_to(tmp_path / "out").parts[:4] == ("data", "xkeb", "org", "name-1B")
    again = exported(xkeb_cli, tmp_path / "a", tmp_path / "out")[2]
    assert again == path


def test_what_cannot_be_exported_is_said_in_a_sentence(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    (tmp_path / "a" / "cases.jsonl").unlink()
    outcome = xkeb_cli("leaderboard", "export", tmp_path / "a", "--output", tmp_path / "out", "--organization", "x")
    assert outcome.status == 2 and "has no cases.jsonl beside it." in outcome.err and outcome.err.count("\n") == 1
    assert xkeb_cli("leaderboard", "export", tmp_path / "a", "--output", tmp_path / "out").status == 2
