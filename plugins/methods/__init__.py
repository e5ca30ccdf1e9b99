"""The editing methods that come with the suite."""

from collections.abc import Callable
from typing import Any

from xkeb.hookspecs import hookimpl


@hookimpl
def register_editors(register: Callable[[str, type[Any] | str], None]) -> None:
    register("ft", "xkeb_plugins.methods.ft:FineTuning")
    register("ike", "xkeb_plugins.methods.ike:InContext")
    register("ike-published", "xkeb_plugins.methods.ike:PublishedInContext")
    register("rome", "xkeb_plugins.methods.rome:Rome")
