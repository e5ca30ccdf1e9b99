"""The bridge to EasyEdit: its code against ours, on the same tokens.

Ours are tested against plain implementations of their own (test_rome.py, test_memit.py, test_ft.py, test_kn.py), so two
independent ones meet here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from easyeditor_runs import EDITS, PREFIXES, SETTINGS, error, installed, ready, state

import xkeb
from xkeb.editing.changes import LowRankChange, WeightChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.easyeditor.package import module
from xkeb_plugins.methods.easyeditor.tokens import given_tokenizer


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


@installed
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
@pytest.mark.parametrize("case", SETTINGS)
def test_the_same_change_on_the_same_tokens(llama: Backbone, training: list[Case], case: str, edit: Edit) -> None:
    method, _, _ = case.partition("-")
    ours = ready(llama, "ft-l" if case == "ft-l" else method, training, **SETTINGS[case])
    its = ready(llama, f"easyeditor-{method}", training, tokens="xkeb", **SETTINGS[case])
    check = state(llama)
    (mine,), (theirs,) = ours.edit(llama, [edit]), its.edit(llama, [edit])
    check()
    assert error(mine, theirs) < 1e-3


@installed
@pytest.mark.parametrize("case", ["ft", "rome-covariance", "memit"])
def test_a_transposed_weight_and_a_tied_head(tiny_folders: dict[str, Path], training: list[Case], case: str) -> None:
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    assert gpt2.module(gpt2.layout.head).weight is gpt2.model.get_input_embeddings().weight
    method, _, _ = case.partition("-")
    # Not the last layer, whose value at the subject no later position sees: its gradient is noise.
    options = SETTINGS[case] | ({"layers": (1, 2)} if method == "memit" else {})
    (mine,) = ready(gpt2, method, training, **options).edit(gpt2, EDITS[:1])
    (theirs,) = ready(gpt2, f"easyeditor-{method}", training, tokens="xkeb", **options).edit(gpt2, EDITS[:1])
    if method == "ft":  # which tunes the bias as well, and so gives the weight another gradient from the second step on
        assert theirs.deltas().keys() - mine.deltas().keys() == {f"{gpt2.layout.down(2)}.bias"}
        with theirs.applied(gpt2):  # in the orientation of a Change
            pass
    else:
        assert error(mine, theirs) < 1e-3


@installed
def test_many_facts_in_one_change(llama: Backbone, training: list[Case]) -> None:
    ours = ready(llama, "memit", training, **SETTINGS["memit"])
    its = ready(llama, "easyeditor-memit", training, tokens="xkeb", **SETTINGS["memit"])
    check = state(llama)
    assert error(ours.edit_together(llama, EDITS), its.edit_together(llama, EDITS)) < 1e-3
    check()
    with pytest.raises(RequestError, match="in one go"):
        its.find_values(llama, EDITS)


@installed
@pytest.mark.parametrize("edit", EDITS[:2], ids=["en", "zh"])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("given", [True, False], ids=["our tokens", "its tokens"])
def test_the_same_neurons(llama: Backbone, edit: Edit, steps: int, given: bool) -> None:
    options = {"answer": "Tokyo", "steps": steps}
    ours = xkeb.load_editor("kn", joined=given, **options)
    its = xkeb.load_editor("easyeditor-kn", tokens="xkeb" if given else "easyeditor", **options)
    check = state(llama)
    (mine,), (theirs,) = ours.edit(llama, [edit]), its.edit(llama, [edit])
    check()
    assert error(mine, theirs) < 1e-5
    assert isinstance(mine, LowRankChange) and isinstance(theirs, WeightChange)
    columns = {name: delta.any(0) for name, delta in theirs.deltas().items()}
    assert all(0 < int(found.sum()) < found.numel() for found in columns.values())
    assert all(torch.equal(mine.deltas()[name].any(0), found) for name, found in columns.items())


@installed
def test_the_neurons_of_what_the_model_says_now(llama: Backbone) -> None:
    (mine,) = xkeb.load_editor("kn").edit(llama, EDITS[:1])
    (theirs,) = xkeb.load_editor("easyeditor-kn", tokens="xkeb", answer=None).edit(llama, EDITS[:1])
    assert error(mine, theirs) < 1e-5


@installed
def test_the_same_demonstrations(llama: Backbone, training: list[Case]) -> None:
    edits = [case.edit for case in list(xkeb.load_task("bizsre_mini_en2zh"))[:5]]
    ours, its = ready(llama, "ike", training, k=4), ready(llama, "easyeditor-ike", training, k=4)
    for edit, mine, theirs in zip(edits, ours.edit(llama, edits), its.edit(llama, edits), strict=True):
        fact = f"New Fact: {edit.prompt} {edit.target}\nPrompt: "
        shown = mine.context("en").removesuffix(fact)
        assert shown.count("New Fact: ") == 4
        assert theirs.context("en") == f"{shown}{fact}{edit.prompt} {edit.target}\n\n{fact}"


@installed
def test_left_to_itself_it_makes_other_tokens(llama: Backbone, training: list[Case]) -> None:
    """A space before a Chinese answer; and a BOS token in what FT learns. Else the option would be for nothing."""
    for name, edit in (("rome", EDITS[1]), ("memit", EDITS[1]), ("ft", EDITS[0])):
        changes = [
            ready(llama, f"easyeditor-{name}", training, tokens=tokens, **SETTINGS[name]).edit(llama, [edit])[0]
            for tokens in ("easyeditor", "xkeb")
        ]
        assert error(*changes) > 0.05, name


@installed
def test_given_ids_come_back(llama: Backbone) -> None:
    edit = EDITS[1]
    tokenizer = given_tokenizer(llama, [edit], ["", PREFIXES[0]], located=True)
    encoded = llama.encode(PREFIXES[0] + edit.prompt, edit.target, edit.language)
    answer = tokenizer.decode(torch.tensor(encoded.continuation_ids[:-1]))
    assert tokenizer.encode(PREFIXES[0] + edit.prompt + answer) == list(encoded.ids[:-1])
    assert tokenizer.encode(f" {edit.target}") == list(encoded.continuation_ids)
    large = [0, 6399, 6400, 262143]
    assert tokenizer.encode(PREFIXES[0] + edit.prompt + tokenizer.decode(large))[-4:] == large
    batch = tokenizer([edit.prompt, edit.subject], return_tensors="pt", padding=True)
    rows = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert rows == [tokenizer.encode(edit.prompt), tokenizer.encode(edit.subject)]
    assert batch["attention_mask"][1].tolist() == sorted(batch["attention_mask"][1].tolist(), reverse=True)


@installed
def test_its_evaluation_can_be_imported_which_its_times_are_taken_with() -> None:
    assert callable(module("evaluate.evaluate").compute_edit_quality)
