"""A plugin package that somebody else wrote, installed by pip: what it registers is listed, runs and is scored."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parent / "third_party"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def xkeb_with_it(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``xkeb`` in a process that has the package installed. It is built from a copy: pip leaves files beside a source."""
    source, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "xkeb.cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")])},
            cwd=target,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def test_a_whole_method_fits_in_25_lines() -> None:
    lines = (PACKAGE / "xkeb_third_party" / "tune.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 25


def test_what_it_registers_is_listed_under_its_name(xkeb_with_it: Run) -> None:
    listed = json.loads(xkeb_with_it("ls", "--json").stdout)
    rows = {(kind, row["name"]): row for kind, found in listed.items() for row in found}
    for kind, name, plugin in (
        ("methods", "tune", "tune"),
        ("methods", "mute", "mute"),
        ("languages", "de", "german"),
        ("pairs", "en-de", "german"),
        ("metrics", "shouted", "german"),
        ("datasets", "capitals", "german"),
    ):
        assert rows[kind, name]["plugin"] == plugin
    assert rows["tasks", "capitals_en2de"] == {
        "name": "capitals_en2de",
        "dataset": "capitals",
        "pair": "en-de",
        "version": 3,
        "description": "Edit in English, ask in English and German",
    }
    assert rows["methods", "tune"]["description"].startswith("Tune: a few steps of gradient descent")
    assert {name for kind, name in rows if kind == "plugins"} >= {"tune", "mute", "german", "xkeb_plugins.methods"}
    assert ("methods", "rome") in rows


@pytest.fixture(scope="module")
def finished(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One run of its methods beside a built-in one, on its own task, with its own metric."""
    output = tmp_path_factory.mktemp("results")
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2de", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "tune,mute,ft", "--method-args", "tune.steps=2", "--metrics", "f1,shouted", "--output", output,
    )  # fmt: skip
    return done, output / "capitals_en2de" / "hf"


def result(folder: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / method / "result.json").read_text(encoding="utf-8"))
    return found


def lines(folder: Path, method: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / method / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def test_its_methods_run_beside_a_built_in_one(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = finished
    assert done.returncode == 0, done.stderr
    for method in ("tune", "mute", "ft"):
        found = result(folder, method)
        assert found["method"]["name"] == method
        assert found["task"]["version"] == 3
        assert found["case_ids"] == ["0", "1"]
        assert found["skipped"] == [{"case_id": "2", "reason": "en: empty alt"}]
        assert set(found["scores"]["generality"]) == {"en", "de"}
        assert set(found["scores"]["reliability"]["en"]) == {"f1", "shouted"}
    assert result(folder, "tune")["method"]["params"] == {"layer": 2, "steps": 2, "lr": 0.1}
    assert result(folder, "mute")["method"]["params"] == {"layer": 1, "broken": False}
    assert "German" in done.stdout


def test_an_opaque_change_is_at_work_in_its_own_case(
    finished: tuple[subprocess.CompletedProcess[str], Path], tiny_folders: dict[str, Path]
) -> None:
    """Both cases are edited in one batch, but a change that has only `applied` is seen by its own case alone."""
    import xkeb
    from xkeb.predict import Query, predict

    _, folder = finished
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    english = xkeb.Language("en", "English", str.split)
    for line in lines(folder, "mute"):
        factor = -len(line["edit"]["target"])
        module = backbone.module(backbone.layout.down(1))
        handle = module.register_forward_hook(lambda _m, _i, output, factor=factor: output * factor)
        asked = [probe for probe in line["probes"] if probe["language"] == english.code]
        expected = predict(backbone, [Query(probe["prompt"], probe["reference"], "en") for probe in asked])
        handle.remove()
        assert [probe["after"] for probe in asked] == [answer.text for answer in expected]
        assert any(probe["after"] != probe["before"] for probe in asked)


def test_a_method_that_raises_costs_its_own_cell(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2de", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "mute,tune", "--method-args", "mute.broken=true", "--limit", "1", "--output", tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^xkeb: capitals_en2de / hf / mute: .*this plugin is broken$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    folder = tmp_path / "capitals_en2de" / "hf"
    assert not (folder / "mute" / "result.json").exists()
    assert result(folder, "tune")["case_ids"] == ["0"]


def test_a_misspelt_option_of_its_method_is_named(xkeb_with_it: Run, tiny_folders: dict[str, Path]) -> None:
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2de", "--model", "hf", "--methods", "tune", "--method-args", "tune.stepz=1"
    )
    assert done.returncode == 2
    assert done.stderr == "xkeb: Unknown option of method 'tune': 'stepz': did you mean 'steps'?\n"
