"""What is in the files of a data set: how long its texts are, every record that is dirty, and where subjects stand.

Reads the files through the data set's own readers and changes nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.datasets import ParallelRecords
from xkeb.dirt import CHECKS, COUNTED, FIELDS, KINDS, Finding, Part, Row, Split, across, words
from xkeb.errors import NotHereError, RequestError
from xkeb.records import Fact, Side, read_training
from xkeb.subjects import WAYS, Way, locate

# Table 1 of the paper, for the full files: number of examples, then the mean lengths of FIELDS in tokens. It doesn't
# say which tokenizer counted them, and none of those tried on the files at hand gives its numbers. Mean relative
# distance: words and signs (`words`) 19% (English 13-32% short, Chinese questions 17-29% long, Chinese answers within
# 11%), the units of `f1_units` 36%, Chinese-LLaMA-2 9.5%, DeepSeek 9.2%, Gemma 3 5.7%. English locality questions were
# counted with their prefix: without it no way of counting reaches 12.6, and the paper has 15.25. So the numbers of
# examples can be compared exactly, and the lengths by shape.
_PUBLISHED: Mapping[str, Mapping[tuple[Split, str], tuple[int, tuple[float | None, ...]]]] = {
    "bizsre": {
        ("training", "en"): (10_000, (11.28, 11.25, 2.85, 15.25, 5.61, None, None)),
        ("training", "zh"): (10_000, (10.86, 10.95, 4.36, 14.71, 6.77, None, None)),
        ("validation", "en"): (3_000, (11.19, 11.20, 2.79, 15.39, 5.50, None, None)),
        ("validation", "zh"): (3_000, (10.94, 11.01, 4.37, 14.66, 6.55, None, None)),
        ("test", "en"): (1_037, (11.43, 11.49, 3.11, 15.31, 5.62, 18.02, 4.54)),
        ("test", "zh"): (1_037, (11.48, 11.60, 4.69, 11.56, 6.77, 16.48, 5.88)),
    }
}


@dataclass(frozen=True, slots=True)
class Statistics:
    """One row of Table 1."""

    split: Split
    language: str
    path: Path
    examples: int
    lengths: dict[str, float | None]
    """Mean number of tokens over all records, by field; empty texts count as 0; None where no record has the field."""
    published_examples: int | None
    published_lengths: dict[str, float | None]
    """The paper's own, for the full file; empty where it states none."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records of a file have a kind of dirt."""

    kind: str
    split: Split
    language: str
    field: str
    records: int
    examples: int
    """How many records there are."""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    dataset: str
    statistics: tuple[Statistics, ...]
    tallies: tuple[Tally, ...]
    """Every kind that was found, with its number, including those that are only counted."""
    findings: tuple[Finding, ...]
    missing: tuple[str, ...]
    """Files that the data set names and that are nowhere."""
    subjects: tuple[Subjects, ...]
    """For each language of the test records."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Where the subjects of a language stand in its questions."""

    language: str
    found: dict[Way, int]
    """How many were found in each way, were the task to say ``subject: aligned``."""
    nowhere: int


def check(dataset: object, data_dir: Path | None = None, *, count: Callable[[str], int] | None = None) -> Report:
    """Reads every file of a data set that is there.

    Args:
        count: the length of a text in tokens; without it, the number of its `words`.

    Raises:
        RequestError: the data set is of another schema, a file is not of the schema, or none is there.
    """
    if not isinstance(dataset, ParallelRecords):
        name = getattr(dataset, "name", type(dataset).__name__)
        raise RequestError(
            f"Data set {name!r} is not in Bi-ZsRE's schema (xkeb.datasets.ParallelRecords): no checks for it."
        )
    parts, missing = _read(dataset, data_dir)
    if not parts:
        dataset.rows(dataset.languages[:1], data_dir)  # raises, and says where it looked
    findings = [finding for part in parts for check_part in CHECKS for finding in check_part(part)]
    for _, group in itertools.groupby(parts, key=lambda part: part.split):
        first, *others = group
        for other in others:
            findings += across(first, other)
    measure = count or (lambda text: len(words(text)))
    return Report(
        dataset.name,
        tuple(_statistics(dataset.name, part, measure) for part in parts),
        tuple(_tallies(findings, parts)),
        tuple(finding for finding in findings if finding.kind not in COUNTED),
        tuple(missing),
        tuple(_subjects(part) for part in parts if part.split == "test"),
    )


