"""The packages of the suite: what each imports, by the code, and in which layer it stands, by pyproject.toml."""

from __future__ import annotations

import ast
import functools
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"xkeb": "xkeb", "plugins": "xkeb_plugins", "tasks": "xkeb_tasks"}
"""Folder of the repository -> the name that it is imported by."""

Imports = dict[str, set[str]]
"""Package -> the other packages that it imports."""


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the suite by its dotted name."""
    paths = {}
    for folder, name in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            paths[".".join((name, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return paths


def package_of(module: str) -> str:
    """``xkeb.models.hf.hub`` -> ``xkeb.models``; ``xkeb_plugins.metrics`` -> ``xkeb_plugins``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "xkeb" else parts[0]


def imported_modules(module: str) -> set[str]:
    """The modules of the suite that a module imports: also inside a function, and for its types only."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
            members = {f"{base}.{alias.name}" for alias in node.names}
            names |= {member if member in modules() else base for member in members}
    return {name for name in names if name.split(".")[0] in FOLDERS.values()}


def imported_packages(module: str) -> set[str]:
    """The packages that a module imports from, its own left out."""
    return {package_of(name) for name in imported_modules(module)} - {package_of(module)}


def package_imports() -> Imports:
    """What each package imports. ``xkeb`` itself, the public names, is left out: it only says where they stand."""
    imports: Imports = {}
    for module in modules():
        if module != "xkeb":
            imports.setdefault(package_of(module), set()).update(imported_packages(module))
    return imports


def contract() -> list[list[str]]:
    """The layers of pyproject.toml, from the top down; packages of one layer don't import one another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def layered() -> tuple[list[list[str]], Imports]:
    """The layers, and the imports among their packages.

    Raises:
        ValueError: a package is in no layer, or an import runs up or across.
    """
    layers, imports = contract(), package_imports()
    depth = {package: i for i, layer in enumerate(layers) for package in layer}
    for package, below in imports.items():
        for other in sorted(below):
            if package not in depth or other not in depth:
                raise ValueError(f"{package} imports {other}; both should stand in a layer of pyproject.toml")
            if depth[other] <= depth[package]:
                raise ValueError(f"{package} imports {other}, which does not stand in a layer below it")
    return layers, {package: imports.get(package, set()) for layer in layers for package in layer}


def direct(imports: Imports) -> Imports:
    """The imports without those that a longer way gives as well: a picture of them says the same with fewer lines."""
    return {
        package: {other for other in below if not any(other in reached(imports, via) for via in below - {other})}
        for package, below in imports.items()
    }


def reached(imports: Imports, package: str) -> set[str]:
    """All that a package imports, directly or not."""
    return {name for other in imports[package] for name in {other, *reached(imports, other)}}


def package_list() -> str:
    """Each layer with its packages and their imports, as Markdown."""
    layers, imports = layered()
    lines = []
    for number, layer in enumerate(layers, 1):
        lines.append(f"{number}. Layer {number} of {len(layers)}\n")
        for package in layer:
            names = ", ".join(f"`{name}`" for name in sorted(imports[package])) or "no other package"
            lines.append(f"    - `{package}` imports {names}")
        lines.append("")
    return "\n".join(lines)
