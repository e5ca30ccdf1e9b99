"""What is in the files of a data set: how long its texts are, every record that is dirty, and where subjects stand.

Reads the files through the data set's own readers and changes nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.data.dataset import Dataset
from xkeb.data.quality import (
    CHECKS,
    COUNTED,
    FIELDS,
    ISSUE_KINDS,
    Issue,
    SplitName,
    SplitTexts,
    compare_languages,
    words_and_signs,
)
from xkeb.data.subjects import MATCH_KINDS, MatchKind, locate_subject


@dataclass(frozen=True, slots=True)
class Statistics:
    """One row of Table 1."""

    split: SplitName
    language: str
    path: Path
    examples: int
    lengths: dict[str, float | None]
    """Mean number of tokens over all records, by field; empty texts count as 0; None where no record has the field."""
    published_examples: int | None
    published_lengths: dict[str, float | None]
    """The paper's own, for the full file; empty where it states none."""


@dataclass(frozen=True, slots=True)
class IssueCount:
    """How many records of a file have a kind of dirt."""

    kind: str
    split: SplitName
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
    counts: tuple[IssueCount, ...]
    """Every kind that was found, with its number, including those that are only counted."""
    issues: tuple[Issue, ...]
    missing: tuple[str, ...]
    """Files that the data set names and that are nowhere."""
    subjects: tuple[SubjectCounts, ...]
    """For each language of the test records."""


@dataclass(frozen=True, slots=True)
class SubjectCounts:
    """Where the subjects of a language stand in its questions."""

    language: str
    located: dict[MatchKind, int]
    """How many are located in each way, were the task to say ``subject: aligned``."""
    nowhere: int


def check_dataset(
    dataset: Dataset, data_dir: Path | None = None, *, count: Callable[[str], int] | None = None
) -> Report:
    """Reads every file of a data set that is there.

    Args:
        count: the length of a text in tokens; without it, the number of its `words_and_signs`.

    Raises:
        RequestError: the data set doesn't say what its texts are, a file is not of the schema, or none is there.
    """
    parts, missing = dataset.texts(data_dir)
    issues = [issue for part in parts for check_part in CHECKS for issue in check_part(part)]
    for _, group in itertools.groupby(parts, key=lambda part: part.split):
        first, *others = group
        for other in others:
            issues += compare_languages(first, other)
    measure = count or (lambda text: len(words_and_signs(text)))
    return Report(
        dataset.name,
        tuple(_statistics(dataset, part, measure) for part in parts),
        tuple(_counts(issues, parts)),
        tuple(issue for issue in issues if issue.kind not in COUNTED),
        tuple(missing),
        tuple(_subjects(part) for part in parts if part.split == "test"),
    )


# Counting


def _statistics(dataset: Dataset, part: SplitTexts, count: Callable[[str], int]) -> Statistics:
    published = dataset.published.get((part.split, part.language))
    lengths: dict[str, float | None] = {}
    for name in FIELDS:
        texts = [row.texts[name] for _, row in part.there() if name in row.texts]
        lengths[name] = sum(map(count, texts)) / len(texts) if texts else None
    paper = dict(zip(FIELDS, published.lengths, strict=True)) if published else {}
    examples = published.examples if published else None
    return Statistics(part.split, part.language, part.path, len(part.rows), lengths, examples, paper)


def _subjects(part: SplitTexts) -> SubjectCounts:
    """An empty subject is nowhere."""
    rows = [row for _, row in part.there()]
    matches = [locate_subject(row.subject, row.texts["src"], row.aliases) if row.subject else None for row in rows]
    kinds = Counter(match.kind for match in matches if match)
    return SubjectCounts(part.language, {kind: kinds[kind] for kind in MATCH_KINDS}, matches.count(None))


def _counts(issues: Sequence[Issue], parts: Sequence[SplitTexts]) -> Iterator[IssueCount]:
    numbers = Counter((issue.kind, issue.split, issue.language, issue.field) for issue in issues)
    examples = {(part.split, part.language): len(part.rows) for part in parts}
    order = list(ISSUE_KINDS)
    for (kind, split, language, name), n in sorted(numbers.items(), key=lambda item: order.index(item[0][0])):
        yield IssueCount(kind, split, language, name, n, examples[split, language.partition("/")[0]])
