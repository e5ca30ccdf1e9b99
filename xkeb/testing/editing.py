"""What holds while a method edits, whatever its changes are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from xkeb.editing.changes import Change, WeightChange
from xkeb.editing.editor import Editor, load_editor, make_changes, options_of, why_unsupported
from xkeb.errors import XkebError, one_line
from xkeb.testing.expect import expect
from xkeb.testing.state import difference, model_state
from xkeb.testing.trial import Trial, make_any_changes
from xkeb.types import Edit
from xkeb.utils.secrets import is_secret


def one_change_for_each_edit(trial: Trial) -> None:
    expect(
        len(trial.changes) == len(trial.cases),
        f"`edit` should give one change for each of {len(trial.cases)} edits; it gave {len(trial.changes)}.",
    )
    for change in trial.changes:
        expect(
            isinstance(change, Change),
            f"A change should have `applied(backbone)`; {type(change).__name__} has none.",
        )


def editing_leaves_the_model_as_it_was(trial: Trial) -> None:
    before, learnt, after = trial.outcome.model
    expect(
        not (traces := difference(before, learnt)),
        f"`fit` should leave the model as it was, to the bit; it left {traces}.",
    )
    expect(
        not (traces := difference(learnt, after)),
        f"`edit` should leave the model as it was, to the bit; it left {traces}.",
    )


def nothing_global_is_left_behind(trial: Trial) -> None:
    traces = difference(*trial.outcome.settings)
    expect(not traces, f"An edit should leave the process as it was; it left another value for {traces}.")
    traces = difference(*trial.again.generators)
    expect(not traces, f"An edit should draw from a `torch.Generator` of its own; it moved on {traces}.")


def an_edit_that_fails_leaves_the_model_as_it_was(trial: Trial) -> None:
    """An exception from the middle of the model, whatever the method was doing then."""
    backbone = trial.backbone
    editor = trial.editor()
    before = model_state(backbone)
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise ZeroDivisionError

    handle = backbone.module(backbone.layout.layer(backbone.n_layers - 1)).register_forward_pre_hook(fail)
    raised = False
    try:
        make_any_changes(editor, backbone, trial.edits)
    except ZeroDivisionError:
        raised = True
    finally:
        handle.remove()
    expect(
        raised or len(calls) <= 2,
        "An exception from inside the model should come out of `edit`; it was swallowed.",
    )
    expect(
        not (traces := difference(before, model_state(backbone))),
        f"An `edit` that ends in an exception should leave the model as it was, to the bit; it left {traces}.",
    )


def an_edit_among_others_is_the_edit_alone(trial: Trial) -> None:
    if not trial.is_exact:
        return
    editor = trial.editor()
    for change, case in zip(trial.changes, trial.cases, strict=True):
        (lone,) = make_changes(editor, trial.backbone, [case.edit])
        expect(
            trial.same(change, lone, tolerance=1e-3),
            f"Each edit should be made to the untouched model, so that among others it is what it is alone; "
            f"that of case {case.id} is not.",
        )


def the_same_seed_gives_the_same_changes(trial: Trial) -> None:
    """From an empty cache, and whatever state the global generator is in."""
    for change, other in zip(trial.changes, trial.again.changes, strict=True):
        expect(
            trial.same(change, other),
            "The same options, seed among them, should give the same changes to the bit; a second edit gave others.",
        )


def another_model_gets_another_change(trial: Trial) -> None:
    """Where changes are of weights: what is kept from one model must not be given to the next."""
    first = trial.changes[0]
    if not isinstance(first, WeightChange):
        return
    other = trial.on_other_weights()
    change = make_changes(other.editor(), other.backbone, other.edits)[0]
    expect(
        not trial.same(first, change),
        "A model of other weights should get a change of its own; it got that of the first model, to the bit.",
    )


def options_are_data(trial: Trial) -> None:
    options = options_of(load_editor(trial.method, **trial.options).configure(trial.backbone.spec))
    try:
        json.dumps(options)
    except TypeError as error:
        raise AssertionError(f"Options should be numbers, texts and lists that a result can hold; {error}.") from error
    hidden = [name for name, value in options.items() if is_secret(name) and value is not None]
    expect(
        not hidden,
        "A result hides what is named as a secret, so that two values of it would share one journal: another name is needed "
        f"for {', '.join(hidden)}.",
    )
    again = options_of(load_editor(trial.method, **options))
    expect(
        again == options,
        f"A method made from its own recorded options should record the same; {options} became {again}.",
    )


def bad_input_is_refused_in_one_sentence(trial: Trial) -> None:
    """A layer that isn't there, a language that isn't, a subject that isn't: each is refused, or edited all the same."""
    edit = trial.edits[0]
    there = [trial.edits[1]]
    for what, bad in {
        "in an unknown language": [*there, dataclasses.replace(edit, language="no-such-language")],
        "whose subject is not in its prompt": [dataclasses.replace(edit, subject="no such subject")],
        "without a subject": [dataclasses.replace(edit, subject="")],
    }.items():
        _refused(trial, f"An edit {what}", trial.editor(), bad)
    options = {field: value for field, value in options_of(load_editor(trial.method)).items() if field == "layer"}
    for name in options:
        try:
            editor = load_editor(trial.method, **{**trial.options, name: trial.backbone.n_layers}).configure(
                trial.backbone.spec
            )
        except XkebError as error:
            _one_sentence(f"A {name} that the model does not have", error)
        else:
            refused = _refused(trial, f"A {name} that the model does not have", editor, there)
            expect(refused, f"A {name} that the model does not have should be refused by a RequestError; it was taken.")


def _refused(trial: Trial, what: str, editor: Editor, edits: list[Edit]) -> bool:
    """Whether an edit is refused, by `unsupported` or by an error of the suite's own."""
    before = model_state(trial.backbone)
    try:
        if (reason := why_unsupported(editor, trial.backbone, edits[-1])) is not None:
            expect(reason.strip(), f"{what} should be refused with a reason; `unsupported` gave an empty one.")
            return True
        make_changes(editor, trial.backbone, edits)
    except XkebError as error:
        _one_sentence(what, error)
        return True
    except Exception as error:
        raise AssertionError(
            f"{what} should be refused by a RequestError that says what was expected, or edited all the same; "
            f"it raised {one_line(error)}."
        ) from error
    finally:
        traces = difference(before, model_state(trial.backbone))
        expect(not traces, f"{what} should leave the model as it was, to the bit; it left {traces}.")
    return False


def _one_sentence(what: str, error: XkebError) -> None:
    text = str(error)
    expect(text.strip() and "\n" not in text, f"{what} should be refused in one sentence; it was {text!r}.")


CHECKS = (
    one_change_for_each_edit,
    editing_leaves_the_model_as_it_was,
    nothing_global_is_left_behind,
    an_edit_that_fails_leaves_the_model_as_it_was,
    an_edit_among_others_is_the_edit_alone,
    the_same_seed_gives_the_same_changes,
    another_model_gets_another_change,
    options_are_data,
    bad_input_is_refused_in_one_sentence,
)
