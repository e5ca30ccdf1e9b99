"""Tasks: a data set, a direction and a version, in a few lines of YAML."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xkeb.datasets import Dataset, Loaded
from xkeb.errors import RequestError, unknown
from xkeb.plugins import Plugins, plugins
from xkeb.types import Case, LanguagePair


class TaskFile(BaseModel):
    """The keys of a task."""

    model_config = ConfigDict(extra="forbid")
    task: str
    version: int = Field(ge=1)
    dataset: str
    pair: str
    description: str = ""


class GroupFile(BaseModel):
    """The keys of a group: a name for several tasks."""

    model_config = ConfigDict(extra="forbid")
    group: str
    tasks: list[str] = Field(min_length=1)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One YAML file, checked."""

    path: Path
    content: TaskFile | GroupFile

    @property
    def name(self) -> str:
        return self.content.task if isinstance(self.content, TaskFile) else self.content.group


@dataclass(frozen=True)
class Task:
    """A task whose data can be read. Iterates over its cases."""

    name: str
    version: int
    dataset: Dataset
    pair: LanguagePair
    description: str = ""
    data_dir: Path | None = None

    @functools.cached_property
    def loaded(self) -> Loaded:
        """The test file: cases, skipped records, path and hash."""
        return self.dataset.test(self.pair, self.data_dir)

    @functools.cached_property
    def training(self) -> Loaded:
        """The training file of the source language."""
        return self.dataset.training(self.pair.source, self.data_dir)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.loaded.cases)

    def __len__(self) -> int:
        return len(self.loaded.cases)


def load_task(name: str, *, data_dir: Path | str | None = None, include: Sequence[Path] = ()) -> Task:
    """The task of that name; its files are read when it is first iterated.

    Raises:
        RequestError: an unknown task, or a group.
    """
    known = definitions(include)
    if name not in known:
        raise unknown("task", name, known)
    content = known[name].content
    if isinstance(content, GroupFile):
        raise RequestError(f"{name!r} is a group of tasks: {', '.join(content.tasks)}.")
    catalogue = plugins()
    return Task(
        content.task,
        content.version,
        catalogue.datasets.get(content.dataset),
        catalogue.pairs.get(content.pair),
        content.description,
        Path(data_dir) if data_dir else None,
    )


def expand(names: Sequence[str], include: Sequence[Path] = ()) -> list[str]:
    """Names of tasks, with each group replaced by its members, in order and once each."""
    known = definitions(include)
    flat: dict[str, None] = {}
    for name in names:
        if name not in known:
            raise unknown("task", name, known)
        content = known[name].content
        for member in content.tasks if isinstance(content, GroupFile) else [name]:
            flat[member] = None
    return list(flat)


def definitions(include: Sequence[Path] = ()) -> dict[str, Definition]:
    """Every task and group: the plugins' folders, then those of `include`. A name defined twice is an error."""
    found: dict[str, Definition] = {}
    registered = [Path(plugins().task_folders.get(name)) for name in plugins().task_folders]
    for folder in [*registered, *include]:
        if not folder.is_dir():
            raise RequestError(f"There is no task folder {folder}.")
        for path in sorted(folder.glob("*.yaml")):
            definition = read_definition(path)
            if definition.name in found:
                raise RequestError(f"{path} and {found[definition.name].path} both define {definition.name!r}.")
            found[definition.name] = definition
    for definition in found.values():
        check_members(definition, found)
    return found


def check_members(definition: Definition, known: Mapping[str, Definition]) -> None:
    """Refuses a group that names something else than tasks."""
    if isinstance(definition.content, GroupFile):
        for member in definition.content.tasks:
            if member not in known or isinstance(known[member].content, GroupFile):
                raise unknown(f"task in group {definition.name!r} ({definition.path}):", member, known)


def read_definition(path: Path) -> Definition:
    """A task or group file, with its ``include`` resolved and every key checked.

    Raises:
        RequestError: names the file, the line and the key.
    """
    values, lines = _read_yaml(path, set())
    if "task" not in values and "group" not in values:
        raise RequestError(f"{path}:1: neither `task` nor `group` is set.")
    model: type[TaskFile | GroupFile] = GroupFile if "group" in values else TaskFile
    for key in values:
        if key not in model.model_fields:
            raise RequestError(f"{lines.get(str(key), f'{path}:1')}: {unknown('key', str(key), model.model_fields)}")
    try:
        content = model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        raise RequestError(f"{lines.get(key, f'{path}:1')}: {key}: {first['msg']}.") from error
    if isinstance(content, TaskFile):
        _check_names(content, lines, plugins())
    return Definition(path, content)


def _check_names(content: TaskFile, lines: dict[str, str], catalogue: Plugins) -> None:
    for language in content.pair.split("-"):
        if language not in catalogue.languages:
            raise RequestError(f"{lines['pair']}: {unknown('language', language, catalogue.languages)}")
    for key, names in (("dataset", catalogue.datasets), ("pair", catalogue.pairs)):
        if getattr(content, key) not in names:
            raise RequestError(f"{lines[key]}: {unknown(names.kind, getattr(content, key), names)}")


def _read_yaml(path: Path, seen: set[Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """The mapping in a file and where each key stands ("file:line"); keys of an included file come first."""
    if path.resolve() in seen:
        raise RequestError(f"{path} includes itself.")
    seen = seen | {path.resolve()}
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise RequestError(f"Can't read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise RequestError(f"{path}:{line}: not YAML: {getattr(error, 'problem', None) or error}.") from error
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise RequestError(f"{path}:1: expected a mapping of keys to values.")
    lines = {str(key.value): f"{path}:{key.start_mark.line + 1}" for key, _ in node.value}
    if "include" not in values:
        return values, lines
    base, base_lines = _read_yaml(path.parent / str(values.pop("include")), seen)
    return base | values, base_lines | lines
