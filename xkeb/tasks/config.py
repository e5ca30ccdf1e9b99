"""What may stand in a task's YAML: a task, the same task for several directions, or a group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from xkeb.data.table import Columns, TableConfig, resolve_paths
from xkeb.errors import RequestError, unknown
from xkeb.registry.manager import get_plugins
from xkeb.results.regime import Regime
from xkeb.tasks.directions import WAYS, direction_of, pair_named, why_no_languages
from xkeb.types import Direction, PromptStyle
from xkeb.utils.names import EXPECTED, check_folder_name, is_folder_name
from xkeb.utils.yaml_files import AbsurdYamlError, load_with_node

FolderName = Annotated[str, AfterValidator(check_folder_name)]
"""A task's name is that of a folder of every output."""


class _Common(BaseModel):
    """The keys of a task, but for its languages."""

    model_config = ConfigDict(extra="forbid")
    task: str
    version: int = Field(ge=1, lt=2**31)
    dataset: str | TableConfig
    """A registered data set, or where one's own data stands and what its columns are."""
    description: str = ""
    prompt: PromptStyle = "plain"
    """How its questions are put, unless ``--prompt`` says otherwise."""
    regime: str = "single"
    """How many edits a model gets (``batch:N``, ``sequential:N[xM]``), unless ``--regime`` says otherwise."""
    evaluate: str = ""
    """When the questions of a sequence are asked (``after_each``, ``after_batch``, ``after_all``), unless ``--evaluate`` says
    otherwise."""
    subject: Literal["exact", "aligned"] = "exact"
    """Where the subject is looked for in a question: letter for letter, or further where that fails (`xkeb.data.subjects`)."""

    @property
    def dataset_name(self) -> str:
        return self.dataset if isinstance(self.dataset, str) else self.dataset.name


class TaskFile(_Common):
    """The keys of a task."""

    task: FolderName
    pair: str = ""
    """Two languages, ``source-target``; or, instead of it, both of the next two."""
    source: str = ""
    """The language of the edits."""
    targets: list[str] = Field(default_factory=list)
    """The other languages that every edit's questions are asked in; empty where they are asked in its own alone."""

    @property
    def direction(self) -> Direction:
        """Its languages.

        Raises:
            RequestError: one is unknown, or is named twice.
        """
        return pair_named(self.pair) if self.pair else direction_of(self.source, self.targets)


class FamilyFile(_Common):
    """The keys of a task that is there once for each of several directions. In its `task` and `description`, ``{source}``
    stands for the code of the language of the edits and ``{source_name}`` for its name; where it is there for pairs,
    ``{target}`` and ``{target_name}`` for those of the other."""

    pairs: list[str] = Field(default_factory=list)
    """A task for each of these pairs."""
    languages: list[str] = Field(default_factory=list)
    """Instead of pairs: a task for each of these languages, in which the edits are made; all the others are its targets."""
    group: str = ""
    """A name for all of them together."""
    group_description: str = ""


class GroupFile(BaseModel):
    """The keys of a group: a name for several tasks, or groups of them."""

    model_config = ConfigDict(extra="forbid")
    group: FolderName
    tasks: list[str] = Field(min_length=1)
    description: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """A task or group of a YAML file, checked."""

    path: Path
    content: TaskFile | GroupFile

    @property
    def name(self) -> str:
        return self.content.task if isinstance(self.content, TaskFile) else self.content.group


def read_definitions(path: Path) -> list[Definition]:
    """The tasks and groups of a file, with its ``include`` resolved and every key checked.

    Raises:
        RequestError: names the file, the line and the key.
    """
    values, lines = _read_yaml(path, set())
    if "task" not in values and "group" not in values:
        raise RequestError(f"{path}:1: neither `task` nor `group` is set.")
    model: type[TaskFile | FamilyFile | GroupFile] = TaskFile if "task" in values else GroupFile
    if {"pairs", "languages"} & values.keys() and "task" in values:
        model = FamilyFile
    for key in values:
        if key not in model.model_fields:
            raise RequestError(f"{lines.get(str(key), f'{path}:1')}: {unknown('key', str(key), model.model_fields)}")
    if model is not GroupFile and (problem := why_no_languages(values)):
        raise RequestError(f"{path}:1: {problem}.")
    try:
        content = model.model_validate(values)
    except ValidationError as error:
        raise RequestError(_first(error, lines, path, isinstance(values.get("dataset"), dict))) from error
    if isinstance(content, FamilyFile):
        contents: list[TaskFile | GroupFile] = list(_family(content, lines))
    else:
        contents = [content]
    for one in contents:
        if isinstance(one, TaskFile):
            _check_names(one, lines)
    return [Definition(path, one) for one in contents]


def _directions(content: FamilyFile) -> Iterator[tuple[dict[str, Any], Direction]]:
    """What each task of a family has of its own: the keys that say its languages."""
    for name in content.pairs:
        yield {"pair": name}, pair_named(name)
    if len(content.languages) == 1:
        raise RequestError(f"A list of languages has two at least; found {content.languages[0]}.")
    for source in content.languages:
        targets = [code for code in content.languages if code != source]
        yield {"source": source, "targets": targets}, direction_of(source, targets)


