"""What a model says after a text of training facts, to the end of the line."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.models.backbone import Backbone
from xkeb.models.generation import generate_rows
from xkeb.models.passes import TokenRow


def go_on(backbone: Backbone, texts: Sequence[str], max_tokens: int) -> list[str]:
    """The likeliest continuation of each text, without space around it; empty where the model ends the line at once."""
    plain_backbone = backbone.asked_in("plain")  # the texts are as they are, whatever the prompt style
    rows = [plain_backbone.encode(text).ids for text in texts]
    said = generate_rows(
        backbone,
        [TokenRow(ids, (len(ids) - 1,)) for ids in rows],
        max_tokens=max_tokens,
        stop=lambda text: "\n" in text,
    )
    return [backbone.said(ids).partition("\n")[0].strip() for ids in said]
