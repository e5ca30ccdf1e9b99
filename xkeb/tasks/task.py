"""Tasks: a data set, a direction and a version, by name. Their YAML is read by `xkeb.tasks.config`."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.data.dataset import Dataset, Split, joint_hash
from xkeb.errors import SAMPLED, NotHereError, PluginWarning, RequestError, XkebError, unknown
from xkeb.registry.manager import get_plugins
from xkeb.results.regime import SINGLE, Regime
from xkeb.results.slices import normal
from xkeb.tasks.config import Definition, GroupFile, TaskFile, read_definitions
from xkeb.types import Case, Direction, Edit, PromptStyle


@dataclass(frozen=True)
class Task:
    """A task whose data can be read. Iterates over its cases."""

    name: str
    version: int
    dataset: Dataset
    pair: Direction
    """Its languages: a pair, a source with several targets, or a source alone."""
    description: str = ""
    data_dir: Path | None = None
    aligned: bool = False
    """Whether a subject that its question doesn't hold letter for letter is looked for further (`xkeb.data.subjects`)."""
    prompt: PromptStyle = "plain"
    """How its questions are put."""
    regime: Regime = SINGLE
    """How many edits a model gets, and when it is asked."""

    @functools.cached_property
    def test(self) -> Split:
        """The test cases.

        Raises:
            RequestError: they can't be read, or results couldn't hold their ids and labels.
        """
        split = self.dataset.test(self.pair, self.data_dir)
        split.check()
        return split.aligned() if self.aligned else split

    @functools.cached_property
    def training(self) -> Split:
        """The training facts of the source language."""
        return self.dataset.training(self.pair.source, self.data_dir)

    @functools.cached_property
    def parallel_training(self) -> Split:
        """The training facts of the source language that a target language has as well, each with its question and answer
        in all languages that it is in, and with what each language's file asks about it: that of the source first, that of
        the data set's pivot last, whether it is one of them or not. Facts belong together where their ids are the same. Without
        targets, all of the source.

        Raises:
            RequestError: a language has no training facts, or shares none with the source.
        """
        source, *targets = (self.dataset.training(code, self.data_dir) for code in self.pair.languages)
        ids = {case.id for case in source.cases}
        others: dict[str, list[Case]] = {}
        for target in targets:
            for case in target.cases:
                others.setdefault(case.id, []).append(case)
            if ids.isdisjoint(case.id for case in target.cases):
                raise RequestError(f"No training fact in {source.path} is in {target.path}, too.")
        chosen = [case for case in source.cases if not targets or case.id in others]
        cases = tuple(_with_parallel(case, others.get(case.id, ())) for case in chosen)
        files = [source, *targets]
        if targets and (pivot := self._pivot_training):
            asked = {case.id: case.probes for case in pivot.cases}
            cases = tuple(dataclasses.replace(case, probes=(*case.probes, *asked.get(case.id, ()))) for case in cases)
            files.append(pivot)
        skipped = tuple(one for file in files for one in file.skipped)
        return Split(source.path, joint_hash([file.sha256 for file in files]), cases, skipped)

    @property
    def _pivot_training(self) -> Split | None:
        """The training facts of the data set's pivot, where that is none of the task's languages.

        Raises:
            NotHereError: they are known and not on this machine.
        """
        pivot = self.dataset.pivot
        if pivot is None or pivot in self.pair.languages:
            return None
        try:
            return self.dataset.training(pivot, self.data_dir)
        except NotHereError:
            raise
        except RequestError:  # it has none
            return None

    @functools.cached_property
    def trained_answers(self) -> frozenset[str] | None:
        """The answers of the training facts of the source language, for `xkeb.tasks.slices`; None where no file of them is
        here."""
        try:
            return frozenset(normal(case.edit.target) for case in self.training.cases)
        except RequestError:
            return None

    def __iter__(self) -> Iterator[Case]:
        return iter(self.test.cases)

    def __len__(self) -> int:
        return len(self.test.cases)


def edit_in_all(case: Case, others: Sequence[Case]) -> Edit:
    """The edit of a fact, with its question and answer in every language that it is in.

    Args:
        others: the same fact in other languages.
    """
    every = [one.edit for one in (case, *others)]
    return dataclasses.replace(
        case.edit,
        translations={edit.language: edit.target for edit in every},
        questions={edit.language: edit.prompt for edit in every},
        aliases=tuple(edit.subject for edit in every[1:] if edit.subject),
    )


def _with_parallel(case: Case, others: Sequence[Case]) -> Case:
    probes = tuple(probe for one in (case, *others) for probe in one.probes)
    return dataclasses.replace(case, edit=edit_in_all(case, others), probes=probes)


