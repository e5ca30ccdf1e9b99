"""LangEdit: its second moments by hand, and a sequence in two languages against a plain one."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_memit import EDITS, LAYERS, error, fitted, naive_delta, naive_moment, naive_updates, same

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.langedit import LangEdit, blend
from xkeb_plugins.methods.locate.covariance import questions

pytestmark = pytest.mark.usefixtures("fresh_cache")
L2, CORPUS, EDITED = 0.5, 10, 3


@pytest.fixture(scope="module")
def training(training: list[Case]) -> list[Case]:
    """Few: the plain one measures their moments again for each change."""
    return training[:8]


def test_the_moments_are_weighed_by_hand() -> None:
    """At the second change: 10 / 16 of the moment, 3 / 16 of the sums."""
    moment, sums = torch.diag(torch.tensor([1.6, 3.2])), torch.diag(torch.tensor([16.0, 0.0]))
    assert torch.allclose(blend(moment, sums, 2, CORPUS, EDITED), torch.diag(torch.tensor([4.0, 2.0])))


def free(moment: torch.Tensor, threshold: float) -> torch.Tensor:
    left, values, _ = torch.linalg.svd(moment)
    return left[:, values < threshold] @ left[:, values < threshold].T


def langedit(
    backbone: Backbone, training: list[Case], **options: Any
) -> tuple[LangEdit, float, dict[int, torch.Tensor]]:
    """The editor, its threshold, and the moments of the corpus."""
    moments = {layer: naive_moment(backbone, layer, questions(training)) for layer in LAYERS}
    values = torch.linalg.eigvalsh(moments[LAYERS[0]])
    threshold = float(values[len(values) // 2 :][:2].mean())  # between two eigenvalues, whatever the rounding
    weights = {"corpus_weight": CORPUS, "edits_weight": EDITED}
    editor = fitted("langedit", backbone, training, nullspace_threshold=threshold, l2=L2, **weights, **options)
    return editor, threshold, moments


def test_each_language_is_in_the_null_space_of_those_before(llama: Backbone, training: list[Case]) -> None:
    """English, Chinese, English: the projection is another one at the second and at the third."""
    editor, threshold, moments = langedit(llama, training)
    projections = {layer: free(moment, threshold) for layer, moment in moments.items()}
    sums = {layer: torch.zeros_like(moment) for layer, moment in moments.items()}

    def share(layer: int, r: torch.Tensor, k: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        p, earlier = projections[layer], sums[layer]
        sums[layer] = earlier + k @ k.T
        held = p @ (k @ k.T + earlier) + L2 * torch.eye(len(p), dtype=p.dtype)
        return r @ torch.linalg.solve(held, p @ k).T

    past: dict[str, torch.Tensor] = {}
    changes: list[Any] = []
    for turn, edit in enumerate(EDITS):
        if turn:
            for layer in moments:
                whole = CORPUS + turn * EDITED
                moments[layer] = CORPUS / whole * moments[layer] + EDITED / whole * sums[layer]
                before, projections[layer] = projections[layer], free(moments[layer], threshold)
                assert error(projections[layer], before) > 1e-2
        with ExitStack() as stack:
            for earlier in changes:
                stack.enter_context(earlier.applied(llama))
            change, past = editor.edit_after(llama, [edit], past)
            value = naive_delta(llama, edit)
            same(change, llama, naive_updates(llama, [edit], [value.move], questions(training), share), 1e-3)
        changes.append(change)
    for layer in moments:
        assert error(past[str(layer)], sums[layer]) < 1e-3
        assert error(past[f"{layer}.moment"], moments[layer]) < 1e-3
        assert error(past[f"{layer}.projection"], projections[layer]) < 1e-3


def test_in_one_language_it_is_alphaedit(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    editor, threshold, _ = langedit(llama, training)
    other = fitted("alphaedit", llama, training, nullspace_threshold=threshold, l2=L2)
    sessions = [one.begin(llama) for one in (editor, other)]

    def deltas(session: Any, edit: Edit) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = session.edit([edit]).deltas()
        return found

    for edit in (EDITS[0], EDITS[2]):
        mine, theirs = [deltas(session, edit) for session in sessions]
    assert all(torch.equal(delta, theirs[name]) for name, delta in mine.items())
    assert set(sessions[0].state) == {*sessions[1].state, "language", "turns"}
    sessions[0].save(tmp_path)
    loaded = editor.begin(llama)
    loaded.load(tmp_path)
    mine, again = [deltas(session, EDITS[1]) for session in (sessions[0], loaded)]
    assert all(torch.equal(delta, again[name]) for name, delta in mine.items())


def test_a_batch_is_of_one_language(llama: Backbone, training: list[Case]) -> None:
    editor, _, _ = langedit(llama, training)
    with pytest.raises(RequestError, match="edits of a batch in one language; these are in en, zh"):
        editor.edit_after(llama, EDITS[:2], {})
    single = editor.edit(llama, EDITS[:1])[0].deltas()
    alone, _ = editor.edit_after(llama, EDITS[:1], {})
    assert all(error(delta, alone.deltas()[name]) < 1e-6 for name, delta in single.items())


def test_the_weights_are_those_of_the_authors(llama: Backbone) -> None:
    editor = xkeb.load_editor("langedit").configure(llama.spec)
    assert isinstance(editor, LangEdit) and (editor.corpus_weight, editor.edits_weight) == (100_000, 100)
    with pytest.raises(RequestError, match=r"langedit\.nullspace_threshold is 1e-09; the smallest eigenvalue"):
        dataclasses.replace(editor, nullspace_threshold=1e-9).digest_moment(torch.eye(2, dtype=torch.float64), 5)
