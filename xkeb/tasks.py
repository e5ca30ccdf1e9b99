"""Tasks: a data set, a direction and a version, by name. Their YAML is read by `xkeb.task_files`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.datasets import Dataset, Loaded
from xkeb.errors import PluginWarning, RequestError, XkebError, unknown
from xkeb.plugins import BUILTINS, plugins
from xkeb.task_files import Definition, GroupFile, TaskFile, pair_named, read_definitions
from xkeb.types import Case, LanguagePair


@dataclass(frozen=True)
class Task:
    """A task whose data can be read. Iterates over its cases."""

    name: str
    version: int
    dataset: Dataset
    pair: LanguagePair
    description: str = ""
    data_dir: Path | None = None
    aligned: bool = False
    """Whether a subject that its question doesn't hold letter for letter is looked for further (`xkeb.subjects`)."""

    @functools.cached_property
    def loaded(self) -> Loaded:
        """The test file: cases, skipped records, path and hash."""
        loaded = self.dataset.test(self.pair, self.data_dir)
        return loaded.aligned() if self.aligned else loaded

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
        raise RequestError(f"{name!r} is a group of tasks: {', '.join(expand([name], include))}.")
    return task_of(content, Path(data_dir) if data_dir else None)


def task_of(content: TaskFile, data_dir: Path | None = None) -> Task:
    """What a task file says, as a task."""
    own = content.dataset
    return Task(
        content.task,
        content.version,
        plugins().datasets.get(own) if isinstance(own, str) else own.dataset(),
        pair_named(content.pair),
        content.description,
        data_dir,
        content.subject == "aligned",
    )


def expand(names: Sequence[str], include: Sequence[Path] = ()) -> list[str]:
    """Names of tasks, with each group replaced by its members, in order and once each."""
    known = definitions(include)
    flat: dict[str, None] = {}
    pending = list(names)
    while pending:
        name = pending.pop(0)
        if name not in known:
            raise unknown("task", name, known)
        content = known[name].content
        if isinstance(content, GroupFile):
            pending = [*content.tasks, *pending]
        else:
            flat[name] = None
    return list(flat)


def definitions(include: Sequence[Path] = ()) -> dict[str, Definition]:
    """Every task and group: those of the suite, of other plugins, then of `include`. A name defined twice is an error, but a
    plugin's folder that is wrong is left out, with a `PluginWarning`."""
    folders = plugins().task_folders
    entries = sorted(folders.entries.items(), key=lambda item: (item[1].plugin not in BUILTINS, item[0]))
    found: dict[str, Definition] = {}
    for name, entry in entries:
        try:
            there = _in_folder(Path(folders.get(name)), found)
            for definition in there.values():
                check_members(definition, {**found, **there})
            found |= there
        except XkebError as error:
            if entry.plugin in BUILTINS:
                raise
            problem = f"Plugin {plugins().packages[entry.plugin]} registers the task folder {name!r}: {error}"
            warnings.warn(f"{problem} It is left out.", PluginWarning, stacklevel=2)
    for folder in include:
        found |= _in_folder(folder, found)
    for definition in found.values():
        check_members(definition, found)
    return found


def _in_folder(folder: Path, known: Mapping[str, Definition]) -> dict[str, Definition]:
    """What a folder defines beside what is known."""
    if not folder.is_dir():
        raise RequestError(f"There is no task folder {folder}.")
    found: dict[str, Definition] = {}
    for path in sorted(folder.glob("*.yaml")):
        for definition in read_definitions(path):
            if other := {**known, **found}.get(definition.name):
                raise RequestError(f"{path} and {other.path} both define {definition.name!r}.")
            found[definition.name] = definition
    return found


def check_members(definition: Definition, known: Mapping[str, Definition]) -> None:
    """Refuses a group that names what is neither a task nor a group, or that is among its own members."""
    pending: list[tuple[Definition, tuple[str, ...]]] = [(definition, (definition.name,))]
    while pending:
        group, above = pending.pop()
        for member in group.content.tasks if isinstance(group.content, GroupFile) else ():
            if member not in known:
                raise unknown(f"task in group {group.name!r} ({group.path}):", member, known)
            if member in above:
                raise RequestError(f"Group {member!r} ({known[member].path}) is among its own members.")
            pending.append((known[member], (*above, member)))
