"""MEND with whole models and real weights, one text at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from plain_answers import split

from xkeb.models.backbone import Backbone
from xkeb.models.layout import as_stored
from xkeb.types import Edit
from xkeb_plugins.methods.mend.editor import Mend
from xkeb_plugins.methods.mend.network import Hypernetworks
from xkeb_plugins.methods.mend.updates import edited_paths

Weights = Mapping[str, torch.Tensor]


def answer_logits(
    backbone: Backbone, question: str, answer: str, language: str, weights: Weights
) -> tuple[torch.Tensor, torch.Tensor]:
    """[T, V] where an answer is predicted, by a model with some other weights, and its tokens [T]."""
    given, said = split(backbone, question, answer, language)
    out = torch.func.functional_call(backbone.model, dict(weights), (torch.tensor([given + said]),), tie_weights=False)
    return out.logits[0, len(given) - 1 : -1].float(), torch.tensor(said)


def answer_loss(
    backbone: Backbone, question: str, answer: str, language: str, weights: Weights | None = None
) -> torch.Tensor:
    """Mean negative log-likelihood of an answer."""
    return F.cross_entropy(*answer_logits(backbone, question, answer, language, weights or {}))


def divergence(backbone: Backbone, question: str, answer: str, language: str, weights: Weights) -> torch.Tensor:
    """KL(untouched || edited), mean over the tokens of an answer."""
    old = answer_logits(backbone, question, answer, language, {})[0].log_softmax(-1)
    edited = answer_logits(backbone, question, answer, language, weights)[0].log_softmax(-1)
    return (old.exp() * (old - edited)).sum(-1).mean()


def edited_weights(backbone: Backbone, editor: Mend, networks: Hypernetworks, edit: Edit) -> dict[str, torch.Tensor]:
    """The edited matrices, from the gradient at each token."""
    paths = edited_paths(backbone, editor.layers or ())
    parameters = [backbone.parameter(f"{path}.weight") for path in paths]
    seen: dict[str, torch.Tensor] = {}
    handles = []
    for path in paths:

        def keep(_: object, args: tuple[torch.Tensor, ...], output: torch.Tensor, path: str = path) -> torch.Tensor:
            seen[path] = args[0][0]
            seen[f"{path}.out"] = torch.zeros_like(output, requires_grad=True)
            return output + seen[f"{path}.out"]

        handles.append(backbone.module(path).register_forward_hook(keep))
    loss = answer_loss(backbone, edit.prompt, edit.target, edit.language)
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(loss, [seen[f"{path}.out"] for path in paths])
    new = {}
    for i, (path, gradient, parameter) in enumerate(zip(paths, gradients, parameters, strict=True)):
        u, v = seen[path].detach(), gradient[0]
        keep_rows = [t for t in range(len(u)) if bool((v[t] != 0).any())]
        left, right = networks(i, u[keep_rows], v[keep_rows])
        delta = sum(torch.outer(left[t], right[t]) for t in range(len(keep_rows)))
        assert isinstance(delta, torch.Tensor)
        new[f"{path}.weight"] = parameter.detach() + as_stored(backbone.module(path), delta)
    return new


def random_networks(editor: Mend, backbone: Backbone) -> Hypernetworks:
    """Untrained networks that do something: as training begins, they are the identity."""
    networks = editor.untrained(backbone)
    torch.manual_seed(0)
    for name, parameter in networks.named_parameters():
        if name != "step_sizes":
            torch.nn.init.normal_(parameter, std=0.3)
    return networks
