"""Constraints that pin every dependency to the lowest version that pyproject.toml promises.

torch stays as constraints.txt has it: another release of it is a download of gigabytes. What isn't a dependency of the
project's own is free.

    python .ci/lowest.py > constraints-lowest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
BOUND = re.compile(r"^([A-Za-z0-9_.-]+)>=([0-9][^,;]*)$")
PINNED = ("torch",)


def lowest(project: dict[str, object], pins: dict[str, str]) -> list[str]:
    """``name==version`` of every dependency with a lower bound, those of the extras included."""
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict) and isinstance(project["dependencies"], list)
    wanted = [*project["dependencies"], *(one for extra in optional.values() for one in extra)]
    lines = []
    for one in wanted:
        if match := BOUND.match(one):
            name, version = match.groups()
            lines.append(f"{name}=={pins[name] if name in PINNED else version}")
    return sorted(set(lines))


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    sys.stdout.write("\n".join(lowest(project, pins)) + "\n")


if __name__ == "__main__":
    main()
