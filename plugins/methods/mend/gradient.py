"""The fine-tuning gradient of an edit, in the form that MEND reads it: an input and an output gradient for each token."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xkeb.models.backbone import Backbone
from xkeb.models.tokenization import Encoded
from xkeb_plugins.methods.token_gradients import token_gradients

Factors = list[list[tuple[torch.Tensor, torch.Tensor]]]
"""For each edit and each matrix: u [T, d_in] and v [T, d_out], whose ``sum_t v_t u_t^T`` is the gradient, in float32."""


def gradient_factors(backbone: Backbone, layer: int, paths: Sequence[str], texts: Sequence[Encoded]) -> Factors:
    """Per-token factors of the gradient of each text's mean negative log-likelihood, with respect to the matrices at
    `paths`, all in `layer` or above.

    Tokens from which no gradient flows are left out, as in the released code: networks could make something of nothing.
    """
    found = token_gradients(backbone, layer, paths, texts)
    answered = torch.zeros_like(found.mask)
    answered[found.rows, found.positions] = True
    above = f"{backbone.layout.layer(backbone.n_layers - 1)}."
    factors: Factors = []
    for row in range(len(texts)):
        own = []
        for path in paths:
            u, v = (side[path][row].float().to(found.mask.device) for side in (found.inputs, found.gradients))
            # From the last layer, nothing flows but where an answer is predicted.
            may = (answered if path.startswith(above) else found.mask)[row]
            flows = may & (u != 0).any(-1) & (v != 0).any(-1)
            own.append((u[flows], v[flows]))
        factors.append(own)
    return factors
