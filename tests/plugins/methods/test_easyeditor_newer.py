"""The bridge to EasyEdit's current code: against ours, on the same tokens, where a checkout is named by XKEB_EASYEDIT_DIR."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import (
    CHECKOUT,
    EDITS,
    MARGINS,
    PREFIXES,
    SETTINGS,
    TINY,
    TINY_NEWER,
    checked_out,
    error,
    installed,
    ready,
    state,
)

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Prediction, Query
from xkeb_plugins.methods.easyeditor.alphaedit import factored
from xkeb_plugins.methods.easyeditor.grace import GraceAdapterChange
from xkeb_plugins.methods.easyeditor.wise import WiseAdapterChange
from xkeb_plugins.methods.grace.change import CodebookChange
from xkeb_plugins.methods.wise.change import SideMemoryChange

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from easyeditor_newer import NEWER

SPREAD = SETTINGS["memit"]
BOTH: dict[str, dict[str, Any]] = {
    **SETTINGS,
    "ft-m": {"layer": 2, "steps": 5},
    "r-rome": SETTINGS["rome"],
    "r-rome-covariance": SETTINGS["rome-covariance"],
    "emmet-corrected": SPREAD,
    "alphaedit": {**SPREAD, "nullspace_threshold": 1e-2, "l2": 1.0},
}
"""Pairs whose changes are of weights, and agree without more."""


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


def pair_of(backbone: Backbone, training: list[Case], case: str) -> tuple[Any, Any]:
    """Ours and its, prepared, on our tokens."""
    options = BOTH[case]
    if case in NEWER:
        pair = NEWER[case].from_checkout(CHECKOUT)
        return pair.prepared(backbone, backbone, training, options)
    method = case.removesuffix("-covariance")
    its = "ft" if method == "ft-l" else method
    return (
        ready(backbone, method, training, **options),
        ready(backbone, f"easyeditor-{its}", training, tokens="xkeb", path=CHECKOUT, **options),
    )


@checked_out
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
@pytest.mark.parametrize("case", BOTH)
def test_the_same_change_on_the_same_tokens(llama: Backbone, training: list[Case], case: str, edit: Edit) -> None:
    ours, its = pair_of(llama, training, case)
    if (reason := its.unsupported(llama, edit)) is not None:
        assert case == "alphaedit" and edit is EDITS[2] and "more than once" in reason
        return
    check = state(llama)
    (theirs,) = its.edit(llama, [edit])
    check()
    (mine,) = ours.edit(llama, [edit])
    assert error(mine, theirs) < 1e-3


@checked_out
@pytest.mark.parametrize("case", ["rome-covariance", "r-rome-covariance", "memit", "emmet-corrected", "alphaedit"])
def test_a_transposed_weight_and_a_tied_head(tiny_folders: dict[str, Path], training: list[Case], case: str) -> None:
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        if "layers" in BOTH[case]:  # not the last, whose value at the subject no later position sees
            patch.setitem(BOTH, case, {**BOTH[case], "layers": (1, 2)})
        ours, its = pair_of(gpt2, training, case)
    (mine,), (theirs,) = ours.edit(gpt2, EDITS[:1]), its.edit(gpt2, EDITS[:1])
    assert error(mine, theirs) < 1e-3


@checked_out
@pytest.mark.parametrize("case", ["memit", "emmet-corrected", "alphaedit"])
def test_many_facts_in_one_change(llama: Backbone, training: list[Case], case: str) -> None:
    ours, its = pair_of(llama, training, case)
    edits = [EDITS[0], EDITS[1], EDITS[3]]
    assert error(ours.edit_together(llama, edits), its.edit_together(llama, edits)) < 1e-3


@checked_out
def test_what_alphaedit_carries_on(llama: Backbone, training: list[Case]) -> None:
    ours, its = pair_of(llama, training, "alphaedit")
    mine, theirs = ours.edit_after(llama, EDITS[:1], {}), its.edit_after(llama, EDITS[:1], {})
    assert error(mine[0], theirs[0]) < 1e-3
    for name, total in mine[1].items():
        assert torch.allclose(total.float(), theirs[1][name], rtol=1e-3, atol=1e-6)
    again = [editor.edit_after(llama, EDITS[3:], past)[0] for editor, past in ((ours, mine[1]), (its, theirs[1]))]
    assert error(*again) < 1e-3
    fresh, _ = its.edit_after(llama, EDITS[3:], {})
    assert error(fresh, again[1]) > 1e-3  # or the state would be for nothing


def correction(case: str, its: Any, backbone: Backbone, edit: Edit) -> AbstractContextManager[None]:
    made = NEWER[case].correction
    return nullcontext() if made is None else made(its, backbone, edit)


CORRECTED: dict[str, dict[str, Any]] = {
    "lora-corrected": {"steps": 5},
    "ultraedit-corrected": {"warmup": 6, "matrices": ("2.down_proj",)},
}


@checked_out
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
@pytest.mark.parametrize("case", CORRECTED)
def test_the_same_change_where_its_code_is_corrected(
    llama: Backbone, training: list[Case], case: str, edit: Edit
) -> None:
    pair = NEWER[case].from_checkout(CHECKOUT)
    ours, its = pair.prepared(llama, llama, training, CORRECTED[case])
    check = state(llama)
    with correction(case, its, llama, edit):
        (theirs,) = its.edit(llama, [edit])
    check()
    (mine,) = ours.edit(llama, [edit])
    assert error(mine, theirs) < 1e-4
    (left_alone,) = its.edit(llama, [edit])
    assert error(left_alone, theirs) > 1e-2  # or there would be nothing to correct


@checked_out
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
def test_the_same_side_memory_where_its_code_is_corrected(
    tiny_folders: dict[str, Path], training: list[Case], edit: Edit
) -> None:
    llama = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    pair = NEWER["wise-corrected"].from_checkout(CHECKOUT)
    options = {"layer": 2, "steps": 6, "context_templates": PREFIXES, **MARGINS}
    ours, its = pair.prepared(llama, llama, training, options)
    check = state(llama)
    with correction("wise-corrected", its, llama, edit):
        (theirs,) = its.edit(llama, [edit])
    check()
    (mine,) = ours.edit(llama, [edit])
    assert isinstance(mine, SideMemoryChange) and isinstance(theirs, WiseAdapterChange)
    delta = as_stored(llama.module(theirs.path), theirs.delta)
    assert float((mine.memories[0].delta - delta).norm() / delta.norm()) < 1e-4


@checked_out
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
def test_the_same_codebook(llama: Backbone, edit: Edit) -> None:
    options = {"layer": 2, "steps": 5, "init": "warm"}
    ours = xkeb.load_editor("grace", **options)
    its = xkeb.load_editor("easyeditor-grace", tokens="xkeb", path=CHECKOUT, **options)
    (mine,), (theirs,) = ours.edit(llama, [edit]), its.edit(llama, [edit])
    assert isinstance(mine, CodebookChange) and isinstance(theirs, GraceAdapterChange)
    assert torch.allclose(mine.codebook.keys, theirs.keys, atol=1e-5)
    assert torch.allclose(mine.codebook.values, theirs.values, atol=1e-4)


def answers(backbone: Backbone, change: Any, queries: list[Query]) -> list[Prediction]:
    with change.applied(backbone):
        return predict(backbone, queries)


@checked_out
@pytest.mark.parametrize("method", ["easyeditor-grace", "easyeditor-wise"])
def test_its_modules_answer_one_text_at_a_time(llama: Backbone, training: list[Case], method: str) -> None:
    """Questions of several lengths in one batch are answered as each alone; and the edit's own goes another way."""
    narrow = {"radius": 0.01} if method == "easyeditor-grace" else {}
    editor = ready(llama, method, training, tokens="xkeb", path=CHECKOUT, **TINY_NEWER[method], **narrow)
    edit = EDITS[0]
    (change,) = editor.edit(llama, [edit])
    asked = [
        (edit.prompt, edit.target, "en"),
        ("Who wrote it?", "Peru and more of it", "en"),
        (EDITS[1].prompt, "波", "zh"),
    ]
    queries = [Query(*one) for one in asked]
    check = state(llama)
    together = answers(llama, change, queries)
    assert together == [answers(llama, change, [query])[0] for query in queries]
    check()
    with change.applied(llama):
        changed = [moved(llama, query.prompt) for query in queries]
    check()
    inert = [moved(llama, query.prompt) for query in queries]
    assert not torch.equal(changed[0], inert[0])
    if method == "easyeditor-grace":  # whose radius is a small one here
        assert torch.equal(changed[2], inert[2])


