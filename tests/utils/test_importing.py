"""What is imported while Python looks for no garbage."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import gc, importlib.abc, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("torch", "transformers"):
            print(name, gc.isenabled())
sys.meta_path.insert(0, Finder())
from xkeb.cli import main
sys.argv = ["xkeb", "run", "--tasks", "no_such_task", "--model", "gemma3-270m"]
try:
    main()
finally:
    print("then", gc.isenabled())
"""


def test_a_run_imports_torch_without_looking_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert "Unknown task 'no_such_task'" in done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "torch False" and set(said[:-1]) <= {"torch False", "transformers False"}
    assert said[-1] == "then True"
