"""The counterfactual model: shown an edit, it answers questions in the edit's scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad
from xkeb.models.loader import load_backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit
from xkeb_plugins.methods.serac.artifact import in_groups, trained_parameters

INSTALLABLE = ("gemma3-270m", "smollm2-135m")


def load_counterfactual(name: str, device: torch.device) -> Backbone:
    """A registered backbone, a local folder, or a model of the hub; in float32, whatever the edited model's precision."""
    if name in get_plugins().models:
        return load_backbone(name, device=str(device), dtype="float32")
    try:
        return load_backbone("hf", device=str(device), dtype="float32", path=name)
    except RequestError as error:
        raise RequestError(
            f"The counterfactual model {name!r} can't be loaded: set serac.counterfactual to {' or '.join(INSTALLABLE)}, "
            f"which pip installs, or to a local folder ({error})"
        ) from error


def shown(edit: Edit) -> str:
    """What the counterfactual model sees before a question, in whatever language that is asked."""
    return f"{edit.prompt}{get_plugins().languages.get(edit.language).separator}{edit.target} "


class CounterfactualTrainee:
    """Trains a language model to answer, after an edit is shown, the edit's question and its rephrase with the target."""

    what = "counterfactual model"

    def __init__(self, backbone: Backbone, lr: float, group: int, *, freeze_embeddings: bool) -> None:
        """
        Args:
            group: facts that are passed together.
            freeze_embeddings: leave the token embeddings, and the head, as they are.
        """
        self.backbone, self.group = backbone, group
        model = backbone.model
        frozen = [model.get_input_embeddings(), backbone.module(backbone.layout.head)] if freeze_embeddings else []
        self.module = trained_parameters(model, frozen)
        self.optimizers = [torch.optim.Adam(self.module.parameters(), lr=lr)]

    def backward(self, cases: Sequence[Case]) -> Mapping[str, float]:
        total = 0.0
        for group, share in in_groups(cases, self.group):
            loss = share * self._loss(group)
            loss.backward()
            total += loss.item()
        return {"loss": total}

    def validate(self, cases: Sequence[Case]) -> Mapping[str, float]:
        return {"loss": sum(share * self._loss(group).item() for group, share in in_groups(cases, self.group))}

    def _loss(self, cases: Sequence[Case]) -> torch.Tensor:
        """Mean over facts, of the mean over questions, of the mean negative log-likelihood of the tokens from the end of the
        question on."""
        backbone = self.backbone
        rows: list[tuple[int, ...]] = []
        places: list[tuple[int, int]] = []  # (row, position) of every target token
        shares: list[float] = []
        for case in cases:
            inside = [probe.prompt for probe in case.probes if probe.property == "generality"]
            questions = list(dict.fromkeys([case.edit.prompt, *inside]))
            for question in questions:
                text = backbone.encode(question, case.edit.target, case.edit.language, context=shown(case.edit))
                n_tokens = len(text.continuation_ids)
                places += [(len(rows), at) for at in range(text.prompt_end, len(text.ids))]
                shares += [1 / (len(cases) * len(questions) * n_tokens)] * n_tokens
                rows.append(text.ids)
        ids = pad(rows, backbone.pad_id, backbone.device)
        at_rows, at = (torch.tensor(axis, device=ids.device) for axis in zip(*places, strict=True))
        hidden = backbone.hidden(ids[:, :-1])  # (B, T, D)
        logits = backbone.logits(hidden[at_rows, at - 1])
        nll = F.cross_entropy(logits, ids[at_rows, at], reduction="none")
        return (nll * torch.tensor(shares, device=nll.device)).sum()
