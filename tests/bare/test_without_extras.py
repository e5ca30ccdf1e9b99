"""What works without any extra, and what a part whose extra is missing says: `make bare` runs this in an environment that
has none. Elsewhere the packages are hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HIDDEN = (
    "datasets",
    "gdown",
    "gguf",
    "peft",
    "pooch",
    "ray",
    "requests",
    "sentence_transformers",
    "sentencepiece",
    "wandb",
)
"""Packages that only an extra brings."""

PRELUDE = f"""
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def hiding(name, path=None, target=None):
    return None if name.partition(".")[0] in {HIDDEN!r} else find_spec(name, path, target)

PathFinder.find_spec = staticmethod(hiding)
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, cwd=folder, timeout=300, check=False
    )


def command(*arguments: str) -> str:
    return f"import sys; sys.argv = {['xkeb', *arguments]!r}; from xkeb.cli import main; main()"


@pytest.mark.parametrize(
    "arguments", [("--help",), ("ls",), ("ls", "methods", "--json"), ("data", "ls"), ("run", "--help")]
)
def test_commands_that_load_no_model_work(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(command(*arguments), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_model_is_edited_and_measured(tmp_path: Path) -> None:
    done = run(
        "from pathlib import Path; from xkeb.testing.small import save_small; import xkeb\n"
        "folder = save_small(Path('small'))\n"
        "task = __import__('xkeb.tasks.task', fromlist=['shipped_task']).shipped_task().name\n"
        "(result,) = xkeb.evaluate(tasks=task, model='hf', methods='ft', limit=1,\n"
        "    model_args={'path': str(folder)}, method_args={'ft.steps': 2}, output='out', device='cpu')\n"
        "print(result.method.name, len(result.case_ids))\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ft", "1"]


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (("data", "fetch", "mzsre", "--data-dir", "data"), "gdown", "fetch"),
        (
            ("run", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", "path=x", "--observe", "wandb"),
            "wandb",
            "wandb",
        ),
        (
            ("run", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", "path=x", "--executor", "ray"),
            "ray",
            "ray",
        ),
    ],
)
def test_a_part_whose_extra_is_missing_says_how_to_get_it(
    arguments: tuple[str, ...], package: str, extra: str, tmp_path: Path
) -> None:
    if "--model" in arguments:
        made = run(
            "from pathlib import Path; from xkeb.testing.small import save_small; save_small(Path('x'))", tmp_path
        )
        assert made.returncode == 0, made.stderr
    done = run(command(*arguments), tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("xkeb: ")]
    assert f"needs {package}, which isn't installed: pip install 'xkeb[{extra}]'." in line
    assert "Traceback" not in done.stderr
