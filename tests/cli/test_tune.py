"""``xkeb tune``: the table, the file, and a run that uses it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tuning_data import records, write_facts

pytest_plugins = ("command_line", "tuning_data")
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


@pytest.fixture
def tune(
    xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], facts_dir: Path, tmp_path: Path
) -> Callable[..., Any]:
    """``xkeb tune`` with options that are right, but for the given ones; None leaves one out."""
    right = {
        "method": "ft",
        "model": "hf",
        "model-args": f"path={tiny_folders['llama']}",
        "tasks": "bizsre_en2zh",
        "grid": "layer=1,2",
        "method-args": "steps=2",
        "limit": "3",
        "data-dir": str(facts_dir),
        "output": str(tmp_path / "ft.yaml"),
    }

    def tune(*arguments: object, **changes: str | None) -> Any:
        chosen = right | {name.replace("_", "-"): value for name, value in changes.items()}
        flags = [part for name, value in chosen.items() if value is not None for part in (f"--{name}", value)]
        return xkeb_cli("tune", *flags, *arguments)

    return tune


def rows(out: str) -> list[list[str]]:
    """The cells of the table's rows; the chosen one begins with a star."""
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if "Score" in line) + 1
    last = next(i for i, line in enumerate(lines) if "facts" in line)
    return [line.split() for line in lines[first:last]]


