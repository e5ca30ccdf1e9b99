"""Several protocols in one run: each edit is made once, and everything else is as in a run for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from small_jobs import TASK, lines, make_config, run_jobs

from xkeb.editing.changes import Change
from xkeb.editing.editor import load_editor
from xkeb.errors import RequestError
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone
from xkeb.types import Edit

PROTOCOLS = ["teacher_forcing", "paper", "generate"]
ARGS: dict[str, dict[str, Any]] = {
    "teacher_forcing": {},
    "paper": {"joiner": "language"},
    "generate": {"max_tokens": 3},
}
FOLDERS = {"teacher_forcing": "ft", "paper": "ft-paper", "generate": "ft-generate"}
FT = {"ft.steps": 2}


@pytest.fixture
def edits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts of the edits that FT makes, in order."""
    made: list[str] = []
    ft = type(load_editor("ft"))
    real = ft.edit

    def watched(self: Any, backbone: Backbone, asked: Sequence[Edit]) -> Sequence[Change]:
        made.extend(edit.prompt for edit in asked)
        return real(self, backbone, asked)

    monkeypatch.setattr(ft, "edit", watched)
    return made


def told(folder: Path, protocol: str) -> tuple[list[Any], dict[str, Any]]:
    """What a measurement says, without its times."""
    cases = lines(folder / TASK / "llama" / FOLDERS[protocol] / "cases.jsonl")
    result = json.loads((folder / TASK / "llama" / FOLDERS[protocol] / "result.json").read_text(encoding="utf-8"))
    for line in cases:
        del line["seconds"], line["chain"]
    for name in ("timing", "environment", "command"):
        del result[name]
    return cases, result


def run(folders: dict[str, Path], llama: Backbone, output: Path, protocols: Sequence[str], **more: Any) -> None:
    several = len(protocols) > 1
    args = {f"{name}.{key}" if several else key: value for name in protocols for key, value in ARGS[name].items()}
    asked = {"limit": 3, "method_args": FT, "protocols": protocols, "protocol_args": args, **more}
    run_jobs(llama, make_config(folders, output, ["ft"], **asked))


def test_a_run_with_three_protocols_says_what_three_runs_say_and_edits_once(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, edits: list[str]
) -> None:
    run(tiny_folders, llama, tmp_path / "together", PROTOCOLS)
    assert len(edits) == 3
    for protocol in PROTOCOLS:
        run(tiny_folders, llama, tmp_path / "apart", [protocol])
        assert told(tmp_path / "together", protocol) == told(tmp_path / "apart", protocol)
    assert len(edits) == 3 + 3 * 3


def test_what_one_protocol_has_already_is_not_asked_again(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, edits: list[str]
) -> None:
    run(tiny_folders, llama, tmp_path, ["teacher_forcing"], limit=2)
    before = lines(tmp_path / TASK / "llama" / "ft" / "cases.jsonl")
    edits.clear()
    run(tiny_folders, llama, tmp_path, ["teacher_forcing", "generate"], limit=3)
    assert len(edits) == 3  # of two cases for the free answers only
    assert lines(tmp_path / TASK / "llama" / "ft" / "cases.jsonl")[:2] == before
    for protocol in ("teacher_forcing", "generate"):
        run(tiny_folders, llama, tmp_path / "apart", [protocol])
        assert told(tmp_path, protocol) == told(tmp_path / "apart", protocol)
    edits.clear()
    run(tiny_folders, llama, tmp_path, ["teacher_forcing", "generate"], limit=3)
    assert not edits


def test_each_phase_says_how_much_of_it_there_is(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    args = {"limit": 3, "method_args": FT, "protocols": PROTOCOLS[:2]}
    results, phases = run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], **args))
    assert phases.counts == {"before": 6, "edit": 6}
    assert [result.protocol for result in results] == PROTOCOLS[:2]
    first, second = (result.timing for result in results)
    assert first.edit_seconds == second.edit_seconds > 0
    assert first.phases.edit == second.phases.edit and first.phases.evaluate != second.phases.evaluate


@pytest.mark.parametrize(
    ("protocols", "args", "sentence"),
    [
        ([], {}, "--protocol names nothing"),
        (["teacher_forced"], {}, "Unknown protocol 'teacher_forced': did you mean 'teacher_forcing'"),
        (["paper", "generate"], {"cut": "line"}, r"takes protocol.option=value where there are several, not 'cut'"),
        (["paper"], {"generate.cut": "line"}, r"sets options of 'generate', which --protocol doesn't name"),
        (["paper", "generate"], {"generate.cut": "word"}, "Option 'cut' of protocol 'generate' can't be 'word'"),
    ],
)
def test_a_wrong_request_is_refused(
    protocols: list[str], args: dict[str, Any], sentence: str, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=sentence):
        plan_run(make_config(tiny_folders, tmp_path, ["ft"], protocols=protocols, protocol_args=args))
