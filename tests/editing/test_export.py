"""Edited models as checkpoints: what plain transformers loads is what the suite has under the change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import xkeb
from xkeb.editing.changes import Change, ContextChange, DenseChange
from xkeb.editing.editor import prepare
from xkeb.editing.export import NOTE, export_checkpoint
from xkeb.errors import RequestError
from xkeb.evaluation.state import model_state
from xkeb.models.backbone import Backbone

TEXT = "The capital of France is Lyon. 法国的首都是里昂。"


@torch.inference_mode()
def check_checkpoint(folder: Path, backbone: Backbone, change: Change) -> None:
    """Weights to the bit, and logits of the whole text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=backbone.dtype).eval()
    ids = backbone.tokenizer(TEXT)["input_ids"]
    assert tokenizer(TEXT)["input_ids"] == ids
    loaded, own = dict(model.named_parameters()), dict(backbone.model.named_parameters())
    assert loaded.keys() == own.keys()
    untouched = backbone.model(torch.tensor([ids])).logits
    with change.applied(backbone):
        assert all(torch.equal(loaded[name], own[name]) for name in own)
        expected = backbone.model(torch.tensor([ids])).logits
    logits = model(torch.tensor([ids])).logits
    rtol, atol = (1e-4, 1e-5) if backbone.dtype == torch.float32 else (2e-2, 2e-2)
    torch.testing.assert_close(logits, expected, rtol=rtol, atol=atol)
    assert not torch.allclose(logits, untouched, rtol=rtol, atol=atol)


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_a_session_becomes_a_checkpoint(llama: Backbone, training: list[Any], tmp_path: Path, method: str) -> None:
    """Three edits, of which the session is saved and loaded after two."""
    options: dict[str, Any] = {
        "ft": {"lr": 0.05, "steps": 3},
        "rome": {"steps": 3, "context_templates": ("In short. ",)},
    }
    editor = prepare(xkeb.load_editor(method, **options[method]), llama, training)
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))[:3]
    before = model_state(llama)
    session = editor.begin(llama)
    for case in cases[:2]:
        session.edit([case.edit])
    session.save(tmp_path / "session")
    session = editor.begin(llama)
    session.load(tmp_path / "session")
    change = session.edit([cases[2].edit])
    export_checkpoint(session.change, llama, tmp_path / "model", method=method, editor=editor, edits=session.edits)
    assert model_state(llama) == before
    check_checkpoint(tmp_path / "model", llama, change)
    note = json.loads((tmp_path / "model" / NOTE).read_text(encoding="utf-8"))
    assert [edit["prompt"] for edit in note["edits"]] == [case.edit.prompt for case in cases]
    assert note["edits"][0].keys() == {"prompt", "subject", "target", "language"}
    assert note["method"]["name"] == method and note["method"]["params"]["steps"] == 3
    assert (note["model"]["sha256"], note["change"]) == (llama.sha256, type(change).__name__)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_every_family_and_type_of_number(
    tiny_folders: dict[str, Path], tmp_path: Path, family: str, dtype: str
) -> None:
    """Also where a module keeps its matrix the other way round, and where the head is the embedding."""
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders[family]), device="cpu", dtype=dtype)
    layout, generator = backbone.layout, torch.Generator().manual_seed(1)
    delta = 0.2 * torch.randn(layout.hidden_size, layout.intermediate_size, generator=generator)
    change = DenseChange({f"{layout.down(2)}.weight": delta})
    export_checkpoint(change, backbone, tmp_path / "model")
    check_checkpoint(tmp_path / "model", backbone, change)


def test_what_is_refused(llama: Backbone, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^ike changes no weights, so there is no checkpoint to write\.$"):
        export_checkpoint(ContextChange("So it is."), llama, tmp_path / "new", method="ike")
    with pytest.raises(RequestError, match=r"^There was no edit yet, so there is no checkpoint to write\.$"):
        export_checkpoint(None, llama, tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    with pytest.raises(RequestError, match="full is no empty folder; choose another for the checkpoint"):
        export_checkpoint(DenseChange({}), llama, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
