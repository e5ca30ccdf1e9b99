"""The facts on which settings are chosen, and the training facts that have nothing to do with them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from xkeb.data.dataset import Dataset, Split
from xkeb.data.subjects import locate_subject
from xkeb.errors import RequestError
from xkeb.tasks.task import Task, edit_in_all
from xkeb.types import Case, Direction, Probe, Property
from xkeb.utils.hashing import digest, digest_texts

ASKED: tuple[Property, ...] = ("reliability", "generality", "locality")
"""What is measured of a fact. Training files have no question for portability."""
VALIDATION, HELD_OUT = "validation file", "held out of the training file"
"""Where the facts come from."""


def tuning_task(task: Task, limit: int, *, cross_lingual: bool = False) -> Task:
    """The same task with other cases: facts to choose settings on. What a method learns from shares no question and no
    subject with them. The test file is never read.

    Args:
        limit: most facts. They are the first of the validation file where there is one, else the last of the training
            file. Facts with a rephrase and an unrelated question are taken, where there are any.
        cross_lingual: ask them in the task's other languages, too; then they are facts that are in all of these.
    """
    return dataclasses.replace(task, dataset=TuningFacts(task, limit, cross_lingual=cross_lingual))


class TuningFacts(Dataset):
    """The data set of a tuning task: its test cases are validation facts of the source language.

    A file may lack its facts' subjects, as Bi-ZsRE's Chinese one does. The parallel facts of the task's other languages name
    them then, as far as the questions hold that name: half of those Chinese questions write it in Latin letters.
    """

    def __init__(self, task: Task, limit: int, *, cross_lingual: bool = False) -> None:
        self.task, self.limit, self.cross_lingual = task, limit, cross_lingual

    @property
    def name(self) -> str:
        return self.task.dataset.name

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        return self.chosen

    def training(self, language: str, data_dir: Path | None = None) -> Split:
        """The training facts that share nothing with the chosen ones. Those of another language have the same ids."""
        if language != self.task.pair.source:
            return self.task.dataset.training(language, data_dir)
        split = self.task.training
        named = zip(split.cases, self._named(split, self.task.dataset.training).cases, strict=True)
        translated = self._ids_near_elsewhere
        cases = tuple(
            case for case, with_subject in named if not self._is_near(with_subject) and case.id not in translated
        )
        return dataclasses.replace(
            split, sha256=digest_texts([split.sha256, *(case.id for case in cases)]), cases=cases, located={}
        )

    @functools.cached_property
    def source(self) -> tuple[str, Split]:
        """Where the facts come from, and the file, its facts with their subjects as far as they are known."""
        task = self.task
        validation = task.dataset.validation(task.pair.source, task.data_dir)
        if validation is None:
            return HELD_OUT, self._named(task.training, task.dataset.training)
        return VALIDATION, self._named(validation, task.dataset.validation)

    def _named(self, split: Split, read: Callable[[str, Path | None], Split | None]) -> Split:
        """A file's facts, each without a subject with that of a parallel fact, where its question holds it.

        Args:
            read: reads the file of another language.
        """
        if all(case.edit.subject for case in split.cases):
            return split
        subjects: dict[str, str] = {}
        for language in self.task.pair.targets:
            with contextlib.suppress(RequestError):  # no such file here: then nothing names them
                other = read(language, self.task.data_dir)
                subjects |= {case.id: case.edit.subject for case in other.cases if case.edit.subject} if other else {}
        return dataclasses.replace(
            split, cases=tuple(_with_subject(case, subjects.get(case.id)) for case in split.cases)
        )

    @functools.cached_property
    def chosen(self) -> Split:
        """The facts, as test cases.

        Raises:
            RequestError: the file has none.
        """
        origin, split = self.source
        everywhere = [case for case in split.cases if all(case.id in facts for facts in self._parallel.values())]
        usable = [case for case in everywhere if case.has(ASKED[1:])] or everywhere
        if not usable:
            also = f" in each of {', '.join(self.task.pair.languages)}" if self._parallel else ""
            raise RequestError(f"{split.path} has no fact with a question and an answer{also} to choose settings on.")
        order = usable if origin == VALIDATION else usable[::-1]
        different: dict[str, Case] = {}
        for case in order:
            different.setdefault(_key(case.edit.prompt), case)
        taken = {case.id for case in [*different.values()][: self.limit]}
        parallel = self._parallel.values()
        rows = [(case, *(facts[case.id] for facts in parallel)) for case in usable if case.id in taken]
        cases = tuple(_with_probes(case, others) for case, *others in rows)
        return Split(split.path, digest([dataclasses.asdict(case) for case in cases]), cases, ())

    def record(self, *, learns: bool) -> dict[str, Any]:
        """What the settings file says of the facts.

        Args:
            learns: whether the method learns from training facts; without that, the training file may not be there.
        """
        task, (origin, split) = self.task, self.source
        learned = None
        if learns:
            used = self.training(task.pair.source).cases
            learned = {
                "file": task.training.path.name,
                "facts": len(used),
                "left_out": len(task.training.cases) - len(used),
            }
        return {
            "task": task.name,
            "version": task.version,
            "dataset": self.name,
            "language": task.pair.source,
            "also_asked_in": list(self._parallel),
            "source": origin,
            "file": split.path.name,
            "file_sha256": split.sha256,
            "count": len(self.chosen.cases),
            "sha256": self.chosen.sha256,
            "ids": [case.id for case in self.chosen.cases],
            "learned_from": learned,
        }

    @functools.cached_property
    def _parallel(self) -> dict[str, dict[str, Case]]:
        """The facts of each other language that is asked in, by id, from the file that belongs to that of the source.

        Raises:
            RequestError: there is none, or the task has no other language.
        """
        task, found = self.task, {}
        if not self.cross_lingual:
            return {}
        if not task.pair.targets:
            raise RequestError(f"Task {task.name!r} has no other language to ask in: leave out --cross-lingual.")
        origin, _ = self.source
        for language in task.pair.targets:
            split = (
                task.dataset.training(language, task.data_dir)
                if origin == HELD_OUT
                else task.dataset.validation(language, task.data_dir)
            )
            if split is None:
                raise RequestError(f"There is a validation file in {task.pair.source}, and none in {language}.")
            found[language] = {case.id: case for case in split.cases}
        return found

    @functools.cached_property
    def _ids_near_elsewhere(self) -> frozenset[str]:
        """The training facts that are near to one of the chosen in another language that is asked in."""
        if not self.cross_lingual:
            return frozenset()
        return frozenset(
            case.id
            for language in self.task.pair.targets
            for case in self.task.dataset.training(language, self.task.data_dir).cases
            if self._is_near(case)
        )

    @functools.cached_property
    def _questions(self) -> frozenset[str]:
        return frozenset(key for case in self.chosen.cases for key in _questions_of(case))

    @functools.cached_property
    def _subjects(self) -> frozenset[str]:
        return frozenset(_keys(case.edit.subject for case in self.chosen.cases))

    def _is_near(self, case: Case) -> bool:
        """Whether a training fact is one of the chosen, asks what one of them asks, or is about the same."""
        return not self._questions.isdisjoint(_questions_of(case)) or _key(case.edit.subject) in self._subjects


def _with_subject(case: Case, subject: str | None) -> Case:
    edit = case.edit
    found = locate_subject(subject, edit.prompt) if subject and not edit.subject else None
    return dataclasses.replace(case, edit=dataclasses.replace(edit, subject=found.text)) if found else case


def _with_probes(case: Case, parallel: Sequence[Case]) -> Case:
    """A fact with its question and answer in every language that is asked in, as a test case has them, with the question for
    reliability, and what is asked of its parallel facts. One without a rephrase is asked its own question for generality: in
    its language no edit was made."""
    edit = edit_in_all(case, parallel)
    probes = [Probe("reliability", edit.language, edit.prompt, edit.target), *case.probes]
    for other in parallel:
        if not any(probe.property == "generality" for probe in other.probes):
            probes.append(Probe("generality", other.edit.language, other.edit.prompt, other.edit.target))
        probes += other.probes
    return dataclasses.replace(case, edit=edit, probes=tuple(probes))


def _questions_of(case: Case) -> Sequence[str]:
    return _keys([case.edit.prompt, *(probe.prompt for probe in case.probes)])


def _keys(texts: Iterable[str]) -> list[str]:
    return [key for key in map(_key, texts) if key]


def _key(text: str) -> str:
    """A text without what two spellings of one question differ in: case, spaces and punctuation."""
    return "".join(character for character in text.casefold() if character.isalnum())
