"""What stands on the leaderboard: a row a cell, published by the paper or measured with this suite."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from xkeb.errors import RequestError
from xkeb.results.group import comparable_group
from xkeb.results.result import Result
from xkeb.results.scores import Score, Scores
from xkeb.results.settings import HEADLINES, METHODS_OWN
from xkeb.types import PromptStyle, Sight
from xkeb.utils.hashing import digest_file


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A mean as a paper prints it: nothing is known of its spread."""

    mean: float
    ci95: tuple[float, float] | None = None
    n: int | None = None


AnyScore = Score | PublishedScore
Badge = Literal["published", "reproduced", "baseline"]
Cell = tuple[str, str]
"""Property and language."""
DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Entry:
    """One row: what a method did to a model in a task."""

    id: str
    """Letters, digits and hyphens; unique on the site."""
    badge: Badge
    task: str
    source: str
    targets: tuple[str, ...]
    """The other languages that are asked in; none in a task of one language."""
    model: str
    method: str
    protocol: str
    group: str
    """Only rows that have the same are set against each other: results of one comparable group
    (`xkeb.results.group.comparable_group`), and of the same cases."""
    scores: Mapping[Cell, Mapping[str, AnyScore]]
    """By property and language, by metric; published ones have no interval."""
    origin: str
    """Where it comes from, for people: a table of the paper, or date and hash."""
    folder: Path | None = None
    """Of the result, with its cases."""
    result: Result | None = field(default=None, repr=False)
    sees: Sequence[Sight] | None = None
    """What the method was shown of the data; None where that isn't known."""
    prompt: PromptStyle = "plain"
    """How questions were put."""
    regime: str = "single"
    """How many edits a model got, and when it was asked."""
    slices: Mapping[str, Mapping[Cell, Mapping[str, AnyScore]]] = field(default_factory=dict, repr=False)
    """``KIND=VALUE`` -> the same as `scores`, of the cases of that slice."""
    within: str | None = None
    """The slice that `scores` are of; None for all cases."""
    rules: str = ""
    """Options of the protocol, where results of the site differ in them."""
    apart: str = ""
    """Options of the method in which it differs from other results of the same cell."""
    n_cases: int | None = None
    """That its scores are of; None where that isn't said."""
    recomputed: str | None = None
    """What the check says of it, where its scores were computed again as the site was built; None where they weren't."""
    rerun: str | None = None
    """How it differs from a second run by those who build the site; None where there is none."""

    @property
    def target(self) -> str:
        """The targets, as one text; empty in a task of one language."""
        return "+".join(self.targets)

    @property
    def languages(self) -> tuple[str, ...]:
        """All that are asked in, the source first."""
        return (self.source, *self.targets)

    @property
    def cell(self) -> tuple[str, str, str, str, str, str]:
        """What a published and a reproduced row have in common."""
        return self.task, self.model, self.method, self.protocol, self.prompt, self.regime

    @property
    def asked(self) -> str:
        """Protocol, with the options in which results differ, prompt style where that isn't plain, and regime where a model got
        several edits: a table, a picture and a mean are of rows that have the same."""
        protocol = f"{self.protocol} ({self.rules})" if self.rules else self.protocol
        others = [name for name, usual in ((self.prompt, "plain"), (self.regime, "single")) if name != usual]
        return ", ".join([protocol, *others])

    @property
    def saw_target_answer(self) -> bool:
        """Whether the method was shown the very answer that is asked for in another language."""
        return Sight.TARGET_ANSWER in (self.sees or ())

    @cached_property
    def seconds(self) -> float | None:
        """A case, editing and evaluation."""
        if self.result is None or not self.result.case_ids:
            return None
        timing = self.result.timing
        return (timing.edit_seconds + timing.evaluate_seconds) / len(self.result.case_ids)

    @property
    def train_size(self) -> int | None:
        """Facts that it learnt from; None where it learns from none, or where that isn't said."""
        return None if self.result is None else self.result.method.train_size

    @property
    def headlines(self) -> tuple[str, str]:
        """The two metrics that its protocol's tables call F1 and EM."""
        return HEADLINES.get(self.protocol, ("f1", "em"))

    @property
    def headline(self) -> str:
        """The one that is called F1."""
        return self.headlines[0]

    def mean(self, cell: Cell, metric: str | None = None) -> float | None:
        """A score in percent, by default of the headline; None where it has none."""
        score = self.scores.get(cell, {}).get(metric or self.headline)
        return None if score is None else score.mean


