"""The facts on which settings are chosen, and the training facts that have nothing to do with them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xkeb.data.dataset import Dataset, Split
from xkeb.errors import RequestError
from xkeb.tasks.task import Task
from xkeb.types import Case, Direction, Probe, Property
from xkeb.utils.hashing import digest, digest_texts

ASKED: tuple[Property, ...] = ("reliability", "generality", "locality")
"""What is measured of a fact. Training files have no question for portability, and only one language."""
VALIDATION, HELD_OUT = "validation file", "held out of the training file"
"""Where the facts come from."""


def tuning_task(task: Task, limit: int) -> Task:
    """The same task with other cases: facts to choose settings on. What a method learns from shares no question and no
    subject with them. The test file is never read.

    Args:
        limit: most facts. They are the first of the validation file where there is one, else the last of the training
            file. Facts with a rephrase and an unrelated question are taken, where there are any.
    """
    return dataclasses.replace(task, dataset=TuningFacts(task, limit))


class TuningFacts(Dataset):
    """The data set of a tuning task: its test cases are validation facts of the source language."""

    def __init__(self, task: Task, limit: int) -> None:
        self.task, self.limit = task, limit

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
        cases = tuple(case for case in split.cases if not self._is_near(case))
        return dataclasses.replace(
            split, sha256=digest_texts([split.sha256, *(case.id for case in cases)]), cases=cases, located={}
        )

    @functools.cached_property
    def source(self) -> tuple[str, Split]:
        """Where the facts come from, and the file."""
        task = self.task
        validation = task.dataset.validation(task.pair.source, task.data_dir)
        return (HELD_OUT, task.training) if validation is None else (VALIDATION, validation)

    @functools.cached_property
    def chosen(self) -> Split:
        """The facts, as test cases.

        Raises:
            RequestError: the file has none.
        """
        origin, split = self.source
        usable = [case for case in split.cases if case.has(ASKED[1:])] or list(split.cases)
        if not usable:
            raise RequestError(f"{split.path} has no fact with a question and an answer to choose settings on.")
        order = usable if origin == VALIDATION else usable[::-1]
        different: dict[str, Case] = {}
        for case in order:
            different.setdefault(_key(case.edit.prompt), case)
        taken = {case.id for case in [*different.values()][: self.limit]}
        cases = [case for case in usable if case.id in taken]
        sha256 = digest([dataclasses.asdict(case) for case in cases])
        return Split(split.path, sha256, tuple(map(_with_reliability, cases)), ())

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
            "source": origin,
            "file": split.path.name,
            "file_sha256": split.sha256,
            "count": len(self.chosen.cases),
            "sha256": self.chosen.sha256,
            "ids": [case.id for case in self.chosen.cases],
            "learned_from": learned,
        }

    @functools.cached_property
    def _questions(self) -> frozenset[str]:
        return frozenset(key for case in self.chosen.cases for key in _questions_of(case))

    @functools.cached_property
    def _subjects(self) -> frozenset[str]:
        return frozenset(_keys(case.edit.subject for case in self.chosen.cases))

    def _is_near(self, case: Case) -> bool:
        """Whether a training fact is one of the chosen, asks what one of them asks, or is about the same."""
        return not self._questions.isdisjoint(_questions_of(case)) or _key(case.edit.subject) in self._subjects


def _with_reliability(case: Case) -> Case:
    edit = case.edit
    return dataclasses.replace(
        case, probes=(Probe("reliability", edit.language, edit.prompt, edit.target), *case.probes)
    )


def _questions_of(case: Case) -> Sequence[str]:
    return _keys([case.edit.prompt, *(probe.prompt for probe in case.probes)])


def _keys(texts: Iterable[str]) -> list[str]:
    return [key for key in map(_key, texts) if key]


def _key(text: str) -> str:
    """A text without what two spellings of one question differ in: case, spaces and punctuation."""
    return "".join(character for character in text.casefold() if character.isalnum())
