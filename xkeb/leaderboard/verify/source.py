"""The data that a result says it was made on: whether its cases are that data's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xkeb.data.dataset import Dataset, Split
from xkeb.errors import NotHereError, RequestError, one_line
from xkeb.registry.manager import get_plugins
from xkeb.results.lines import CaseRecord
from xkeb.results.result import Result
from xkeb.results.untrusted import quoted
from xkeb.tasks.asked import query_of
from xkeb.tasks.config import Definition, TaskFile
from xkeb.tasks.slices import TRAINING, slices_of
from xkeb.tasks.task import load_definitions
from xkeb.types import Case


@dataclass(slots=True)
class Sources:
    """The known data sets and tasks. Reads each file once, however many results rest on it."""

    data_dir: Path | None = None
    _read: dict[tuple[str, str, bool], Split | None] = field(default_factory=dict)
    _tasks: dict[str, Definition] = field(default_factory=load_definitions)

    def check_task(self, result: Result) -> Iterator[str]:
        """What a result says of a task that is known here, and that is otherwise."""
        task = result.task
        definition = self._tasks.get(task.name)
        if definition is None or not isinstance(content := definition.content, TaskFile):
            return
        stated = {"version": task.version, "dataset": task.dataset.name, "pair": task.direction.name}
        here = {"version": content.version, "dataset": content.dataset_name, "pair": content.direction.name}
        for key, value in stated.items():
            fact = here[key]
            if value != fact:
                yield f"task {quoted(task.name)} has the {key} {quoted(fact)} here, not {quoted(value)}"

    def find(self, result: Result) -> tuple[Split | None, str | None, str | None]:
        """The data behind a result.

        Returns:
            the file at hand, where it is the result's; a problem; what to note.
        """
        stated = result.task.dataset
        name = quoted(stated.name)
        if stated.name not in get_plugins().datasets:
            return None, None, f"the data set {name} isn't known here, so its cases were not compared with it"
        dataset: Dataset = get_plugins().datasets.get(stated.name)
        for code in result.task.direction.languages:
            if dataset.languages and code not in dataset.languages:
                return None, f"the data set {name} has no {quoted(code)}", None
        loaded = self._load(dataset, result)
        if loaded is not None and loaded.sha256 == stated.sha256:
            return loaded, None, None
        registered = dataset.registered_hashes(result.task.direction)
        if stated.sha256 in registered:
            return None, None, f"its data has the hash registered for {name}, and is not here to compare the cases with"
        if loaded is None and not registered:
            return None, None, f"the data set {name} is not here and has no registered hash to compare its own with"
        candidates = sorted(registered | ({loaded.sha256} if loaded else set()))
        hashes = " or ".join(f"{sha256[:12]}…" for sha256 in candidates)
        return None, f"its data hash is foreign: {name} is {hashes}, not {stated.sha256[:12]}…", None

    def _load(self, dataset: Dataset, result: Result) -> Split | None:
        definition = self._tasks.get(result.task.name)
        content = definition.content if definition else None
        aligned = isinstance(content, TaskFile) and content.subject == "aligned"
        direction = result.task.direction
        key = (dataset.name, direction.name, aligned)
        if key not in self._read:
            try:
                loaded = dataset.test(direction, self.data_dir)
                self._read[key] = loaded.aligned() if aligned else loaded
            except NotHereError:
                self._read[key] = None
        return self._read[key]


def check_cases(result: Result, cases: Mapping[str, CaseRecord], loaded: Split) -> Iterator[str]:
    """Where the cases or the skipped records of a result are not those of its data."""
    by_id = {case.id: case for case in loaded.cases}
    reasons = {skip.case_id: skip.reason for skip in loaded.skipped}
    for case_id, case in cases.items():
        if case_id in reasons:
            yield f"case {quoted(case_id)}: the data's record can't be run: {reasons[case_id]}"
        elif case_id not in by_id:
            yield f"case {quoted(case_id)}: there is no such case in the data"
        elif difference := _difference(result, case, by_id[case_id]):
            yield f"case {quoted(case_id)}: {difference}"
    stated = {skip.case_id: skip.reason for skip in result.skipped}
    for case_id in sorted(reasons.keys() - stated.keys()):
        yield f"case {quoted(case_id)}: is missing from skipped, and can't be run: {reasons[case_id]}"
    for case_id in sorted(stated.keys() - reasons.keys() - cases.keys()):
        yield f"case {quoted(case_id)}: is skipped, and nothing in the data or in {len(cases):,} lines says why"
    yield from _check_missing(result, loaded)


def _check_missing(result: Result, loaded: Split) -> Iterator[str]:
    """Where the languages that a result says its cases lack are not those that they lack in its data."""
    ran = set(result.case_ids)
    truth = {(one.case_id, one.language): one.reason for one in loaded.missing if one.case_id in ran}
    stated = {(one.case_id, one.language): one.reason for one in result.missing or ()}
    for place in sorted(truth.keys() | stated.keys()):
        if truth.get(place) != stated.get(place):
            case_id, language = place
            said, why = (quoted(part.get(place) or "nothing") for part in (stated, truth))
            yield f"case {quoted(case_id)}: {said} is said to be missing in {quoted(language)}, and {why} by the data"


def _listed(slices: Mapping[str, str]) -> str:
    return quoted(", ".join(f"{kind}={value}" for kind, value in sorted(slices.items())) or "none")


def _difference(result: Result, case: CaseRecord, original: Case) -> str | None:
    edit = original.edit
    for name, value in case.edit.model_dump().items():
        if value != getattr(edit, name):
            return f"edit.{name} is {quoted(value)}, and {quoted(getattr(edit, name))} in the data"
    if case.status == "skipped":
        return None
    told = {kind: value for kind, value in case.slices.items() if kind != TRAINING}
    if told != (slices := slices_of(original)):
        return f"is in the slices {_listed(told)}, and in {_listed(slices)} by the data"
    if len(case.probes) != len(original.probes):
        return f"has {len(case.probes)} probes, and {len(original.probes)} in the data"
    for i, (probe, expected) in enumerate(zip(case.probes, original.probes, strict=True)):
        try:
            query = query_of(result.protocol, result.protocol_args, original, expected)
        except (RequestError, KeyError) as error:
            return f"can't have been asked like this: {one_line(error)}"
        texts = {
            "property": query.property,
            "language": query.language,
            "prompt": query.prompt,
            "reference": query.target,
        }
        for name, text in texts.items():
            value = getattr(probe, name)
            if value != text:
                return f"probes.{i}.{name} is {quoted(value)}, and {quoted(text)} in the data"
        if probe.aliases != (list(expected.aliases) or None):
            stated, known = (quoted(", ".join(texts or ()) or "none") for texts in (probe.aliases, expected.aliases))
            return f"probes.{i}.aliases are {stated}, and {known} in the data"
    return None


def selection(result: Result, loaded: Split) -> tuple[str | None, str | None]:
    """Which of the data's cases a result rests on: a problem, where nobody asked to leave out the others, or a note."""
    skipped = {skip.case_id for skip in result.skipped}
    case_ids = {*result.case_ids, *(case.id for case in loaded.cases if case.id in skipped)}
    order = [case.id for case in loaded.cases]
    if len(case_ids) == len(order):
        return None, None
    note = f"the first {len(case_ids):,} of the data's {len(order):,} cases"
    first = case_ids == set(order[: len(case_ids)])
    if not first:
        note = f"{len(case_ids):,} of the data's {len(order):,} cases, not the first of them"
    if result.selection == "all" or (result.selection == "first" and not first):
        return f"rests on {note}, and says that it is of {result.selection} cases", None
    return None, note
