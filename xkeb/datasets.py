"""Data sets: files of records become cases, each language of a record a side of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from xkeb.errors import NotHereError, RequestError
from xkeb.records import Fact, Side, read_records, read_test, read_training
from xkeb.subjects import Way, locate
from xkeb.types import Case, Edit, LanguagePair, Probe, Skipped
from xkeb.utils.hashing import digest_file, digest_texts
from xkeb.utils.paths import data_roots


@dataclass(frozen=True, slots=True)
class Download:
    """A file that ``xkeb data fetch`` can get."""

    file: str
    """Its name in the data set's folder."""
    url: str
    sha256: str | None = None
    """None where upstream states none; then what was fetched is shown, and recorded in every result."""
    member: str | None = None
    """Where `url` is an archive: the end of the path inside it."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The records of a data set that a task asks for, read."""

    path: Path
    """The file; where they come from several, the first."""
    sha256: str
    """The file's hash, or `joint_hash` of several files'."""
    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By case, how the record's other languages write the subject."""
    located: Mapping[str, Way | None] = field(default_factory=dict)
    """By case, how its subject was found in its question; filled in where a task looks further than for the exact words."""

    def aligned(self) -> Loaded:
        """The same with each edit's subject as its question writes it, and how it was found there. One that isn't found
        stays as it is: methods that need it skip the case and say so, the others don't."""
        cases: list[Case] = []
        located: dict[str, Way | None] = {}
        for case in self.cases:
            edit = case.edit
            found = locate(edit.subject, edit.prompt, self.aliases.get(case.id, ())) if edit.subject else None
            located[case.id] = found.way if found else None
            subject = found.text if found else edit.subject
            cases.append(dataclasses.replace(case, edit=dataclasses.replace(edit, subject=subject)))
        return dataclasses.replace(self, cases=tuple(cases), located=located)


