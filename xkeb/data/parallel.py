"""Data sets like Bi-ZsRE: a record is one fact in several languages, whose sides stand in one file or in several."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xkeb.data.dataset import Dataset, Download, Split, joint_hash
from xkeb.data.joining import JoinKey, TestFile, TestRecords, join_files
from xkeb.data.quality import FIELDS, PublishedSplit, RecordTexts, SplitName, SplitTexts
from xkeb.data.records import TrainingRecord, read_records, read_training, training_case
from xkeb.data.sides import DEFAULT_FIELDS, FieldNames, ParallelRecord, read_test
from xkeb.errors import NotHereError, RequestError
from xkeb.types import Case, Direction, Edit, Missing, Skipped
from xkeb.utils.hashing import digest_file


@dataclass(frozen=True, slots=True)
class ParallelRecords(Dataset):
    """Test records of aligned languages, and a training file a language.

    The test records stand in one file; or, where there is a `pivot`, in a file for each other language, which has the
    pivot's side beside its own; or, where they are `flat`, in a file for each language. Records of several files are put
    together by `joined_by`: of the pivot's side where there is one.
    """

    name: str = field()  # said so, since a property of the base class would count as its default
    languages: tuple[str, ...] = field()
    test_file: str = field()
    """With a `pivot`, ``{}`` stands for the other language; where they are `flat`, for the one that it has."""
    training_files: Mapping[str, str] = field(default_factory=dict)
    nested_training: bool = False
    """Whether a training fact stands in its object below the name of its language."""
    validation_files: Mapping[str, str] = field(default_factory=dict)
    """By language, in the schema of `training_files`."""
    downloads: tuple[Download, ...] = ()
    shipped: Path | None = None
    pivot: str | None = None
    flat: bool = False
    """Whether a file has one language, whose texts stand in the records without its name above them."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """What the files call a language, where that is not its code."""
    fields: FieldNames | Mapping[str, FieldNames] = DEFAULT_FIELDS
    """What the test files call the texts of a record; by language where that differs."""
    joined_by: JoinKey = "src"
    folder: str = ""
    """Where it shares one with other data sets."""
    borrowed: Mapping[str, ParallelRecords] = field(default_factory=dict)
    """By language, another data set whose training facts are this one's."""
    published: Mapping[tuple[SplitName, str], PublishedSplit] = field(default_factory=dict)

    def test_files(self, languages: Iterable[str]) -> tuple[str, ...]:
        """The files in which the test records of these languages stand. The pivot's side is in every one."""
        if self.pivot is None and not self.flat:
            return (self.test_file,)
        others = [code for code in languages if code != self.pivot]
        return tuple(self.test_file.format(self.keys.get(code, code)) for code in others)

    def files(self) -> dict[str, str]:
        beside = f"{self.pivot}/" if self.pivot else ""
        files = {file: f"test {beside}{code}" for code in self._others() for file in self.test_files([code])}
        files = files or {self.test_file: "test"}
        files |= {file: f"training {code}" for code, file in self.training_files.items()}
        files |= {file: f"validation {code}" for code, file in self.validation_files.items()}
        return files | {download.file: "other" for download in self.downloads if download.file not in files}

    def paths(self, data_dir: Path | None = None) -> list[Path]:
        others = [path for other in self.borrowed.values() for path in other.paths(data_dir)]
        return [*Dataset.paths(self, data_dir), *others]

    def verify(self, file: str, path: Path) -> None:
        tests = {file: code for code in self._others() for file in self.test_files([code])}
        if file in tests:
            self._read_file(path, tests[file])
        elif file == self.test_file:
            self._read_sides(path, self.languages)
        elif language := self._training_language(file):
            self._read_facts(path, language)
        elif file.endswith(".json"):
            read_records(path)

    def registered_hashes(self, pair: Direction) -> frozenset[str]:
        stated = {download.file: download.sha256 for download in self.downloads}
        hashes = [stated.get(file) for file in self.test_files(pair.languages)]
        return frozenset([joint_hash([sha256 for sha256 in hashes if sha256])] if all(hashes) else [])

    def records(self, languages: Sequence[str], data_dir: Path | None = None) -> TestRecords:
        """The test records of some languages, with the pivot's side where there is one."""
        self._check_languages(languages)
        if self.pivot is None and not self.flat:
            path = self.find(self.test_file, data_dir)
            return TestRecords((path,), {str(i): one for i, one in enumerate(self._read_sides(path, languages))})
        codes = [code for code in languages if code != self.pivot] or [self._any(data_dir)]
        paths = [self.find(file, data_dir) for file in self.test_files(codes)]
        files = [self._read_file(path, code) for path, code in zip(paths, codes, strict=True)]
        return join_files(files, self.joined_by, every=languages[0] == self.pivot)

    def _read_file(self, path: Path, language: str) -> TestFile:
        """A language's own file."""
        codes = [self.pivot, language] if self.pivot else [language]
        sides = self._read_sides(path, codes, optional=codes[1:])
        return TestFile(path, language, codes[0], sides)

    def _read_sides(
        self, path: Path, languages: Sequence[str], optional: Sequence[str] = ()
    ) -> list[dict[str, ParallelRecord]]:
        fields = self.fields
        named = {code: fields if isinstance(fields, FieldNames) else fields[code] for code in languages}
        return read_test(path, named, self.keys, optional=optional, flat=self.flat)

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        """A probe of the edit, and three in each language."""
        records = self.records(pair.languages, data_dir)
        cases: list[Case] = []
        unjoined: list[Skipped] = []
        empty: list[Skipped] = []
        missing: list[Missing] = []
        for case_id, sides in records.sides.items():
            problems = {code: why for code in pair.languages if (why := self._problem(records, case_id, code))}
            if pair.source in problems or (pair.targets and len(problems) == len(pair.targets)):
                absent = [why for code, why in problems.items() if code not in sides]
                reason = next(iter([*absent, *problems.values()]))
                (unjoined if absent else empty).append(Skipped(case_id, reason))
                continue
            missing += [Missing(case_id, code, why) for code, why in problems.items()]
            whole = {code: side for code, side in sides.items() if code not in problems}
            cases.append(_case(case_id, pair, whole, self.pivot))
        sha256 = joint_hash([digest_file(path) for path in records.paths])
        return Split(records.paths[0], sha256, tuple(cases), (*unjoined, *empty), tuple(missing))

    def _problem(self, records: TestRecords, case_id: str, language: str) -> str | None:
        """Why a case can't be asked in a language; None where it can."""
        side = records.sides[case_id].get(language)
        if side is not None:
            return f"{language}: empty {name}" if (name := side.empty()) else None
        (file,) = self.test_files([language])
        return f"{Path(file).name} has no {language} record with {records.named[case_id]}"

    def training(self, language: str, data_dir: Path | None = None) -> Split:
        self._check_languages([language])
        if language in self.borrowed:
            return self.borrowed[language].training(language, data_dir)
        if language not in self.training_files:
            raise RequestError(f"Data set {self.name!r} has no training file in {language!r}.")
        return self._facts(self.find(self.training_files[language], data_dir), language)

    def validation(self, language: str, data_dir: Path | None = None) -> Split | None:
        self._check_languages([language])
        if language in self.borrowed:
            return self.borrowed[language].validation(language, data_dir)
        if language not in self.validation_files:
            return None
        try:
            path = self.find(self.validation_files[language], data_dir)
        except NotHereError:
            return None
        return self._facts(path, language)

    def _facts(self, path: Path, language: str) -> Split:
        """A training or validation file."""
        cases, skipped = [], []
        for i, fact in enumerate(self._read_facts(path, language)):
            if not fact.src or not fact.alt:
                skipped.append(Skipped(str(i), f"{language}: empty {'src' if not fact.src else 'alt'}"))
            else:
                cases.append(training_case(str(i), language, fact))
        return Split(path, digest_file(path), tuple(cases), tuple(skipped))

    def _read_facts(self, path: Path, language: str) -> list[TrainingRecord]:
        return read_training(path, self.keys.get(language, language) if self.nested_training else None)

    def texts(self, data_dir: Path | None = None) -> tuple[list[SplitTexts], list[str]]:
        parts: list[SplitTexts] = []
        missing: list[str] = []
        flat: tuple[tuple[SplitName, Mapping[str, str]], ...] = (
            ("training", self.training_files),
            ("validation", self.validation_files),
        )
        for split, files in flat:
            for language, file in files.items():
                try:
                    path = self.find(file, data_dir)
                except NotHereError:
                    missing.append(file)
                else:
                    parts.append(
                        SplitTexts(
                            split, language, path, [_fact_texts(fact) for fact in self._read_facts(path, language)]
                        )
                    )
        for code in self.languages:
            try:
                records = self.records([code], data_dir)
            except NotHereError:
                missing += self.test_files([code])
                continue
            pivot = self.pivot or code
            rows = [
                _record_texts(sides[code], sides.get(pivot)) if code in sides else None
                for sides in records.sides.values()
            ]
            shared: Iterable[RecordTexts] = ()
            if self.pivot:
                shared = (_record_texts(sides[pivot], None) for sides in records.sides.values())
            elif self.flat:
                shared = (RecordTexts({"src": name}, None) for name in records.named.values())
            parts.append(SplitTexts("test", code, records.paths[0], rows, tuple(shared)))
        if not parts:
            self.records(self.languages[:1], data_dir)  # raises, and says where it looked
        return parts, list(dict.fromkeys(missing))

    def _training_language(self, file: str) -> str | None:
        """The language of a training or validation file; None where it is another."""
        named = [*self.training_files.items(), *self.validation_files.items()]
        return next((code for code, own in named if own == file), None)

    def _others(self) -> list[str]:
        """The languages that have a file of their own."""
        return [code for code in self.languages if code != self.pivot] if self.pivot or self.flat else []

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