# Reading


def _read(dataset: ParallelRecords, data_dir: Path | None) -> tuple[list[Part], list[str]]:
    parts: list[Part] = []
    missing: list[str] = []
    flat: tuple[tuple[Split, Mapping[str, str]], ...] = (
        ("training", dataset.training_files),
        ("validation", dataset.validation_files),
    )
    for split, files in flat:
        for language, file in files.items():
            if path := _find(dataset, file, data_dir, missing):
                parts.append(Part(split, language, path, [_of_fact(fact) for fact in read_training(path)]))
    for code in dataset.languages:
        try:
            found = dataset.rows([code], data_dir)
        except NotHereError:
            missing += dataset.test_files([code])
            continue
        pivot = dataset.pivot or code
        asked = tuple(sides[pivot].src for sides in found.sides.values()) if dataset.pivot else ()
        rows = [_of_side(sides[code], sides.get(pivot)) for sides in found.sides.values()]
        parts.append(Part("test", code, found.paths[0], rows, asked))
    return parts, list(dict.fromkeys(missing))


def _find(dataset: ParallelRecords, file: str, data_dir: Path | None, missing: list[str]) -> Path | None:
    try:
        return dataset.find(file, data_dir)
    except RequestError:
        missing.append(file)
        return None


def _of_side(side: Side, pivot: Side | None) -> Row:
    first = (side.src, side.rephrase, side.alt, side.loc, side.loc_ans)
    texts = (*first, side.portability.question.strip(), side.portability.answer.strip())
    alias = () if pivot is None or pivot is side else (pivot.subject,)
    return Row(dict(zip(FIELDS, texts, strict=True)), side.subject, aliases=alias)


def _of_fact(fact: Fact) -> Row:
    texts = {name: getattr(fact, name) for name in FIELDS if name in fact.model_fields_set}
    return Row(texts, fact.subject if "subject" in fact.model_fields_set else None, fact.answers)


# Counting


def _statistics(dataset: str, part: Part, count: Callable[[str], int]) -> Statistics:
    examples, published = _PUBLISHED.get(dataset, {}).get((part.split, part.language), (None, ()))
    lengths: dict[str, float | None] = {}
    for name in FIELDS:
        texts = [row.texts[name] for row in part.rows if name in row.texts]
        lengths[name] = sum(map(count, texts)) / len(texts) if texts else None
    paper = dict(zip(FIELDS, published, strict=True)) if published else {}
    return Statistics(part.split, part.language, part.path, len(part.rows), lengths, examples, paper)


def _subjects(part: Part) -> Subjects:
    """An empty subject is nowhere."""
    found = [locate(row.subject, row.texts["src"], row.aliases) if row.subject else None for row in part.rows]
    ways = Counter(one.way for one in found if one)
    return Subjects(part.language, {way: ways[way] for way in WAYS}, found.count(None))


def _tallies(findings: Sequence[Finding], parts: Sequence[Part]) -> Iterator[Tally]:
    counts = Counter((f.kind, f.split, f.language, f.field) for f in findings)
    examples = {(part.split, part.language): len(part.rows) for part in parts}
    order = list(KINDS)
    for (kind, split, language, name), n in sorted(counts.items(), key=lambda item: order.index(item[0][0])):
        yield Tally(kind, split, language, name, n, examples[split, language.partition("/")[0]])
