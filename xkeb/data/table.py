"""One's own data as a task's data set: a table with a row for each fact, and a name for each of its columns, in YAML alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from xkeb.data.dataset import Dataset, Split
from xkeb.data.records import TrainingRecord, training_case
from xkeb.errors import NotHereError, RequestError, one_line, optional_import, unknown
from xkeb.types import Case, Direction, Edit, Missing, Probe, Skipped
from xkeb.utils.hashing import digest, digest_file

_UPSTREAM = {
    "question": "src",
    "answer": "alt",
    "subject": "subject",
    "rephrase": "rephrase",
    "locality_question": "loc",
    "locality_answer": "loc_ans",
}
"""What a training fact calls the texts that it has."""
ALIASES = {"answer_aliases": "answer", "portability_aliases": "portability_answer"}
"""Columns with several texts a row, and what these are aliases of."""


class Columns(BaseModel):
    """In which columns one language of a fact stands. Those without a name here are not there. A row may leave all of them
    empty but for `question` and `answer`; it is then not asked what it has no text for."""

    model_config = ConfigDict(extra="forbid")
    question: str
    answer: str
    answer_aliases: str | None = None
    """Other texts that are as right as the answer: a list, or one text with ``|`` between them."""
    subject: str | None = None
    """What the fact is about. Methods that edit at the subject need it."""
    rephrase: str | None = None
    """The question in other words. Where the edit was in another language, `question` is asked instead if need be."""
    locality_question: str | None = None
    locality_answer: str | None = None
    portability_question: str | None = None
    portability_answer: str | None = None
    portability_aliases: str | None = None
    """As `answer_aliases`, of the portability answer."""

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        for kind in ("locality", "portability"):
            values = [getattr(self, f"{kind}_{part}") for part in ("question", "answer")]
            if values.count(None) == 1:
                raise ValueError(f"{kind}_question and {kind}_answer belong together")
        if self.portability_aliases is not None and self.portability_answer is None:
            raise ValueError("portability_aliases are of a portability_answer")
        return self

    def named(self) -> dict[str, str]:
        """The columns with one text a row that there are, by what they hold."""
        return self.model_dump(exclude_none=True, exclude={*ALIASES})

    def aliases(self) -> dict[str, str]:
        """Those with aliases, by the answer that they are of."""
        return {ALIASES[key]: name for key, name in self.model_dump(exclude_none=True, include={*ALIASES}).items()}


class TableConfig(BaseModel):
    """What stands below ``dataset`` in a task's YAML."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["csv", "jsonl", "hub"]
    """``csv``: commas, UTF-8, a first row with names. ``jsonl``: an object a line. ``hub``: whatever `datasets` can load."""
    path: str = Field(min_length=1)
    """A file, from the YAML file's folder; for ``hub`` a repository, or a folder in the same way."""
    columns: dict[str, Columns] = Field(min_length=1)
    """By language code."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What else is known of a fact, such as its ``relation``, and the column where it stands: cases with one value are a
    slice of the result. Not ``answers``, ``digit`` or ``training``, which are slices of any data."""
    training: str | None = None
    """A file of the same columns for methods that learn; for ``hub`` a split."""
    split: str = "test"
    """For ``hub``."""
    config: str | None = None
    """For ``hub``, where a repository has several."""
    revision: str | None = None
    """For ``hub``: a commit or tag."""

    @property
    def name(self) -> str:
        """What a result calls it: the file's name, or a repository's with its owner, as one name."""
        if self.format == "hub" and not Path(self.path).is_absolute():
            return self.path.replace("/", "--")
        return Path(self.path).name

    def dataset(self) -> TableDataset:
        return TableDataset(self)


