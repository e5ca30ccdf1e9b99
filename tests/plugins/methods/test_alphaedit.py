"""AlphaEdit: its equation by hand and as its authors solve it, layers against a plain one, and a sequence of edits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from plain_memit import EDITS, LAYERS, error, fitted, naive_delta, naive_moment, naive_updates, naive_values, same

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.alphaedit import AlphaEdit, project
from xkeb_plugins.methods.locate.covariance import questions

pytestmark = pytest.mark.usefixtures("fresh_cache")
L2 = 0.5


@pytest.fixture(scope="module")
def training(training: list[Case]) -> list[Case]:
    """Few: the plain one measures their moments again for each change."""
    return training[:8]


def numbers(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_the_update_is_the_papers_by_hand() -> None:
    """P keeps the second dimension and k = (3, 2): P k = (0, 2), k^T P k = 4; with l2 = 1, X = (0, 2) / (4 + 1)."""
    keys, projection = numbers([3.0, 2.0]), torch.diag(numbers([0.0, 1.0])[0])
    assert project(keys, projection, 1.0) == pytest.approx(numbers([0.0, 0.4]))
    # Earlier keys with sums diag(5, 6): (4 + 6 + 1) x = 2 in the second dimension.
    past = torch.diag(numbers([5.0, 6.0])[0])
    assert project(keys, projection, 1.0, past) == pytest.approx(numbers([0.0, 2 / 11]))


def solved(keys: torch.Tensor, projection: torch.Tensor, l2: float, past: torch.Tensor | None = None) -> torch.Tensor:
    """X^T, the system as it stands in the paper: ``(P (K K^T + K_p K_p^T) + l2 I) X = P K``; K a fact a column."""
    held = keys @ keys.T if past is None else keys @ keys.T + past
    identity = torch.eye(len(projection), dtype=projection.dtype)
    return torch.linalg.solve(projection @ held + l2 * identity, projection @ keys).T


@pytest.mark.parametrize("n", [1, 4, 30], ids=["one", "some", "more than free"])
def test_it_solves_the_system_of_the_paper(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    free = torch.linalg.qr(torch.randn(16, 9, generator=generator, dtype=torch.float64)).Q
    keys, earlier = (torch.randn(k, 16, generator=generator, dtype=torch.float64) for k in (n, 25))
    projection, past = free @ free.T, earlier.T @ earlier
    assert error(project(keys, projection, L2), solved(keys.T, projection, L2)) < 1e-10
    assert error(project(keys, projection, L2, past), solved(keys.T, projection, L2, past)) < 1e-10


def test_the_projection_is_on_eigenvectors_below_the_threshold() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    moment = basis @ torch.diag(numbers([3.0, 1.0, 0.3, 0.019, 0.01, 0.001])[0]) @ basis.T
    projection = AlphaEdit(nullspace_threshold=0.02).digest_moment(moment, 10)
    assert error(projection, basis[:, 3:] @ basis[:, 3:].T) < 1e-9
    with pytest.raises(RequestError, match=r"nullspace_threshold is 0\.0001; the smallest eigenvalue .* is 0\.001,"):
        AlphaEdit(nullspace_threshold=1e-4).digest_moment(moment, 10)


def halves(backbone: Backbone, training: list[Case]) -> dict[int, tuple[float, torch.Tensor]]:
    """Of each layer, a threshold amid the eigenvalues of the first one, and the projection on the eigenvectors below it."""
    moments = {layer: naive_moment(backbone, layer, questions(training)) for layer in LAYERS}
    values = torch.linalg.eigvalsh(moments[LAYERS[0]])
    threshold = float(values[len(values) // 2 :][:2].mean())  # between two eigenvalues, whatever the rounding
    found = {}
    for layer, moment in moments.items():
        left, values, _ = torch.linalg.svd(moment)
        found[layer] = (threshold, left[:, values < threshold] @ left[:, values < threshold].T)
    return found


def alphaedit(backbone: Backbone, training: list[Case], threshold: float, **options: Any) -> Any:
    return fitted("alphaedit", backbone, training, nullspace_threshold=threshold, l2=L2, **options)


def test_every_layer_is_that_of_a_plain_alphaedit(tiny: Backbone, training: list[Case]) -> None:
    free = halves(tiny, training)
    assert all(0 < float(projection.trace()) < len(projection) - 0.5 for _, projection in free.values())
    editor = alphaedit(tiny, training, free[0][0])
    texts, naive = questions(training), naive_values(tiny)
    within = 1e-3 if tiny.layout.mlp_norm else 2e-4

    def share(layer: int, r: torch.Tensor, k: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return r @ solved(k, free[layer][1], L2)

    for edit, change, value in zip(EDITS, editor.edit(tiny, EDITS), naive, strict=True):
        same(change, tiny, naive_updates(tiny, [edit], [value.move], texts, share), within)
    together = editor.edit_together(tiny, EDITS)
    same(together, tiny, naive_updates(tiny, EDITS, [value.move for value in naive], texts, share), within)
    for layer, (_, projection) in free.items():  # what the corpus reaches gives what it gave
        delta = together.deltas()[f"{tiny.layout.down(layer)}.weight"].double()
        assert float((delta - delta @ projection).norm() / delta.norm()) < 1e-4


def test_a_sequence_keeps_the_keys_of_earlier_edits(llama: Backbone, training: list[Case]) -> None:
    free = halves(llama, training)
    editor = alphaedit(llama, training, free[0][0])
    sums = {layer: torch.zeros_like(projection) for layer, (_, projection) in free.items()}
    first, past = editor.edit_after(llama, EDITS[:2], {})
    alone = editor.edit_together(llama, EDITS[:2]).deltas()
    assert all(error(delta, alone[name]) < 1e-6 for name, delta in first.deltas().items())

    def share(layer: int, r: torch.Tensor, k: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        update = r @ solved(k, free[layer][1], L2, sums[layer])
        sums[layer] = sums[layer] + k @ k.T
        return update

    naive = naive_values(llama)
    naive_updates(llama, EDITS[:2], [value.move for value in naive[:2]], questions(training), share)
    assert past.keys() == {str(layer) for layer in sums}
    assert all(error(past[str(layer)], total) < 1e-4 for layer, total in sums.items())
    with first.applied(llama):
        second, both = editor.edit_after(llama, EDITS[2:], past)
        value = naive_delta(llama, EDITS[2])
        same(second, llama, naive_updates(llama, EDITS[2:], [value.move], questions(training), share), 1e-3)
    assert all(error(both[str(layer)], total) < 1e-4 for layer, total in sums.items())
    assert all(torch.equal(editor.edit_after(llama, EDITS[:2], {})[1][layer], past[layer]) for layer in past)


def test_the_defaults_are_those_of_the_authors(llama: Backbone) -> None:
    editor = xkeb.load_editor("alphaedit").configure(llama.spec)
    assert isinstance(editor, AlphaEdit) and editor.layers == (1, 2)  # 4 to 8 of 32, of six
    assert (editor.steps, editor.lr, editor.weight_decay, editor.clamp, editor.kl_factor) == (
        25,
        0.1,
        0.5,
        0.75,
        0.0625,
    )
    assert (editor.nullspace_threshold, editor.l2, editor.contexts) == (2e-2, 10, ((10, 5),))