def _case(case_id: str, pair: Direction, sides: Mapping[str, ParallelRecord], pivot: str | None) -> Case:
    """A case in the languages of the direction that it has."""
    source = sides[pair.source]
    languages = [code for code in pair.languages if code in sides]
    others = [code for code in sides if code != pair.source]
    if len(pair.targets) > 1 and pivot in others:
        others = [pivot]  # what every pair of this source has, so that the edit is that of the pair with the pivot
    edit = Edit(
        source.src,
        source.alt,
        pair.source,
        source.subject,
        translations={code: sides[code].alt for code in languages},
        questions={code: sides[code].src for code in languages},
        aliases=tuple(sides[code].subject for code in others if sides[code].subject),
    )
    probes = [source.probe("reliability", pair.source)]
    for code in languages:
        probes += [sides[code].probe(name, code) for name in sides[code].properties() if name != "reliability"]
    return Case(case_id, edit, tuple(probes))


def _record_texts(side: ParallelRecord, pivot: ParallelRecord | None) -> RecordTexts:
    texts = {name: side.texts[name] for name in FIELDS if name in side.texts}
    alias = () if pivot is None or pivot is side else (pivot.subject,)
    return RecordTexts(texts, side.subject, side.old, alias)


def _fact_texts(fact: TrainingRecord) -> RecordTexts:
    texts = {name: getattr(fact, name) for name in FIELDS if name in fact.model_fields_set}
    return RecordTexts(texts, fact.subject if "subject" in fact.model_fields_set else None, fact.answers)
