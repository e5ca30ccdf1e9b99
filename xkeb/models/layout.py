"""Where things stand in a loaded model: layers, MLP projections, final norm, head. Found from the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xkeb.errors import RequestError

ATTENTION = ("attn", "attention")
MLP = ("mlp", "feedforward", "feed_forward", "ffn")
DOWN = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h", "w2", "wo")
"""Names of the projection back to the model's width, for the rare model whose MLP is exactly as wide as the model."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Module paths of a decoder-only model, as in ``model.get_submodule(path)``."""

    decoder: str
    layers: str
    n_layers: int
    up_proj: tuple[str, ...]
    """Projections into the MLP, relative to a layer: one, or gate and up."""
    down_proj: str
    """Projection out of the MLP, relative to a layer: the associative memory that locate-then-edit methods write to."""
    norm: str
    head: str
    hidden_size: int
    intermediate_size: int
    mlp_norm: str | None = None
    """Norm that a layer puts on its MLP's output before adding it to the residual stream, relative to a layer; None where
    it has none."""

    def layer(self, index: int) -> str:
        """Path of decoder layer `index`.

        Raises:
            RequestError: there is no such layer.
        """
        if not 0 <= index < self.n_layers:
            raise RequestError(f"There is no layer {index}; this model has layers 0 to {self.n_layers - 1}.")
        return f"{self.layers}.{index}"

    def down(self, index: int) -> str:
        """Path of layer `index`'s projection out of its MLP."""
        return f"{self.layer(index)}.{self.down_proj}"

    def after_mlp(self, index: int) -> str | None:
        """Path of layer `index`'s norm on its MLP's output, if it has one."""
        return None if self.mlp_norm is None else f"{self.layer(index)}.{self.mlp_norm}"

    def ups(self, index: int) -> tuple[str, ...]:
        """Paths of layer `index`'s projections into its MLP."""
        return tuple(f"{self.layer(index)}.{path}" for path in self.up_proj)


def find_layout(model: PreTrainedModel) -> Layout:
    """The layout of a causal language model of any family whose decoder layers each have one MLP.

    Raises:
        RequestError: says which part was looked for and what was found instead.
    """
    family = type(model).__name__
    paths = {id(module): path for path, module in model.named_modules()}
    decoder = model.get_decoder()
    head = model.get_output_embeddings()
    if decoder is None or decoder is model or head is None:
        raise RequestError(f"{family} has no separate decoder and output head, so it is no causal language model.")
    stacks = [
        (len(child), name)
        for name, child in decoder.named_children()
        if isinstance(child, nn.ModuleList) and len(child)
    ]
    if not stacks:
        children = ", ".join(name for name, _ in decoder.named_children())
        raise RequestError(f"{family} has no list of layers; its decoder holds {children}.")
    n_layers, stack = max(stacks)
    hidden_size = head.weight.shape[1]
    ups, down, intermediate = _find_mlp(family, decoder.get_submodule(f"{stack}.0"), hidden_size)
    for i in range(n_layers):
        _refuse_experts(family, decoder.get_submodule(f"{stack}.{i}"))
    norms = [name for name, child in decoder.named_children() if _is_norm(child) and "embed" not in name]
    if len(norms) != 1:
        raise RequestError(f"{family} should have one norm after its layers; found {', '.join(norms) or 'none'}.")
    prefix = paths[id(decoder)]
    return Layout(
        decoder=prefix,
        layers=f"{prefix}.{stack}",
        n_layers=n_layers,
        up_proj=ups,
        down_proj=down,
        norm=f"{prefix}.{norms[0]}",
        head=paths[id(head)],
        hidden_size=hidden_size,
        intermediate_size=intermediate,
        mlp_norm=_find_mlp_norm(decoder.get_submodule(f"{stack}.0")),
    )


def _find_mlp(family: str, layer: nn.Module, width: int) -> tuple[tuple[str, ...], str, int]:
    """Paths of a layer's MLP projections (in, out) and the MLP's width, found by shape, then by name."""
    shapes = {
        path: widths(module)
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not any(part in path for part in ATTENTION)
    }
    downs = [path for path, (_, d_out) in shapes.items() if d_out == width]
    if len(downs) > 1:
        downs = [path for path in downs if path.rsplit(".", 1)[-1] in DOWN]
    if len(downs) != 1:
        projections = ", ".join(f"{path} {d_in}->{d_out}" for path, (d_in, d_out) in shapes.items()) or "none"
        raise RequestError(
            f"{family} should have one projection from its MLP back to width {width} in each layer "
            f"(mixtures of experts have several); found {projections}."
        )
    down = downs[0]
    ups = tuple(sorted(path for path, (d_in, _) in shapes.items() if path != down and d_in == width))
    return ups, down, shapes[down][0]


def _find_mlp_norm(layer: nn.Module) -> str | None:
    """The norm after a layer's MLP, told by its name from those before and from the one after the attention."""
    after = [
        name
        for name, child in layer.named_children()
        if _is_norm(child) and name.startswith("post") and any(part in name for part in MLP)
    ]
    return after[0] if after else None


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _refuse_experts(family: str, layer: nn.Module) -> None:
    """A mixture of experts has many MLPs a layer, often in one three-dimensional parameter, or one beside the others."""
    names = [name for name, parameter in layer.named_parameters() if "expert" in name or parameter.ndim > 2]
    if names:
        raise RequestError(f"{family} is a mixture of experts ({names[0]}); one MLP in each layer was expected.")


def widths(module: nn.Module) -> tuple[int, int]:
    """(d_in, d_out) of a linear module; GPT-2's ``Conv1D`` stores its weight transposed."""
    assert isinstance(module.weight, torch.Tensor)
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


def as_stored(module: nn.Module, matrix: torch.Tensor) -> torch.Tensor:
    """A [d_out, d_in] matrix in the orientation in which `module` stores its weight; a vector as it is."""
    return matrix.T if isinstance(module, Conv1D) and matrix.ndim == 2 else matrix
