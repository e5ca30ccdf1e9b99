"""Fixture: packages of plugins, as they are once pip has installed them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xkeb.registry.manager import PluginManager

Install = Callable[..., PluginManager]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """The registries as they are once more packages are installed: modules on the path, with the files that pip writes
    beside them. Each package is given as (name, version, source of its one module)."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def build(*packages: tuple[str, str, str]) -> PluginManager:
        for name, version, source in packages:
            module = name.replace("-", "_")
            made.append(module)
            (tmp_path / f"{module}.py").write_text("import xkeb\n" + source, encoding="utf-8")
            about = tmp_path / f"{module}-{version}.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (about / "entry_points.txt").write_text(f"[xkeb]\nmine = {module}\n")
        importlib.invalidate_caches()
        return PluginManager()

    yield build
    for module in made:
        sys.modules.pop(module, None)


MAX: Any = max
"""What `metric` registers unless told otherwise."""


def metric(name: str, thing: str = "max") -> str:
    return f'@xkeb.hookimpl\ndef register_metrics(register):\n    register("{name}", {thing})\n'


def command(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``xkeb ARGUMENTS`` with the packages that were installed there."""
    return subprocess.run(
        [sys.executable, "-m", "xkeb.cli", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
