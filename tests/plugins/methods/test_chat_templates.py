"""What methods learn where questions are put as a chat: of one template, and never taken for what another one taught."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import small_serac
from chats import chatting, turns

import xkeb
from xkeb.editing.editor import prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case, PromptStyle
from xkeb.utils.artifacts import artifacts_used

pytestmark = pytest.mark.usefixtures("cache_of_this_module")
TRAINED = {"steps": 2, "batch_size": 2, "validate_every": 1, "validation": 2}


@pytest.fixture(scope="module")
def facts() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").parallel_training.cases)[:12]


def used(backbone: Backbone, facts: Sequence[Case], method: str, options: dict[str, Any]) -> set[Path]:
    """The artifacts of a method."""
    with artifacts_used() as paths:
        prepare(xkeb.load_editor(method, **options), backbone, facts)
    return set(paths)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mend", {"rank": 4, **TRAINED}),
        ("ultraedit", {"warmup": 3}),
        ("scr", {"validation": 4}),
    ],
)
def test_another_template_of_the_model_has_artifacts_of_its_own(
    llama: Backbone, facts: list[Case], tiny_bert: Path, method: str, options: dict[str, Any]
) -> None:
    if method == "scr":
        options |= {"encoder": str(tiny_bert)}

    def learnt(style: PromptStyle, end: str) -> set[Path]:
        return used(chatting(llama, turns(end)).asked_in(style), facts, method, options)

    plain, chat = learnt("plain", "|"), learnt("chat", "|")
    assert learnt("plain", "#") == plain and learnt("chat", "|") == chat and chat
    assert chat.isdisjoint(plain) and chat.isdisjoint(learnt("chat", "#"))


def test_another_template_of_seracs_own_model_has_an_artifact_of_its_own(
    llama: Backbone, facts: list[Case], tiny_bert: Path, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folders["gpt2"], tmp_path / "small"))
    backbone = chatting(llama, turns("|")).asked_in("chat")
    options = {**small_serac.SHORT, "steps": 2, "classifier": str(tiny_bert), "counterfactual": str(folder)}
    kept = []
    for end in ("|", "#"):
        (folder / "chat_template.jinja").write_text(turns(end), encoding="utf-8")
        kept.append(used(backbone, facts, "serac", options))
    (scope,) = kept[0] & kept[1]
    assert scope.parent.name == "serac-scope" and len(kept[0] | kept[1]) == 3
