"""What the suite relies on in a task."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.errors import RequestError
from xkeb.registry.manager import get_plugins
from xkeb.tasks.task import Task, load_task
from xkeb.testing.expect import expect, run_all
from xkeb.types import PROPERTIES


@dataclass(frozen=True)
class TaskPlace:
    """A task, and where it is."""

    name: str
    data_dir: Path | None
    include: Sequence[Path]

    @functools.cached_property
    def task(self) -> Task:
        return load_task(self.name, data_dir=self.data_dir, include=self.include)


def check_task(name: str, *, data_dir: Path | str | None = None, include: Sequence[Path | str] = ()) -> None:
    """Loads a task and looks at every case.

    Args:
        data_dir: where the data set's folder is, as in ``--data-dir``.
        include: more task folders, as in ``--include-path``.

    Raises:
        AssertionError: a sentence for each check that failed.
    """
    place = TaskPlace(name, Path(data_dir) if data_dir else None, [Path(folder) for folder in include])
    run_all(f"Task {name!r}", [it_loads], place)
    run_all(f"Task {name!r}", CHECKS, place)


def it_loads(place: TaskPlace) -> None:
    try:
        cases = list(place.task)
    except RequestError as error:
        raise AssertionError(f"Its file and its data should be read. {error}") from error
    expect(cases, f"It should have cases; all {len(place.task.test.skipped)} records of its data are skipped.")
    expect(list(place.task) == cases, "Its cases should be the same each time they are iterated.")


def its_languages_are_registered(place: TaskPlace) -> None:
    for code in place.task.pair.languages:
        expect(code in get_plugins().languages, f"Language {code!r} of its pair should be registered; it is not.")


def every_case_asks_what_is_measured(place: TaskPlace) -> None:
    pair = place.task.pair
    for case in place.task:
        cells = {(probe.property, probe.language) for probe in case.probes}
        expect(
            ("reliability", pair.source) in cells,
            f"Every case should ask the edit itself, in {pair.source}; case {case.id} does not.",
        )
        expect(
            all(name in PROPERTIES and code in pair.languages for name, code in cells),
            f"Probes should be of {', '.join(PROPERTIES)}, in the languages of {pair.name}; "
            f"case {case.id} has {sorted(cells)}.",
        )
        lacking = {one.language for one in place.task.test.missing if one.case_id == case.id}
        expect(
            {code for _, code in cells} == set(pair.languages) - lacking,
            f"Every case should ask in all languages of {pair.name} that it isn't said to lack; case {case.id} does not.",
        )
        expect(
            lacking < set(pair.targets) or not lacking,
            f"Every case should ask in a language beside {pair.source}; case {case.id} does not.",
        )


def every_case_is_whole(place: TaskPlace) -> None:
    ids = [case.id for case in place.task]
    expect(len(set(ids)) == len(ids), "Every case should have an id of its own; some share one.")
    for case in place.task:
        edit = case.edit
        expect(
            edit.language == place.task.pair.source,
            f"Edits should be made in {place.task.pair.source}; that of case {case.id} is in {edit.language}.",
        )
        texts = [edit.prompt, edit.target, *(text for probe in case.probes for text in (probe.prompt, probe.reference))]
        expect(
            all(text.strip() for text in texts),
            f"Every question and answer should hold text; case {case.id} has an empty one.",
        )


def what_is_skipped_has_a_reason(place: TaskPlace) -> None:
    for skipped in place.task.test.skipped:
        expect(skipped.reason.strip(), f"What is skipped should have a reason; record {skipped.case_id} has none.")


def its_data_is_identified(place: TaskPlace) -> None:
    sha256 = place.task.test.sha256
    expect(re.fullmatch(r"[0-9a-f]{64}", sha256), f"Its data should have a sha256; it has {sha256!r}.")


def its_training_facts_are_read_or_refused(place: TaskPlace) -> None:
    try:
        training = place.task.training.cases
    except RequestError as error:
        expect(
            "\n" not in str(error),
            f"A data set without training facts should say so in one sentence, not {str(error)!r}.",
        )
        return
    wrong = [case.id for case in training if case.edit.language != place.task.pair.source]
    expect(not wrong, f"Training facts should be in {place.task.pair.source}; those of {wrong[:3]} are not.")


CHECKS = (
    its_languages_are_registered,
    every_case_asks_what_is_measured,
    every_case_is_whole,
    what_is_skipped_has_a_reason,
    its_data_is_identified,
    its_training_facts_are_read_or_refused,
)
