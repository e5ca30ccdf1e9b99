"""What is in the checkout is in the wheel, and works away from the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_wheel import Clean, build

from xkeb.tasks.task import load_definitions

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PROJECT["tool"]["setuptools"]
FOLDERS = {"xkeb": "xkeb", "xkeb_plugins": "plugins", "xkeb_tasks": "tasks", "xkeb_leaderboard": "leaderboard"}
"""Import name -> folder of the checkout: the contract's."""
SUBMITTED = ROOT / "leaderboard" / "results"
"""Results that others hand in: no part of the package."""


def shipped_files() -> set[str]:
    """Every file below the packages' folders, by the path it is imported under."""
    return {
        f"{name}/{path.relative_to(ROOT / folder).as_posix()}"
        for name, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not any(part.startswith((".", "__pycache__")) for part in path.parts[len(ROOT.parts) :])
        and not path.is_relative_to(SUBMITTED)
    }


def test_every_folder_that_holds_files_is_in_the_packages_list() -> None:
    """The list is written by hand: a new folder would silently be missing from the wheel."""
    folders = {path.rpartition("/")[0].replace("/", ".") for path in shipped_files()}
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)


def test_every_package_has_an_init_file_and_its_folder_is_mapped() -> None:
    files = shipped_files()
    assert not [name for name in SETUPTOOLS["packages"] if f"{name.replace('.', '/')}/__init__.py" not in files]
    roots = {name.partition(".")[0] for name in SETUPTOOLS["packages"]}
    assert {name: SETUPTOOLS["package-dir"][name] for name in roots} == {name: FOLDERS[name] for name in roots}


def test_the_wheel_holds_every_file_of_the_checkout_s_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    assert held == shipped_files()


def test_the_wheel_brings_its_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        about = {name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        assert "licenses/LICENSE" in about
        points = archive.read(about["entry_points.txt"]).decode()
        assert "[console_scripts]\nxkeb = xkeb.cli:main" in points
        assert "[pytest11]\nxkeb = xkeb.testing.plugin" in points


def test_the_wheel_holds_tasks_templates_and_plugins_and_nothing_else(wheel: Path) -> None:
    """No test, no document, no cache, no data of others; and each kind of file that is no module, by name."""
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in held} == set(FOLDERS)
    kinds = {(name.split("/")[0], Path(name).suffix) for name in held} - {(folder, ".py") for folder in FOLDERS}
    assert kinds == {
        ("xkeb", ".typed"),
        ("xkeb", ".jinja"),
        ("xkeb_plugins", ""),  # SHA256SUMS
        ("xkeb_plugins", ".json"),
        ("xkeb_plugins", ".toml"),
        ("xkeb_plugins", ".md"),
        ("xkeb_plugins", ".yaml"),
        ("xkeb_tasks", ".yaml"),
        ("xkeb_leaderboard", ".json"),
        ("xkeb_leaderboard", ".html"),
        ("xkeb_leaderboard", ".css"),
        ("xkeb_leaderboard", ".js"),
        ("xkeb_leaderboard", ".svg"),
    }
    assert not [name for name in held if "test_" in Path(name).stem and not name.endswith("_test.py.jinja")]
    assert {name for name in held if name.endswith(".md")} == {"xkeb_plugins/datasets/bizsre_mini/README.md"}


LIST = """
import json, sys
from pathlib import Path
import xkeb, xkeb_plugins, xkeb_tasks
from xkeb.registry.manager import get_plugins
registry = get_plugins()
for kind in (registry.methods, registry.models, registry.languages, registry.pairs, registry.metrics):
    for name in kind:
        kind.get(name)
task = xkeb.load_task("bizsre_mini_zh2en")
print(json.dumps({
    "files": [module.__file__ for module in (xkeb, xkeb_plugins, xkeb_tasks)],
    "data": [str(task.test.path), str(task.training.path)],
    "cases": len(task),
}))
"""


def test_the_wheel_works_away_from_the_checkout(clean_environment: Callable[[], Clean]) -> None:
    clean = clean_environment()

    def answer(*command: str) -> Any:
        done = clean.run(*command)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    listed = answer("xkeb", "ls", "--json")
    assert {row["name"] for row in listed["tasks"]} == set(load_definitions())
    assert {"ft", "rome", "ike"} <= {row["name"] for row in listed["methods"]}
    assert all(row["description"] for kind in ("tasks", "methods", "models") for row in listed[kind])
    found = answer("python", "-c", LIST)
    assert all(Path(path).is_relative_to(clean.bin.parent) for path in found["files"] + found["data"])
    assert found["cases"] >= 60
    doctor = clean.run("xkeb", "doctor")
    assert doctor.returncode == 0, doctor.stdout


@pytest.fixture(scope="module")
def sdist(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sdist")
    script = f"from setuptools.build_meta import build_sdist; build_sdist({str(made)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=sources, check=True, capture_output=True)
    (built,) = made.glob("*.tar.gz")
    return built


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    """From what a source distribution holds, and nothing else."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {file.filename: file.CRC for file in other.infolist() if not file.filename.endswith("/RECORD")} == {
            file.filename: file.CRC for file in one.infolist() if not file.filename.endswith("/RECORD")
        }


def test_an_index_would_take_it(wheel: Path, sdist: Path) -> None:
    """By `twine check`, which reads the metadata and renders the description."""
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", str(wheel), str(sdist)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
