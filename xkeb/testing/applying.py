"""What holds of the changes that a method made."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from xkeb.editing.changes import Change, Savable, WeightChange, batched, load_change
from xkeb.evaluation.probing import USUAL, predict_after
from xkeb.evaluation.protocols import GenerateProtocol, Protocol
from xkeb.testing.expect import expect
from xkeb.testing.state import difference, model_state
from xkeb.testing.trial import Trial, likelihood, speaks_otherwise

AGREEING = 0.5
"""Least share of tokens that are the same row by row and one at a time, in less than float32: there, ``W + left @ right``
is rounded differently as one matrix and as two products, and a model of random weights answers by a hair."""


FREE_TOKENS = 6
"""Of a free answer."""
Ids = tuple[int, ...]


class _RaisedError(Exception):
    """From inside an edited model."""


def the_target_becomes_more_likely(trial: Trial) -> None:
    if not trial.is_exact:
        return
    gains = []
    for change, edit in zip(trial.changes, trial.edits, strict=True):
        before = likelihood(trial.backbone, edit)
        with change.applied(trial.backbone):
            if not speaks_otherwise(trial.backbone, edit):
                gains.append(likelihood(trial.backbone, edit) - before)
    mean = sum(gains) / len(gains) if gains else 1.0
    expect(
        mean > 0, f"An edit should make its target more likely; its log-probability changed by {mean:+.4f} in the mean."
    )


def weights_stay_numbers_of_their_shape(trial: Trial) -> None:
    for change in trial.changes:
        if isinstance(change, WeightChange):
            for name, delta in change.deltas().items():
                expect(
                    torch.isfinite(delta).all(), f"A change should hold numbers; that of {name} holds NaN or infinity."
                )
                expect(delta.any(), f"A change should change something; that of {name} is zero everywhere.")
                expect(
                    not delta.requires_grad,
                    f"A change should be data; that of {name} still carries its gradient's graph.",
                )
                expected = sorted(trial.backbone.parameter(name).shape)
                expect(
                    sorted(delta.shape) == expected,
                    f"The change of {name} should have its shape, {expected}; it has {sorted(delta.shape)}.",
                )


def a_change_is_taken_back_to_the_bit(trial: Trial) -> None:
    before = model_state(trial.backbone)
    for change in trial.changes:
        _around(trial, change)
        _expect_as_before(trial, before, "on exit")
        try:
            _around(trial, change, _RaisedError())
        except _RaisedError:
            pass
        else:
            raise AssertionError("An exception inside `applied` should come out of it; it was swallowed.")
        _expect_as_before(trial, before, "after an exception, too")


def _around(trial: Trial, change: Change, error: Exception | None = None) -> None:
    with change.applied(trial.backbone):
        if error is not None:
            raise error
        likelihood(trial.backbone, trial.edits[0])


def _expect_as_before(trial: Trial, before: Any, when: str) -> None:
    traces = difference(before, model_state(trial.backbone))
    expect(not traces, f"`applied` should leave the model as it was, to the bit, {when}; it left {traces}.")


def row_by_row_is_one_at_a_time(trial: Trial) -> None:
    """Where changes of this kind can be applied in one batch."""
    backbone = trial.backbone
    if batched(backbone, trial.changes) is None:
        return
    before = model_state(backbone)
    rows, single = _both_ways(trial, USUAL)
    traces = difference(before, model_state(backbone))
    expect(not traces, f"Changes applied row by row should leave the model as it was, to the bit; they left {traces}.")
    pairs = [(x, y) for answer, lone in zip(rows, single, strict=True) for x, y in zip(answer, lone, strict=True)]
    agreeing = sum(x == y for x, y in pairs) / len(pairs)
    least = 1.0 if trial.is_exact else AGREEING
    expect(
        agreeing >= least,
        f"Changes applied row by row should answer as one at a time; {100 * agreeing:.0f}% of the tokens agree.",
    )


def free_answers_row_by_row_are_those_of_one_at_a_time(trial: Trial) -> None:
    """Where changes of this kind can be applied in one batch: tokens that the model chooses, each after its own."""
    if not trial.is_exact or batched(trial.backbone, trial.changes) is None:
        return
    rows, single = _both_ways(trial, GenerateProtocol(max_tokens=FREE_TOKENS, cut="none"))
    differing = sum(answer != lone for answer, lone in zip(rows, single, strict=True))
    expect(
        not differing,
        f"Changes applied row by row should give the free answers of one at a time; {differing} of {len(rows)} differ.",
    )


def _both_ways(trial: Trial, protocol: Protocol) -> tuple[list[Ids], list[Ids]]:
    """The ids of every answer, in one batch and a case at a time."""
    together = predict_after(trial.backbone, trial.changes, trial.cases, protocol)
    single = [
        predict_after(trial.backbone, [_Alone(change)], [case], protocol)[0]
        for change, case in zip(trial.changes, trial.cases, strict=True)
    ]
    rows, alone = ([answer.ids for answers in way for answer in answers] for way in (together, single))
    return rows, alone


class _Alone:
    """A change that is no longer of a kind that goes into a batch."""

    def __init__(self, change: Change) -> None:
        self.applied = change.applied


def what_is_saved_is_loaded(trial: Trial) -> None:
    """Where changes of this kind can be saved."""
    saving = [change for change in trial.changes if isinstance(change, Savable)]
    for change in saving:
        with tempfile.TemporaryDirectory() as name:
            change.save(Path(name) / "change")
            loaded = load_change(Path(name) / "change")
        expect(
            trial.same(change, loaded),
            f"A {type(change).__name__} that is saved and loaded should be the same; it became another.",
        )


CHECKS = (
    the_target_becomes_more_likely,
    weights_stay_numbers_of_their_shape,
    a_change_is_taken_back_to_the_bit,
    row_by_row_is_one_at_a_time,
    free_answers_row_by_row_are_those_of_one_at_a_time,
    what_is_saved_is_loaded,
)
