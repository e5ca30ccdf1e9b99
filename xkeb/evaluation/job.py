"""One job of a run: a task, a model, a method, asked under one protocol or several."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xkeb.data.dataset import Split
from xkeb.editing.editor import Editor
from xkeb.errors import NotHereError, RequestError, XkebError
from xkeb.evaluation.config import ModelChoice
from xkeb.evaluation.measurements import Measurement
from xkeb.models.skeleton import Skeleton
from xkeb.registry.manager import get_plugins
from xkeb.results.regime import SINGLE, Regime
from xkeb.tasks.task import Task, shipped_task
from xkeb.types import Case, PromptStyle, Sight

PROBE_NAMES: dict[str, str] = {"generality": "a rephrase", "locality": "an unrelated question"}
"""What a training fact must bring along, by the property that it teaches."""


@dataclass(frozen=True)
class Job:
    """A task, a model and a method, with everything checked that can be checked before a weight is loaded."""

    task: Task
    model: str
    """Display name."""
    choice: ModelChoice
    model_args: Mapping[str, Any]
    method: str
    options: Mapping[str, Any]
    """Of the method, as given."""
    editor: Editor
    """Configured for the model, where its skeleton is known."""
    cases: Sequence[Case]
    selection: Literal["all", "first", "named"]
    measurements: Sequence[Measurement]
    """One for each protocol that its edits are asked under."""
    skeleton: Skeleton | None
    """Of the model; None where its loader knows none."""
    train_size: int | None = None
    """The first so many training facts; None for all."""
    prompt: PromptStyle = "plain"
    """How its questions are put."""
    regime: Regime = SINGLE
    """How many edits its model gets, and when the questions are asked."""
    damage: bool = False
    """Whether damage is measured there."""
    retention: bool = True
    """Whether earlier edits of a sequence are asked again."""

    @property
    def name(self) -> str:
        return f"{self.task.name} / {self.model} / {self.method}"

    def name_under(self, protocol: str) -> str:
        """What a person reads of one of its measurements."""
        return self.name if len(self.measurements) == 1 else f"{self.name}, {protocol}"

    def placed(self, folder: Path) -> Job:
        """The same job with its files in `folder`; those of other protocols, prompt styles and regimes beside it, named for
        them."""
        moved = [
            dataclasses.replace(
                one, folder=folder.with_name(one.protocol.folder(folder.name, self.prompt) + self.regime.suffix)
            )
            for one in self.measurements
        ]
        return dataclasses.replace(self, measurements=moved)

    @functools.cached_property
    def passages(self) -> Mapping[str, Sequence[str]]:
        """Of each language that is asked in, the text whose perplexity is a measure of damage; empty where it has none."""
        return {code: get_plugins().languages.get(code).passages for code in self.task.pair.languages}

    @property
    def retained(self) -> tuple[int, ...]:
        """After how many edits of a sequence the earlier ones are asked again."""
        return self.regime.retention if self.retention else ()

    @property
    def needs_training(self) -> bool:
        """Whether its method learns from training facts. Where the model's skeleton isn't known, that may show only later."""
        return self.editor.needs_training()

    @functools.cached_property
    def training_split(self) -> Split:
        """The training facts, as its method may see them."""
        if Sight.PARALLEL_TRAINING in self.editor.sees:
            return self.task.parallel_training
        return shipped_training(self.task.pair.source) if self.borrows_training else self.task.training

    @functools.cached_property
    def borrows_training(self) -> bool:
        """Whether its method learns from facts that come with the suite, since the task's data set has none and any text
        serves. Files that are missing are no reason."""
        if not (self.editor.learns_from_any_text and self.needs_training):
            return False
        try:
            return not self.task.training.cases
        except NotHereError:
            raise
        except RequestError:
            return True

    def training(self) -> Sequence[Case]:
        """The facts that its method learns from.

        Raises:
            RequestError: there are none.
        """
        return training_facts(self.method, self.editor, self.training_split, self.train_size)


@functools.cache
def shipped_training(language: str) -> Split:
    """The training facts of a task that comes with the suite: in that language, or else in that of its own edits."""
    task = shipped_task()
    try:
        return task.dataset.training(language)
    except RequestError:
        return task.training


def training_facts(method: str, editor: Editor, training: Split, size: int | None = None) -> Sequence[Case]:
    """Of a training file the first `size` facts that a method can learn from.

    Raises:
        RequestError: there are none; says what they lack.
    """
    usable = [case for case in training.cases if case.has(editor.requires)]
    if not usable:
        lacking = " and ".join(PROBE_NAMES[name] for name in sorted(editor.requires)) or "an answer"
        raise RequestError(
            f"Method {method!r} learns from facts with {lacking}; none of the {len(training.cases)} in {training.path} "
            f"has that."
        )
    return usable[:size]


class JobError(XkebError):
    """Some jobs failed. The others are on disk, and in `results`: their results, or what was said of their training."""

    def __init__(self, failed: Sequence[tuple[Job, Exception]], results: Sequence[Any]) -> None:
        super().__init__("; ".join(f"{job.name}: {error}" for job, error in failed))
        self.failed = list(failed)
        self.results = list(results)

    @property
    def wrong_request(self) -> bool:
        """Whether nothing could be done, since all of it was asked for wrongly."""
        return not self.results and all(isinstance(error, RequestError) for _, error in self.failed)
