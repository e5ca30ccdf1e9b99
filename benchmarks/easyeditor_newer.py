"""The methods of EasyEdit's current code beside ours: settings of both, and its code with what docs/fidelity.md says of it set
right, so that what is left of a difference would be a mistake.

Each correction is a context in which the bridge makes an edit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from easyeditor_pairs import GIVEN, PREFIXED, PREFIXES, EditorPair

from xkeb.editing.editor import Editor, prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb.utils.attributes import replaced_attribute
from xkeb_plugins.methods.easyeditor.bridge import Bridge
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.lora import Adapters, LoRA

Correction = Callable[[Bridge, Backbone, Edit], AbstractContextManager[None]]


@contextmanager
def same_factors(its: Bridge, backbone: Backbone, edit: Edit) -> Iterator[None]:
    """LoRA: training starts from the factors that ours starts from, which peft draws by another generator."""
    assert isinstance(its, LoRA)
    main = its.its("models.lora.lora_main")
    make = main.get_peft_model
    starts = Adapters(backbone, its._paths(backbone), [1], its).factors

    def started(*arguments: Any) -> Any:
        adapted = make(*arguments)
        with torch.no_grad():
            for path, (_, (start,)) in starts.items():
                adapted.base_model.model.get_submodule(path).lora_A["default"].weight.copy_(start)
        return adapted

    with having(main, get_peft_model=started):
        yield


@contextmanager
def deviation_of_all(its: Bridge, backbone: Backbone, edit: Edit) -> Iterator[None]:
    """UltraEdit: the running deviation is that of all tokens seen. Its code adds a batch's unbiased variance times its size to
    the sum of squares, where the biased one belongs."""
    normalizer = its.its("trainer.algs.malmen.nets").RunningMeanStd

    def update(self: Any, rows: torch.Tensor) -> None:
        count = self.n + len(rows)
        shift = rows.mean(0) - self.mean
        self.mean += len(rows) * shift / count
        self.var += (rows - rows.mean(0)).pow(2).sum(0) + self.n * len(rows) * shift.pow(2) / count
        self.std = (self.var / (count - 1)).sqrt()
        self.n = count

    with replaced_attribute(normalizer, "update", update):
        yield


@contextmanager
def papers_wise(its: Bridge, backbone: Backbone, edit: Edit) -> Iterator[None]:
    """WISE: the distance of the paper, over the tokens of the question and no padding; no weight decay; and an answer's mean
    loss over its own tokens."""
    wise = its.its("models.wise.WISE")
    answer = len(backbone.encode(edit.prompt, edit.target, edit.language).continuation_ids)
    learn, descend = wise.WISE.edit, torch.optim.SGD
    question = torch.empty(0)  # [N + 1, T], the unrelated text last

    def noted(self: Any, config: Any, tokens: Any, **masks: Any) -> None:
        nonlocal question
        question = tokens["attention_mask"].clone()
        question[:-1, -answer:] = 0  # filled up on the left, so the answers stand in the last columns
        texts = question[:-1].bool()
        tokens["labels"] = tokens["input_ids"].masked_fill(tokens["attention_mask"] == 0, -100)
        tokens["labels"][:-1][texts] = -100
        learn(self, config, tokens, **masks)

    def distance(one: torch.Tensor, other: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        mask = question[-1:] if len(one) == 1 else question[:-1]
        norms = (one - other).norm(dim=-1) * mask
        return norms.sum(1) / mask.sum(1)

    def likelihood(self: Any, tokens: Any, _: Any) -> torch.Tensor:
        logits = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[:-1, :-1]
        losses = F.cross_entropy(logits.transpose(1, 2), tokens["labels"][:-1, 1:], reduction="none")
        return losses.sum(1).div(answer).mean()

    def undecayed(parameters: Any, lr: float, weight_decay: float) -> Any:
        return descend(parameters, lr)

    with (
        having(wise, euc=distance),
        replaced_attribute(wise.WISE, "edit", noted),
        replaced_attribute(wise.WISE, "_cal_ft_loss", likelihood),
        replaced_attribute(torch.optim, "SGD", undecayed),
    ):
        yield


@dataclasses.dataclass(frozen=True)
class NewerPair(EditorPair):
    """A method here, and the bridge to that of EasyEdit's current code."""

    correction: Correction | None = None
    selective: bool = False
    """Whether its can't learn from some training facts, which ours is not shown either then."""

    def facts(self, its: Editor, there: Backbone, training: Sequence[Case]) -> Sequence[Case]:
        if not self.selective:
            return training
        me = its.configure(there.spec)
        return [case for case in training if me.unsupported(there, case.edit) is None]

    def prepared_bridge(self, its: Editor, there: Backbone, training: Sequence[Case]) -> Editor:
        """With what it has to learn learned under the correction."""
        if self.correction is None:
            return prepare(its, there, training)
        me = its.configure(there.spec)
        assert isinstance(me, Bridge)
        with self.correction(me, there, training[0].edit):
            return prepare(me, there, training)


ANSWER_TOKENS = {**GIVEN, "token": "ans"}
ONE_MATRIX = {"matrices": ("28.down_proj",)}
"""Matrices of one shape share a normalizer in its code. A layer of smollm2-135m's 30."""
WHOLE_MASK = {"context_templates": PREFIXES[:2], "mask_ratio": 1.0}
"""No mask is drawn, and three texts an edit."""
NEWER = {
    "ft-m": NewerPair("ft-m", its={**GIVEN, "objective": "target_new"}, bridge="easyeditor-ft"),
    "r-rome": NewerPair("r-rome", {**PREFIXED, "mom2_adjustment": False}, its=GIVEN),
    "r-rome-covariance": NewerPair("r-rome", {**PREFIXED, "mom2_adjustment": True}, its=GIVEN),
    "emmet": NewerPair("emmet", PREFIXED, its=GIVEN),
    "emmet-corrected": NewerPair("emmet", {**PREFIXED, "ridge": 0.0}, its=GIVEN),
    "alphaedit": NewerPair("alphaedit", PREFIXED, its=GIVEN),
    "lora": NewerPair("lora", {"dropout": 0.0}, its=GIVEN),
    "lora-corrected": NewerPair("lora", {"dropout": 0.0}, its=GIVEN, correction=same_factors),
    "grace": NewerPair("grace", {"init": "warm"}, its=GIVEN),
    "ultraedit": NewerPair("ultraedit", ONE_MATRIX, its=GIVEN),
    "ultraedit-answers": NewerPair("ultraedit", ONE_MATRIX, its=ANSWER_TOKENS, selective=True),
    "ultraedit-corrected": NewerPair(
        "ultraedit", ONE_MATRIX, its=ANSWER_TOKENS, selective=True, correction=deviation_of_all
    ),
    "wise": NewerPair("wise", WHOLE_MASK, its=GIVEN),
    "wise-corrected": NewerPair("wise", WHOLE_MASK, its=GIVEN, correction=papers_wise),
}
"""``-corrected`` is its code with a correction, or with settings under which it does what ours does."""
