"""The tasks that come with the suite: YAML files in this folder and in those below it that are registered."""

from collections.abc import Callable
from pathlib import Path

from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_tasks(register: Callable[[str, Path], None]) -> None:
    register("xkeb", Path(__file__).parent)
    register("xkeb-bmike53", Path(__file__).parent / "bmike53")
    register("xkeb-mzsre", Path(__file__).parent / "mzsre")
