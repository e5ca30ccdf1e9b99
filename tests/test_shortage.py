"""Memory that runs out: the allocator's own error, what is left of the attempt, and what comes out in the end."""

from __future__ import annotations

import gc
import hashlib
import json
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

import xkeb
from xkeb.editing.changes import Change
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.local import run_jobs
from xkeb.evaluation.job import JobError
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import answer, run_job
from xkeb.evaluation.timing import PhaseTimer
from xkeb.models.backbone import Backbone
from xkeb.models.oom import OutOfMemory, OutOfMemoryError, attempt, detach_traceback, is_out_of_memory
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Case, Edit, Query

TOO_MUCH = 2**58
"""Bytes that no machine has: the allocator says so at once."""
TASK = "bizsre_mini_en2zh"


def run_out() -> None:
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def state(backbone: Backbone) -> tuple[str, list[str], list[str]]:
    """Every parameter and buffer to the bit, the modules with hooks, the parameters with gradients."""
    found, model = hashlib.sha256(), backbone.model
    for tensor in [*model.parameters(), *model.buffers()]:
        found.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    hooks = [p for p, m in model.named_modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    grads = [name for name, p in model.named_parameters() if p.grad is not None or p.requires_grad]
    return found.hexdigest(), hooks, grads


# An attempt ------------------------------------------------------------------------------------------------------------


def test_of_an_attempt_for_which_memory_did_not_suffice_nothing_is_alive() -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def act(enough: bool) -> int:
        weights = torch.ones(1000, requires_grad=True)
        loss = (weights * weights).exp().sum()
        alive.append(weakref.ref(weights))
        if not enough:
            try:
                run_out()
            except RuntimeError as error:
                raise RuntimeError(f"{loss}: {error}") from error
        return 7

    assert attempt(act, True) == 7
    found = attempt(act, enough=False)
    assert isinstance(found, OutOfMemory)
    assert "can't allocate memory: you tried to allocate 288230376151711744 bytes" in found.told
    assert [ref() for ref in alive] == [None, None]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def act(error: Exception) -> None:
        raise error

    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("x")):
        with pytest.raises(type(error)):
            attempt(act, error)
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        OutOfMemoryError("x"),
    ):
        assert isinstance(attempt(act, error), OutOfMemory)


# Batches of edits ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Greedy:
    """Fine-tunes; with more than `most` edits at once, it runs out of memory halfway, a change applied and a hook in place."""

    most: int = 2
    sizes: tuple[int, ...] = ()

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> Sequence[Change]:
        SEEN.append(len(edits))
        changes: Sequence[Change] = xkeb.load_editor("ft", lr=0.05, steps=2).edit(backbone, edits)
        if len(edits) > self.most:
            with changes[0].applied(backbone):
                run_out()
        return changes


SEEN: list[int] = []


class Told(RunObserver):
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.done = 0

    def smaller(self, size: int) -> None:
        self.sizes.append(size)

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        self.done = 0

    def case_done(self) -> None:
        self.done += 1


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(get_plugins().methods.entries, "greedy", Entry(Greedy, "tests"))
    SEEN.clear()
    yield


def request(tiny_folders: dict[str, Path], output: Path, **options: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "tasks": [TASK], "models": ["hf"], "methods": ["greedy"], "model_args": {"path": str(tiny_folders["llama"])},
        "device": "cpu", "limit": 10, "output": output, **options,
    }  # fmt: skip
    return RunConfig(**fields)


def lines(output: Path, method: str = "greedy") -> list[tuple[str, Any]]:
    path = output / TASK / "hf" / method / "cases.jsonl"
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(entry["case_id"], entry["probes"]) for entry in entries]


