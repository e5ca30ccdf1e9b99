"""``xkeb new``: a package that works as it is, or one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from built_wheel import Clean
from command_line import Xkeb

pytest_plugins = ("command_line",)

NAMES = {"method": "first-step", "model": "my_model", "language": "eo", "task": "rivers"}


@pytest.mark.parametrize(("kind", "name"), NAMES.items())
def test_it_writes_a_package_of_one_module(xkeb_cli: Xkeb, tmp_path: Path, kind: str, name: str) -> None:
    done = xkeb_cli("new", kind, name, "--output", tmp_path)
    folder, identifier = tmp_path / f"xkeb-{name.replace('_', '-')}", name.replace("-", "_")
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"Next: pip install -e {folder}"
    module = (
        {f"xkeb_{identifier}/__init__.py", f"xkeb_{identifier}/rivers.yaml", f"xkeb_{identifier}/rivers.jsonl"}
        if kind == "task"
        else {f"xkeb_{identifier}.py"}
    )
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {"pyproject.toml", "README.md", f"test_{identifier}.py", *module}
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == folder.name
    assert project["entry-points"]["xkeb"] == {name: f"xkeb_{identifier}"}
    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if "{{" in text or "{%" in text or not text.endswith("\n")]
    test = [line for line in texts[folder / f"test_{identifier}.py"].splitlines() if line.strip()]
    assert len(test) <= 3


@pytest.fixture(scope="module")
def generated(clean_environment: Callable[[], Clean]) -> Clean:
    """All four, in an empty folder where only the wheel is installed; the first of them editable, as its README says."""
    clean = clean_environment()
    for kind, name in NAMES.items():
        done = clean.run("xkeb", "new", kind, name)
        assert done.returncode == 0, done.stderr
    clean.install(
        "-e", clean.folder / "xkeb-first-step", *(clean.folder / f"xkeb-{n}" for n in ("my-model", "eo", "rivers"))
    )
    return clean


def test_its_own_tests_pass(generated: Clean) -> None:
    files = [path.relative_to(generated.folder) for path in generated.folder.glob("xkeb-*/test_*.py")]
    done = generated.run("pytest", "-q", *files)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_they_run_together(generated: Clean, tiny_folders: dict[str, Path]) -> None:
    """The generated method edits the generated model, by the generated task."""
    done = generated.run(
        "xkeb", "run", "--tasks", "rivers", "--model", "my_model", "--model-args", f"path={tiny_folders['gpt2']}",
        "--methods", "first-step", "--method-args", "first-step.steps=5", "--output", "results",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = generated.folder / "results" / "rivers" / "my_model" / "first-step"
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["case_ids"] == ["0", "1"]
    assert result["method"]["params"] == {"layer": None, "steps": 5, "lr": 1e-3}
    listed = json.loads(generated.run("xkeb", "ls", "--json").stdout)
    for kind, name in (("methods", "first-step"), ("models", "my_model"), ("languages", "eo"), ("tasks", "rivers")):
        assert name in {row["name"] for row in listed[kind]}


def test_a_generated_task_needs_no_installing(tmp_path: Path, xkeb_cli: Xkeb) -> None:
    from xkeb.testing import check_task

    xkeb_cli("new", "task", "rivers", "--output", tmp_path)
    check_task("rivers", include=[tmp_path / "xkeb-rivers" / "xkeb_rivers"])


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("method", "rome", "There is a method 'rome' already, of plugin 'xkeb_plugins.methods'; choose another name."),
        ("model", "hf", "There is a model 'hf' already, of plugin 'xkeb_plugins.models'; choose another name."),
        (
            "language",
            "zh",
            "There is a language 'zh' already, of plugin 'xkeb_plugins.languages'; choose another name.",
        ),
        ("task", "bizsre_mini", "There is a task 'bizsre_mini' already, of "),
        ("method", "plugins", "A module 'xkeb_plugins' is installed already; choose another name than 'plugins'."),
        (
            "language",
            "italian",
            "A language is named by its ISO 639 code, two or three lower-case letters; not 'italian'.",
        ),
        (
            "method",
            "../up",
            "A method is named by lower-case letters and digits, a letter first, with single hyphens or ",
        ),
        ("method", "My Step", "such as my-method; not 'My Step'."),
        ("model", "7b", "such as my-model; not '7b'."),
        ("method", "a--b", "such as my-method; not 'a--b'."),
        ("method", "été", "such as my-method; not 'été'."),
        ("task", "a\n", "such as my-task; not 'a\\n'."),
    ],
)
def test_a_name_that_can_t_be_is_refused(xkeb_cli: Xkeb, tmp_path: Path, kind: str, name: str, sentence: str) -> None:
    done = xkeb_cli("new", kind, name, "--output", tmp_path)
    assert done.status == 2
    assert done.err.startswith("xkeb: ") and sentence in done.err and done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_as_it_is(xkeb_cli: Xkeb, tmp_path: Path) -> None:
    (tmp_path / "xkeb-mine").mkdir()
    (tmp_path / "xkeb-mine" / "pyproject.toml").write_text("years of work")
    done = xkeb_cli("new", "method", "mine", "--output", tmp_path)
    assert done.status == 2
    assert done.err == (
        f"xkeb: {tmp_path / 'xkeb-mine'} is there already, and is left as it is; choose another name or --output.\n"
    )
    assert [path.name for path in (tmp_path / "xkeb-mine").iterdir()] == ["pyproject.toml"]
    assert (tmp_path / "xkeb-mine" / "pyproject.toml").read_text() == "years of work"


def test_a_folder_that_can_t_be_made_is_named(xkeb_cli: Xkeb, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = xkeb_cli("new", "method", "mine", "--output", tmp_path / "file")
    assert (done.status, done.err) == (2, f"xkeb: {tmp_path / 'file' / 'xkeb-mine'} can't be made: Not a directory.\n")


def test_a_name_that_means_something_in_python_still_works(xkeb_cli: Xkeb, tmp_path: Path) -> None:
    modules: list[Path] = []
    for kind in ("method", "model", "task"):
        for name in ("true", "class", "f", "torch", "path"):
            assert xkeb_cli("new", kind, name, "--output", tmp_path / kind).status == 0
            modules += (tmp_path / kind / f"xkeb-{name}").glob("xkeb_*")
    assert len(modules) == 15
    script = "import runpy, sys; [runpy.run_path(path) for path in sys.argv[1:]]"
    files = [module / "__init__.py" if module.is_dir() else module for module in modules]
    subprocess.run([sys.executable, "-c", script, *map(str, files)], check=True, timeout=120)