def test_the_table_is_printed_and_written(tune: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tune(grid="layer=1,2;lr=0.01,0.1")
    assert outcome.status == 0, outcome.err
    found = yaml.safe_load((tmp_path / "ft.yaml").read_text(encoding="utf-8"))
    assert outcome.out.splitlines()[0].strip() == "ft on llama, f1"
    assert [row["settings"] for row in found["table"]] == [
        {"layer": 1, "lr": 0.01}, {"layer": 1, "lr": 0.1}, {"layer": 2, "lr": 0.01}, {"layer": 2, "lr": 0.1},
    ]  # fmt: skip
    expected = []
    for row in found["table"]:
        means = [f"{row['means'][name]:.2f}" for name in ("reliability", "generality", "locality")]
        cells = [str(row["settings"]["layer"]), str(row["settings"]["lr"]), *means, f"{row['score']:.2f}"]
        expected.append((["*"] if row["chosen"] else []) + [*cells, f"{row['seconds']:.1f}"])
    assert rows(outcome.out) == expected
    best = max(row["score"] for row in found["table"])
    (chosen,) = (row for row in found["table"] if row["chosen"])
    assert chosen["score"] == found["score"] == best
    assert found["settings"] == {"steps": 2, **chosen["settings"]}
    assert found["command"].startswith("xkeb tune --method ft ")
    assert "bizsre_en2zh: 3 facts, held out of the training file (zsre_mend_train_10000.json)" in outcome.out
    assert outcome.out.splitlines()[-1].endswith(f"written to {tmp_path / 'ft.yaml'}")
    assert outcome.err.splitlines()[0].startswith("1 of 4: layer=1, lr=0.01: ")


def test_many_edits_are_tuned_on_as_a_run_makes_them(
    tune: Callable[..., Any], tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    """The last of three edits on one model leaves another score than each by itself."""
    outcome = tune(regime="sequential:3", grid="lr=0.01,0.1", method_args="steps=5,layer=1")
    assert outcome.status == 0, outcome.err
    found = yaml.safe_load((tmp_path / "ft.yaml").read_text(encoding="utf-8"))
    assert (
        found["regime"] == "sequential:3@after_all"
        and [row["edited"] for row in found["table"]] == [{"bizsre_en2zh": 3}] * 2
    )
    outcome = tune(grid="lr=0.01,0.1", method_args="steps=5,layer=1")
    assert outcome.status == 0, outcome.err
    single = yaml.safe_load((tmp_path / "ft.yaml").read_text(encoding="utf-8"))
    assert single["regime"] == "single"
    assert [row["means"] for row in single["table"]] != [row["means"] for row in found["table"]]


def test_the_other_languages_have_columns_of_their_own(tune: Callable[..., Any]) -> None:
    outcome = tune("--cross-lingual", grid="lr=0.01,0.1", method_args="steps=2,layer=1")
    assert outcome.status == 0, outcome.err
    assert [len(row) for row in rows(outcome.out)] in ([9, 8], [8, 9])
    assert "bizsre_en2zh: 3 facts, held out of the training file (zsre_mend_train_10000.json), asked in zh, too" in (
        " ".join(outcome.out.split())
    )


def test_options_may_have_the_method_s_name_and_values_be_lists(tune: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tune(method="rome", grid="rome.contexts=[[2,2]],[[3,2]];layer=2", method_args="rome.steps=2")
    assert outcome.status == 0, outcome.err
    found = yaml.safe_load((tmp_path / "ft.yaml").read_text(encoding="utf-8"))
    assert [row["settings"] for row in found["table"]] == [
        {"contexts": [[2, 2]], "layer": 2}, {"contexts": [[3, 2]], "layer": 2},
    ]  # fmt: skip
    assert found["settings"]["steps"] == 2
    assert [row[-6] for row in rows(outcome.out)] == ["2", "2"]
    assert {row[-7] for row in rows(outcome.out)} == {"[[2,2]]", "[[3,2]]"}


def test_a_point_that_fails_is_shown_with_its_reason(tune: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tune(grid="layer=99,2")
    assert outcome.status == 0, outcome.err
    failed, worked = rows(outcome.out)
    assert (failed, worked[:2]) == (["99", "-", "-", "-", "failed"], ["*", "2"])
    assert "layer=99: ft.layer is 99; 'llama' has layers 0 to 5." in outcome.out.splitlines()


def test_facts_that_could_not_be_edited_are_told(tune: Callable[..., Any], facts_dir: Path) -> None:
    """A mean over twenty facts is not to be taken for one over forty."""
    chinese = [{key: value for key, value in fact.items() if key != "subject"} for fact in records("zh")]
    write_facts(facts_dir, "zsre_mend_train_10000_chinese.json", chinese)
    outcome = tune(tasks="bizsre", method="rome", grid="contexts=[[3,2]]", method_args="steps=2,layer=2")
    assert outcome.status == 0, outcome.err
    told = "bizsre_zh2en: 0 of 3 facts could be edited; the first of the others: it has no subject, whose place"
    assert told in " ".join(outcome.out.split())
    assert "bizsre_en2zh: 3 of 3" not in outcome.out


def test_where_every_point_fails_the_table_is_printed_and_nothing_written(
    tune: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = tune(grid="layer=98,99")
    assert outcome.status == 1
    assert [row[-1] for row in rows(outcome.out)] == ["failed", "failed"]
    assert outcome.err.splitlines()[-1] == "xkeb: Every point of the grid failed, so there are no settings to write."
    assert not (tmp_path / "ft.yaml").exists()


def test_the_paper_s_tasks_are_tuned_on_by_default(tune: Callable[..., Any], tmp_path: Path) -> None:
    outcome = tune(tasks=None, grid="layer=2")
    assert outcome.status == 0, outcome.err
    found = yaml.safe_load((tmp_path / "ft.yaml").read_text(encoding="utf-8"))
    assert [facts["task"] for facts in found["facts"]] == ["bizsre_en2zh", "bizsre_zh2en"]
    assert [facts["language"] for facts in found["facts"]] == ["en", "zh"]


def test_a_validation_file_is_used_and_the_default_file_is_named_after_method_and_model(
    tune: Callable[..., Any], facts_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_facts(facts_dir, "zsre_mend_eval.json", records()[:10])
    monkeypatch.chdir(tmp_path)
    outcome = tune(output=None, grid="layer=2")
    assert outcome.status == 0, outcome.err
    assert "bizsre_en2zh: 3 facts, validation file (zsre_mend_eval.json)" in outcome.out
    assert (tmp_path / "ft-llama.yaml").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": ""}, "--grid names no option; it takes option=value,value;option=value,value."),
        ({"grid": " ; "}, "--grid names no option"),
        ({"grid": "layer"}, "--grid takes option=value,value;option=value,value, not 'layer'."),
        ({"grid": "layer=1,2;5"}, "--grid takes option=value,value;option=value,value, not '5'."),
        ({"grid": "=1"}, "--grid takes option=value,value;option=value,value, not '=1'."),
        ({"grid": "layer="}, "--grid gives 'layer' no value."),
        ({"grid": "layer= , "}, "--grid gives 'layer' no value."),
        ({"grid": "layer=1;layer=2"}, "--grid names 'layer' twice."),
        ({"grid": "layer=1;ft.layer=2"}, "--grid names 'layer' twice."),
        ({"grid": "layer=1,2,1"}, "--grid has the point layer=1 twice."),
        ({"grid": "lr=0.1,1e-1"}, "--grid has the point lr=0.1 twice."),
        ({"grid": "steps=1"}, "--grid and --method-args both set 'steps'."),
        ({"grid": "layr=1"}, "Unknown option of method 'ft': 'layr': did you mean 'layer'?"),
        ({"grid": "rome.layer=1"}, "Unknown option of method 'ft': 'rome.layer': "),
        ({"grid": "layer=deep"}, "Option 'layer' of method 'ft' can't be 'deep': "),
        ({"method_args": "stepz=1"}, "Unknown option of method 'ft': 'stepz': did you mean 'steps'?"),
        ({"method": "fft"}, "Unknown method 'fft': did you mean 'ft'?"),
        ({"method": "ft,rome"}, "Unknown method 'ft,rome'"),
        ({"model": "hff"}, "Unknown model 'hff': did you mean 'hf'?"),
        ({"metric": "f2"}, "Unknown metric 'f2': did you mean 'f1'?"),
        (
            {"regime": "sequential:9"},
            "--regime sequential:9 makes 9 edits on one model, and 'bizsre_en2zh' has 3 cases",
        ),
        ({"regime": "sequentail:3"}, "A regime is single, batch:N or sequential:N[xM], "),
        ({"regime": "batch:2"}, "Method 'ft' can't follow --regime batch:2: "),
        ({"limit": "0"}, "--limit must be at least 1, not 0."),
        ({"tasks": "bizsre_en2hz"}, "Unknown task 'bizsre_en2hz': did you mean 'bizsre_en2zh'?"),
        ({"tasks": ","}, "--tasks names nothing."),
    ],
    ids=lambda value: "+".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_tuning_that_is_asked_for_wrongly(
    tune: Callable[..., Any], tmp_path: Path, changes: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkeb.evaluation.tuning.search.load_backbone", lambda *_, **__: pytest.fail("it is loaded"))
    outcome = tune(**changes)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"xkeb: {message}") and len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.glob("ft.yaml*"))


def test_facts_that_are_not_there_are_told_by_the_training_file(tune: Callable[..., Any], facts_dir: Path) -> None:
    shutil.rmtree(facts_dir / "bizsre")
    outcome = tune()
    assert outcome.status == 2
    assert outcome.err.startswith("xkeb: Data set 'bizsre' lacks zsre_mend_train_10000.json: looked in ")


# Using the file ----------------------------------------------------------------------------------------------------------


def settings_file(path: Path, method: str = "ft", model: str = "llama", **settings: Any) -> Path:
    values = {"method": method, "settings": settings, "model": {"name": model}}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def params(options: dict[str, str], method: str) -> dict[str, Any]:
    (path,) = Path(options["output"]).rglob(f"{method}/result.json")
    found: dict[str, Any] = json.loads(path.read_text())["method"]["params"]
    return found


def test_a_run_uses_what_was_tuned(
    tune: Callable[..., Any], run: Callable[..., Any], options: dict[str, str], tmp_path: Path
) -> None:
    assert tune(grid="layer=1;lr=0.25").status == 0
    outcome = run("--settings", tmp_path / "ft.yaml")
    assert outcome.status == 0, outcome.err
    found = params(options, "ft")
    assert (found["layer"], found["lr"], found["steps"]) == (1, 0.25, 2)


def test_several_files_serve_several_methods_and_method_args_win(
    run: Callable[..., Any], options: dict[str, str], tmp_path: Path
) -> None:
    ft = settings_file(tmp_path / "a.yaml", layer=1, steps=2)
    rome = settings_file(tmp_path / "b.yaml", "rome", layer=3, steps=2, contexts=[[3, 2]])
    outcome = run("--settings", f"{ft},{rome}", methods="ft,rome", method_args="ft.layer=4")
    assert outcome.status == 0, outcome.err
    assert (params(options, "ft")["layer"], params(options, "ft")["steps"]) == (4, 2)
    assert (params(options, "rome")["layer"], params(options, "rome")["contexts"]) == (3, [[3, 2]])


def test_a_run_file_names_them(run: Callable[..., Any], options: dict[str, str], tmp_path: Path) -> None:
    tuned = settings_file(tmp_path / "a.yaml", layer=1, steps=2)
    (tmp_path / "run.yaml").write_text(f"settings: [{tuned}]\n")
    assert run("--config", tmp_path / "run.yaml").status == 0
    assert params(options, "ft")["layer"] == 1


@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_settings_of_another_model_or_method_are_refused(
    run: Callable[..., Any], options: dict[str, str], tmp_path: Path, plan: tuple[str, ...]
) -> None:
    path = settings_file(tmp_path / "a.yaml", model="gemma3-270m", layer=1)
    outcome = run("--settings", path, *plan)
    assert (outcome.status, outcome.out) == (2, "")
    assert (
        outcome.err
        == f"xkeb: {path} has settings that were chosen on 'gemma3-270m', and this run has the model llama.\n"
    )
    path = settings_file(tmp_path / "b.yaml", "rome", layer=1)
    outcome = run("--settings", path, *plan)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"xkeb: {path} has settings of 'rome', which is not a method of this run: ft.\n"
    assert not list(Path(options["output"]).rglob("*.json*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "is no settings file of `xkeb tune`: it lacks 'method'."),
        ("method: ft\nmodel: {name: llama}\n", "is no settings file of `xkeb tune`: it lacks 'settings'."),
        ("method: ft\nsettings: {}\nmodel: {}\n", "is no settings file of `xkeb tune`: it lacks 'model.name'."),
        ("method: [ft\n", "Can't read the settings file "),
    ],
)
def test_a_file_of_something_else_is_refused(run: Callable[..., Any], tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    outcome = run("--settings", tmp_path / "a.yaml")
    assert outcome.status == 2
    assert message in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_file_that_is_not_there_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    outcome = run("--settings", tmp_path / "no.yaml")
    assert outcome.status == 2
    assert outcome.err.startswith(f"xkeb: Can't read the settings file {tmp_path / 'no.yaml'}: ")
