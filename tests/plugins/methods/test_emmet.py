"""EMMET: its equation by hand, and against a plain one."""

from __future__ import annotations

import pytest
import torch
from plain_memit import EDITS, LAYERS, error, fitted, naive_updates, naive_values, same, states
from plain_memit import read as read_text

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.emmet import Emmet
from xkeb_plugins.methods.locate.covariance import questions
from xkeb_plugins.methods.locate.spread import Share

pytestmark = pytest.mark.usefixtures("fresh_cache")

LOWER = torch.linalg.cholesky(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))
"""Of C = diag(1, 4)."""


def share(keys: list[list[float]], residual: list[list[float]]) -> Share:
    return Share(0, torch.tensor(residual), torch.tensor(keys), ("en",))


def test_the_update_is_the_papers_by_hand() -> None:
    """One edit, k = (1, 2): C^-1 k = (1, 1/2), k^T C^-1 k = 2. No ridge, whatever is asked for."""
    left, right = Emmet(ridge=0.1).write_share(share([[1.0, 2.0]], [[2.0, -4.0]]), LOWER)
    assert left @ right == pytest.approx(torch.tensor([[1.0, 0.5], [-2.0, -1.0]]))
    # As many edits as dimensions, keys (1, 0) and (1, 1): whatever C is, R K^-1 with K^-1 = [[1, -1], [0, 1]].
    two = share([[1.0, 0.0], [1.0, 1.0]], [[2.0, 0.0], [0.0, 4.0]])
    left, right = Emmet(ridge=0.0).write_share(two, LOWER)
    assert left @ right == pytest.approx(torch.tensor([[2.0, -2.0], [0.0, 4.0]]))
    # With the ridge: K^T C^-1 K = [[1, 1], [1, 5/4]], its diagonal raised by 3/4: the inverse is [[2, -1], [-1, 7/4]] / (5/2).
    left, right = Emmet(ridge=0.75).write_share(two, LOWER)
    expected = torch.tensor([[4.0, -2.0], [-4.0, 7.0]]) / 2.5 @ torch.tensor([[1.0, 0.0], [1.0, 0.25]])
    assert left @ right == pytest.approx(expected)


def test_every_key_gives_its_new_value() -> None:
    generator = torch.Generator().manual_seed(0)
    keys, residual = torch.randn(5, 12, generator=generator), torch.randn(5, 7, generator=generator)
    moment = torch.randn(30, 12, generator=generator, dtype=torch.float64)
    lower = torch.linalg.cholesky(moment.T @ moment / 30)
    left, right = Emmet(ridge=0.0).write_share(Share(0, residual, keys, ("en",)), lower)
    assert error((left @ right) @ keys.T, residual.T) < 1e-5
    left, right = Emmet(ridge=0.1).write_share(Share(0, residual, keys, ("en",)), lower)
    assert error((left @ right) @ keys.T, residual.T) > 1e-3


def plain(weight: float, r: torch.Tensor, k: torch.Tensor, moment: torch.Tensor) -> torch.Tensor:
    inverse = torch.linalg.inv(moment)
    return r @ torch.linalg.inv(k.T @ inverse @ k + weight * torch.eye(k.shape[1], dtype=k.dtype)) @ k.T @ inverse


def test_every_layer_is_that_of_a_plain_emmet(tiny: Backbone, training: list[Case]) -> None:
    editor = fitted("emmet", tiny, training, ridge=0.2)
    texts, naive = questions(training), naive_values(tiny)
    within = 1e-3 if tiny.layout.mlp_norm else 2e-4
    for edit, change, value in zip(EDITS, editor.edit(tiny, EDITS), naive, strict=True):
        expected = naive_updates(tiny, [edit], [value.move], texts, lambda _, r, k, c: plain(0.0, r, k, c))
        same(change, tiny, expected, within)
    moves = [value.move for value in naive]
    expected = naive_updates(tiny, EDITS, moves, texts, lambda _, r, k, c: plain(0.2, r, k, c))
    same(editor.edit_together(tiny, EDITS), tiny, expected, within)


def test_after_the_change_the_stream_is_where_it_should_be(llama: Backbone, training: list[Case]) -> None:
    """In one layer and without prefixes, the bare keys are written: what was wanted stands at every subject."""
    editor = fitted("emmet", llama, training, layers=LAYERS[-1:], context_templates=(), ridge=0.0)
    facts = editor.find_values(llama, EDITS)
    with editor.write_values(llama, EDITS, facts).applied(llama):
        for edit, fact in zip(EDITS, facts, strict=True):
            assert error(states(llama, read_text(llama, edit), LAYERS[-1])[2], fact.new_value) < 1e-4


def test_two_edits_of_one_key_need_the_ridge(llama: Backbone, training: list[Case]) -> None:
    options = {"layers": (1,), "context_templates": (), "steps": 1}
    twice = [EDITS[0], EDITS[0]]
    with pytest.raises(RequestError, match="Two of 2 edits have the same key"):
        exact = Share(1, torch.ones(2, 2), torch.tensor([[1.0, 2.0], [1.0, 2.0]]), ("en",))
        Emmet(ridge=0.0).write_share(exact, LOWER)
    change = fitted("emmet", llama, training, **options).edit_together(llama, twice)
    assert all(torch.isfinite(delta).all() for delta in change.deltas().values())


def test_the_default_is_one_layer_as_deep_as_the_authors(llama: Backbone) -> None:
    editor = Emmet().configure(llama.spec)
    assert (editor.layers, editor.contexts, editor.ridge) == ((1,), ((10, 5),), 0.1)  # 5 of 32, of six
    with pytest.raises(RequestError, match=r"emmet\.layers is \[6\]; .* from 0 to 5"):
        Emmet(layers=(6,)).configure(llama.spec)
