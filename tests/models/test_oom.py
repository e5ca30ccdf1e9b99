"""Memory that runs out: the allocator's own error, what is left of the attempt, and what comes out in the end."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from running_out import run_out, state

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.models.oom import OutOfMemory, OutOfMemoryError, attempt, detach_traceback, is_out_of_memory
from xkeb.models.prediction import predict
from xkeb.types import Query

# An attempt -----------------------------------------------------------------------------------------------------------


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
    assert "can't allocate memory: you tried to allocate 288230376151711744 bytes" in found.message
    assert [ref() for ref in alive] == [None, None]


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def act(error: Exception) -> None:
        raise error

    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("x")):
        with pytest.raises(type(error)):
            attempt(act, error)
    for lack in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        OutOfMemoryError("x"),
    ):
        assert isinstance(attempt(act, lack), OutOfMemory)


# Batches of questions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["", "The river Loire runs through the town of Nantes. " * 3])
def test_questions_that_do_not_fit_at_once_are_answered_in_smaller_batches(llama: Backbone, context: str) -> None:
    """Half of a batch at a time, and the half of that; also where all go on from the same context's keys and values."""
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))[:2]
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


# Errors that are kept -------------------------------------------------------------------------------------------------


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
