"""Training of what a method learns: steps, validation, early stopping, checkpoints, and an artifact under its own hash."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from xkeb.editing.dry_run import DryRunSession
from xkeb.errors import RequestError, XkebError
from xkeb.models.oom import is_out_of_memory
from xkeb.types import Case
from xkeb.utils.artifacts import artifact_path, cached_tensors, key_text
from xkeb.utils.files import replacing
from xkeb.utils.progress import report_progress

LOOKED_THROUGH = 200
"""Steps of a training among whose facts a dry run looks for the longest text."""


class TrainingError(XkebError):
    """Training can't go on. What was reached by then is kept."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how carefully to train."""

    steps: int
    """Most optimizer steps."""
    batch_size: int
    """Training facts of one optimizer step."""
    validate_every: int
    """Steps from one validation, and checkpoint, to the next."""
    patience: int
    """Steps without a lower validation loss after which training stops."""
    grad_clip: float
    """Largest norm of a step's gradient."""
    seed: int
    """Of the order of the facts."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


class Trainee(Protocol):
    """What is trained."""

    @property
    def what(self) -> str:
        """In a few words, for whoever watches."""
        ...

    @property
    def module(self) -> nn.Module:
        """Its state dict, buffers included, is the artifact."""
        ...

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]: ...

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """Adds the gradient of the mean loss of some facts to the module's. Returns the parts of that loss."""
        ...

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        """The parts of the mean loss of held-out facts; training keeps the state in which their ``loss`` is lowest."""
        ...


@dataclass
class _State:
    """How far a training is."""

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)


def train(
    kind: str,
    key: Mapping[str, Any],
    trainee: Trainee,
    cases: Sequence[Case],
    validation: Sequence[Case],
    schedule: Schedule,
) -> dict[str, torch.Tensor]:
    """The trained state, taken from the cache where this very training was done before.

    Beside the artifact stands its log (``.jsonl``), a line a validation; while it is being made, a checkpoint, from
    which a training that was cut short goes on.

    Args:
        kind: folder of the cache.
        key: everything the artifact depends on; one made under another key is never used.

    Raises:
        TrainingError: the loss or its gradient is no number, or memory ran out.
    """
    whole = whole_key(key, schedule)
    return cached_tensors(kind, whole, lambda: _Training(kind, whole, trainee, schedule).run(cases, validation))


def dry_run_training(
    session: DryRunSession, trainee: Trainee, cases: Sequence[Case], validation: Sequence[Case], schedule: Schedule
) -> None:
    """What `train` does, in a dry run."""
    _Training("dry-run", {}, trainee, schedule).dry_run(session, cases, validation)


