"""Which edits no value at the subject can make."""

from __future__ import annotations

from xkeb.models.backbone import Backbone
from xkeb.types import Edit


def why_unreachable(backbone: Backbone, edit: Edit, layer: int) -> str | None:
    """Why nothing that leaves `layer` at the subject's last token could bring about the target; None if something could.

    A token is predicted from what leaves the last layer at the one before it. In between, only attention carries anything
    from token to token, and above the last layer there is none: there the answer's first token must be predicted from the
    very token that the subject ends in. Elsewhere the likelihood doesn't depend on the value, all of the gradient is the
    rounding of a divergence of zero, and Adam makes steps of full length of it. A separator that is a token of its own may be
    within reach there, but of the answer nothing is.
    """
    if not edit.subject:
        return "it has no subject, whose place in the question this method needs"
    if edit.subject not in edit.prompt:
        return f"the subject {edit.subject!r} does not stand in the prompt"
    site = backbone.subject_last(edit)
    first = backbone.encode(edit.prompt, edit.target, edit.language).target
    if site >= first:
        return f"the last token of the subject {edit.subject!r} holds the beginning of the answer as well"
    if layer == backbone.n_layers - 1 and site < first - 1:
        return (
            f"layer {layer} is the last of {backbone.name!r}, from which what stands at the subject {edit.subject!r} "
            f"reaches no token after it, and the answer is predicted from one"
        )
    return None
