"""The training loop, on a module small enough to follow by hand."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from running_out import run_out
from torch import nn

from xkeb.editing.training import Schedule, TrainingError, hold_out, train
from xkeb.errors import RequestError
from xkeb.evaluation.events import RunObserver
from xkeb.models.memory import check_memory
from xkeb.models.oom import detach_traceback, is_out_of_memory
from xkeb.types import Case, Edit
from xkeb.utils.progress import reporting_to

FACTS = [Case(str(i), Edit(f"What is {i}?", str(i), "en"), ()) for i in range(10)]
KEY = {"facts": "0 to 9"}


class Number:
    """Learns one number, the mean of what it is shown; remembers what that was."""

    what = "a number"

    def __init__(self, lr: float = 0.5) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.optimizers = [torch.optim.SGD(self.module.parameters(), lr=lr)]
        self.shown: list[list[int]] = []

    def _loss(self, cases: Sequence[Case]) -> torch.Tensor:
        answers = torch.tensor([[float(case.edit.target)] for case in cases])
        return ((self.module(torch.ones(len(cases), 1)) - answers) ** 2).mean()

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        self.shown.append([int(case.id) for case in cases])
        loss = self._loss(cases)
        loss.backward()
        return {"loss": float(loss.detach())}

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        return {"loss": float(self._loss(cases))}


def schedule(**options: int | float) -> Schedule:
    usual = {"steps": 6, "batch_size": 3, "validate_every": 2, "patience": 100, "grad_clip": 1e9, "seed": 0}
    return Schedule(**{**usual, **options})  # type: ignore[arg-type]


def test_every_epoch_shows_every_fact_once_in_an_order_of_its_own(fresh_cache: Path) -> None:
    number = Number()
    train("numbers", KEY, number, FACTS, FACTS, schedule(steps=20, batch_size=5))
    epochs = [number.shown[i] + number.shown[i + 1] for i in range(0, 20, 2)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 10
    other = Number()
    train("numbers", KEY, other, FACTS, FACTS, schedule(steps=20, batch_size=5, seed=1))
    assert other.shown != number.shown


def test_keeps_the_state_with_the_lowest_validation_loss_and_stops_when_it_rises(fresh_cache: Path) -> None:
    """Trained on 9, validated on 3: from 0 the number first nears 3, then leaves it for 9."""
    number = Number(lr=0.05)
    state = train("numbers", KEY, number, FACTS[9:], FACTS[3:4], schedule(steps=1000, validate_every=1, patience=5))
    seen = [9 * (1 - 0.9**step) for step in range(1000)]
    best = min(range(1000), key=lambda step: abs(seen[step] - 3))
    assert state["weight"].item() == pytest.approx(seen[best], rel=1e-5)
    assert number.module.weight.item() == pytest.approx(seen[best], rel=1e-5)
    assert len(number.shown) == best + 5
    (log,) = (fresh_cache / "numbers").glob("*.jsonl")
    losses = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in losses] == list(range(best + 6))
    assert losses[0]["loss"] == pytest.approx(9.0)


def test_gradients_are_clipped(fresh_cache: Path) -> None:
    number = Number(lr=1.0)
    train("numbers", KEY, number, FACTS[9:], FACTS[9:], schedule(steps=1, validate_every=1, grad_clip=0.25))
    assert number.module.weight.item() == pytest.approx(0.25, rel=1e-4)


def test_the_same_training_is_done_once(fresh_cache: Path) -> None:
    train("numbers", KEY, Number(), FACTS, FACTS, schedule())
    again = Number()
    state = train("numbers", KEY, again, FACTS, FACTS, schedule())
    assert again.shown == [] and set(state) == {"weight"}
    train("numbers", KEY, again, FACTS, FACTS, schedule(steps=4))
    assert len(again.shown) == 4


def test_a_checkpoint_that_is_cut_short_or_foreign_is_not_taken_up(fresh_cache: Path) -> None:
    class Dies(Number):
        def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
            if len(self.shown) == 3:
                raise KeyboardInterrupt
            return super().backward(cases)

    with pytest.raises(KeyboardInterrupt):
        train("numbers", KEY, Dies(), FACTS, FACTS, schedule())
    (checkpoint,) = (fresh_cache / "numbers").glob("*.checkpoint")
    kept = torch.load(checkpoint, weights_only=True)
    assert kept["step"] == 2
    torch.save({**kept, "key": "another"}, checkpoint)
    foreign = Number()
    train("numbers", KEY, foreign, FACTS, FACTS, schedule())
    assert len(foreign.shown) == 6
    (artifact,) = (fresh_cache / "numbers").glob("*.safetensors")
    artifact.unlink()
    checkpoint.write_bytes(b"PK\x03\x04 cut short")
    torn = Number()
    train("numbers", KEY, torn, FACTS, FACTS, schedule())
    assert len(torn.shown) == 6
    assert not checkpoint.exists()


def test_killed_after_patience_ran_out_it_trains_no_further(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = schedule(steps=1000, validate_every=1, patience=5)
    whole = train("numbers", KEY, Number(lr=0.05), FACTS[9:], FACTS[3:4], plan)
    for path in (fresh_cache / "numbers").iterdir():
        path.unlink()

    unlink = Path.unlink

    def killed(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".checkpoint":  # what follows the last step
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            train("numbers", KEY, Number(lr=0.05), FACTS[9:], FACTS[3:4], plan)
    again = Number(lr=0.05)
    assert torch.equal(train("numbers", KEY, again, FACTS[9:], FACTS[3:4], plan)["weight"], whole["weight"])
    assert again.shown == []


def test_a_loss_that_is_no_number_ends_it(fresh_cache: Path) -> None:
    class Breaks(Number):
        def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
            return {"loss": float("inf") if len(self.shown) == 4 else 1.0}

    with pytest.raises(
        TrainingError, match=r"a number: after step 4 its validation loss is inf\. The checkpoint of step 2"
    ):
        train("numbers", KEY, Breaks(), FACTS, FACTS, schedule())


def test_out_of_memory_says_what_to_try(fresh_cache: Path) -> None:
    class Big(Number):
        def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match=r"a step over 3 facts does not fit into memory\. There is no checkpoint"):
        train("numbers", KEY, Big(), FACTS, FACTS, schedule())


def test_memory_that_runs_out_on_a_cpu_says_what_to_try(fresh_cache: Path) -> None:
    """There PyTorch raises a plain RuntimeError."""

    class Big(Number):
        def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
            if len(self.shown) == 2:
                run_out()
            return super().backward(cases)

    with pytest.raises(
        TrainingError, match=r"a step over 3 facts does not fit into memory\. The checkpoint of step 2 .*Try half the"
    ) as caught:
        train("numbers", KEY, Big(), FACTS, FACTS, schedule())
    assert type(caught.value.__cause__) is RuntimeError and "can't allocate memory" in str(caught.value.__cause__)
    going_on = Number()
    train("numbers", KEY, going_on, FACTS, FACTS, schedule())
    assert len(going_on.shown) == 4


def test_what_a_step_held_when_memory_ran_out_is_let_go_with_its_error(fresh_cache: Path) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    class Big(Number):
        def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
            activations = torch.ones(1000)
            held.append(weakref.ref(activations))
            run_out()
            return {"loss": float(activations.sum())}

    try:
        train("numbers", KEY, Big(), FACTS, FACTS, schedule())
    except TrainingError as error:
        kept = detach_traceback(error)
        assert kept is error and not is_out_of_memory(kept)  # the sentence that says what to try stays
    gc.collect()
    assert held[0]() is None


def test_another_error_of_a_step_stays_what_it_is(fresh_cache: Path) -> None:
    class Breaks(Number):
        def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match=r"^shapes do not match$"):
        train("numbers", KEY, Breaks(), FACTS, FACTS, schedule())


def test_progress_is_told(fresh_cache: Path) -> None:
    told: list[tuple[str, int, int]] = []

    class Ear(RunObserver):
        def progress(self, what: str, done: int, total: int) -> None:
            told.append((what, done, total))

    with reporting_to(Ear().progress):
        train("numbers", KEY, Number(), FACTS, FACTS, schedule())
    train("numbers", {"another": 1}, Number(), FACTS, FACTS, schedule())
    assert [(done, total) for _, done, total in told] == [(i, 6) for i in range(1, 7)]
    assert told[0][0].startswith("a number, loss ")


def test_what_is_held_out() -> None:
    facts, held = hold_out(FACTS * 10, 5)
    assert (len(facts), len(held)) == (95, 5) and list(held) == (FACTS * 10)[-5:]
    assert len(hold_out(FACTS * 2, 100)[1]) == 2
    with pytest.raises(RequestError, match="9 training facts are too few"):
        hold_out(FACTS[:9], 100)


def test_schedules_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="validate_every must be at least 1, not 0"):
        schedule(validate_every=0)


def test_memory_is_checked_beforehand() -> None:
    device = torch.device("cpu")
    check_memory("This", 1000, device, "less would.")
    with pytest.raises(RequestError, match=r"This needs 1000000.0 GB of memory and .* GB are free: less would\."):
        check_memory("This", 10**15, device, "less would.")
