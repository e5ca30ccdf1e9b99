"""Imports of EasyEdit's code: the modules that are used, and none of the packages' own imports."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from xkeb.errors import RequestError

PACKAGE = "easyeditor"
VERSION = "0.0.1.dev0"
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION} einops"
ALIAS = "_xkeb_easyeditor"
"""The name under which the package is imported here. It imports its own modules relatively, so any name will do, and an
ordinary import of it elsewhere finds nothing half-made."""

BYPASSED: tuple[tuple[str, ...], ...] = ((), ("models",), ("trainer",), ("trainer", "algs"), ("evaluate",))
"""Packages inside it whose own files import all that there is, torchvision included."""


def require(packages: Sequence[str] = (PACKAGE, "einops")) -> None:
    """
    Raises:
        RequestError: a package is missing, or EasyEdit is there in another version; says how to get it.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            f"This method runs EasyEdit's code, and {' and '.join(missing)} can't be found: `{INSTALL}`."
        )
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    if version != VERSION:
        raise RequestError(f"This method runs EasyEdit's code, version {VERSION}, not {version}: `{INSTALL}`.")


@functools.cache
def module(name: str) -> Any:
    """One of its modules, such as ``models.rome.rome_main``.

    Raises:
        RequestError: it imports a package that isn't installed.
    """
    require()
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations is not None
    root = Path(next(iter(spec.submodule_search_locations)))
    for folders in BYPASSED:
        package = ".".join((ALIAS, *folders))
        if package not in sys.modules:
            sys.modules[package] = ModuleType(package)
            sys.modules[package].__path__ = [str(root.joinpath(*folders))]
    try:
        with _stand_ins():
            return importlib.import_module(f"{ALIAS}.{name}")
    except ModuleNotFoundError as error:
        if (error.name or ALIAS).startswith(ALIAS):
            raise
        raise RequestError(f"EasyEdit's {name} needs {error.name!r}: `pip install {error.name}`.") from error


@contextmanager
def _stand_ins() -> Iterator[None]:
    """ROME's code imports ``matplotlib.style.context`` and never uses it: a large package for a name that is nothing."""
    added = [name for name in ("matplotlib", "matplotlib.style") if name not in sys.modules]
    for name in added:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].context = None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


@contextmanager
def having(where: ModuleType, **values: Any) -> Iterator[None]:
    """Names of one of its modules set for the time being: the caches that it keeps there would serve a second model the
    first one's."""
    before = {name: getattr(where, name) for name in values}
    vars(where).update(values)
    try:
        yield
    finally:
        vars(where).update(before)
