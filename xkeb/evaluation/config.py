"""What a run is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xkeb.errors import RequestError
from xkeb.tasks.asked import GENERATE, TEACHER_FORCING, WILD
from xkeb.types import DEFAULT_METRICS, FREE_METRICS, WILD_METRICS
from xkeb.utils.names import is_folder_name

METRICS: Mapping[str, Sequence[str]] = {GENERATE: FREE_METRICS, WILD: WILD_METRICS}
"""What free answers are scored by unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model of ``--model``: ``PLUGIN``, or ``PLUGIN:NAME`` with a display name of one's own."""

    plugin: str
    """The name under which what loads it is registered."""
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelChoice:
        """
        Raises:
            RequestError: the display name can't be the name of a folder.
        """
        plugin, colon, name = text.partition(":")
        if colon:
            check_folder_name(name)
        return cls(plugin, name if colon else None)

    def __str__(self) -> str:
        return f"{self.plugin}:{self.name}" if self.name else self.plugin


def check_folder_name(name: str) -> None:
    """Refuses a display name that can't be the name of a folder.

    Raises:
        RequestError: says what was expected.
    """
    if not is_folder_name(name) or {":", ","} & set(name):
        raise RequestError(f"A model's display name is the name of a folder, without / \\ : or a comma; not {name!r}.")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A run, as the command line or `xkeb.evaluate` gives it."""

    tasks: Sequence[str]
    models: Sequence[str]
    """Registered names; ``PLUGIN:NAME`` gives a model a display name, so that one plugin can load several."""
    methods: Sequence[str] | None = None
    """None: the paper's methods for each model. ``["all"]``: every registered one."""
    model_args: Mapping[str, Any] = field(default_factory=dict)
    """``{"path": ..}`` for all models, ``{"NAME.path": ..}`` for the one of that name."""
    method_args: Mapping[str, Any] = field(default_factory=dict)
    """``{"METHOD.layer": 5}``"""
    method_defaults: Mapping[str, Any] = field(default_factory=dict)
    """The same of a run file: `method_args` win over it, and what it says of methods that don't run is of no concern."""
    settings: Sequence[Path] = ()
    """Files of `xkeb tune`, with options of methods; `method_args` go before them."""
    metrics: Sequence[str] | None = None
    """None: those of each protocol."""
    protocols: Sequence[str] = (TEACHER_FORCING,)
    """Each edit is asked under all of them."""
    protocol_args: Mapping[str, Any] = field(default_factory=dict)
    """``{"cut": ..}`` for the only protocol, ``{"PROTOCOL.cut": ..}`` for the one of that name."""
    prompt: str | None = None
    """How questions are put: ``plain``, ``qa`` or ``chat``. None: as each task says."""
    regime: str | None = None
    """``single``, ``batch:N`` or ``sequential:N[xM]`` (`xkeb.results.regime`). None: as each task says."""
    evaluate: str | None = None
    """When a sequence is asked: ``after_each``, ``after_batch`` or ``after_all``. None: as each task says."""
    damage: bool = False
    """Measure what edits that stay did to unrelated answers and to texts, wherever a sequence is asked."""
    limit: int | None = None
    train_size: int | None = None
    """The first so many training facts; None for all."""
    cases: Sequence[str] = ()
    """Only these; `xkeb.utils.case_names` says how they are named."""
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    output: Path = Path("results")
    overwrite: bool = False
    """Discard the cases that are there, instead of going on."""
    include: Sequence[Path] = ()
    """More task folders."""
    executor: str = "local"
    """What runs the jobs."""
    executor_args: Mapping[str, Any] = field(default_factory=dict)
    """Its options."""
    observers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Registered observers of the run, by name, with their options."""
    command: str = ""

    def scored_under(self, protocol: str) -> Sequence[str]:
        """The metrics that are measured under a protocol."""
        if self.metrics is not None:
            return self.metrics
        return METRICS.get(protocol, DEFAULT_METRICS)

    @property
    def selection(self) -> Literal["all", "first", "named"]:
        """Which cases of the data are asked for."""
        if self.cases:
            return "named"
        return "all" if self.limit is None else "first"

    def model_choices(self) -> list[ModelChoice]:
        """The models, once each."""
        return [ModelChoice.parse(text) for text in dict.fromkeys(self.models)]

    def options_of(self, model: ModelChoice) -> dict[str, Any]:
        """The ``--model-args`` of one model: ``NAME.option`` is for the one of that name, ``option`` for all."""
        names = [name for choice in self.model_choices() for name in (choice.name, str(choice), choice.plugin) if name]
        own = [name for name in (model.name, str(model), model.plugin) if name]
        chosen = {}
        for key, value in self.model_args.items():
            owner = max((name for name in names if key.startswith(f"{name}.")), key=len, default=None)
            if owner is None:
                chosen[key] = value
            elif owner in own:
                chosen[key.removeprefix(f"{owner}.")] = value
        return chosen
