"""`xkeb.results.result`: result.json as it is written and read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_records import scored
from pydantic import ValidationError

from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.results.result import SCHEMA_VERSION, Result
from xkeb.results.scores import Score, Scores
from xkeb.results.settings import LINES_VERSION, RunSettings
from xkeb.results.statistics import mean_scores
from xkeb.results.verdicts import JUDGE
from xkeb.types import Direction, LanguagePair, Property

PHASES = {"load": 0.5, "before": 0.25, "fit": 0.0, "edit": 1.0, "evaluate": 0.5, "suite": 0.25}


def made(**changes: Any) -> Result:
    cases = [scored("0", f1=1.0, em=1.0), scored("1", f1=0.5, em=0.0), scored("2", f1=0.25, em=0.0)]
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "task": {
            "name": "t",
            "version": 1,
            "source": "en",
            "target": "zh",
            "dataset": {"name": "d", "sha256": "0" * 64, "n_cases": 3},
        },
        "model": {
            "name": "m",
            "dtype": "float32",
            "n_parameters": 7,
            "sha256": "1" * 64,
            "plugin": "hf",
            "args": {"path": "org/m"},
            "revision": "abc",
        },
        "method": {"name": "e", "params": {"layer": 3, "lr": 1e-5, "on": None}, "sees": ["source_edit"]},
        "protocol": "teacher_forcing",
        "protocol_args": {},
        "prompt": "plain",
        "regime": "single",
        "scorer": "f1+em",
        "comparable_group": "t@1:00000000/teacher_forcing/plain/single/f1+em",
        "metrics": ["f1", "em"],
        "seed": 3,
        "selection": "first",
        "scores": mean_scores(cases),
        "scores_before": mean_scores(cases, "scores_before"),
        "slices": {},
        "slices_before": {},
        "second_turn": {},
        "blank": {},
        "skipped": [{"case_id": "3", "reason": "zh: empty alt"}],
        "case_ids": ["0", "1", "2"],
        "timing": {
            "edit_seconds": 1.0,
            "evaluate_seconds": 0.5,
            "wall_seconds": 2.0,
            "peak_memory_bytes": 5,
            "phases": PHASES,
        },
        "environment": {"python": "3.11"},
        "command": "xkeb run --tasks 中文",
        "settings": "2" * 64,
    }
    return Result.model_validate(values | changes)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    made().save(tmp_path)
    assert Result.load(tmp_path / "result.json") == made()


def test_the_file_has_the_keys_of_the_contract(tmp_path: Path) -> None:
    made().save(tmp_path)
    text = (tmp_path / "result.json").read_text(encoding="utf-8")
    found = json.loads(text)
    assert set(found) >= {
        *("schema_version", "task", "model", "method", "protocol", "scores", "skipped", "timing", "environment"),
        *("prompt", "regime", "scorer", "comparable_group", "slices", "command"),
    }
    assert set(found["scores"]["reliability"]["en"]["f1"]) == {"mean", "stderr", "ci95", "n", "n_clusters"}
    assert len(found["scores"]["reliability"]["en"]["f1"]["ci95"]) == 2
    assert set(found["task"]) >= {"name", "version", "source", "target", "dataset"}
    assert "中文" in text
    assert text.endswith("}\n")


def test_a_number_that_json_doesn_t_have_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"timing\.edit_seconds"):
        made(timing={**made().timing.model_dump(), "edit_seconds": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        made(environment={"load": float("nan")}).save(tmp_path)  # of what is free, the schema knows nothing
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"scores": {}}', '{"scores": 3}', '{"scores": {"a": {"b": {"c": {"mean": 1}}}}}'],
)
def test_what_is_no_result_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=rf"^{path} is not (JSON: .+|a result: .+ no schema_version that .+)\.$"):
        Result.load(path)


def test_what_says_that_it_is_one_and_is_none_is_refused_field_by_field(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "scores": 3}), encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        Result.load(path)
    said = f"{path} is not a result: task is missing; model is missing; method is missing; "
    assert str(caught.value).startswith(said)


def test_a_result_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for version in (SCHEMA_VERSION + 1, LINES_VERSION, LINES_VERSION - 1):
        values = {**made().model_dump(mode="json"), "schema_version": version}
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(RequestError) as caught:
            Result.load(path)
        if version > SCHEMA_VERSION:
            assert f"{path} is of schema version {version}, newer than" in str(caught.value)
        else:
            how = "" if version == LINES_VERSION else " with --fresh"  # whether the lines beside it can be read
            assert f"the command that made it, given again{how}, makes it anew" in str(caught.value)


def test_a_result_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"{tmp_path / 'no.json'} can't be read: No such file or directory"):
        Result.load(tmp_path / "no.json")


def test_a_result_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("in the way")
    with pytest.raises(RequestError, match=f"Can't write {tmp_path / 'no' / 'result.json'}: "):
        made().save(tmp_path / "no")


def settings(**task: Any) -> RunSettings:
    values = {"name": "bizsre_en2zh", "version": 1, "source": "en", "dataset": {"name": "bizsre", "sha256": "a" * 64}}
    return RunSettings.model_validate(
        {
            "task": {**values, **task},
            "model": {"name": "m", "dtype": "float32", "n_parameters": 7, "sha256": "w"},
            "method": {"name": "ft", "params": {"lr": 0.05, "steps": 3}, "sees": ["source_edit"]},
            "protocol": "teacher_forcing",
            "protocol_args": {},
            "prompt": "plain",
            "metrics": ["f1", "em"],
            "seed": 0,
        }
    )


def test_the_settings_of_two_languages_have_the_hash_that_they_always_had() -> None:
    """Else no run that was begun before there were tasks of several targets could go on."""
    assert settings(target="zh").sha256 == "ca4a26601099f141c0499b49a818d64958fe2df422d9902592584cda3dedf236"
    assert list(settings(target="zh").task.model_dump()) == ["name", "version", "source", "target", "dataset"]
    assert list(settings(targets=["zh", "de"]).task.model_dump()) == ["name", "version", "source", "targets", "dataset"]
    assert settings(targets=["zh", "de"]).task.direction == Direction("en", ("zh", "de"))
    assert settings(target="zh").task.direction == LanguagePair("en", "zh")


def test_a_task_of_one_language_says_that_it_has_no_target() -> None:
    task = settings(targets=[]).task
    assert (task.model_dump()["targets"], "target" in task.model_dump()) == ([], False)
    assert task.direction == Direction("en", ())


@pytest.mark.parametrize(
    "task", [{}, {"target": "zh", "targets": ["zh", "de"]}, {"target": "zh", "targets": []}, {"targets": ["zh"]}]
)
def test_a_task_has_one_target_or_a_list_of_others(task: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**task)


def test_a_result_of_two_languages_has_no_key_of_several(tmp_path: Path) -> None:
    made().save(tmp_path)
    stored = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert stored.keys() == Result.model_fields.keys() - {"crossing", "damage", "missing", "retention"}
    assert stored["task"].keys() == {"name", "version", "source", "target", "dataset"}
    assert Result.load(tmp_path / "result.json") == made()


def test_a_result_of_53_languages_in_every_metric_can_be_read(tmp_path: Path) -> None:
    """As one of BMIKE-53 is: three properties in each language, of all cases and of both values of three slices."""
    score = Score(mean=100 / 3, stderr=100 / 7, ci95=(100 / 9, 100 / 1.1), n=1000, n_clusters=1000)
    by_metric = dict.fromkeys([*get_plugins().metrics, JUDGE], score)
    codes = [f"l{i}" for i in range(53)]
    properties: tuple[Property, ...] = ("generality", "locality", "portability")
    scores: Scores = {name: dict.fromkeys(codes, by_metric) for name in properties}
    slices = {f"{kind}={value}": scores for kind in ("answers", "digit", "training") for value in ("one", "other")}
    several = made().model_copy(
        update={
            "scores": scores, "scores_before": scores, "second_turn": scores, "slices": slices, "slices_before": slices,
            "case_ids": [str(i) for i in range(1000)],
        }
    )  # fmt: skip
    several.save(tmp_path)
    assert Result.load(tmp_path / "result.json") == several
