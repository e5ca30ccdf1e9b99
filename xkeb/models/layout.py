"""Where things stand in a loaded model: layers, MLP projections, final norm, head. Found from the model itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from xkeb.errors import RequestError

MIXERS = ("attn", "attention", "mixer", "mamba", "conv", "recurrent", "temporal", "ssm", "mlstm")
"""In the names of what mixes tokens: attention, and what stands in its place."""
MLP = ("mlp", "feedforward", "feed_forward", "ffn")
DOWN = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h", "w2", "wo")
"""Names of the projection back to the model's width, for the rare model whose MLP is exactly as wide as the model."""
AFTER_EMBEDDING = (
    "layernorm_embedding",
    "word_embeddings_layernorm",
    "embeddings_layer_norm",
    "per_layer_projection_norm",
)
"""Norms that stand beside the layers and before them."""


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
    norm: str | None
    """Norm after the last layer; None where the layers end in norms of their own."""
    head: str
    hidden_size: int
    intermediate_size: int
    mlp_norm: str | None = None
    """Norm that a layer puts on its MLP's output before adding it to the residual stream, relative to a layer; None where
    it has none."""
    mixers: tuple[str, ...] = ()
    """Linear projections of what mixes tokens, relative to a layer: those of the attention. Each that some layer has."""

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
    decoder = _find_decoder(model)
    head = model.get_output_embeddings()
    if decoder is None or head is None:
        raise RequestError(f"{family} has no separate decoder and output head, so it is no causal language model.")
    stack = _find_stack(family, decoder)
    layers = list(decoder.get_submodule(stack).children())
    if stack.startswith("encoder.") and getattr(model.config, "is_decoder", None) is False:
        raise RequestError(f"{family} is an encoder, in which a token sees those after it; a causal model is needed.")
    for layer in layers:
        _refuse_experts(family, layer)
    hidden_size = head.weight.shape[1]
    ups, down, intermediate = _find_mlp(family, layers[0], hidden_size)
    for i, layer in enumerate(layers):
        if (found := _find_mlp(family, layer, hidden_size, i)) != (ups, down, intermediate):
            raise RequestError(
                f"{family} has other MLPs in some layers than in others ({down} {intermediate}->{hidden_size} in layer 0, "
                f"{found[1]} {found[2]}->{hidden_size} in layer {i}); the same one in each was expected."
            )
    norms = [name for name, child in decoder.named_children() if _is_norm(child) and name not in AFTER_EMBEDDING]
    if len(norms) > 1:
        raise RequestError(f"{family} should have one norm after its layers; found {', '.join(norms)}.")
    prefix = paths[id(decoder)]
    return Layout(
        decoder=prefix,
        layers=f"{prefix}.{stack}",
        n_layers=len(layers),
        up_proj=ups,
        down_proj=down,
        norm=f"{prefix}.{norms[0]}" if norms else None,
        head=paths[id(head)],
        hidden_size=hidden_size,
        intermediate_size=intermediate,
        mlp_norm=_find_mlp_norm(layers[0]),
        mixers=_find_mixers(layers),
    )


def _find_decoder(model: PreTrainedModel) -> nn.Module | None:
    """What turns ids into final hidden states; where the model doesn't know, its only part that is a model."""
    decoder: nn.Module | None = model.get_decoder()
    if isinstance(decoder, PreTrainedModel) and decoder is not model:
        return decoder
    parts = [child for child in model.children() if isinstance(child, PreTrainedModel)]
    return parts[0] if len(parts) == 1 else None


def _find_stack(family: str, decoder: nn.Module) -> str:
    """Path of the list of layers, relative to the decoder: its own, or that of a part of it."""
    for parts in (decoder.named_children(), _grandchildren(decoder)):
        stacks = [(len(part), name) for name, part in parts if isinstance(part, nn.ModuleList) and len(part)]
        if stacks:
            longest = [name for length, name in stacks if length == max(stacks)[0]]
            if len(longest) > 1:
                raise RequestError(
                    f"{family} keeps the parts of its layers in lists of their own ({', '.join(longest)})."
                )
            return longest[0]
    children = ", ".join(name for name, _ in decoder.named_children())
    raise RequestError(f"{family} has no list of layers; its decoder holds {children}.")


def _grandchildren(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        for own, part in child.named_children():
            yield f"{name}.{own}", part


def _find_mlp(family: str, layer: nn.Module, width: int, index: int = 0) -> tuple[tuple[str, ...], str, int]:
    """Paths of a layer's MLP projections (in, out) and the MLP's width, found by shape, then by name."""
    shapes = {
        path: widths(module)
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not any(part in path for part in MIXERS)
    }
    if not shapes:
        parts = ", ".join(name for name, _ in layer.named_children())
        raise RequestError(
            f"{family} has no MLP in layer {index}, which holds {parts}; one in each layer was expected."
        )
    downs = [path for path, (_, d_out) in shapes.items() if d_out == width]
    if len(downs) > 1:
        downs = [path for path in downs if path.rsplit(".", 1)[-1] in DOWN]
    if len(downs) != 1:
        projections = ", ".join(f"{path} {d_in}->{d_out}" for path, (d_in, d_out) in shapes.items())
        raise RequestError(
            f"{family} should have one projection from its MLP back to width {width} in each layer; found {projections}."
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


def _find_mixers(layers: Iterable[nn.Module]) -> tuple[str, ...]:
    """Paths of the projections of attention, or of what stands in its place, in the order of their first layer."""
    paths = (
        path
        for layer in layers
        for path, module in layer.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and any(part in path for part in MIXERS)
    )
    return tuple(dict.fromkeys(paths))


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _refuse_experts(family: str, layer: nn.Module) -> None:
    """A mixture of experts has many MLPs a layer, often in one three-dimensional parameter, or one beside the others."""
    names = [
        name
        for name, parameter in layer.named_parameters()
        if "expert" in name or (parameter.squeeze().ndim > 2 and not any(part in name for part in MIXERS))
    ]
    if names:
        raise RequestError(
            f"{family} is a mixture of experts ({names[0]}): a layer has many down-projections, and one was expected."
        )


def widths(module: nn.Module) -> tuple[int, int]:
    """(d_in, d_out) of a linear module; GPT-2's ``Conv1D`` stores its weight transposed."""
    assert isinstance(module.weight, torch.Tensor)
    rows, columns = module.weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)


def as_stored(module: nn.Module, matrix: torch.Tensor) -> torch.Tensor:
    """A [d_out, d_in] matrix in the orientation in which `module` stores its weight; a vector as it is."""
    return matrix.T if isinstance(module, Conv1D) and matrix.ndim == 2 else matrix
