"""One schema: what a run writes is read by `Result.load`, by the checker and by the site, each field as it stands there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from result_files import RECORDS, Runs, read_cases, read_result, write
from site_pages import Page, result_pages

import xkeb
from xkeb.errors import RequestError
from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.results.fields import Record
from xkeb.results.journal import Journal
from xkeb.results.lines import BASELINE, BaselineRecord, CaseRecord, SequenceRecord
from xkeb.results.reader import read_stored
from xkeb.results.result import SCHEMA_VERSION, Result
from xkeb.results.settings import LINES_VERSION, RunSettings

pytest_plugins = ("finished_runs",)
Json = dict[str, Any]


# What a run writes -----------------------------------------------------------------------------------------------------


def keys(value: Any, model: Any, place: str = "") -> list[str]:
    """Where the keys of a JSON value are not exactly the fields of its model."""
    if isinstance(model, BaseModel):
        left_out = {key for key in getattr(model, "omitted", ()) if getattr(model, key) is None}
        wrong = [f"{place}.{key}" for key in value.keys() ^ (type(model).model_fields.keys() - left_out)]
        return wrong + [
            one for key in value.keys() & type(model).model_fields for one in keys(value[key], getattr(model, key), key)
        ]
    if isinstance(model, Mapping):
        assert isinstance(value, dict)
        wrong = [f"{place}.{key}" for key in value.keys() ^ model.keys()]
        return wrong + [one for key in value.keys() & model.keys() for one in keys(value[key], model[key], place)]
    if isinstance(model, list | tuple):
        assert len(value) == len(model)
        return [one for item, part in zip(value, model, strict=True) for one in keys(item, part, place)]
    return [] if value == model else [place]


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_the_keys_of_both_files_are_those_of_the_models(finished_runs: Runs, method: str) -> None:
    folder = finished_runs.folder(method)
    assert keys(read_result(folder), Result.load(folder / "result.json")) == []
    for line in read_cases(folder):
        assert keys(line, CaseRecord.model_validate(line)) == []
    for text in (folder.parent / BASELINE).read_text(encoding="utf-8").splitlines():
        assert keys(json.loads(text), BaselineRecord.model_validate_json(text)) == []


def test_the_golden_keys() -> None:
    """Typed in by hand: whoever changes a field changes a version, and `docs/result-schema.md`. What only tasks of several
    targets have is left out of all other files, so it changes none; so is what only sequences or chats have."""
    assert (SCHEMA_VERSION, LINES_VERSION) == (6, 5)
    assert list(Result.model_fields) == [
        *(
            "schema_version",
            "task",
            "model",
            "method",
            "protocol",
            "protocol_args",
            "prompt",
            "regime",
            "scorer",
            "comparable_group",
            "metrics",
            "seed",
            "selection",
            "scores",
        ),
        *(
            "scores_before",
            "slices",
            "slices_before",
            "second_turn",
            "blank",
            "crossing",
            "retention",
            "damage",
            "judge",
            "skipped",
            "missing",
            "case_ids",
            "timing",
            "environment",
            "command",
            "settings",
        ),
    ]
    assert fields(Result, "task") == ["name", "version", "source", "target", "targets", "dataset"]
    assert fields(Result, "task", "dataset") == ["name", "sha256", "n_cases"]
    assert fields(Result, "model") == [
        *("name", "dtype", "n_parameters", "sha256", "template_sha256", "ends", "plugin", "args", "revision")
    ]
    assert fields(Result, "method") == ["name", "params", "sees", "training_sha256", "train_size"]
    assert fields(Result, "timing") == [
        *("edit_seconds", "evaluate_seconds", "wall_seconds", "peak_memory_bytes", "phases")
    ]
    assert fields(Result, "timing", "phases") == ["load", "before", "fit", "edit", "evaluate", "suite"]
    assert list(CaseRecord.model_fields) == [
        *("case_id", "status", "reason", "edit", "probes", "slices", "seconds", "sequence", "settings", "chain")
    ]
    assert list(SequenceRecord.model_fields) == ["sha256", "place", "edits"]
    assert fields(CaseRecord, "edit") == ["prompt", "subject", "target", "language"]
    assert list(BaselineRecord.model_fields) == ["case_id", "answers", "settings", "chain"]
    assert list(RunSettings.model_fields) == [
        *(
            "schema_version",
            "task",
            "model",
            "method",
            "protocol",
            "protocol_args",
            "prompt",
            "regime",
            "metrics",
            "seed",
        )
    ]


def fields(model: type[Record], *path: str) -> list[str]:
    """The fields of a part of a model."""
    for name in path:
        annotation: Any = model.model_fields[name].annotation
        model = annotation
    return list(model.model_fields)


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_the_three_readers_read_the_same(finished_runs: Runs, method: str) -> None:
    folder = finished_runs.folder(method)
    path = folder / "result.json"
    loaded = Result.load(path)
    stored = read_stored(path)
    (entry,) = find_results([folder]).entries
    assert loaded == stored.result == entry.result
    assert loaded.model_dump(mode="json") == read_result(folder)
    assert [case.model_dump(mode="json") for case in stored.cases.values()] == read_cases(folder)
    with Journal(folder / "cases.jsonl", CaseRecord, loaded.settings) as journal:
        assert journal.lines == stored.cases
    assert loaded.run_settings().sha256 == loaded.settings


# What is new in it -----------------------------------------------------------------------------------------------------


def test_a_model_is_told_by_its_plugin_and_options(finished_runs: Runs, tiny_folders: dict[str, Path]) -> None:
    model = Result.load(finished_runs.folder("ft") / "result.json").model
    assert (model.name, model.plugin, model.revision) == ("llama", "hf", None)
    assert model.args == {"path": str(tiny_folders["llama"])}


def test_a_method_says_what_it_was_shown(finished_runs: Runs) -> None:
    sees = {name: Result.load(finished_runs.folder(name) / "result.json").method.sees for name in ("ft", "rome")}
    assert sees == {"ft": ["source_edit"], "rome": ["source_edit", "source_training"]}


@pytest.mark.parametrize(
    ("options", "selection"),
    [({}, "all"), ({"limit": 2}, "first"), ({"cases": ["3", "1"]}, "named"), ({"cases": ["1"], "limit": 1}, "named")],
    ids=str,
)
def test_which_cases_were_asked_for_is_told(
    make_runs: Callable[..., Runs], tmp_path: Path, options: Json, selection: str
) -> None:
    runs = make_runs(tmp_path, methods=["ft"], **options)
    assert read_result(runs.folder("ft"))["selection"] == selection
    assert check_result(runs.folder("ft") / "result.json", Sources(runs.data)).problems == ()


@pytest.mark.parametrize(
    ("options", "claims", "said"),
    [
        ({"limit": 2}, "all", f"rests on the first 2 of the data's {RECORDS - 1} cases, and says that it is of all cases."),
        (
            {"cases": ["3", "1"]},
            "all",
            f"rests on 2 of the data's {RECORDS - 1} cases, not the first of them, and says that it is of all cases.",
        ),
        (
            {"cases": ["3", "1"]},
            "first",
            f"rests on 2 of the data's {RECORDS - 1} cases, not the first of them, and says that it is of first cases.",
        ),
        ({"limit": 2}, "best", "selection should be 'all', 'first' or 'named', not 'best'."),
    ],
)  # fmt: skip
def test_a_result_that_rests_on_other_cases_than_it_says_is_refused(
    make_runs: Callable[..., Runs], tmp_path: Path, options: Json, claims: str, said: str
) -> None:
    runs = make_runs(tmp_path, methods=["ft"], **options)
    folder = runs.folder("ft")
    write(folder, {**read_result(folder), "selection": claims}, read_cases(folder))
    assert check_result(folder / "result.json", Sources(runs.data)).problems == (said,)


# What all of them refuse -----------------------------------------------------------------------------------------------


def _set(place: str, value: Any) -> Callable[[Json], None]:
    def spoil(found: Any) -> None:
        *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        for part in path:
            found = found[part]
        found[last] = value

    return spoil


RESULTS: dict[str, tuple[Callable[[Json], object], str]] = {
    "an unknown field": (_set("best", True), "best is not a field of this schema version"),
    "an unknown field of a part": (_set("model.owner", "me"), "model.owner is not a field of this schema version"),
    "a field less": (lambda found: found["method"].pop("sees"), "method.sees is missing"),
    "a wrong type": (_set("seed", "0"), "seed should be a valid integer, not '0'"),
    "a whole number as a fraction": (_set("task.version", 1.0), "task.version should be a valid integer, not 1.0"),
    "a truth for a number": (_set("timing.wall_seconds", True), "timing.wall_seconds should be a valid number, not true"),
    "an unknown sight": (_set("method.sees", ["everything"]), "method.sees.0 should be 'source_edit', "),
    "no number": (_set("timing.wall_seconds", float("nan")), "holds NaN, which is not JSON"),
    "no number where all is free": (_set("environment.load", float("inf")), "holds Infinity, which is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("what", RESULTS)
def test_every_reader_refuses_a_result(runs: Runs, tmp_path: Path, what: str) -> None:
    spoil, said = RESULTS[what]
    folder = runs.folder("ft")
    result = read_result(folder)
    spoil(result)
    write(folder, result, read_cases(folder))
    with pytest.raises(RequestError) as caught:
        Result.load(folder / "result.json")
    assert said in str(caught.value)
    assert any(said in problem for problem in check_result(folder / "result.json", Sources(runs.data)).problems)
    built = build_site([runs.output], tmp_path / "site")
    (broken,) = built.broken
    assert said in broken.reason
    assert built.n_results == 1


LINES: dict[str, tuple[Callable[[Json], object], str]] = {
    "an unknown field": (_set("best", True), "best is not a field of this schema version"),
    "an unknown field of a part": (_set("probes.0.note", ""), "probes.0.note is not a field of this schema version"),
    "a field less": (lambda found: found["edit"].pop("subject"), "edit.subject is missing"),
    "a wrong type": (_set("probes.0.after", 7), "probes.0.after should be a valid string, not 7"),
    "a text for a number": (_set("probes.0.scores.f1", "1"), "probes.0.scores.f1 should be a valid number, not '1'"),
    "no number": (_set("seconds.edit", float("nan")), "holds NaN, which is not JSON"),
}


@pytest.mark.parametrize("what", LINES)
def test_every_reader_refuses_a_line(runs: Runs, tmp_path: Path, what: str) -> None:
    spoil, said = LINES[what]
    folder = runs.folder("ft")
    result, lines = read_result(folder), read_cases(folder)
    spoil(lines[1])
    write(folder, result, lines)
    with pytest.raises(RequestError, match=r"cases\.jsonl:2 is not a line of a journal"):
        Journal(folder / "cases.jsonl", CaseRecord, result["settings"])
    problems = check_result(folder / "result.json", Sources(runs.data)).problems
    assert any(problem.startswith("cases.jsonl, line 2") and said in problem for problem in problems)
    build_site([folder], tmp_path / "site", with_published=False)
    (page,) = result_pages(tmp_path / "site")
    assert f"has a damaged cases.jsonl, after 1 of its {len(result['case_ids'])} cases: " in Page(page).text
    assert said in Page(page).text


def test_every_reader_tells_of_exchanged_lines(runs: Runs, tmp_path: Path) -> None:
    """Each is a right line by itself, and no score changes."""
    folder = runs.folder("ft")
    path = folder / "cases.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
    with pytest.raises(RequestError, match=r"cases\.jsonl:2 or the line before it isn't as it was written"):
        Journal(path, CaseRecord, read_result(folder)["settings"])
    said = "its checksum doesn't fit: it, or the line before it, isn't as it was written"
    problems = check_result(folder / "result.json", Sources(runs.data)).problems
    assert problems == tuple(f"cases.jsonl, line {number}: {said}." for number in (2, 3, 4))
    build_site([folder], tmp_path / "site", with_published=False)
    (page,) = result_pages(tmp_path / "site")
    assert f"has a damaged cases.jsonl, after 1 of its {len(lines)} cases: line 2: its checksum" in Page(page).text


# A journal of other settings -------------------------------------------------------------------------------------------


def test_a_run_goes_on_with_no_line_of_another_version_or_other_settings(
    make_runs: Callable[..., Runs], runs: Runs
) -> None:
    """Lines that an older suite wrote have another hash, since the version is a part of what is hashed."""
    folder = runs.folder("ft")
    result, lines = read_result(folder), read_cases(folder)
    for line in lines:
        line["settings"] = "0" * 64
        line["score"] = line.pop("seconds")  # as no line is today
    write(folder, result, lines)
    before = (folder / "cases.jsonl").read_bytes()
    with pytest.raises(xkeb.XkebError, match="holds cases made with other settings or data, which are never mixed"):
        make_runs(runs.output, methods=["ft"])
    assert (folder / "cases.jsonl").read_bytes() == before