def published() -> dict[str, Any]:
    """The paper's numbers, as ``leaderboard/published.json`` has them."""
    content: dict[str, Any] = json.loads((files("xkeb_leaderboard") / "published.json").read_text(encoding="utf-8"))
    return content


def published_entries() -> Iterator[Entry]:
    """A row for each of the paper's Tables 2 and 4."""
    paper = published()
    (n_cases,) = {split["examples"] for split in paper["data_statistics"] if split["split"] == "test"}
    for row in paper["rows"]:
        source, target = row["task"].rpartition("_")[2].split("2")
        scores = {
            (name, language): {
                paper["metrics"].get(metric, metric): PublishedScore(mean)
                for metric, mean in metrics.items()
                if mean is not None
            }
            for name, languages in row["scores"].items()
            for language, metrics in languages.items()
        }
        method = paper["method_names"].get(row["method"], row["method"])
        sees = paper["sees"].get(row["method"])
        key = slug("published", row["task"], row["model"], method)
        group = f"published/{row['task']}"
        seen = None if sees is None else [Sight(name) for name in sees]
        yield Entry(
            key, "published", row["task"], source, (target,), row["model"], method, paper["protocol"], group, scores,
            row["source"], sees=seen, n_cases=n_cases,
        )  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """A file that is no result."""

    path: Path
    name: str
    """The path below the folder that was named: the site says nothing of whose machine it was built on."""
    reason: str
    """Goes on from the name: ``is not JSON: ..``."""


@dataclass(frozen=True)
class Found:
    """The results of some folders."""

    entries: Sequence[Entry]
    broken: Sequence[Broken]


def find_results(folders: Iterable[Path]) -> Found:
    """Every ``result.json`` below the folders, in the order of their tasks, models and methods.

    Raises:
        RequestError: a folder isn't there.
    """
    entries: dict[str, Entry] = {}  # by hash: the same file twice is one result
    broken: dict[Path, Broken] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"There is no folder of results {folder}.")
        for file in sorted(folder.rglob("result.json")):
            try:
                result = Result.load(file, any_name=True)
                sha256 = digest_file(file)
                entries.setdefault(sha256, _entry(file, result, sha256))
            except RequestError as error:
                reason = str(error).removeprefix(f"{file} ").removesuffix(".")
                broken.setdefault(file.resolve(), Broken(file, file.relative_to(folder).as_posix(), reason))
    ordered = sorted(
        _compared(list(entries.values())),
        key=lambda entry: (entry.task, entry.model, entry.method, entry.origin, entry.id),
    )
    return Found(ordered, sorted(broken.values(), key=lambda one: (one.name, one.reason)))


def read_results(files: Iterable[Path]) -> list[Entry]:
    """These results, in the order of the files; the same one twice is one.

    Raises:
        RequestError: one of the files is no result.
    """
    entries: dict[str, Entry] = {}  # by hash
    for file in files:
        sha256 = digest_file(file)
        entries.setdefault(sha256, _entry(file, Result.load(file, any_name=True), sha256))
    return list(_compared(list(entries.values())))


