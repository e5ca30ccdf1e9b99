"""Run files: options of ``xkeb run`` in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from xkeb.cli.options import split_names
from xkeb.errors import RequestError, one_line, unknown

PAPER = "paper"
"""The shipped file that has the paper's whole table."""
METHOD_DEFAULTS = "xkeb.method_defaults"
"""Where a context keeps a file's options of methods, which the command line's are put on top of."""


def run_file(path: Path) -> Path:
    """The file itself, or the shipped one of that name."""
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path
    from xkeb.registry.manager import get_plugins

    folders = [Path(get_plugins().task_folders.get(name)) / "runs" for name in get_plugins().task_folders]
    shipped = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
    if path.name not in shipped:
        raise unknown("run file", path.name, shipped)
    return shipped[path.name]


def paper_tasks() -> list[str]:
    """The tasks of the paper's own run file, which is shipped."""
    from xkeb.utils.yaml_files import load_yaml

    tasks: str | list[str] = load_yaml(run_file(Path(PAPER)).read_text(encoding="utf-8"))["tasks"]
    return split_names(tasks) if isinstance(tasks, str) else tasks


def read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Options from a file become the command's defaults; what stands on the command line wins."""
    if path is None:
        return None
    path = run_file(path)
    import yaml

    from xkeb.utils.yaml_files import AbsurdYamlError, load_yaml

    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except AbsurdYamlError as error:
        raise RequestError(f"The run file {path} {error}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"Can't read the run file {path}: {one_line(error)}.") from error
    if not isinstance(values, dict):
        raise RequestError(f"{path} should map options of `xkeb run` to values.")
    options = {
        option: p
        for p in ctx.command.params
        if p.name != "config"
        for option in [p.opts[-1].lstrip("-").replace("-", "_")]
    }
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        option = str(key).replace("-", "_")
        if option not in options:
            raise RequestError(f"{path}: {unknown('option', str(key), options)}")
        if value is None:  # as if it weren't there
            continue
        if option == "method_args" and isinstance(value, Mapping):
            ctx.meta[METHOD_DEFAULTS] = dict(value)
            continue
        several = getattr(options[option], "multiple", False)  # an option that may be given often takes a list as it is
        given = value if several and isinstance(value, list) else _flat(value)
        if isinstance(options[option].type, click.Path):
            _check_names(given, f"{path}: {key}")
        defaults[str(options[option].name)] = given
    ctx.default_map = defaults
    return path


def _check_names(given: Any, where: str) -> None:
    """Refuses what YAML doesn't read as text where a file or folder is named."""
    for name in given if isinstance(given, list) else [given]:
        if not isinstance(name, str):
            raise RequestError(f"{where} names a file or folder, and YAML reads {name} as no text: put it in quotes.")


def _flat(value: Any) -> Any:
    """A YAML list or mapping as the command line would write it."""
    if isinstance(value, Mapping):
        from xkeb.registry.formatting import format_options

        return format_options(value)
    return ",".join(str(item) for item in value) if isinstance(value, list) else value
