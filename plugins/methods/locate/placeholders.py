"""Texts as long as those that would be sampled, where there are no weights to sample from."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.locate.context_templates import OPENINGS


def placeholder_prefixes(backbone: Backbone, lengths: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """What to give as context templates instead of `context_prefixes`.

    Args:
        lengths: (tokens, how many).
    """
    texts = []
    for n_tokens, count in lengths:
        for i in range(count):
            text = OPENINGS[i % len(OPENINGS)]
            length = len(backbone.encode(text).ids) + n_tokens - 1
            while len(backbone.encode(text).ids) < length:
                text += " the"
            texts.append(f"{text}. ")
    return tuple(texts)
