"""What is in the files of a data set: how long its texts are, and every record that is dirty.

Reads the files through the readers of `xkeb.datasets` and changes nothing: what a dirty record does to a run is decided
there. Text is compared without regard to case and to space around it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xkeb.datasets import LOCALITY_PREFIX, Fact, ParallelRecords, Side, read_test, read_training
from xkeb.errors import RequestError

Split = Literal["training", "validation", "test"]
FIELDS = ("src", "rephrase", "alt", "loc", "loc_ans", "portability question", "portability answer")
"""The texts of a record, by their upstream names, in the order of the paper's Table 1."""

KINDS = {
    "empty field": "the record is skipped, or asked less of; what is skipped is counted in every result",
    "absent field": "the file doesn't have the field at all",
    "locality prefix": f"the question starts with {LOCALITY_PREFIX!r}, which is cut off",
    "same answer": "the target is the same text in both languages, so it crosses over for free",
    "answer in portability question": "the question gives the new answer away",
    "duplicate question": "an earlier record asks the same",
    "subject not in prompt": "a method that edits at the subject can't find it",
    "rephrase equals question": "generality measures nothing that reliability doesn't",
    "true answer as target": "the edit asks for what is listed as true already",
    "misaligned files": "record n of one language is not record n of the other",
}
"""What can be found, and what it means."""

COUNTED = ("absent field", "locality prefix")
"""True of a whole file as a rule, so counted and not listed."""

_PREFIX = LOCALITY_PREFIX.strip()
"""The readers strip texts, so nothing may stand behind it."""
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Thai, Lao, Burmese, Khmer, kana and Chinese characters: no space stands between their words."""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")

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


def words(text: str) -> list[str]:
    """Words and punctuation marks; characters one by one in scripts that put no space between words."""
    return _WORD.findall(text)


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
class Finding:
    """One dirty record."""

    kind: str
    """A key of `KINDS`."""
    split: Split
    language: str
    """Two codes joined by ``/`` where two languages are compared."""
    record: int | None
    """Counted from 0, as in `Case.id`; None where it is about the whole file."""
    field: str
    detail: str


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


@dataclass(frozen=True, slots=True)
class _Row:
    """A record in one language."""

    texts: Mapping[str, str]
    """By field; a field that the record doesn't have is absent."""
    subject: str | None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """A split in one language."""

    split: Split
    language: str
    path: Path
    rows: Sequence[_Row]

    def finding(self, kind: str, record: int | None, field: str, detail: str) -> Finding:
        return Finding(kind, self.split, self.language, record, field, detail)


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
        dataset.find(dataset.test_file, data_dir)  # raises, and says where it looked
    findings = [finding for part in parts for check_part in _CHECKS for finding in check_part(part)]
    for _, group in itertools.groupby(parts, key=lambda part: part.split):
        for one, other in itertools.combinations(group, 2):
            findings += _across(one, other)
    measure = count or (lambda text: len(words(text)))
    return Report(
        dataset.name,
        tuple(_statistics(dataset.name, part, measure) for part in parts),
        tuple(_tallies(findings, parts)),
        tuple(finding for finding in findings if finding.kind not in COUNTED),
        tuple(missing),
    )


# Reading


def _read(dataset: ParallelRecords, data_dir: Path | None) -> tuple[list[_Part], list[str]]:
    parts: list[_Part] = []
    missing: list[str] = []
    flat: tuple[tuple[Split, Mapping[str, str]], ...] = (
        ("training", dataset.training_files),
        ("validation", dataset.validation_files),
    )
    for split, files in flat:
        for language, file in files.items():
            if path := _find(dataset, file, data_dir, missing):
                parts.append(_Part(split, language, path, [_of_fact(fact) for fact in read_training(path)]))
    if path := _find(dataset, dataset.test_file, data_dir, missing):
        records = read_test(path, dataset.languages)
        for code in dataset.languages:
            parts.append(_Part("test", code, path, [_of_side(sides[code]) for sides in records]))
    return parts, missing


def _find(dataset: ParallelRecords, file: str, data_dir: Path | None, missing: list[str]) -> Path | None:
    try:
        return dataset.find(file, data_dir)
    except RequestError:
        missing.append(file)
        return None


def _of_side(side: Side) -> _Row:
    first = (side.src, side.rephrase, side.alt, side.loc, side.loc_ans)
    texts = (*first, side.portability.question.strip(), side.portability.answer.strip())
    return _Row(dict(zip(FIELDS, texts, strict=True)), side.subject)


