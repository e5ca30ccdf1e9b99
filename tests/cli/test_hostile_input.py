"""``benchmarks/fuzz.py`` in short: hostile files and options end in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FUZZ), *arguments], capture_output=True, text=True, timeout=500, check=False
    )


def test_a_few_inputs_of_each_kind() -> None:
    done = fuzz("--inputs", "25")
    assert done.returncode == 0, done.stdout
    rows = [line.split("\t")[:3] for line in done.stdout.splitlines()[1:]]
    assert rows == [[name, "25", "0"] for name in ("task", "run-file", "options", "records", "result", "journal")]


def test_it_finds_what_is_wrong(tmp_path: Path) -> None:
    """A check of the check: a command that shows its exceptions is found out."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import fuzz, fuzz_inputs, fuzz_targets\n"
        "from hypothesis import strategies as st\n"
        "import xkeb.cli\n"
        "def broken():\n"
        "    raise KeyError('status')\n"
        "fuzz.xkeb = broken\n"
        "found = fuzz.fuzz(fuzz_targets.Target(st.just(b'x'), lambda data, folder: [['validate', 'x']], []), 5, 0)\n"
        "print(found.count, list(found.shortest))\n"
        "def untidy():\n"
        "    open('x.part', 'w').close()\n"
        "fuzz.xkeb = untidy\n"
        "found = fuzz.fuzz(fuzz_targets.Target(st.just(b'x'), lambda data, folder: [['validate', 'x']], []), 5, 0)\n"
        "print(list(found.shortest))\n"
        "def refusing():\n"
        "    print('xkeb: no.', file=sys.stderr)\n"
        "    sys.exit(2)\n"
        "fuzz.xkeb = refusing\n"
        "target = fuzz_targets.Target(st.just(b'x'), lambda data, folder: [['validate', 'x']], [b'y'])\n"
        "try:\n"
        "    fuzz.check_sound(target)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(FUZZ.parent)],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
        cwd=tmp_path,
    )
    assert "KeyError at <string>:" in done.stdout
    assert "A sound input is refused by validate, with 2: xkeb: no." in done.stdout
    assert "['validate: a half-written file is left: x.part']" in done.stdout
