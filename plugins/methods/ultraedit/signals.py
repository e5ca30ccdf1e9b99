"""What UltraEdit reads of an edit: at each answer token, what enters a matrix, and the gradient of what leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import group_by_length
from xkeb.models.layout import Layout
from xkeb.types import Edit
from xkeb_plugins.methods.token_gradients import token_gradients, tokens_for_backward


@dataclass(frozen=True, slots=True)
class Signal:
    """Of the answer tokens of an edit at one matrix, float32."""

    inputs: torch.Tensor
    """[t, d_in] h"""
    gradients: torch.Tensor
    """[t, d_out] g, of the mean negative log-likelihood of the edit's own answer tokens."""

    @property
    def features(self) -> torch.Tensor:
        """Both side by side, [t, d_in + d_out]."""
        return torch.cat([self.inputs, self.gradients], 1)


Signals = Mapping[str, Signal]
"""By path of an edited matrix."""


def find_matrix(layout: Layout, name: str) -> tuple[int, str]:
    """Layer and path of a matrix named by its layer and its projection, such as ``29.down_proj``.

    Raises:
        RequestError: there is no such matrix.
    """
    layer, _, projection = name.partition(".")
    if layer.isdecimal() and int(layer) < layout.n_layers:
        for path in (*layout.ups(int(layer)), layout.down(int(layer))):
            if path.rpartition(".")[2] == projection:
                return int(layer), path
    known = ", ".join(path.rpartition(".")[2] for path in (*layout.up_proj, layout.down_proj))
    raise RequestError(
        f"ultraedit.matrices names {name!r}; a layer from 0 to {layout.n_layers - 1} and one of its projections ({known}) "
        f"were expected, such as '0.{layout.down_proj.rpartition('.')[2]}'."
    )


def read_signals(backbone: Backbone, lowest: int, paths: Sequence[str], edits: Sequence[Edit]) -> list[Signals]:
    """The signals of each edit, by a forward and a backward pass, several edits in a batch.

    Args:
        lowest: the lowest layer that a matrix stands in.
    """
    texts = [backbone.encode(edit.prompt, edit.target, edit.language) for edit in edits]
    lengths = [len(text.ids) - 1 for text in texts]
    signals: dict[int, Signals] = {}
    most = tokens_for_backward(backbone, lowest)
    for batch in group_by_length(lengths, backbone.saturating_tokens, most_tokens=most):
        found = token_gradients(backbone, lowest, paths, [texts[i] for i in batch])
        for row, i in enumerate(batch):
            at = range(texts[i].prompt_end - 1, lengths[i])

            def pick(side: Mapping[str, torch.Tensor], path: str, row: int = row, at: range = at) -> torch.Tensor:
                return side[path][row, at.start : at.stop].float().to(backbone.device)

            signals[i] = {path: Signal(pick(found.inputs, path), pick(found.gradients, path)) for path in paths}
    return [signals[i] for i in range(len(edits))]
