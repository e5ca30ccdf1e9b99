"""A tiny model that can be asked as a chat."""

from __future__ import annotations

import copy

from xkeb.models.backbone import Backbone


def chatting(backbone: Backbone, template: str | None) -> Backbone:
    """The same backbone with a chat template; the same model by its hash, too, as where the template stands in a file of its
    own."""
    other = copy.copy(backbone)
    other.tokenizer = copy.deepcopy(backbone.tokenizer)
    other.tokenizer.chat_template = template
    return other


def turns(end: str) -> str:
    """A template in which each turn ends like that."""
    return "{% for one in messages %}[{{ one.role }}]{{ one.content }}" + end + "{% endfor %}"
