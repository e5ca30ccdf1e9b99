"""What becomes of a tiny random model of a family: it is edited by FT and ROME, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import torch
from tiny_families import NOT_MADE, tiny_family
from transformers import PreTrainedTokenizerFast

from xkeb.editing.editor import load_editor, make_changes, why_unsupported
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.suffix import SuffixForward
from xkeb.testing.state import difference, model_state
from xkeb.types import Edit

EDITED = "edited"
EDIT = Edit("The capital of France", "a", "en", "France")
"""Its answer is one token and follows the subject's last, so that its likelihood is what both methods raise."""
OPTIONS: dict[str, dict[str, Any]] = {
    "ft": {"lr": 5e-3, "steps": 8},
    "rome": {"lr": 0.1, "steps": 8, "context_templates": ()},
}
CLOSE = 1e-4


def walk(family: str, tokenizer: PreTrainedTokenizerFast) -> str:
    """`EDITED`, or the sentence that refuses the family; why no tiny model of it is made, where none is.

    Raises:
        AssertionError: an edit that doesn't raise its answer's likelihood, or leaves traces; upper layers that, run alone, give
            other states than the model's own pass.
    """
    if family in NOT_MADE:
        return NOT_MADE[family]
    model = tiny_family(family, len(tokenizer))
    try:
        backbone = Backbone(family, model, tokenizer, sha256="0" * 64).prepare()
        _compare_suffix(backbone)
        for method in OPTIONS:
            _edit(backbone, method)
    except RequestError as error:
        return str(error)
    return EDITED


def _edit(backbone: Backbone, method: str) -> None:
    editor = load_editor(method, **OPTIONS[method]).configure(backbone.spec)
    assert why_unsupported(editor, backbone, EDIT) is None
    state, before = model_state(backbone), _log_likelihood(backbone)
    (change,) = make_changes(editor, backbone, [EDIT])
    assert not difference(state, model_state(backbone)), f"{method} changes the model while it edits"
    with change.applied(backbone):
        edited = _log_likelihood(backbone)
    assert edited > before + 0.01, f"{method} takes the answer from {before:.3f} to {edited:.3f}"
    assert not difference(state, model_state(backbone)), f"{method} leaves traces"
    assert _log_likelihood(backbone) == before


@torch.inference_mode()
def _log_likelihood(backbone: Backbone) -> float:
    """Of the edit's answer, from the logits of the model's own forward pass."""
    encoded = backbone.encode(EDIT.prompt, EDIT.target, EDIT.language)
    logits = backbone.model(torch.tensor([encoded.ids]), use_cache=False).logits[0].float().log_softmax(-1)
    return sum(float(logits[at - 1, encoded.ids[at]]) for at in range(encoded.target, len(encoded.ids)))


@torch.no_grad()
def _compare_suffix(backbone: Backbone) -> None:
    """Texts of several lengths together, from layer 1 and a token on, against each text alone in the model's own pass."""
    rows = [backbone.encode(text).ids for text in ("What is the capital of France? It", "Japan is", "In short. Why")]
    sites = [2, 1, 6]
    suffix = SuffixForward(backbone, 1, rows, sites)
    again = suffix.run()
    for i, (row, site) in enumerate(zip(rows, sites, strict=True)):
        alone = backbone.module(backbone.layout.decoder)(
            input_ids=torch.tensor([row]), use_cache=False
        ).last_hidden_state[0]
        column = int(suffix.sites[i])
        apart = (alone[site:] - again[i, column : column + len(row) - site]).abs().max() / alone.abs().max()
        assert apart < CLOSE, f"row {i} is {apart:.0e} from the text alone"
    some = torch.tensor([2, 0])
    seen = suffix.mask[some]
    apart = (suffix.run(some)[seen] - again[some][seen]).abs().max() / again[suffix.mask].abs().max()
    assert apart < CLOSE, f"some rows are {apart:.0e} from those of all"
