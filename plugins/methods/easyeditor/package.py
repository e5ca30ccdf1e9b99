"""Imports of EasyEdit's code: the modules that are used, and none of the packages' own imports."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from xkeb.errors import RequestError, one_line

PACKAGE = "easyeditor"
VERSION = "0.0.1.dev0"
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION} einops"
ALIAS = "_xkeb_easyeditor"
"""The name under which the package is imported here; that of a checkout has its version as well. Its code imports its own
modules relatively, so any name will do, several versions stand side by side, and an ordinary import of it elsewhere finds
nothing half-made."""

BYPASSED: tuple[tuple[str, ...], ...] = (
    (),
    ("models",),
    ("trainer",),
    ("trainer", "algs"),
    ("evaluate",),
)
"""Packages inside it whose own files import all that there is, torchvision included."""
BYPASSED_IN_A_CHECKOUT = (*BYPASSED, ("util",))
"""The same of current versions. In the package, that last one's own file holds a name which its evaluation imports."""

UNUSED: Mapping[str, Mapping[str, object]] = {
    "matplotlib": {},
    "matplotlib.style": {"context": None},
    "hydra": {},
}
"""What modules that run here import and never use: large packages for names that are nothing. ROME's code imports
``matplotlib.style.context``, UltraEdit's ``hydra``."""


@dataclass(frozen=True, slots=True)
class Code:
    """One version of EasyEdit's code."""

    name: str
    """What messages call it."""
    alias: str
    """The module name of its package in this process."""
    root: Path
    """Its package folder."""
    version: str | None = None
    """Of a checkout; None of the package."""

    @property
    def is_checkout(self) -> bool:
        return self.version is not None

    def file(self, name: str) -> Path:
        """Where one of its modules, such as ``models.rome.rome_main``, would be."""
        return self.root.joinpath(*name.split(".")).with_suffix(".py")

    def module(self, name: str) -> Any:
        """One of its modules.

        Raises:
            RequestError: there is no such module in this version, or it can't be imported here.
        """
        if (whole := f"{self.alias}.{name}") in sys.modules:
            return sys.modules[whole]
        if not self.file(name).is_file():
            raise RequestError(f"{self.name} has no {self.file(name).relative_to(self.root.parent)}.")
        for folders in BYPASSED_IN_A_CHECKOUT if self.is_checkout else BYPASSED:
            package = ".".join((self.alias, *folders))
            if package not in sys.modules:
                sys.modules[package] = ModuleType(package)
                sys.modules[package].__path__ = [str(self.root.joinpath(*folders))]
        try:
            with _stand_ins():
                return importlib.import_module(whole)
        except ModuleNotFoundError as error:
            missing = error.name or self.alias
            if missing.startswith(self.alias):
                missing = missing.removeprefix(f"{self.alias}.")
                raise RequestError(f"{self.name} lacks {missing}, which its {name} imports.") from error
            raise RequestError(f"{self.name}: {name} needs {missing!r}: `pip install {missing}`.") from error
        except Exception as error:  # whatever its code does when it is imported
            raise RequestError(f"{self.name}: {name} can't be imported: {one_line(error)}.") from error


@functools.cache
def released() -> Code:
    """The code of the installed package.

    Raises:
        RequestError: it isn't installed.
    """
    require()
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations is not None
    return Code(f"EasyEdit {VERSION}", ALIAS, Path(next(iter(spec.submodule_search_locations))))


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


def module(name: str) -> Any:
    """One of the installed package's modules, such as ``models.rome.rome_main``.

    Raises:
        RequestError: it isn't installed, or imports a package that isn't.
    """
    require()
    return released().module(name)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules in the place of `UNUSED` ones, where nobody has imported those."""
    added = [name for name in UNUSED if name not in sys.modules]
    for name in added:
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(UNUSED[name])
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


@contextmanager
def having(where: ModuleType, **values: Any) -> Iterator[None]:
    """Names of one of its modules set for the time being: the caches that it keeps there would serve a second model the
    first one's."""
    before = {name: vars(where)[name] for name in values if name in vars(where)}
    vars(where).update(values)
    try:
        yield
    finally:
        for name in values.keys() - before.keys():
            vars(where).pop(name, None)
        vars(where).update(before)