def _compared(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Each with the options of its protocol that tell it apart from others of that protocol, and those of its method that tell
    it apart from others of its cell."""
    return _told_apart(list(_with_rules(entries)))


def _with_rules(entries: Sequence[Entry]) -> Iterator[Entry]:
    of_protocol: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        of_protocol.setdefault(entry.protocol, []).append(_options(entry))
    differing = {
        protocol: sorted({key for one in found for key in one if any(other.get(key) != one[key] for other in found)})
        for protocol, found in of_protocol.items()
    }
    for entry in entries:
        own = _options(entry)
        yield replace(entry, rules=", ".join(f"{key}={own[key]}" for key in differing[entry.protocol] if key in own))


def _told_apart(entries: Sequence[Entry]) -> Iterator[Entry]:
    of_cell: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for entry in entries:
        of_cell.setdefault(entry.cell, []).append(entry.result.method.params if entry.result else {})
    for entry in entries:
        own, found = (entry.result.method.params if entry.result else {}), of_cell[entry.cell]
        names = sorted(key for key in own if any(other.get(key) != own[key] for other in found))
        yield replace(entry, apart=", ".join(f"{key}={own[key]}" for key in names))


def _options(entry: Entry) -> dict[str, str]:
    stated = entry.result.protocol_args if entry.result else {}
    return {key: str(value) for key, value in stated.items() if key not in METHODS_OWN}


def _entry(file: Path, result: Result, sha256: str) -> Entry:
    task, model, method = (part.name for part in (result.task, result.model, result.method))
    date = str(result.environment.get("date", ""))
    return Entry(
        slug(task, model, method, sha256[:12]),
        "reproduced",
        task,
        result.task.source,
        result.task.direction.targets,
        model,
        method,
        result.protocol,
        comparable_group(result),
        _flat(result.scores),
        f"{date if DATE.fullmatch(date) else ''} {sha256[:8]}".strip(),
        file.parent,
        result,
        result.method.sees,
        result.prompt,
        result.regime,
        {name: _flat(scores) for name, scores in result.slices.items()},
        n_cases=len(result.case_ids),
    )


def baselines(entries: Iterable[Entry]) -> Iterator[Entry]:
    """What the unedited models answered: a row a group and model with results of one's own, from the one with most cases."""
    fullest: dict[tuple[str, str, str, str], Entry] = {}
    for entry in entries:
        if entry.result is None:
            continue
        key = (entry.task, entry.model, entry.asked, entry.group)
        best = fullest.get(key)
        if best is None or (entry.n_cases or 0) > (best.n_cases or 0):
            fullest[key] = entry
    names: set[str] = set()
    for (task, model, asked, group), entry in sorted(fullest.items(), key=lambda item: item[0]):
        assert entry.result is not None
        of_slices = {name: _flat(scores) for name, scores in entry.result.slices_before.items()}
        names.add(name := unused(slug("baseline", task, model, *asked.split(", ")), names))
        yield Entry(
            name, "baseline", task, entry.source, entry.targets, model, "no edit", entry.protocol, group,
            _flat(entry.result.scores_before), "before any edit", prompt=entry.prompt, rules=entry.rules, slices=of_slices,
            regime=entry.regime, n_cases=entry.n_cases,
        )  # fmt: skip


def in_slice(entries: Iterable[Entry], name: str) -> list[Entry]:
    """The rows that have a slice, with the scores of that slice; none where it is all of the cases of each of them."""
    kind = name.partition("=")[0]
    having = [entry for entry in entries if name in entry.slices]
    if all(sum(other.partition("=")[0] == kind for other in entry.slices) < 2 for entry in having):
        return []
    return [
        replace(entry, scores=entry.slices[name], within=name, n_cases=_n_scored(entry.slices[name]))
        for entry in having
    ]


def _n_scored(scores: Mapping[Cell, Mapping[str, AnyScore]]) -> int | None:
    """Cases that have a score."""
    return max(
        (score.n for metrics in scores.values() for score in metrics.values() if score.n is not None), default=None
    )


def _flat(scores: Scores) -> dict[Cell, Mapping[str, AnyScore]]:
    return {(name, language): metrics for name, languages in scores.items() for language, metrics in languages.items()}


def slug(*parts: str) -> str:
    """A name for files and addresses, of whatever a submitted file calls itself."""
    return "--".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-")[:60] or "x" for part in parts)


def unused(name: str, names: Container[str]) -> str:
    """The name, with a number where it is taken."""
    count, candidate = 1, name
    while candidate in names:
        count += 1
        candidate = f"{name}-{count}"
    return candidate
