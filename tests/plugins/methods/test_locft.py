"""LocFT-BF against a plain one written here: the whole model, torch's own Adam on the weight itself, one text at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from plain_texts import error
from transformers.pytorch_utils import Conv1D

import xkeb
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.locft import LocalizedFineTuning

LAYER, LR = 2, 5e-4
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh"),
    Edit("Mount Everest, which is the highest mountain on earth, stands in", "Peru", "en"),
    Edit("Who wrote Faust?", "Immanuel Kant", "en"),
    Edit("Water boils at", "2006", "en"),
)


def locft(**options: Any) -> LocalizedFineTuning:
    editor = xkeb.load_editor("locft-bf", **{"layer": LAYER, "lr": LR, **options})
    assert isinstance(editor, LocalizedFineTuning)
    return editor


def plain_loss(backbone: Backbone, model: Any, edit: Edit) -> torch.Tensor:
    """Of the answer's tokens and the end after them."""
    question = edit.prompt + {"en": " ", "zh": ""}[edit.language]
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    spans = enumerate(batch["offset_mapping"])
    answer = [i for i, (start, end) in spans if end > start and (start >= len(edit.prompt) or end > len(question))]
    ids = torch.tensor([*batch["input_ids"], backbone.tokenizer.eos_token_id])
    chances = model(ids[None]).logits[0].log_softmax(-1)
    return -torch.stack([chances[i - 1, ids[i]] for i in (*answer, answer[-1] + 1)]).mean()


def plain(
    backbone: Backbone, edits: Sequence[Edit], epochs: int, batch_size: int, stop_loss: float = 1e-2
) -> tuple[torch.Tensor, list[float]]:
    """What is added to the weight, as [d_out, d_in], and the mean loss of each epoch."""
    model: Any = copy.deepcopy(backbone.model)
    path = backbone.layout.down(LAYER)
    weight = model.get_parameter(f"{path}.weight").requires_grad_(True)
    original = weight.detach().clone()
    optimizer = torch.optim.Adam([weight], lr=LR)
    generator = torch.Generator().manual_seed(0)
    epoch_losses = []
    for _ in range(epochs):
        order = torch.randperm(len(edits), generator=generator).tolist()
        seen: list[float] = []
        for batch in (order[i : i + batch_size] for i in range(0, len(order), batch_size)):
            loss = torch.stack([plain_loss(backbone, model, edits[i]) for i in batch]).mean()
            seen += [float(loss.detach())] * len(batch)
            if float(loss.detach()) >= stop_loss:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        epoch_losses.append(sum(seen) / len(seen))
        if epoch_losses[-1] < stop_loss:
            break
    delta = (weight - original).detach()
    return (delta.T if isinstance(model.get_submodule(path), Conv1D) else delta), epoch_losses


def test_each_edit_alone_is_a_batch_of_its_own(tiny: Backbone) -> None:
    for edit, change in zip(EDITS[:3], locft(steps=5).edit(tiny, EDITS[:3]), strict=True):
        (delta,) = change.deltas().values()
        (together,) = locft(steps=5).edit_together(tiny, [edit]).deltas().values()
        assert error(delta, plain(tiny, [edit], 5, 1)[0]) < 1e-3 and error(delta, together) < 1e-3


@pytest.mark.parametrize(("batch_size", "epochs"), [(2, 1), (2, 4), (100, 4)])
def test_many_edits_go_in_epochs_over_mini_batches(tiny: Backbone, batch_size: int, epochs: int) -> None:
    change = locft(steps=epochs, batch_size=batch_size).edit_together(tiny, EDITS)
    (delta,) = change.deltas().values()
    expected, losses = plain(tiny, EDITS, epochs, batch_size)
    assert len(losses) == epochs and (epochs == 1 or losses[-1] < losses[0])
    assert error(delta, expected) < 1e-3
    with pytest.raises(AssertionError):  # another order is another change
        other = locft(steps=epochs, batch_size=2, seed=1).edit_together(tiny, EDITS)
        (again,) = other.deltas().values()
        assert error(again, expected) < 1e-3


def test_a_mini_batch_whose_loss_is_low_moves_nothing(tiny: Backbone) -> None:
    free, losses = plain(tiny, EDITS, 4, 2)
    expected, _ = plain(tiny, EDITS, 4, 2, losses[0])
    (delta,) = locft(steps=4, batch_size=2, stop_loss=losses[0]).edit_together(tiny, EDITS).deltas().values()
    assert error(delta, expected) < 1e-3 and error(expected, free) > 0.1


def test_an_epoch_whose_loss_is_low_is_the_last(tiny: Backbone) -> None:
    _, losses = plain(tiny, EDITS, 6, 100)
    stop = (losses[2] + losses[3]) / 2
    expected, seen = plain(tiny, EDITS, 6, 100, stop)
    assert len(seen) == 4
    (delta,) = locft(steps=6, stop_loss=stop).edit_together(tiny, EDITS).deltas().values()
    assert error(delta, expected) < 1e-3


def test_the_end_is_learned_and_not_by_ft_m(tiny: Backbone) -> None:
    """The end of text after the answer becomes more likely than FT-M makes it."""

    def end(change: Any) -> float:
        encoded = tiny.encode(EDITS[0].prompt, EDITS[0].target, "en")
        with change.applied(tiny), torch.no_grad():
            chances = tiny.logits(tiny.hidden(torch.tensor([encoded.ids]))[0, -1]).log_softmax(-1)
        return float(chances[tiny.tokenizer.eos_token_id])

    (masked,) = xkeb.load_editor("ft-m", layer=LAYER, lr=5e-3).edit(tiny, EDITS[:1])
    (localized,) = locft(lr=5e-3).edit(tiny, EDITS[:1])
    assert end(localized) > end(masked) + 1


def test_a_tokenizer_without_an_end_is_refused(llama: Backbone) -> None:
    other = copy.copy(llama)
    other.tokenizer = copy.deepcopy(llama.tokenizer)
    other.tokenizer.eos_token = None
    with pytest.raises(RequestError, match="has no token for the end of text, which LocFT-BF trains"):
        locft().edit(other, EDITS[:1])


def test_the_defaults_are_the_authors(llama: Backbone) -> None:
    given = {"layer": 4, "steps": 25, "lr": 5e-4, "stop_loss": 1e-2, "batch_size": 100, "seed": 0}
    assert options_of(xkeb.load_editor("locft-bf").configure(llama.spec)) == given  # 22 of 32, of 6