def _family(content: FamilyFile, lines: dict[str, str]) -> Iterator[TaskFile | GroupFile]:
    """Its tasks, and the group of them where it has a name."""
    way = "pairs" if "pairs" in lines else "languages"
    if not content.pairs and not content.languages:
        raise RequestError(f"{lines[way]}: {way}: a list of at least one was expected.")
    try:
        directions = list(_directions(content))
    except RequestError as error:
        raise RequestError(f"{lines[way]}: {error}") from error
    tasks = []
    for keys, direction in directions:
        places = {"source": direction.source}
        if content.pairs:
            places["target"] = direction.targets[0]
        places |= {f"{end}_name": get_plugins().languages.get(code).name for end, code in places.items()}
        filled = {}
        for key in ("task", "description"):
            try:
                filled[key] = _filled(getattr(content, key), places)
            except (KeyError, ValueError) as error:
                choices = ", ".join(f"{{{place}}}" for place in places)
                text = f"{getattr(content, key)!r} can't be filled in ({error})"
                raise RequestError(f"{lines[key]}: {key}: {text}; there are {choices}.") from error
        shared = {"version": content.version, "dataset": content.dataset, "subject": content.subject}
        shared |= {"prompt": content.prompt, "regime": content.regime, "evaluate": content.evaluate}
        try:
            tasks.append(TaskFile.model_validate({**filled, **shared, **keys}))
        except ValidationError as error:
            raise RequestError(f"{lines['task']}: task: {EXPECTED}; not {filled['task']!r}.") from error
    names = [task.task for task in tasks]
    if len(set(names)) < len(names):
        raise RequestError(f"{lines['task']}: task: {content.task!r} gives several tasks the same name.")
    yield from tasks
    if content.group:
        if not is_folder_name(content.group):
            raise RequestError(f"{lines['group']}: group: {EXPECTED}; not {content.group!r}.")
        yield GroupFile(group=content.group, tasks=names, description=content.group_description)


def _filled(text: str, places: Mapping[str, str]) -> str:
    """A text with what its places stand for. No more than names stand in braces: ``{source:>3000000000}`` would fill memory.

    Raises:
        KeyError, ValueError: there is no such place, or a brace is open.
    """
    parts = []
    for before, place, form, conversion in Formatter().parse(text):
        if form or conversion:
            raise ValueError("only a name stands in braces")
        parts.append(before if place is None else before + places[place])
    return "".join(parts)


def _first(error: ValidationError, lines: dict[str, str], path: Path, own: bool) -> str:
    """The first thing wrong with a file's values, where it stands.

    Args:
        own: `dataset` describes one's own data.
    """
    other = "str" if own else "TableConfig"  # pydantic tries `dataset` as both
    flaws = [one for one in error.errors() if one["loc"][1:2] != (other,)]
    first = next((one for one in flaws if one["type"] == "extra_forbidden"), flaws[0])  # a misspelt key is missing, too
    place = [str(part) for i, part in enumerate(first["loc"]) if i != 1 or part not in ("str", "TableConfig")]
    line = next((lines[key] for n in range(len(place), 0, -1) if (key := ".".join(place[:n])) in lines), f"{path}:1")
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "extra_forbidden" and place[0] == "dataset":
        message = str(unknown("key", place[-1], _keys(place))).rstrip(".")
    return f"{line}: {'.'.join(place)}: {message}{'' if message.endswith('?') else '.'}"


def _keys(place: list[str]) -> list[str]:
    """The keys that may stand where a wrong one does, below `dataset`."""
    return sorted((TableConfig if len(place) == 2 else Columns).model_fields)


def _check_names(content: TaskFile, lines: dict[str, str]) -> None:
    line = next(lines[key] for way in WAYS for key in way[-1:] if key in lines)
    try:
        direction = content.direction
    except RequestError as error:
        raise RequestError(f"{line}: {error}") from error
    try:
        Regime.parse(content.regime, content.evaluate or None)
    except RequestError as error:
        raise RequestError(f"{lines.get('evaluate') or lines['regime']}: {error}") from error
    if isinstance(content.dataset, str):
        try:
            get_plugins().datasets.entry(content.dataset)
        except RequestError as error:
            raise RequestError(f"{lines['dataset']}: {error}") from error
    else:
        for code in direction.languages:
            if code not in content.dataset.columns:
                where = lines.get("dataset.columns", lines["dataset"])
                raise RequestError(f"{where}: dataset.columns: no columns for {code!r}.")


def _read_yaml(path: Path, seen: set[Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """The mapping in a file and where each key stands ("file:line"), dotted below `dataset`; keys of an included file come
    first. A path in `dataset` is taken from the folder of the file that names it."""
    if path.resolve() in seen:
        raise RequestError(f"{path} includes itself.")
    seen = seen | {path.resolve()}
    try:
        values, node = load_with_node(path.read_text(encoding="utf-8"))
    except IsADirectoryError as error:
        raise RequestError(f"{path} is a folder; name its files: {path / '*.yaml'}.") from error
    except OSError as error:
        raise RequestError(f"Can't read {path}: {error.strerror}.") from error
    except AbsurdYamlError as error:
        raise RequestError(f"{path} {error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise RequestError(f"{path}:{line}: not YAML: {getattr(error, 'problem', None) or error}.") from error
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise RequestError(f"{path}:1: expected a mapping of keys to values.")
    lines = dict(_lines(node, path))
    if isinstance(values.get("dataset"), dict):
        values["dataset"] = resolve_paths(values["dataset"], path.parent)
    if "include" not in values:
        return values, lines
    base, base_lines = _read_yaml(path.parent / str(values.pop("include")), seen)
    return base | values, base_lines | lines


def _lines(node: yaml.MappingNode, path: Path, above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.value:
        name = f"{above}{key.value}"
        yield name, f"{path}:{key.start_mark.line + 1}"
        if isinstance(value, yaml.MappingNode) and name.partition(".")[0] == "dataset":
            yield from _lines(value, path, f"{name}.")
