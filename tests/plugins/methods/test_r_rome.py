"""R-ROME: its equation by hand, and against the plain ROME's keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from plain_rome import EDITS, LAYER, error, naive_moment, naive_values, rome

import xkeb
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.locate.covariance import questions
from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.r_rome import RebuiltRome
from xkeb_plugins.methods.rome import Rome

pytestmark = pytest.mark.usefixtures("fresh_cache")


def fact(key: Sequence[float], bare_key: Sequence[float], value: Sequence[float], wanted: Sequence[float]) -> KeyValue:
    """A fact whose mean value is `value`, and whose bare value is 1 in each place."""
    mean_key, bare, reached, new = (torch.tensor(column) for column in (key, bare_key, value, wanted))
    return KeyValue(mean_key, bare, reached, torch.ones(len(value)), new, ())


def r_rome(**more: Any) -> Any:
    return xkeb.load_editor("r-rome", **{**options_of(rome()), **more})


def test_the_update_is_the_papers_by_hand() -> None:
    """C = diag(1, 4) and k = (1, 2): C^-1 k = (1, 1/2), k^T C^-1 k = 2. The mean value (1, 3) becomes (3, -1)."""
    lower = torch.linalg.cholesky(torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))
    one = fact([1.0, 2.0], [5.0, -2.0], [1.0, 3.0], [3.0, -1.0])
    left, right = RebuiltRome().update(one, lower)
    assert left @ right == pytest.approx(torch.tensor([[1.0, 0.5], [-2.0, -1.0]]))
    # With the bare key (5, -2): C^-1 k = (5, -1/2), k^T C^-1 k = 26, and (1, 1) becomes (3, -1).
    left, right = RebuiltRome(averaged=False).update(one, lower)
    assert left @ right == pytest.approx(torch.tensor([[10.0, -1.0], [-10.0, 1.0]]) / 26)
    # Without second moments C = I: k^T k = 5.
    left, right = RebuiltRome().update(one, None)
    assert left @ right == pytest.approx(torch.tensor([[2.0, 4.0], [-4.0, -8.0]]) / 5)


def test_it_does_not_explode_where_rome_does() -> None:
    """A bare key that is nearly orthogonal to the mean one: ROME divides by their product."""
    one = fact([1.0, 0.0], [1e-4, 1.0], [1.0, 1.0], [2.0, 2.0])
    exploded, kept = (torch.matmul(*editor.update(one, None)).norm() for editor in (Rome(), RebuiltRome()))
    assert exploded > 1e4 and kept == pytest.approx(2**0.5)


@pytest.mark.parametrize("moments", [False, True], ids=["identity", "second-moments"])
def test_the_change_is_that_of_a_plain_r_rome(tiny: Backbone, training: list[Case], moments: bool) -> None:
    editor = r_rome(mom2_adjustment=moments)
    inverse = torch.eye(tiny.layout.intermediate_size, dtype=torch.float64)
    if moments:
        editor.fit(tiny, training)
        inverse = torch.linalg.inv(naive_moment(tiny, LAYER, questions(training)))
    module = tiny.module(tiny.layout.down(LAYER))
    for change, value in zip(editor.edit(tiny, EDITS), naive_values(tiny, "paper"), strict=True):
        with torch.no_grad():
            reached = module(value.key).double()
        key = value.key.double()
        expected = torch.outer(value.new_value.double() - reached, inverse @ key) / (key @ inverse @ key)
        ((name, delta),) = change.deltas().items()
        assert name == f"{tiny.layout.down(LAYER)}.weight"
        assert error(delta, expected) < 1e-3
        with torch.no_grad(), change.applied(tiny):
            assert error(module(value.key), value.new_value) < 1e-3  # what the key gives from now on


def test_with_the_bare_prompt_alone_it_is_rome(llama: Backbone) -> None:
    """Without prefixes, the mean key is the bare one: the three are the same."""
    alone: dict[str, Any] = {"context_templates": (), "steps": 3}
    (theirs,) = rome(**alone).edit(llama, EDITS[:1])
    for averaged in (True, False):
        (mine,) = r_rome(averaged=averaged, **alone).edit(llama, EDITS[:1])
        for name, delta in theirs.deltas().items():
            assert error(mine.deltas()[name], delta) < 1e-4


def test_the_two_keys_give_two_changes(llama: Backbone) -> None:
    (mean,), (prompt,) = (r_rome(averaged=averaged).edit(llama, EDITS[:1]) for averaged in (True, False))
    name = f"{llama.layout.down(LAYER)}.weight"
    assert error(mean.deltas()[name], prompt.deltas()[name]) > 1e-2


def test_a_refusal_names_it(llama: Backbone) -> None:
    with pytest.raises(RequestError, match=r"r-rome\.layer is 6; .* layers 0 to 5"):
        r_rome(layer=6).edit(llama, EDITS[:1])