def load_task(
    name: str,
    *,
    data_dir: Path | str | None = None,
    include: Sequence[Path] = (),
    definitions: Mapping[str, Definition] | None = None,
) -> Task:
    """The task of that name; its files are read when it is first iterated.

    Args:
        data_dir: where the data sets' folders are.
        include: more task folders.
        definitions: those that `load_definitions` gave, for whoever loads many tasks.

    Raises:
        RequestError: an unknown task, or a group.
    """
    catalogue = load_definitions(include) if definitions is None else definitions
    if name not in catalogue:
        raise _unknown_task(name, catalogue)
    content = catalogue[name].content
    if isinstance(content, GroupFile):
        members = expand_groups([name], catalogue)
        more = f" and {len(members) - SAMPLED} more" if len(members) > 2 * SAMPLED else ""
        told = ", ".join(members[:SAMPLED] if more else members)
        raise RequestError(f"{name!r} is a group of tasks: {told}{more}.")
    return make_task(content, Path(data_dir) if data_dir else None)


def _unknown_task(name: str, known: Iterable[str]) -> RequestError:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return RequestError(f"{name!r} is a file; name the task: --include-path {path.parent} --tasks {path.stem}.")
    return unknown("task", name, known, "xkeb ls tasks")


def make_task(content: TaskFile, data_dir: Path | None = None) -> Task:
    """What a task file says, as a task."""
    own = content.dataset
    return Task(
        content.task,
        content.version,
        get_plugins().datasets.get(own) if isinstance(own, str) else own.dataset(),
        content.direction,
        content.description,
        data_dir,
        content.subject == "aligned",
        content.prompt,
        Regime.parse(content.regime, content.evaluate or None),
    )


def expand_groups(names: Sequence[str], catalogue: Mapping[str, Definition]) -> list[str]:
    """Names of tasks, with each group replaced by its members, in order and once each.

    Args:
        catalogue: the tasks and groups that there are, as `load_definitions` gives them.
    """
    flat: dict[str, None] = {}
    pending = list(names)
    while pending:
        name = pending.pop(0)
        if name not in catalogue:
            raise _unknown_task(name, catalogue)
        content = catalogue[name].content
        if isinstance(content, GroupFile):
            pending = [*content.tasks, *pending]
        else:
            flat[name] = None
    return list(flat)


def load_definitions(include: Sequence[Path] = ()) -> dict[str, Definition]:
    """Every task and group: those of the suite, of other plugins, then of `include`. A name defined twice is an error, but a
    plugin's folder that is wrong is left out, with a `PluginWarning`."""
    folders = get_plugins().task_folders
    entries = sorted(folders.entries.items(), key=lambda item: (not item[1].builtin, item[0]))
    catalogue: dict[str, Definition] = {}
    for name, entry in entries:
        try:
            new = _in_folder(Path(folders.get(name)), catalogue)
            for definition in new.values():
                check_members(definition, {**catalogue, **new})
            catalogue |= new
        except XkebError as error:
            if entry.builtin:
                raise
            problem = f"Plugin {get_plugins().packages[entry.plugin]} registers the task folder {name!r}: {error}"
            warnings.warn(f"{problem} It is left out.", PluginWarning, stacklevel=2)
    for folder in include:
        new = _in_folder(folder, catalogue)
        for definition in new.values():
            check_members(definition, {**catalogue, **new})
        catalogue |= new
    return catalogue


def _in_folder(folder: Path, catalogue: Mapping[str, Definition]) -> dict[str, Definition]:
    """What a folder defines beside what is known."""
    if not folder.is_dir():
        raise RequestError(f"There is no task folder {folder}.")
    new: dict[str, Definition] = {}
    for path in sorted(folder.glob("*.yaml")):
        for definition in read_definitions(path):
            if other := catalogue.get(definition.name) or new.get(definition.name):
                raise RequestError(f"{path} and {other.path} both define {definition.name!r}.")
            new[definition.name] = definition
    return new


def shipped_task() -> Task:
    """A task that needs nothing that isn't installed: the first by name whose data comes with a plugin of the suite.

    Raises:
        RequestError: there is none.
    """
    definitions = load_definitions()
    for name, definition in sorted(definitions.items()):
        content = definition.content
        if isinstance(content, TaskFile) and isinstance(content.dataset, str):
            entry = get_plugins().datasets.entry(content.dataset)
            if entry.builtin and entry.load().shipped:
                return load_task(name, definitions=definitions)
    raise RequestError("No task's data comes with the suite.")


def check_members(definition: Definition, catalogue: Mapping[str, Definition]) -> None:
    """Refuses a group that names what is neither a task nor a group, or that is among its own members."""
    pending: list[tuple[Definition, tuple[str, ...]]] = [(definition, (definition.name,))]
    while pending:
        group, above = pending.pop()
        for member in group.content.tasks if isinstance(group.content, GroupFile) else ():
            if member not in catalogue:
                raise unknown(f"task in group {group.name!r} ({group.path}):", member, catalogue)
            if member in above:
                raise RequestError(f"Group {member!r} ({catalogue[member].path}) is among its own members.")
            pending.append((catalogue[member], (*above, member)))