def resolve_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values below ``dataset`` with its paths taken from `folder`; values of a wrong kind are left to the schema."""
    hub = values.get("format") == "hub"
    keys = ("path",) if hub else ("path", "training")
    named = {key: values[key] for key in keys if isinstance(values.get(key), str) and values[key]}
    paths = {key: _plain(folder.absolute() / path) for key, path in named.items()}
    return values | {key: str(path) for key, path in paths.items() if not hub or path.is_dir()}


def _plain(path: Path) -> Path:
    """The path without ``..``, unless a symbolic link before it makes that another one."""
    plain = Path(os.path.normpath(path))
    return plain if plain.resolve() == path.resolve() else path


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    place: str
    """Where it stands, as a sentence names it."""
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TableDataset(Dataset):
    """A table as a data set."""

    config: TableConfig

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.config.columns)

    def paths(self, data_dir: Path | None = None) -> list[Path]:
        if self.config.format == "hub":
            return []
        return [Path(file) for file in (self.config.path, self.config.training) if file]

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        columns = {code: self.config.columns[code].named() for code in pair.languages}
        aliases = {code: self.config.columns[code].aliases() for code in pair.languages}
        labels = self.config.labels
        named_here = [*columns.values(), *aliases.values(), labels]
        names = [name for named in named_here for name in named.values()]
        rows, sha256 = self._read(self.config.path if self.config.format != "hub" else self.config.split, names)
        cases, skipped, missing = [], [], []
        for i, row in enumerate(rows):
            sides = {code: _texts(row, named) for code, named in columns.items()}
            problems = {
                code: f"{row.place}: {why}" for code in sides if (why := _empty(code, sides[code], columns[code]))
            }
            if pair.source in problems or (pair.targets and len(problems) == len(pair.targets)):
                skipped.append(Skipped(str(i), next(iter(problems.values()))))
                continue
            missing += [Missing(str(i), code, why) for code, why in problems.items()]
            told = {kind: value for kind, value in _texts(row, labels).items() if value}
            whole = {code: side for code, side in sides.items() if code not in problems}
            others = {
                code: {key: _aliases(row, name, side[key]) for key, name in aliases[code].items()}
                for code, side in whole.items()
            }
            cases.append(dataclasses.replace(_case(str(i), pair.source, whole, others), labels=told))
        return Split(Path(self.config.path), sha256, tuple(cases), tuple(skipped), tuple(missing))

    def training(self, language: str, data_dir: Path | None = None) -> Split:
        if self.config.training is None:
            raise RequestError(
                f"Data set {self.name!r} has no training facts: name them in the task's dataset.training."
            )
        named = self.config.columns[language].named()
        rows, sha256 = self._read(self.config.training, [named["question"], named["answer"]])
        cases, skipped = [], []
        for i, row in enumerate(rows):
            side = _texts(row, {key: name for key, name in named.items() if name in row.cells})
            if empty := next((key for key in ("question", "answer") if not side[key]), None):
                skipped.append(Skipped(str(i), f"{row.place}: {language}: empty {empty} (column {named[empty]!r})"))
                continue
            fact = {_UPSTREAM[key]: text for key, text in side.items() if key in _UPSTREAM}
            cases.append(training_case(str(i), language, TrainingRecord.model_validate(fact)))
        path = self.config.path if self.config.format == "hub" else self.config.training
        return Split(Path(path), sha256, tuple(cases), tuple(skipped))

    def _read(self, part: str, names: Sequence[str]) -> tuple[list[Row], str]:
        """The rows of a file or split, and their hash.

        Raises:
            RequestError: names the file, and the row or the column.
        """
        if self.config.format == "hub":
            rows, place = _hub_rows(self.config, part), f"{self.config.name} ({part})"
        else:
            path = Path(part)
            if not path.is_file():
                raise NotHereError(f"There is no file {path}, which the task's dataset names.")
            rows, place = list(_csv_rows(path) if self.config.format == "csv" else _json_rows(path)), str(path)
        if not rows:
            raise RequestError(f"{place} holds no rows.")
        there = dict.fromkeys(key for row in rows for key in row.cells)
        for name in names:
            if name not in there:
                raise RequestError(f"{place}: {unknown('column', name, there)}")
        if self.config.format == "hub":  # what is on the hub may change; what was read of it is what counts
            return rows, digest([{name: row.cells.get(name) for name in names} for row in rows])
        return rows, digest_file(Path(part))


def _texts(row: Row, named: Mapping[str, str]) -> dict[str, str]:
    """The cells of a row as texts, by what they hold."""
    texts = {}
    for key, name in named.items():
        cell = row.cells.get(name)
        if isinstance(cell, bool) or not isinstance(cell, str | int | float | None):
            raise RequestError(f"{row.place}: column {name!r}: expected text; found {type(cell).__name__}.")
        texts[key] = "" if cell is None else str(cell).strip()
    return texts


def _aliases(row: Row, name: str, answer: str) -> tuple[str, ...]:
    """The texts of a cell that stand beside an answer, each once."""
    cell = row.cells.get(name)
    texts = cell.split("|") if isinstance(cell, str) else [] if cell is None else cell
    if not isinstance(texts, list) or any(
        isinstance(one, bool) or not isinstance(one, str | int | float) for one in texts
    ):
        raise RequestError(f"{row.place}: column {name!r}: expected a list of texts, or one text with | between them.")
    plain = [str(text).strip() for text in texts]
    return tuple(dict.fromkeys(text for text in plain if text and text != answer))


def _empty(language: str, side: Mapping[str, str], columns: Mapping[str, str]) -> str | None:
    """What a language of a row lacks to be asked in, with its column; None where it lacks nothing."""
    key = next((key for key in ("question", "answer") if not side[key]), None)
    return f"{language}: empty {key} (column {columns[key]!r})" if key else None


def _case(
    case_id: str,
    source: str,
    sides: Mapping[str, Mapping[str, str]],
    aliases: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> Case:
    """A row as a case, with the probes that it has texts for.

    Args:
        sides: by language, the source's first.
        aliases: by language, by the answer that they are of.
    """
    also = {code: aliases[code].get("answer", ()) for code in sides}
    own = sides[source]
    names = [side.get("subject") for code, side in sides.items() if code != source]
    edit = Edit(
        own["question"],
        own["answer"],
        source,
        own.get("subject", ""),
        translations={code: side["answer"] for code, side in sides.items()},
        questions={code: side["question"] for code, side in sides.items()},
        aliases=tuple(text for text in names if text),
    )
    probes = [Probe("reliability", source, own["question"], own["answer"], aliases=also[source])]
    for code, side in sides.items():
        if question := side.get("rephrase", None if code == source else side["question"]):
            probes.append(Probe("generality", code, question, side["answer"], aliases=also[code]))
        if side.get("locality_question") and side["locality_answer"]:
            probes.append(Probe("locality", code, side["locality_question"], side["locality_answer"]))
        if side.get("portability_question") and side["portability_answer"]:
            others = aliases[code].get("portability_answer", ())
            probes.append(
                Probe("portability", code, side["portability_question"], side["portability_answer"], aliases=others)
            )
    return Case(case_id, edit, tuple(probes))


# Reading


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RequestError(f"{path}:{line}: not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _csv_rows(path: Path) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        names = next(reader, [])
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RequestError(f"{path}:1: two columns are named {twice!r}.")
        for cells in reader:
            if cells and len(cells) != len(names):
                raise RequestError(f"{path}:{reader.line_num}: {len(cells)} fields; the first row names {len(names)}.")
            if cells:
                yield Row(f"{path}:{reader.line_num}", dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise RequestError(f"{path}:{reader.line_num}: not CSV: {error}.") from error


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except json.JSONDecodeError as error:
            if number == 1 and line.lstrip().startswith("["):
                raise RequestError(f"{path} holds one list; JSON lines are an object a line.") from error
            raise RequestError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}.") from error
        except (ValueError, RecursionError) as error:  # an integer of 5,000 digits, a thousand lists within each other
            raise RequestError(f"{path}:{number}: no JSON that can be read: {one_line(error)}.") from error
        if not isinstance(cells, dict):
            raise RequestError(f"{path}:{number}: expected an object; found {type(cells).__name__}.")
        yield Row(f"{path}:{number}", cells)


def _hub_rows(config: TableConfig, split: str) -> list[Row]:
    datasets = optional_import("datasets", "hub", f"The data set {config.path}")
    try:
        table = datasets.load_dataset(config.path, config.config, split=split, revision=config.revision)
    except Exception as error:  # of many libraries, and of the network
        raise RequestError(f"`datasets` can't load the split {split!r} of {config.path}: {one_line(error)}.") from error
    return [Row(f"{config.name} ({split}), row {i}", cells) for i, cells in enumerate(table)]
