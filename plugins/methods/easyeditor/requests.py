"""Edits, module paths and statistics in the form that EasyEdit's code takes them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Edit


def module_paths(backbone: Backbone) -> dict[str, str]:
    """Its templates of module paths, ``{}`` for the layer, from the backbone's own layout.

    Its MEMIT looks the head's weight up by name among the parameters, where one that is tied to the embeddings is listed
    once, as theirs: so that is the name it gets.
    """
    layout = backbone.layout
    if layout.norm is None:
        raise RequestError(f"EasyEdit's code names a norm after the last layer, and {backbone.name!r} has none.")
    down = f"{layout.layers}.{{}}.{layout.down_proj}"
    mlp, _, _ = layout.down_proj.rpartition(".")
    head = backbone.module(layout.head).weight
    name = next(name for name, parameter in backbone.model.named_parameters() if parameter is head)
    return {
        "rewrite_module_tmp": down,
        "layer_module_tmp": f"{layout.layers}.{{}}",
        "mlp_module_tmp": f"{layout.layers}.{{}}.{mlp}" if mlp else down,
        "attn_module_tmp": "",  # which nothing here is done with
        "ln_f_module": layout.norm,
        "lm_head_module": name.removesuffix(".weight"),
    }


def request(edit: Edit, *, template: bool = False) -> dict[str, str]:
    """An edit.

    Args:
        template: whether ``{}`` stands in the prompt for the subject. Its code would put it in the place of every
            occurrence, and then finds several; here it stands for the first.

    Raises:
        RequestError: an unknown language.
    """
    get_plugins().languages.get(edit.language)
    prompt = edit.prompt.replace(edit.subject, "{}", 1) if template else edit.prompt
    return {"prompt": prompt, "subject": edit.subject, "target_new": edit.target}


def unlocatable(edit: Edit) -> str | None:
    """Why its ROME, its MEMIT and their kin can't make an edit, whose texts go through ``str.format``."""
    if any(brace in edit.prompt + edit.target for brace in "{}"):
        return "a brace in the prompt or the target, which EasyEdit's code takes for a place holder"
    return None


def templates(prefixes: Sequence[str]) -> list[str]:
    """Prefixes as its templates, without braces, as it does with those that it samples."""
    return [prefix.replace("{", "").replace("}", "") + "{}" for prefix in prefixes]


def statistics(moments: Mapping[str, torch.Tensor]) -> Callable[..., Any]:
    """What stands in for its ``layer_stats``, which would download a corpus: the second moments, by module path."""

    def layer_stats(model: Any, tokenizer: Any, layer_name: str, *args: Any, **kwargs: Any) -> Any:
        return SimpleNamespace(mom2=SimpleNamespace(moment=lambda: moments[layer_name]))

    return layer_stats
