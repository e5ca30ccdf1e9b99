"""The second moments of keys that MEMIT weighs its updates by, and the text they are taken over."""

from __future__ import annotations

import json
import logging
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import SETTINGS, installed
from easyeditor_runs import error as relative_error
from huggingface_hub import constants
from plain_memit import (
    EDITS,
    LAYERS,
    STEPS,
    TEMPLATES,
    WEIGHT,
    error,
    hooked,
    memit,
    naive_moment,
    naive_updates,
    naive_values,
    same,
)

import xkeb
from xkeb.editing.changes import LowRankChange
from xkeb.editing.editor import options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb.utils.hashing import digest_file
from xkeb_plugins.methods.locate import wikipedia
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance, questions

pytestmark = pytest.mark.usefixtures("fresh_cache")


def test_moments_are_measured_in_one_pass_that_ends_at_the_highest_layer(tiny: Backbone, training: list[Case]) -> None:
    calls = []
    texts = questions(training)[:30]
    above = tiny.module(tiny.layout.layer(3))
    with (
        hooked(above, lambda *_: calls.append("above")),
        hooked(tiny.module(tiny.layout.layer(2)), lambda *_: calls.append("at")),
    ):
        moments = key_covariance(tiny, (0, 2), texts)
    assert set(calls) == {"at"} and len(calls) == 1
    for layer, moment in moments.items():
        assert error(moment, naive_moment(tiny, layer, texts)) < 1e-5


def test_a_moment_is_factored_once_and_not_once_an_edit(
    llama: Backbone, training: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = torch.linalg.cholesky_ex

    def counted(*given: Any) -> Any:
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", counted)
    editor = memit(llama, training, steps=2)
    first = editor.edit(llama, EDITS)
    editor.edit(llama, EDITS[:1])
    assert len(calls) == len(LAYERS)
    editor.fit(llama, training[:30])  # other questions
    other = editor.edit(llama, EDITS)
    assert len(calls) == 2 * len(LAYERS)
    name = f"{llama.layout.down(LAYERS[0])}.weight"
    assert error(other[0].deltas()[name], first[0].deltas()[name]) > 1e-3


def test_text_that_is_not_there_or_too_little_is_refused(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n  \n", encoding="utf-8")
    for options, complaint in (
        ({"mom2_corpus": "no-such-file.txt"}, "neither"),
        ({"mom2_corpus": "task"}, "fit"),
        ({"mom2_corpus": str(tmp_path / "empty.txt")}, "holds none"),
    ):
        with pytest.raises(RequestError, match=complaint) as refused:
            xkeb.load_editor("memit", layers=LAYERS, steps=2, **options).edit(llama, EDITS[:1])
        assert "\n" not in str(refused.value)
    for samples, complaint in ((2, "singular"), (0, "holds none")):
        with pytest.raises(RequestError, match=complaint):
            memit(llama, training, mom2_samples=samples)


def test_a_text_file_stands_in_the_record_with_its_hash(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(questions(training)), encoding="utf-8")
    editor = xkeb.load_editor("memit", layers=LAYERS, mom2_corpus=str(file)).configure(llama.spec)
    assert not editor.needs_training()
    record = options_of(editor)
    assert record["mom2_sha256"] == digest_file(file)
    assert options_of(xkeb.load_editor("memit", **record).configure(llama.spec)) == record
    file.write_text("Something else\n", encoding="utf-8")
    with pytest.raises(RequestError, match=record["mom2_sha256"]):
        xkeb.load_editor("memit", **record).configure(llama.spec)
    assert memit(llama, training).configure(llama.spec).mom2_sha256 is None


# Wikipedia -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dump(tmp_path: Path, training: list[Case], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `datasets` reads the way it reads the hub's, in two languages, in place of it."""
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    lines = ["---", "configs:"]
    for language, end in (("en", " "), ("zh", "。")):
        rows = [json.dumps({"title": "T", "text": (text + end) * 60}) for text in questions(training)]
        (folder / f"{language}.jsonl").write_text("\n".join(rows), encoding="utf-8")
        lines += [f"- config_name: {wikipedia.DUMP}.{language}", f"  data_files: {language}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---"]), encoding="utf-8")
    monkeypatch.setattr(wikipedia, "HUB_ID", str(folder))
    monkeypatch.setattr(wikipedia, "_hub_answers", folder.is_dir)
    return folder