def moved(backbone: Backbone, prompt: str) -> torch.Tensor:
    """What the model makes of a question's last token."""
    with torch.no_grad():
        return backbone.hidden(torch.tensor([backbone.encode(prompt).ids]))[0, -1]


@checked_out
@pytest.mark.parametrize("tokens", ["easyeditor", "xkeb"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", [*TINY, *TINY_NEWER])
def test_every_method_runs_and_leaves_the_model_as_it_was(
    tiny_folders: dict[str, Path],
    training: list[Case],
    method: str,
    dtype: str,
    tokens: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    llama = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=dtype)
    options = {**TINY, **TINY_NEWER}[method] | ({} if method == "easyeditor-ike" else {"tokens": tokens})
    editor = ready(llama, method, training, path=CHECKOUT, **options)
    capfd.readouterr()
    check = state(llama)
    (change,) = editor.edit(llama, EDITS[:1])
    check()
    with change.applied(llama):
        pass
    check()
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
    failing = llama.module(llama.layout.layer(llama.n_layers - 1)).register_forward_pre_hook(fail)
    check = state(llama)
    if method != "easyeditor-ike":  # which never runs the model
        with pytest.raises(ZeroDivisionError):
            editor.edit(llama, EDITS[:1])
    check()
    failing.remove()


def fail(*_: Any) -> None:
    raise ZeroDivisionError


@checked_out
@installed
def test_both_versions_in_one_process(llama: Backbone, training: list[Case]) -> None:
    options = SETTINGS["rome"]
    editors = [
        ready(llama, "easyeditor-rome", training, tokens="xkeb", path=path, **options) for path in (CHECKOUT, None)
    ]
    assert editors[0].version is not None and editors[1].version is None
    newer, older, again = (editor.edit(llama, EDITS[:1])[0] for editor in (*editors, editors[0]))
    assert error(newer, older) < 1e-3
    assert error(newer, again) == 0


def test_an_update_of_known_rank_in_factors() -> None:
    generator = torch.Generator().manual_seed(3)
    left, right = torch.randn(30, 4, generator=generator), torch.randn(4, 50, generator=generator)
    update = left @ torch.diag(torch.tensor([1.0, 1e-1, 1e-2, 1e-3])) @ right
    a, b = factored(update, 4)
    assert (a.shape, b.shape) == ((30, 4), (4, 50))
    assert float((a @ b - update).norm() / update.norm()) < 1e-6
