"""What is known of a model before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel

from xkeb.models.layout import Layout, find_layout


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's name, its family and where things stand in it. Editors are configured for it (`Editor.configure`)."""

    name: str
    """Display name."""
    layout: Layout
    family: str
    """Architecture and sizes, such as ``gemma3_text-18x640x2048-262144``: layers, width, width of the MLP, vocabulary. The
    same for the same weights under any name, so that tuned settings are found by it."""

    @property
    def n_layers(self) -> int:
        return self.layout.n_layers

    def scale_layer(self, layer: int, of: int) -> int:
        """The layer that stands as deep in this model as `layer` stands in a model of `of` layers."""
        return min(self.n_layers - 1, round(layer * self.n_layers / of))

    @classmethod
    def of(cls, name: str, model: PreTrainedModel) -> ModelSpec:
        """The spec of a model, with or without weights.

        Raises:
            RequestError: its layout can't be found.
        """
        layout = find_layout(model)
        config = model.config.get_text_config()
        sizes = f"{layout.n_layers}x{layout.hidden_size}x{layout.intermediate_size}"
        return cls(name, layout, f"{config.model_type}-{sizes}-{config.vocab_size}")
