"""What runs the jobs of a plan."""

from collections.abc import Callable
from typing import Any

from xkeb.registry.hookspecs import hookimpl


@hookimpl
def register_executors(register: Callable[[str, Callable[..., Any] | str], None]) -> None:
    register("local", "xkeb.evaluation.executors.local:run_jobs")
    register("ray", "xkeb_plugins.executors.ray.executor:RayExecutor")
