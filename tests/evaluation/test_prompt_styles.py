"""A run whose questions are put in another style."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from chats import chatting, turns
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.errors import RequestError
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.results.result import Result
from xkeb.types import Query

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_edit_and_questions_are_put_in_the_style(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    """One case by hand: the texts of the style are written out here, and edited and asked as plain ones."""
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT, prompt="qa")
    run_jobs(llama, asked)
    folder = tmp_path / TASK / "llama" / "ft-qa"
    (line,) = lines(folder / "cases.jsonl")
    case = next(iter(xkeb.load_task(TASK)))
    words = {"en": "Question: {}\nAnswer:", "zh": "问题：{}\n答案："}
    edit = dataclasses.replace(case.edit, prompt=words["en"].format(case.edit.prompt))
    (change,) = xkeb.load_editor("ft", lr=0.05, steps=3).edit(llama, [edit])
    asking = [
        Query(words[probe.language].format(probe.prompt), probe.reference, probe.language) for probe in case.probes
    ]
    before = predict(llama, asking)
    with change.applied(llama):
        after = predict(llama, asking)
    assert [probe["before"] for probe in line["probes"]] == [answer.text for answer in before]
    assert [probe["after"] for probe in line["probes"]] == [answer.text for answer in after]
    assert [probe["prompt"] for probe in line["probes"]] == [probe.prompt for probe in case.probes]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["prompt"] == "qa" and result["comparable_group"].endswith("/teacher_forcing/qa/single/f1+em")
    assert (folder.parent / "before-qa.jsonl").is_file()


def test_each_style_has_files_of_its_own(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    for prompt in ("plain", "qa"):
        run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], limit=2, method_args=FT, prompt=prompt))
    folder = tmp_path / TASK / "llama"
    assert sorted(path.name for path in folder.iterdir()) == ["before-qa.jsonl", "before.jsonl", "ft", "ft-qa"]
    plain, framed = (lines(folder / name / "cases.jsonl") for name in ("ft", "ft-qa"))
    assert {line["settings"] for line in plain}.isdisjoint({line["settings"] for line in framed})


def test_answers_by_another_chat_template_are_never_mixed(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=2, method_args=FT, prompt="chat")
    (first,), _ = run_jobs(chatting(llama, turns("|")), asked)
    _, phases = run_jobs(chatting(llama, turns("|")), dataclasses.replace(asked, limit=3))
    assert phases.counts == {"before": 1, "edit": 1}
    with pytest.raises(RequestError, match=r"made with other settings or data"):
        run_jobs(chatting(llama, turns("#")), asked)
    (other,), phases = run_jobs(chatting(llama, turns("#")), dataclasses.replace(asked, overwrite=True))
    assert phases.counts["edit"] == 2
    assert first.model.sha256 == other.model.sha256 and first.model.template_sha256 != other.model.template_sha256
    stored = Result.load(tmp_path / TASK / "llama" / "ft-chat" / "result.json")
    assert stored.run_settings().sha256 == stored.settings == other.settings != first.settings


def test_other_styles_say_nothing_of_a_chat_template(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT)
    (bare,), _ = run_jobs(llama, asked)
    (same,), phases = run_jobs(chatting(llama, turns("|")), asked)
    assert phases.counts["edit"] == 0 and same.settings == bare.settings
    result = json.loads((tmp_path / TASK / "llama" / "ft" / "result.json").read_text(encoding="utf-8"))
    assert "template_sha256" not in result["model"]


@pytest.mark.parametrize("method", ["rome", "ike"])
def test_other_kinds_of_methods_follow_a_style(
    method: str, tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    """A change at the subject, found by its place in the framed text; and a context, which stands before the frame."""
    options = {"rome.steps": 2, "rome.mom2_adjustment": False} if method == "rome" else {}
    asked = make_config(tiny_folders, tmp_path, [method], limit=2, method_args=options, prompt="qa")
    ((result,), _) = run_jobs(llama, asked)
    assert len(result.case_ids) == 2 and result.skipped == []


def test_a_task_says_its_style_and_the_command_line_goes_before_it(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "asked.yaml").write_text(
        "task: asked\nversion: 1\ndataset: bizsre_mini\npair: en-zh\nprompt: qa\n", encoding="utf-8"
    )
    own = make_config(tiny_folders, tmp_path / "out", ["ft"], tasks=["asked"], include=[folder])
    assert [job.prompt for job in plan_run(own).jobs] == ["qa"]
    plain = dataclasses.replace(own, prompt="plain")
    assert [(job.prompt, job.measurements[0].folder.name) for job in plan_run(plain).jobs] == [("plain", "ft")]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "qa", "protocols": ["paper"]}, "puts questions as the released code does: not --prompt qa"),
        ({"prompt": "chatt"}, "Unknown prompt style 'chatt': did you mean 'chat'"),
    ],
)
def test_a_style_that_cannot_be_followed_is_refused(
    options: dict[str, Any], sentence: str, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=sentence):
        plan_run(make_config(tiny_folders, tmp_path, ["ft"], **options))


def test_own_tokens_of_a_method_are_of_questions_as_they_stand(llama: Backbone) -> None:
    case = next(iter(xkeb.load_task(TASK)))
    editor = xkeb.load_editor("kn", joined=False, steps=2).configure(llama.spec)
    with pytest.raises(RequestError, match="takes questions as they stand: not --prompt qa"):
        editor.edit(llama.asked_in("qa"), [case.edit])