def whole_key(key: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """The key under which `train` keeps what it trained."""
    return {**key, "schedule": {name: getattr(schedule, name) for name in Schedule.__slots__}}


def hold_out(cases: Sequence[Case], limit: int) -> tuple[Sequence[Case], Sequence[Case]]:
    """Training facts, and the last `limit` of them, a tenth at most, to validate on.

    Raises:
        RequestError: there are too few to do both.
    """
    count = min(limit, len(cases) // 10)
    if count < 1:
        raise RequestError(f"{len(cases)} training facts are too few to learn from: at least 10 are needed.")
    return cases[:-count], cases[-count:]


class _Training:
    """One training, from its last checkpoint on."""

    def __init__(self, kind: str, key: Mapping[str, Any], trainee: Trainee, schedule: Schedule) -> None:
        self.trainee, self.schedule, self.key = trainee, schedule, key_text(key)
        self.path = artifact_path(kind, key)
        self.checkpoint = self.path.with_suffix(".checkpoint")
        self.state = _State()
        self.kept_step = 0
        """Of the last checkpoint."""

    def run(self, cases: Sequence[Case], validation: Sequence[Case]) -> dict[str, torch.Tensor]:
        self._resume()
        if self.state.step == 0:
            self._validate(validation)
        while not self._is_done():
            self._step(cases)
            if self.state.step % self.schedule.validate_every == 0 or self.state.step == self.schedule.steps:
                self._validate(validation)
        self.trainee.module.load_state_dict(self.state.best)
        self.checkpoint.unlink(missing_ok=True)
        return self.state.best

    def _is_done(self) -> bool:
        """After the last step, or, seen at a validation, when patience has run out."""
        waited = self.state.step - self.state.best_step
        at_validation = self.state.step % self.schedule.validate_every == 0
        return self.state.step >= self.schedule.steps or (at_validation and waited >= self.schedule.patience)

    def _step(self, cases: Sequence[Case]) -> None:
        try:
            self._step_in_memory(cases)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"{self.trainee.what}: a step over {self.schedule.batch_size} facts does not fit into memory. "
                f"{self._kept()} Try half the batch_size."
            ) from error

    def _step_in_memory(self, cases: Sequence[Case]) -> None:
        for optimizer in self.trainee.optimizers:
            optimizer.zero_grad()
        losses = self.trainee.backward(_batch(cases, self.state.step, self.schedule))
        norm = nn.utils.clip_grad_norm_(self.trainee.module.parameters(), self.schedule.grad_clip)
        for name, value in {**losses, "gradient": float(norm)}.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.trainee.what}: at step {self.state.step + 1} its {name} is {value}. {self._kept()} "
                    f"Try a lower lr."
                )
        for optimizer in self.trainee.optimizers:
            optimizer.step()
        self.state.step += 1
        report_progress(f"{self.trainee.what}, loss {losses['loss']:.3f}", self.state.step, self.schedule.steps)

    def _kept(self) -> str:
        if self.kept_step:
            return f"The checkpoint of step {self.kept_step} is kept: {self.checkpoint}."
        return "There is no checkpoint before it."

    @torch.no_grad()
    def _validate(self, validation: Sequence[Case]) -> None:
        losses = self.trainee.validate(validation)
        state = self.state
        if not math.isfinite(losses["loss"]):
            raise TrainingError(
                f"{self.trainee.what}: after step {state.step} its validation loss is {losses['loss']}. {self._kept()} "
                f"Try a lower lr."
            )
        if losses["loss"] < state.best_loss:
            state.best_loss, state.best_step = losses["loss"], state.step
            self._keep_best()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".jsonl").open("a" if state.step else "w", encoding="utf-8") as log:
            log.write(json.dumps({"step": state.step, **losses}) + "\n")
        if state.step:
            self._save()

    def _keep_best(self) -> None:
        for name, value in self.trainee.module.state_dict().items():
            if name in self.state.best:
                self.state.best[name].copy_(value)  # in place: a second copy beside it may be gigabytes
            else:
                self.state.best[name] = value.detach().clone()

    def dry_run(self, session: DryRunSession, cases: Sequence[Case], validation: Sequence[Case]) -> None:
        """What `run` does, in as few steps as take the most memory."""
        schedule = self.schedule
        batches = (_batch(cases, step, schedule) for step in range(min(schedule.steps, LOOKED_THROUGH)))
        heaviest = max(batches, key=lambda batch: max(max(case.text_lengths) for case in batch))
        some = validation[: schedule.batch_size]
        with (
            torch.no_grad(),
            session.times((schedule.steps // schedule.validate_every + 1) * len(validation) / len(some)),
        ):
            self.trainee.validate(some)
            self._keep_best()

        def step(times: int) -> None:
            for _ in range(times):
                self._step(heaviest)

        session.in_steps(schedule.steps, step)

    def _save(self) -> None:
        checkpoint = {
            "key": self.key,
            "step": self.state.step,
            "best_loss": self.state.best_loss,
            "best_step": self.state.best_step,
            "best": self.state.best,
            "module": self.trainee.module.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.trainee.optimizers],
        }
        # Of a file, not of a path: torch tells a full disk by the file's own error then.
        with replacing(self.checkpoint) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
        self.kept_step = self.state.step

    def _resume(self) -> None:
        """Takes up the checkpoint, if it is one of this very training and whole."""
        checkpoint: Any = None
        with contextlib.suppress(OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError):
            checkpoint = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if checkpoint is None or checkpoint.get("key") != self.key:
            return
        self.state = _State(checkpoint["step"], checkpoint["best_loss"], checkpoint["best_step"], checkpoint["best"])
        self.kept_step = checkpoint["step"]
        self.trainee.module.load_state_dict(checkpoint["module"])
        for optimizer, state in zip(self.trainee.optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(state))


def _batch(cases: Sequence[Case], step: int, schedule: Schedule) -> list[Case]:
    """The facts of a step: each epoch goes through all of them in an order of its own, a function of seed and epoch, so
    that a training that was cut short goes on with the very facts that were next."""
    start = step * schedule.batch_size
    chosen = []
    for i in range(start, start + schedule.batch_size):
        epoch, place = divmod(i, len(cases))
        chosen.append(cases[_order(len(cases), schedule.seed, epoch)[place]])
    return chosen


@functools.lru_cache(maxsize=2)  # of this epoch, and of the next
def _order(n: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(n, generator=generator).tolist()
    return order