def test_a_batch_that_does_not_fit_is_halved_and_nothing_else_changes(
    greedy: None, tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    before = state(llama)
    asked = request(tiny_folders, tmp_path / "auto", method_args={"greedy.most": 3})
    listener = Told()
    (cell,) = plan_run(asked)
    result = run_job(cell, llama, asked, listener)
    assert SEEN == [8, 4, 2, 2, 2, 2, 2]
    assert listener.sizes == [4, 2] and listener.done == 10
    assert state(llama) == before
    single = request(tiny_folders, tmp_path / "one", method_args={"greedy.most": 3}, batch_size=1)
    expected = run_job(plan_run(single)[0], llama, single, RunObserver())
    assert lines(tmp_path / "auto") == lines(tmp_path / "one")
    assert [case_id for case_id, _ in lines(tmp_path / "auto")] == [str(i) for i in range(10)]
    assert result.scores == expected.scores
    timing = result.timing
    assert (
        timing["phases"]["edit"] > timing["edit_seconds"]
    )  # the attempts that failed took time, and count for no case


def test_a_size_that_was_asked_for_is_kept_and_auto_goes_on_from_there(
    greedy: None, tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    before = state(llama)
    asked = request(tiny_folders, tmp_path, limit=5, batch_size=4)
    (cell,) = plan_run(asked)
    with pytest.raises(
        OutOfMemoryError, match=r"^Memory ran out with 4 cases at once, as asked for: .*with auto, one that"
    ):
        run_job(cell, llama, asked, RunObserver())
    assert SEEN == [4] and lines(tmp_path) == [] and state(llama) == before
    again = request(tiny_folders, tmp_path, limit=5)
    run_job(cell, llama, again, RunObserver())
    assert [case_id for case_id, _ in lines(tmp_path)] == list("01234")


def test_one_case_that_does_not_fit_fails_its_cell_in_a_sentence_and_no_other(
    greedy: None, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    asked = request(
        tiny_folders, tmp_path, methods=["greedy", "ft"], limit=3, method_args={"greedy.most": 0, "ft.steps": 1}
    )
    with pytest.raises(JobError) as caught:
        run_jobs(plan_run(asked), asked)
    ((cell, error),) = caught.value.failed
    assert cell.method == "greedy" and SEEN == [3, 1]
    assert str(error).startswith("Memory ran out with case '0' alone: ") and "can't allocate memory" in str(error)
    assert not caught.value.wrong_request
    assert [result.method["name"] for result in caught.value.results] == ["ft"]


# Batches of questions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["", "The river Loire runs through the town of Nantes. " * 3])
def test_questions_that_do_not_fit_at_once_are_answered_in_smaller_batches(llama: Backbone, context: str) -> None:
    """Half of a batch at a time, and the half of that; also where all go on from the same context's keys and values."""
    cases = list(xkeb.load_task(TASK))[:2]
    queries = [Query(p.prompt, p.reference, p.language) for case in cases for p in case.probes]
    change = xkeb.ContextChange(context)
    with change.applied(llama):
        expected = predict(llama, queries, batch_size=1)
        rows: list[int] = []

        def short(_: Any, args: tuple[torch.Tensor, ...]) -> None:
            rows.append(len(args[0]))
            if len(args[0]) > most:
                run_out()

        handle = llama.module(llama.layout.layer(3)).register_forward_pre_hook(short)
        try:
            most = 3
            assert predict(llama, queries) == expected
            sizes = rows[bool(context) :]  # the context alone, first
            most = 0
            if not context:  # else it runs out before that, with the context alone
                with pytest.raises(OutOfMemoryError, match=r"Memory ran out with one question of \d+ tokens: "):
                    predict(llama, queries[:2])
        finally:
            handle.remove()
    assert max(sizes) > 3 and sum(n for n in sizes if n <= 3) == len(queries)  # each once
    for i, n in enumerate(sizes):
        if n > 3:
            assert max(sizes[i + 1 :]) <= n // 2  # what didn't fit is not tried again
    assert state(llama)[1:] == ([], [])


# Wherever it runs out --------------------------------------------------------------------------------------------------


class Fault(TorchDispatchMode):
    """Memory runs out in the middle of a method: at its operation number `at`."""

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.at, self.count = at, 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        if self.count == self.at:
            run_out()
        return func(*args, **(kwargs or {}))


TRAINED: dict[str, Any] = {"steps": 2, "batch_size": 4, "validate_every": 1, "validation": 3}
METHODS: dict[str, dict[str, Any]] = {
    "ft": {"steps": 3},
    "rome": {"steps": 3, "mom2_adjustment": False, "context_templates": ["In short. "]},
    "memit": {"steps": 3, "mom2_corpus": "task", "context_templates": ["In short. "]},
    "kn": {},
    "ike": {"k": 0},
    "mend": {"rank": 6, **TRAINED},
}


@pytest.mark.parametrize("method", METHODS)
def test_wherever_memory_runs_out_the_model_is_as_it_was_and_answers_the_same(
    method: str, llama: Backbone, training: list[Case]
) -> None:
    editor = xkeb.load_editor(method, **METHODS[method])
    editor = editor.settle(llama) if hasattr(editor, "settle") else editor
    if hasattr(editor, "fit"):
        editor.fit(llama, training)
    cases = list(xkeb.load_task(TASK))[:2]

    def ask() -> Any:
        return answer(editor, llama, cases, PhaseTimer(torch.device("cpu")))[0]

    with Fault() as whole:
        expected = ask()
    before = state(llama)
    short = 0
    for share in (0.02, 0.5, 0.95):
        with Fault(max(1, int(share * whole.count))):
            found = attempt(ask)
        assert state(llama) == before, share
        short += isinstance(found, OutOfMemory)
        assert isinstance(found, OutOfMemory) or found == expected
    assert short or method == "ike"  # predictions alone are halved where they are made
    assert ask() == expected and state(llama) == before and llama.context("en") == ""


# Errors that are kept ---------------------------------------------------------------------------------------------------


class Held:
    """Something whose end can be seen."""


def test_what_the_frames_of_an_error_hold_is_let_go() -> None:
    held: list[weakref.ref[Held]] = []

    def fail() -> None:
        large = Held()
        held.append(weakref.ref(large))
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from TypeError("another cause")

    try:
        fail()
    except ValueError as error:
        kept = detach_traceback(error)
    gc.collect()
    assert isinstance(kept, ValueError) and held[0]() is None


def test_an_error_that_is_its_own_cause_is_told() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert detach_traceback(error) is error


def test_an_allocators_error_is_told_in_words() -> None:
    try:
        run_out()
    except RuntimeError as error:
        kept = detach_traceback(error)
    assert isinstance(kept, OutOfMemoryError) and str(kept).startswith("Memory ran out: ")


@pytest.mark.parametrize("args", [(7,), (None,), (), (ValueError("x"),), ("a", "b")])
def test_errors_with_anything_for_a_message_are_no_shortage(args: tuple[Any, ...]) -> None:
    assert not is_out_of_memory(RuntimeError(*args))