def _of_fact(fact: Fact) -> _Row:
    texts = {name: getattr(fact, name) for name in FIELDS if name in fact.model_fields_set}
    return _Row(texts, fact.subject if "subject" in fact.model_fields_set else None, fact.answers)


# Checks of one file in one language


def _empty(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        for name, text in {"subject": row.subject, **row.texts}.items():
            if text is not None and not text.removeprefix(_PREFIX if name == "loc" else ""):
                yield part.finding("empty field", i, name, "")


def _absent(part: _Part) -> Iterator[Finding]:
    expected = FIELDS if part.split == "test" else FIELDS[:5]
    for i, row in enumerate(part.rows):
        for name in ("subject", *expected):
            if (row.subject if name == "subject" else row.texts.get(name)) is None:
                yield part.finding("absent field", i, name, "")


def _prefixed(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        if row.texts.get("loc", "").startswith(_PREFIX):
            yield part.finding("locality prefix", i, "loc", "")


def _given_away(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        question = row.texts.get("portability question", "")
        if _stands_in(row.texts["alt"], question):
            detail = f"{row.texts['alt']!r} in {question!r}"
            yield part.finding("answer in portability question", i, "portability question", detail)


def _repeated(part: _Part) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for i, row in enumerate(part.rows):
        if (question := row.texts["src"]) and (seen := first.setdefault(question.casefold(), i)) != i:
            yield part.finding("duplicate question", i, "src", f"as record {seen}: {question!r}")


def _subject_elsewhere(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        if row.subject and row.subject not in row.texts["src"]:  # with regard to case: its tokens are looked for
            yield part.finding("subject not in prompt", i, "subject", f"{row.subject!r} not in {row.texts['src']!r}")


def _not_rephrased(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        if (question := row.texts["src"]) and _same(question, row.texts.get("rephrase", "")):
            yield part.finding("rephrase equals question", i, "rephrase", repr(question))


def _already_true(part: _Part) -> Iterator[Finding]:
    for i, row in enumerate(part.rows):
        if (answer := row.texts["alt"]) and any(_same(answer, true) for true in row.answers):
            yield part.finding("true answer as target", i, "alt", repr(answer))


_CHECKS = (_empty, _absent, _prefixed, _given_away, _repeated, _subject_elsewhere, _not_rephrased, _already_true)


def _across(one: _Part, other: _Part) -> Iterator[Finding]:
    """What only two languages of a split show together."""
    languages = f"{one.language}/{other.language}"
    if (here := len(one.rows)) != (there := len(other.rows)):
        detail = f"{one.path.name} has {here:,} records, {other.path.name} {there:,}"
        yield Finding("misaligned files", one.split, languages, None, "", detail)
        return
    if one.split != "test":
        return  # a target is trained on in one language only, so nothing crosses over
    for i, (row, twin) in enumerate(zip(one.rows, other.rows, strict=True)):
        if (answer := row.texts["alt"]) and _same(answer, twin.texts["alt"]):
            yield Finding("same answer", one.split, languages, i, "alt", repr(answer))


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _stands_in(answer: str, text: str) -> bool:
    """Whether the words of `answer` stand in `text`, one after the other."""
    wanted, given = words(answer.casefold()), words(text.casefold())
    n = len(wanted)
    return n > 0 and any(given[i : i + n] == wanted for i in range(len(given) - n + 1))


# Counting


def _statistics(dataset: str, part: _Part, count: Callable[[str], int]) -> Statistics:
    examples, published = _PUBLISHED.get(dataset, {}).get((part.split, part.language), (None, ()))
    lengths: dict[str, float | None] = {}
    for name in FIELDS:
        texts = [row.texts[name] for row in part.rows if name in row.texts]
        lengths[name] = sum(map(count, texts)) / len(texts) if texts else None
    paper = dict(zip(FIELDS, published, strict=True)) if published else {}
    return Statistics(part.split, part.language, part.path, len(part.rows), lengths, examples, paper)


def _tallies(findings: Sequence[Finding], parts: Sequence[_Part]) -> Iterator[Tally]:
    counts = Counter((f.kind, f.split, f.language, f.field) for f in findings)
    examples = {(part.split, part.language): len(part.rows) for part in parts}
    order = list(KINDS)
    for (kind, split, language, name), n in sorted(counts.items(), key=lambda item: order.index(item[0][0])):
        yield Tally(kind, split, language, name, n, examples[split, language.partition("/")[0]])