class Dataset(Protocol):
    """What a plugin registers as a data set."""

    @property
    def name(self) -> str: ...

    @property
    def downloads(self) -> Sequence[Download]: ...

    def test(self, pair: LanguagePair, data_dir: Path | None = None) -> Loaded:
        """The test cases of a direction: seven probes each, in both languages but for reliability."""
        ...

    def training(self, language: str, data_dir: Path | None = None) -> Loaded:
        """The training facts of a language, as cases with at most a generality and a locality probe."""
        ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Test records by case id, and what could not be put together."""

    paths: tuple[Path, ...]
    sides: Mapping[str, Mapping[str, Side]]
    """By case id and language."""
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class ParallelRecords:
    """A data set in Bi-ZsRE's schema: test records of aligned sides, and a training file a language.

    The test records stand in one file; or, where there is a `pivot`, in a file for each other language, which has the
    pivot's side beside its own. Two languages without the pivot are joined by its question.
    """

    name: str
    languages: tuple[str, ...]
    test_file: str
    """With a `pivot`, ``{}`` stands for the other language."""
    training_files: Mapping[str, str] = field(default_factory=dict)
    validation_files: Mapping[str, str] = field(default_factory=dict)
    """By language, in the schema of `training_files`. No case is made of them yet; `xkeb data check` reads them."""
    downloads: tuple[Download, ...] = ()
    shipped: Path | None = None
    """The folder of a data set that comes with the suite; otherwise it is looked for."""
    pivot: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """What the files call a language, where that is not its code."""
    borrowed: Mapping[str, ParallelRecords] = field(default_factory=dict)
    """By language, another data set whose training facts are this one's."""

    def find(self, file: str, data_dir: Path | None = None) -> Path:
        """The path of a file of this data set.

        Raises:
            NotHereError: it is in none of the places; says where it was looked for and how to get it.
        """
        folders = self.folders(data_dir)
        for folder in folders:
            if (folder / file).is_file():
                return folder / file
        raise lacking(self, file, folders)

    def folders(self, data_dir: Path | None = None) -> list[Path]:
        """Where its files are looked for, in order."""
        return [self.shipped] if self.shipped else [root / self.name for root in data_roots(data_dir)]

    def test_files(self, languages: Iterable[str]) -> tuple[str, ...]:
        """The files in which the test records of these languages stand. The pivot's side is in every one."""
        if self.pivot is None:
            return (self.test_file,)
        others = [code for code in languages if code != self.pivot]
        return tuple(self.test_file.format(self.keys.get(code, code)) for code in others)

    def uses(self) -> dict[str, str]:
        """What each file is for."""
        files = {file: f"test {self.pivot}/{code}" for code in self._others() for file in self.test_files([code])}
        files = files or {self.test_file: "test"}
        files |= {file: f"training {code}" for code, file in self.training_files.items()}
        files |= {file: f"validation {code}" for code, file in self.validation_files.items()}
        return files | {download.file: "other" for download in self.downloads if download.file not in files}

    def verify(self, file: str, path: Path) -> None:
        """Reads `path` as the data set would read its file of that name.

        Raises:
            RequestError: it is not of the schema.
        """
        tests = {file: code for code in self._others() for file in self.test_files([code])}
        if self.pivot and file in tests:
            read_test(path, (self.pivot, tests[file]), self.keys)
        elif file == self.test_file:
            read_test(path, self.languages, self.keys)
        elif file in {*self.training_files.values(), *self.validation_files.values()}:
            read_training(path)
        elif file.endswith(".json"):
            read_records(path)

    def registered(self, pair: LanguagePair) -> str | None:
        """The hash that `Loaded.sha256` has for the registered files of a direction, where all of theirs are stated."""
        stated = {download.file: download.sha256 for download in self.downloads}
        hashes = [stated.get(file) for file in self.test_files(pair.languages)]
        return joint_hash([sha256 for sha256 in hashes if sha256]) if all(hashes) else None

    def rows(self, languages: Sequence[str], data_dir: Path | None = None) -> Rows:
        """The test records of some languages, with the pivot's side where there is one."""
        self._check_languages(languages)
        if self.pivot is None:
            path = self.find(self.test_file, data_dir)
            found = read_test(path, languages, self.keys)
            return Rows((path,), {str(i): sides for i, sides in enumerate(found)})
        codes = [code for code in languages if code != self.pivot] or [self._any(data_dir)]
        paths = tuple(self.find(file, data_dir) for file in self.test_files(codes))
        parts = [read_test(path, (self.pivot, code), self.keys) for path, code in zip(paths, codes, strict=True)]
        return _joined(self.pivot, paths, parts)

    def test(self, pair: LanguagePair, data_dir: Path | None = None) -> Loaded:
        found = self.rows(pair.languages, data_dir)
        cases, skipped, aliases = [], list(found.skipped), {}
        for case_id, sides in found.sides.items():
            problem = next((f"{code}: empty {name}" for code in pair.languages if (name := sides[code].empty())), None)
            if problem:
                skipped.append(Skipped(case_id, problem))
                continue
            cases.append(_case(case_id, pair, sides))
            aliases[case_id] = tuple(side.subject for code, side in sides.items() if code != pair.source)
        sha256 = joint_hash([digest_file(path) for path in found.paths])
        return Loaded(found.paths[0], sha256, tuple(cases), tuple(skipped), aliases)

    def training(self, language: str, data_dir: Path | None = None) -> Loaded:
        self._check_languages([language])
        if language in self.borrowed:
            return self.borrowed[language].training(language, data_dir)
        if language not in self.training_files:
            raise RequestError(f"Data set {self.name!r} has no training file in {language!r}.")
        path = self.find(self.training_files[language], data_dir)
        cases, skipped = [], []
        for i, fact in enumerate(read_training(path)):
            if not fact.src or not fact.alt:
                skipped.append(Skipped(str(i), f"{language}: empty {'src' if not fact.src else 'alt'}"))
            else:
                cases.append(training_case(str(i), language, fact))
        return Loaded(path, digest_file(path), tuple(cases), tuple(skipped))

    def _others(self) -> list[str]:
        return [code for code in self.languages if code != self.pivot] if self.pivot else []

    def _any(self, data_dir: Path | None) -> str:
        """A language whose test file is there; the first one if none is."""
        for code in self._others():
            with contextlib.suppress(NotHereError):
                self.find(self.test_files([code])[0], data_dir)
                return code
        return self._others()[0]

    def _check_languages(self, languages: Iterable[str]) -> None:
        for language in languages:
            if language not in self.languages:
                raise RequestError(
                    f"Data set {self.name!r} is in {', '.join(self.languages)}; there is no {language!r}."
                )


