"""Whether EasyEdit's code, on tokens that it makes itself, trains the ids that this suite trains."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.tokens import own_tokenizer


def describe(backbone: Backbone, edit: Edit, prefixes: Sequence[str]) -> str:
    """An edit's target, whether both sides have the same ids, and whether the separator is a token of its own."""
    encoded = backbone.encode(edit.prompt, edit.target, edit.language)
    ids = "same ids" if same_ids(backbone, edit, prefixes) else "other ids"
    lone = ", the separator a token of its own" if encoded.prompt_end < encoded.target else ""
    return f"{ids}{lone}: {edit.target!r}"


def same_ids(backbone: Backbone, edit: Edit, prefixes: Sequence[str]) -> bool:
    """It tokenises the target apart, behind a space. FT looks at it after the prompt; the others append its text, all but the
    last token's, to the prompt behind each prefix, and tokenise that.

    Args:
        prefixes: those that stand before a prompt, the empty one among them; none for FT.
    """
    tokenizer = own_tokenizer(backbone)
    target = tokenizer(f" {edit.target}")["input_ids"]
    if prefixes and target[0] == tokenizer.bos_token_id:
        target = target[1:]  # as its code does, but for FT
    ours = backbone.encode(edit.prompt, edit.target, edit.language)
    if (tokenizer(edit.prompt)["input_ids"], target) != (
        list(ours.ids[: ours.prompt_end]),
        list(ours.continuation_ids),
    ):
        return False
    for prefix in prefixes:
        ours = backbone.encode(prefix + edit.prompt, edit.target, edit.language)
        text = prefix + edit.prompt + tokenizer.decode(target[:-1])
        if tokenizer(text)["input_ids"] != list(ours.ids[:-1]) or target != list(ours.continuation_ids):
            return False
    return True
