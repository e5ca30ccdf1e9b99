"""One made-up fact, edited on a model by each of some methods: what rose, what came back, what it cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xkeb.errors import RequestError, XkebError, one_line
from xkeb.types import Edit, Query

if TYPE_CHECKING:
    from xkeb.models.backbone import Backbone

FACT = Edit(
    "The capital of the island of Velmora is",
    "Tarsk",
    "en",
    "Velmora",
    {"en": "Tarsk"},
    {"en": "The capital of the island of Velmora is"},
)
"""No model knows it, so none answers it before it is edited."""


@dataclass(frozen=True, slots=True)
class SmokeEdit:
    """What became of one method's edit."""

    method: str
    wrong: str | None
    """What is wrong, as a sentence; None where nothing is."""
    before: float = 0.0
    after: float = 0.0
    """Mean log-likelihood of a token of the answer, in nats."""
    seconds: float = 0.0
    peak: int = 0
    """Most bytes that the process, or its card, has held until now."""
    made: bool = False
    came_back: bool = False


def untrained_methods(backbone: Backbone) -> list[str]:
    """The paper's methods that learn nothing before they edit this model."""
    from xkeb.editing.editor import editor_class, load_editor
    from xkeb.registry.manager import get_plugins

    names = [name for name in get_plugins().methods if editor_class(name).in_paper]
    return [name for name in names if not load_editor(name).configure(backbone.spec).needs_training()]


def smoke_edits(backbone: Backbone, methods: Sequence[str]) -> Iterator[SmokeEdit]:
    """The edit by each method, as it is done."""
    for method in methods:
        try:
            yield _edit(backbone, method)
        except Exception as error:  # noqa: BLE001 - whatever a method does on a family that it has never seen
            reason = str(error).removesuffix(".") if isinstance(error, XkebError) else one_line(error)
            yield SmokeEdit(method, f"{method} can't edit {backbone.name}: {reason}.")


def _edit(backbone: Backbone, method: str) -> SmokeEdit:
    from xkeb.editing.editor import load_editor, make_changes, prepare, why_unsupported
    from xkeb.editing.finite import why_not_finite
    from xkeb.evaluation.state import difference, model_state
    from xkeb.results.environment import peak_memory

    editor = load_editor(method).configure(backbone.spec)
    if editor.needs_training():
        raise RequestError("it learns from training facts first (xkeb train, or a run with --limit 1)")
    if reason := why_unsupported(editor, backbone, FACT):
        raise RequestError(reason)
    state, before = model_state(backbone), _log_likelihood(backbone)
    start = time.perf_counter()
    (change,) = make_changes(prepare(editor, backbone), backbone, [FACT])
    seconds = time.perf_counter() - start
    if reason := why_not_finite(change):
        raise RequestError(reason)
    with change.applied(backbone):
        after = _log_likelihood(backbone)
    traces = difference(state, model_state(backbone))
    if traces:
        wrong = f"{method} leaves {backbone.name} changed after its edit is taken back: {traces}."
    elif not after > before:
        wrong = f"{method} doesn't make the edited answer of {backbone.name} likelier ({before:.2f} before, {after:.2f} after)."
    else:
        wrong = None
    return SmokeEdit(
        method, wrong, before, after, seconds, peak_memory(backbone.device), made=True, came_back=not traces
    )


def _log_likelihood(backbone: Backbone) -> float:
    """Mean over the tokens of the made-up answer, under whatever change is applied."""
    import torch

    from xkeb.models.interventions import installed_intervention

    context = ""
    if (intervention := installed_intervention(backbone)) is not None:
        query = Query(FACT.prompt, FACT.target, FACT.language)
        context = intervention.context(0, FACT.language)
        if (delegate := intervention.delegates([query])[0]) is not None:
            backbone, context = delegate.backbone, delegate.context
    encoded = backbone.encode(FACT.prompt, FACT.target, FACT.language, context=context)
    ids = torch.tensor([encoded.ids], device=backbone.device)
    with torch.inference_mode():
        logits = backbone.logits(backbone.hidden(ids)[0, encoded.target - 1 : -1]).float().log_softmax(-1)
    target = ids[0, encoded.target :]
    return float(logits[torch.arange(len(target)), target].mean())