@pytest.mark.parametrize("offline", [True, False])
def test_the_default_is_the_training_questions_whether_there_is_a_hub_or_not(
    llama: Backbone,
    training: list[Case],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    offline: bool,
) -> None:
    if not offline:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *_: pytest.fail("asked the network"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asked the network"))
    for name in ("wikipedia", "_hub_answers", "_stream"):
        monkeypatch.setattr(wikipedia, name, lambda *_: pytest.fail("asked the hub"))
    editor = xkeb.load_editor("memit", layers=LAYERS, steps=2)
    assert options_of(editor)["mom2_corpus"] == "task" and editor.needs_training()
    assert options_of(editor.configure(llama.spec))["mom2_corpus"] == "task"
    with caplog.at_level(logging.INFO, "xkeb_plugins.methods.locate.covariance"):
        editor.fit(llama, training)
    assert "texts of task" in caplog.text
    assert len(editor.edit(llama, EDITS[:1])) == 1


def test_without_the_hub_wikipedia_is_refused(llama: Backbone) -> None:
    """HF_HUB_OFFLINE is set while tests run."""
    with pytest.raises(
        RequestError, match=r"wikimedia/wikipedia, 20231101\.en.*can't be reached: name another"
    ) as error:
        xkeb.load_editor("memit", layers=LAYERS, mom2_corpus="wikipedia", steps=2).edit(llama, EDITS[:1])
    assert "\n" not in str(error.value)


def test_wikipedia_is_taken_in_the_language_of_the_edit(llama: Backbone, dump: Path) -> None:
    options = {"mom2_samples": 50, "context_templates": TEMPLATES, "mom2_update_weight": WEIGHT, "steps": STEPS}
    editor = xkeb.load_editor("memit", layers=LAYERS, mom2_corpus="wikipedia", **options)
    assert not editor.needs_training()
    assert options_of(editor.configure(llama.spec))["mom2_corpus"] == "wikipedia"
    changes = editor.edit(llama, EDITS[:2])
    for edit, change, naive in zip(EDITS[:2], changes, naive_values(llama)[:2], strict=True):
        rows = (dump / f"{edit.language}.jsonl").read_text(encoding="utf-8").splitlines()[:50]
        texts = [json.loads(row)["text"][:1000] for row in rows]
        assert isinstance(change, LowRankChange)
        same(change, llama, naive_updates(llama, [edit], [naive.move], texts), 1e-4)
    # Both languages are kept: nothing is streamed again.
    shutil.rmtree(dump)
    assert not wikipedia._hub_answers()
    again = xkeb.load_editor("memit", **options_of(editor))
    for one, other in zip(again.edit(llama, EDITS[:2]), changes, strict=True):
        assert isinstance(one, LowRankChange) and isinstance(other, LowRankChange)
        assert all(torch.equal(delta, other.deltas()[name]) for name, delta in one.deltas().items())


def test_a_language_with_few_texts_doesn_t_end_those_of_the_others(dump: Path) -> None:
    rows = (dump / "zh.jsonl").read_text(encoding="utf-8").splitlines()
    (dump / "zh.jsonl").write_text("\n".join(rows[:2]), encoding="utf-8")
    english, chinese = ([*corpus_texts("wikipedia", None, 6, [code])] for code in ("en", "zh"))
    assert (len(english), len(chinese)) == (6, 2)
    in_turn = [english[0], chinese[0], english[1], chinese[1], *english[2:]]
    assert corpus_texts("wikipedia", None, 6, ["en", "zh"]) == in_turn[:6]
    assert corpus_texts("wikipedia", None, 3, ["en", "zh"]) == in_turn[:3]


@installed
@pytest.mark.parametrize("edit", EDITS[:2], ids=["en", "zh"])
def test_easyeditors_rome_takes_wikipedia_in_the_language_of_the_edit(llama: Backbone, dump: Path, edit: Edit) -> None:
    options = {**SETTINGS["rome-covariance"], "mom2_corpus": "wikipedia", "mom2_samples": 50}
    (ours,) = xkeb.load_editor("rome", **options).edit(llama, [edit])
    (its,) = xkeb.load_editor("easyeditor-rome", tokens="xkeb", **options).edit(llama, [edit])
    assert relative_error(ours, its) < 1e-3


def test_a_dump_that_is_not_there_is_refused(llama: Backbone, dump: Path) -> None:
    (dump / "zh.jsonl").unlink()
    with pytest.raises(RequestError, match=r"20231101\.zh\) can't be read") as refused:
        xkeb.load_editor("memit", layers=LAYERS, mom2_corpus="wikipedia", steps=2).edit(llama, EDITS[1:2])
    assert "\n" not in str(refused.value)