def lacking(dataset: Dataset, file: str, folders: Sequence[Path]) -> NotHereError:
    """The error for a file that is in none of the folders: says how to get it."""
    get = f"Get it with `xkeb data fetch {dataset.name}`, or name" if dataset.downloads else "Put it there, or name"
    return NotHereError(
        f"Data set {dataset.name!r} lacks {file}: looked in {', '.join(map(str, folders))}. "
        f"{get} the folder above with --data-dir."
    )


def joint_hash(hashes: Sequence[str]) -> str:
    """One hash for the files of a direction: the file's own where there is one, else that of the hashes in order."""
    return hashes[0] if len(hashes) == 1 else digest_texts(hashes)


def _joined(pivot: str, paths: tuple[Path, ...], parts: Sequence[Sequence[Mapping[str, Side]]]) -> Rows:
    """Records of several files put together by the pivot's question; the ids are places in the first file.

    Raises:
        RequestError: a file asks the same twice, so that it isn't known which record is meant.
    """
    if len(parts) == 1:
        return Rows(paths, {str(i): sides for i, sides in enumerate(parts[0])})
    asked = [_by_question(pivot, path, part) for path, part in zip(paths, parts, strict=True)]
    rows: dict[str, Mapping[str, Side]] = {}
    skipped = []
    for i, question in enumerate(asked[0]):
        lacking = next((path for path, part in zip(paths, asked, strict=True) if question not in part), None)
        if lacking:
            skipped.append(Skipped(str(i), f"{lacking.name} has no record with the {pivot} question {question!r}"))
        else:
            rows[str(i)] = functools.reduce(lambda one, other: {**one, **other}, (part[question] for part in asked))
    return Rows(paths, rows, tuple(skipped))


def _by_question(pivot: str, path: Path, part: Sequence[Mapping[str, Side]]) -> dict[str, Mapping[str, Side]]:
    found: dict[str, Mapping[str, Side]] = {}
    for i, sides in enumerate(part):
        if found.setdefault(sides[pivot].src, sides) is not sides:
            raise RequestError(
                f"{path}: record {i} asks {sides[pivot].src!r} again; it can't be joined by its question."
            )
    return found


def _case(case_id: str, pair: LanguagePair, sides: Mapping[str, Side]) -> Case:
    source = sides[pair.source]
    edit = Edit(source.src, source.alt, pair.source, source.subject, {code: sides[code].alt for code in pair.languages})
    probes = [Probe("reliability", pair.source, source.src, source.alt)]
    for code in pair.languages:
        side = sides[code]
        probes += [
            Probe("generality", code, side.rephrase, side.alt),
            Probe("locality", code, side.locality, side.loc_ans),
            Probe("portability", code, side.portability.question, side.portability.answer),
        ]
    return Case(case_id, edit, tuple(probes))


def training_case(case_id: str, language: str, fact: Fact) -> Case:
    """A training fact as a case, with the probes that it has texts for."""
    probes = []
    if fact.rephrase:
        probes.append(Probe("generality", language, fact.rephrase, fact.alt))
    if fact.locality and fact.loc_ans:
        probes.append(Probe("locality", language, fact.locality, fact.loc_ans))
    return Case(case_id, Edit(fact.src, fact.alt, language, fact.subject, {language: fact.alt}), tuple(probes))
