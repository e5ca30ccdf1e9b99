"""A sequence whose process is killed goes on with the same weights, to the bit, and loses no more than the batch in hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_jobs import FT, TASK, lines, make_config, run_jobs

from xkeb.editing.changes import Change
from xkeb.editing.session import Session
from xkeb.errors import RequestError
from xkeb.evaluation.state import fingerprint
from xkeb.models.backbone import Backbone

Json = dict[str, Any]
CHILD = """
import json
import os
import signal
import sys

import torch

import xkeb
from xkeb.editing.session import Session
from xkeb.evaluation.sequences.saved import SavedSession
from xkeb.results.journal import Journal

threads, name, count, options = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
torch.set_num_threads(threads)
owner, method = name.split(".")
kind = {"Session": Session, "SavedSession": SavedSession, "Journal": Journal}[owner]
original = getattr(kind, method)
calls = 0


def deadly(self, *args):
    global calls
    done = original(self, *args)
    calls += owner != "Journal" or self.path.name == "cases.jsonl"
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


setattr(kind, method, deadly)
xkeb.evaluate(**options)
"""
METHODS: dict[str, Json] = {
    "ft": FT,
    "ultraedit": {"ultraedit.warmup": 10, "ultraedit.lr": 1e-2},
    "alphaedit": {
        "alphaedit.layers": [1, 2],
        "alphaedit.steps": 3,
        "alphaedit.nullspace_threshold": 1.0,
        "alphaedit.context_templates": ["In short. "],
    },
}


class Edits:
    """What `Session.edit` was called for, and the weights that it came to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.subjects: list[list[str]] = []
        self.weights: list[dict[str, str]] = []
        original = Session.edit

        def edit(session: Session, edits: Any) -> Change:
            change = original(session, edits)
            self.subjects.append([one.subject for one in edits])
            with change.applied(session.backbone):
                named = session.backbone.model.named_parameters()
                self.weights.append({name: fingerprint(parameter) for name, parameter in named})
            return change

        monkeypatch.setattr(Session, "edit", edit)


def without_times(path: Path) -> list[Json]:
    return [{key: value for key, value in line.items() if key not in ("seconds", "chain")} for line in lines(path)]


def asked(tiny_folders: dict[str, Path], output: Path, method: str, point: str, **options: Any) -> Json:
    return {
        "tasks": TASK,
        "model": "hf",
        "methods": [method],
        "method_args": METHODS[method],
        "model_args": {"path": str(tiny_folders["llama"])},
        "device": "cpu",
        "limit": 5,
        "train_size": 40,
        "output": str(output),
        "regime": "sequential:5",
        "evaluate": point,
        **options,
    }


@pytest.mark.parametrize(
    ("method", "point", "killed", "count", "left"),
    [
        ("ft", "after_each", "Session.edit", 3, 3),  # a batch that is edited, and not saved
        ("ft", "after_each", "Journal.append", 3, 2),  # the last one is asked, and nothing after it
        ("ultraedit", "after_all", "Session.save", 3, 3),  # written, and not in its place
        ("alphaedit", "after_all", "SavedSession.save", 3, 2),
        ("ft", "after_all", "Journal.append", 3, 0),  # between the questions
    ],
)
def test_it_goes_on_with_the_same_weights(
    tiny_folders: dict[str, Path],
    llama: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    point: str,
    killed: str,
    count: int,
    left: int,
) -> None:
    import torch

    options = {
        "method_args": METHODS[method],
        "limit": 5,
        "train_size": 40,
        "regime": "sequential:5",
        "evaluate": point,
    }
    whole = Edits(monkeypatch)
    run_jobs(llama, make_config(tiny_folders, tmp_path / "whole", [method], **options))
    assert len(whole.subjects) == 5
    given = json.dumps(asked(tiny_folders, tmp_path / "killed", method, point))
    child = [sys.executable, "-c", CHILD, str(torch.get_num_threads()), killed, str(count), given]
    assert subprocess.run(child, check=False, capture_output=True).returncode == -signal.SIGKILL
    monkeypatch.undo()
    rest = Edits(monkeypatch)
    run_jobs(llama, make_config(tiny_folders, tmp_path / "killed", [method], **options))
    assert rest.subjects == whole.subjects[5 - left :]
    assert rest.weights == whole.weights[5 - left :]
    name = f"{method}-sequential-5" + ("" if point == "after_all" else f"-{point}")
    folders = [tmp_path / which / TASK / "llama" / name for which in ("whole", "killed")]
    for file in ("cases.jsonl", "retention-1.jsonl", "retention-5.jsonl"):
        assert without_times(folders[0] / file) == without_times(folders[1] / file)
    results = [json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders]
    assert all(results[0][key] == results[1][key] for key in ("scores", "retention", "case_ids", "skipped", "settings"))
    assert not (folders[1] / "session").exists()


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    pass


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    original = Session.edit
    made: list[Any] = []

    def edit(session: Session, edits: Any) -> Change:
        if len(made) == count:
            raise Stopped
        made.append(edits)
        return original(session, edits)

    monkeypatch.setattr(Session, "edit", edit)


def test_a_damaged_session_is_made_again(
    tiny_folders: dict[str, Path],
    llama: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(tiny_folders, tmp_path, ["ft"], method_args=FT, regime="sequential:4", evaluate="after_each")
    stop_after(monkeypatch, 2)
    with pytest.raises(Stopped):
        run_jobs(llama, config)
    monkeypatch.undo()
    folder = tmp_path / TASK / "llama" / "ft-sequential-4-after_each"
    assert sorted(path.name for path in (folder / "session").iterdir()) == ["2"]
    change = folder / "session" / "2" / "change.safetensors"
    content = bytearray(change.read_bytes())
    content[-1] ^= 1
    change.write_bytes(bytes(content))
    first = (folder / "cases.jsonl").read_bytes()
    rest = Edits(monkeypatch)
    run_jobs(llama, config)
    assert len(rest.subjects) == 4 and "a file isn't as it was written" in caplog.text
    assert (folder / "cases.jsonl").read_bytes().startswith(first)


def test_other_cases_make_another_sequence(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    options: Json = {"method_args": FT, "regime": "sequential:2"}
    run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], limit=2, **options))
    with pytest.raises(
        RequestError, match="from another sequence of edits than these cases make; name another --output"
    ):
        run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], limit=20, **options))
    ((result,), _) = run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], limit=4, overwrite=True, **options))
    assert len(result.case_ids) == 4
