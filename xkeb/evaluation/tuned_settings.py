"""The file that a tuning writes, and `xkeb run --settings` reads: settings, with where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xkeb.errors import RequestError, one_line
from xkeb.evaluation.job import Job
from xkeb.utils.files import write_atomically
from xkeb.utils.yaml_files import load_yaml


@dataclass(frozen=True, slots=True)
class TunedSettings:
    """What a run takes from such a file."""

    path: Path
    method: str
    model: str
    """Display name of the model that the settings were chosen on."""
    settings: Mapping[str, Any]

    @property
    def method_args(self) -> dict[str, Any]:
        """The settings as ``--method-args`` has them."""
        return {f"{self.method}.{name}": value for name, value in self.settings.items()}

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuses a run for which the settings were not chosen.

        Raises:
            RequestError: the run has another model, or doesn't have the method.
        """
        methods = sorted({job.method for job in jobs})
        if self.method not in methods:
            raise RequestError(
                f"{self.path} has settings of {self.method!r}, which is not a method of this run: {', '.join(methods)}."
            )
        # The display name: the weights' hash is known only when they are loaded.
        others = sorted({job.model for job in jobs} - {self.model})
        if others:
            raise RequestError(
                f"{self.path} has settings that were chosen on {self.model!r}, and this run has the model {', '.join(others)}."
            )


def read_settings(path: Path) -> TunedSettings:
    """The settings of a file.

    Raises:
        RequestError: it can't be read, or is no such file.
    """
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"Can't read the settings file {path}: {one_line(error)}.") from error
    shape: dict[str, type] = {"method": str, "settings": dict, "model": dict}
    for key, kind in shape.items():
        if not isinstance(values, dict) or not isinstance(values.get(key), kind):
            raise RequestError(f"{path} is no settings file of `xkeb tune`: it lacks {key!r}.")
    if not isinstance(values["model"].get("name"), str):
        raise RequestError(f"{path} is no settings file of `xkeb tune`: it lacks 'model.name'.")
    return TunedSettings(path, values["method"], values["model"]["name"], values["settings"])


class _Dumper(yaml.SafeDumper):
    """Writes flat lists and mappings on one line, and nothing as an alias."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_settings(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a settings file.

    Raises:
        RequestError: it can't be written.
    """
    text = yaml.dump(
        dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
    head = f"# Written by `xkeb tune`. To use it: xkeb run --settings {path.name} ..\n"
    try:
        write_atomically(path, head + text)
    except OSError as error:
        raise RequestError(f"Can't write {path}: {error.strerror}.") from error
