"""docs/architecture.md says of the code what the code is: the files of a case's way, the layers, the picture."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WAY = re.findall(r"^\| (\d) \| \[?`([^`]+)`[^|]*\| ([^|]+) \| ?([^|]*)\|$", PAGE, re.MULTILINE)
"""(number, file, what it does, what it may import from)."""


@pytest.fixture(scope="module")
def packages() -> ModuleType:
    """docs/site/packages.py."""
    return _site_module("packages")


@pytest.fixture(scope="module")
def drawn() -> str:
    """The picture, as it stands in the page."""
    picture: str = _site_module("picture").picture()
    return picture


def _site_module(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "docs" / "site"), *sys.path])
        return importlib.import_module(name)


def contract() -> list[list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (one["layers"] for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [re.split(r" *\| *", layer) for layer in layers]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_picture_and_the_page_have_the_layers_of_the_contract(drawn: str) -> None:
    boxes = re.findall(r'<g data-layer="(\d+)">.*?<text[^>]*>([\w.]+)</text>', drawn)
    rows = [[package for row, package in boxes if int(row) == number] for number in range(1, len(contract()) + 1)]
    assert rows == contract()
    section = PAGE.partition("\n## Layers\n")[2]
    assert [code(line) for line in re.findall(r"^\d+\. (.+)$", section, re.MULTILINE)] == contract()


def test_every_package_is_on_the_page_and_in_a_layer() -> None:
    folders = {path.parent.name for path in (ROOT / "xkeb").glob("*/__init__.py")} - {"templates"}
    modules = {path.stem for path in (ROOT / "xkeb").glob("*.py")} - {"__init__"}
    named = {name for layer in contract() for name in layer}
    assert named == {f"xkeb.{name}" for name in folders | modules} | {"xkeb_plugins", "xkeb_tasks"}
    section = PAGE.partition("\n## Packages\n")[2].partition("\n## ")[0]
    assert {code(line)[0] for line in re.findall(r"^\| (`.+)$", section, re.MULTILINE)} == named


def test_the_list_has_every_import_and_none_runs_up(packages: ModuleType) -> None:
    listed = {names[0]: set(names[1:]) for line in packages.package_list().splitlines() if (names := code(line))}
    found = packages.package_imports()
    assert found.pop("xkeb.templates") == set()  # files to be filled in, no code
    assert listed == found
    depth = {package: i for i, layer in enumerate(contract()) for package in layer}
    assert all(depth[other] > depth[package] for package, below in listed.items() for other in below)


def test_an_import_for_types_or_inside_a_function_counts(packages: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an import that runs up, the site is not built."""
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from xkeb.cli import main\n"
        "def f():\n    import xkeb.models.hub\n"
    )
    real = Path.read_text
    path = ROOT / "xkeb" / "data" / "parallel.py"
    monkeypatch.setattr(Path, "read_text", lambda self, **kw: source if self == path else real(self, **kw))
    assert packages.imported_packages("xkeb.data.parallel") == {"xkeb.cli", "xkeb.models"}
    with pytest.raises(ValueError, match=r"xkeb\.data imports xkeb\.cli"):
        packages.layered()


def test_a_case_takes_at_most_eight_files() -> None:
    assert [number for number, *_ in WAY] == [str(i) for i in range(1, len(WAY) + 1)]
    assert 4 < len(WAY) <= 8


@pytest.mark.parametrize(("file", "sentence", "may"), [row[1:] for row in WAY], ids=[row[1] for row in WAY])
def test_a_file_of_the_way_imports_only_what_the_page_says(
    file: str, sentence: str, may: str, packages: ModuleType
) -> None:
    assert (ROOT / file).is_file()
    assert sentence.strip()
    if file.endswith(".py"):
        (module,) = (name for name, path in packages.modules().items() if path == ROOT / file)
        own = {packages.package_of(module)} & {packages.package_of(name) for name in packages.imported_modules(module)}
        assert packages.imported_packages(module) | own <= set(code(may))


def test_names_on_the_way_exist() -> None:
    """What the sentences name besides files and packages."""
    editor = ast.parse((ROOT / "xkeb" / "editing" / "editor.py").read_text(encoding="utf-8"))
    assert "make_changes" in {node.name for node in editor.body if isinstance(node, ast.FunctionDef)}
    shown = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown and shown[1] == (ROOT / "tasks" / "bizsre_en2zh.yaml").read_text(encoding="utf-8")
