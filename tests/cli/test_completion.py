"""What a shell is told when it asks how a word may go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def completions(line: str) -> set[str]:
    """For the last word of a command line, as bash asks."""
    script = "import sys; from xkeb.cli import main; main()"
    environment = {"_XKEB_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return {told.partition(",")[2] for told in done.stdout.split()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("xkeb ru", {"run"}),
        ("xkeb run --methods ro", {"rome"}),
        ("xkeb run --methods ft,rom", {"ft,rome"}),
        ("xkeb run --methods al", {"all", "alphaedit"}),
        ("xkeb run --model smol", {"smollm2-135m"}),
        (
            "xkeb run --tasks bizsre_mini,bizsre_mini_",
            {"bizsre_mini,bizsre_mini_en2zh", "bizsre_mini,bizsre_mini_zh2en"},
        ),
        ("xkeb train --methods ro", {"rome"}),
        ("xkeb edit --method me", {"memit", "memoir", "mend"}),
        ("xkeb run --methods rome,rom", set()),
        ("xkeb nosuch --x", set()),
    ],
)
def test_names_go_on(line: str, expected: set[str]) -> None:
    assert completions(line) == expected


def test_tasks_of_one_s_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: my_rivers\nversion: 1\ndataset: bizsre_mini\npair: en-zh\n")
    assert completions(f"xkeb run --include-path {tmp_path} --tasks my_") == {"my_rivers"}
