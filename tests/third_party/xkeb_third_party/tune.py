from dataclasses import dataclass

import torch

import xkeb


@dataclass(frozen=True)
class Tune:
    """Tune: a few steps of gradient descent on one down-projection. The whole of a method in one file."""

    layer: int = 2
    steps: int = 3
    lr: float = 0.1

    def edit(self, backbone, edits):
        return [self.tuned(backbone, backbone.encode(edit.prompt, edit.target, edit.language)) for edit in edits]

    def tuned(self, backbone, encoded):
        name = f"{backbone.layout.down(self.layer)}.weight"
        weight, ids = backbone.parameter(name), torch.tensor([encoded.ids], device=backbone.device)
        labels = torch.where(torch.arange(len(encoded.ids)) < encoded.target, -100, ids)
        delta = torch.zeros_like(weight, requires_grad=True)
        for _ in range(self.steps):
            edited = torch.func.functional_call(backbone.model, {name: weight + delta}, ids, {"labels": labels})
            delta = delta - self.lr * torch.autograd.grad(edited.loss, delta)[0]
        return xkeb.DenseChange({name: delta.detach()})


@xkeb.hookimpl
def register_editors(register):
    register("tune", Tune)
