"""What a model is called, and so where its results go: by its own name, by its folder's, or as the user says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import xkeb
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.executors.local import run_jobs
from xkeb.evaluation.planning import plan_run
from xkeb.models.loader import display_name, make_loader
from xkeb.results.result import Result

TASK = "bizsre_mini_en2zh"


def config(output: Path, models: list[str], **model_args: Any) -> RunConfig:
    return RunConfig(
        tasks=[TASK], models=models, methods=["ft"], method_args={"ft.steps": 1}, model_args=model_args, device="cpu",
        limit=1, output=output,
    )  # fmt: skip


def test_a_folder_is_called_by_its_last_part(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    foo = Path(shutil.copytree(tiny_folders["llama"], tmp_path / "x" / "foo"))
    (job,) = plan_run(config(tmp_path / "out", ["hf"], path=str(foo))).jobs
    assert (job.model, job.measurements[0].folder) == ("foo", tmp_path / "out" / TASK / "foo" / "ft")
    for path in (str(foo), f"{foo}/"):
        assert display_name("hf", make_loader("hf", path=path)) == "foo"
    assert xkeb.load_backbone("hf", path=str(foo), device="cpu").name == "foo"


@pytest.mark.parametrize(
    ("path", "name"), [("org/name", "name"), ("/models/x.Q4_K_M.gguf", "x.Q4_K_M"), ("/models/llama-3.1", "llama-3.1")]
)
def test_a_repository_and_a_file_are_called_by_theirs(path: str, name: str) -> None:
    assert display_name("hf", make_loader("hf", path=path)) == name


def test_a_folder_is_called_as_the_user_says(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    (job,) = plan_run(config(tmp_path, ["hf:my model"], path=str(tiny_folders["llama"]))).jobs
    assert job.model == "my model" and job.measurements[0].folder.parent.name == "my model"
    assert xkeb.load_backbone("hf:my model", path=str(tiny_folders["llama"]), device="cpu").name == "my model"


def test_two_models_of_one_plugin_are_run_side_by_side(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    asked = config(
        tmp_path, ["hf:a", "hf:b"], **{"a.path": str(tiny_folders["llama"]), "b.path": str(tiny_folders["gpt2"])}
    )
    jobs = plan_run(asked).jobs
    assert [(job.model, job.choice.plugin, dict(job.model_args)) for job in jobs] == [
        ("a", "hf", {"path": str(tiny_folders["llama"])}),
        ("b", "hf", {"path": str(tiny_folders["gpt2"])}),
    ]
    results = run_jobs(jobs, asked)
    assert [result.model.name for result in results] == ["a", "b"]
    assert results[0].model.sha256 != results[1].model.sha256
    for name, result in zip("ab", results, strict=True):
        assert Result.load(tmp_path / TASK / name / "ft" / "result.json").model == result.model


def test_options_may_be_for_all_models_for_those_of_a_plugin_and_for_one(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    llama, gpt2 = (str(tiny_folders[family]) for family in ("llama", "gpt2"))
    for shared in ("path", "hf.path"):
        jobs = plan_run(config(tmp_path, ["hf:a", "hf:b"], **{shared: llama, "b.path": gpt2})).jobs
        assert [job.model_args["path"] for job in jobs] == [llama, gpt2]


@pytest.mark.parametrize("name", ["a/b", "../b", "..", ".", "", " ", "a\\b", "a:b", "a\nb"])
def test_a_name_that_can_not_be_a_folder_s_is_refused(name: str, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="display name is the name of a folder"):
        plan_run(config(tmp_path, [f"hf:{name}"], path=str(tiny_folders["llama"])))


def test_two_models_of_the_same_name_are_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_folders["gpt2"], tmp_path / "other" / "llama"))
    args = {"hf.path": str(tiny_folders["llama"]), "llama.path": str(other)}
    with pytest.raises(RequestError, match=r"Two models of this run are called 'llama'.*--model hf:NAME"):
        plan_run(config(tmp_path, ["hf", "hf:llama"], **args))
