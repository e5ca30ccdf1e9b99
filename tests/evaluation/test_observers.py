"""Who watches a run: what it is told, in which order, and what it can't do to the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from finished_cells import answers
from installed_packages import Install, command
from small_jobs import TASK

from xkeb.evaluation.events import RunObserver
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry

pytest_plugins = ("command_line", "finished_cells", "installed_packages", "small_jobs")

EVENTS = [name for name in vars(RunObserver) if not name.startswith("_")]
SOURCE = '''
class Diary(xkeb.RunObserver):
    """Writes down what it is told."""

    def __init__(self, path: str, mark: int = 0) -> None:
        self.path, self.mark = path, mark

    def write(self, event):
        with open(self.path, "a") as file:
            file.write(f"{self.mark} {event}\\n")

    def run_started(self, jobs, config): self.write(f"run_started {len(jobs)}")
    def model_loading(self, name): self.write(f"model_loading {name}")
    def job_started(self, job): self.write(f"job_started {job.name}")
    def job_configured(self, job, options): self.write(f"job_configured {options['layer']}")
    def phase_started(self, name, done=0, total=None): self.write(f"phase_started {name} {done} {total}")
    def batch_done(self, cases, seconds): self.write(f"batch_done {len(cases)} {sorted(seconds)}")
    def case_done(self, case_id, record, protocol): self.write(f"case_done {case_id} {record and record.status}")
    def job_done(self, job, result): self.write(f"job_done {len(result.case_ids)}")
    def run_ended(self, results, failed): self.write(f"run_ended {len(results)} {len(failed)}")

@xkeb.hookimpl
def register_observers(register):
    register("diary", Diary)
'''


def test_an_observer_that_a_package_brings_is_told_everything_in_order(
    install: Install, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    install(("a-diary", "1.0", SOURCE))
    done = command(
        tmp_path, "run", "--tasks", TASK, "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "ft", "--limit", "2", "--output", str(tmp_path / "results"),
        "--observe", "diary", "--observer-args", f'diary.path="{tmp_path / "a, diary"}",diary.mark=7',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a, diary").read_text().splitlines() == [
        "7 run_started 1",
        "7 model_loading llama",
        f"7 job_started {TASK} / llama / ft",
        "7 job_configured 4",
        "7 phase_started before 0 2",
        "7 case_done 0 None",
        "7 case_done 1 None",
        "7 phase_started edit 0 2",
        "7 case_done 0 ok",
        "7 case_done 1 ok",
        "7 batch_done 2 ['edit', 'evaluate']",
        "7 job_done 2",
        "7 run_ended 1 0",
    ]


class Told(RunObserver):
    """Keeps the names of all events, and what came with them."""

    events: list[tuple[str, tuple[Any, ...]]]

    def __init__(self) -> None:
        type(self).events = []


def _telling(name: str) -> Callable[..., None]:
    return lambda self, *values: self.events.append((name, values))


for name in EVENTS:
    setattr(Told, name, _telling(name))


class Breaking(RunObserver):
    """Raises at one event."""

    calls: list[str]

    def __init__(self, at: str) -> None:
        type(self).calls = []

        def fail(*_: object) -> None:
            self.calls.append(at)
            raise ZeroDivisionError("this observer is broken")

        setattr(self, at, fail)


@pytest.fixture(autouse=True)
def observers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, thing in (("told", Told), ("breaking", Breaking)):
        monkeypatch.setitem(get_plugins().observers.entries, name, Entry(thing, "tests"))


@pytest.mark.parametrize("event", ["run_started", "job_configured", "case_done", "job_done", "run_ended"])
def test_an_observer_that_raises_is_left_out_and_the_results_are_the_same(
    run: Callable[..., Any], options: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    assert run(output=str(tmp_path / "alone"), limit="2").status == 0
    outcome = run("--observe", "breaking,told", "--observer-args", f"breaking.at={event}", limit="2")
    assert outcome.status == 0, outcome.err
    assert Breaking.calls == [event]
    (warned,) = (one for one in caplog.records if one.name == "xkeb.evaluation.events")
    assert (warned.levelname, warned.getMessage()) == ("WARNING", "Breaking is left out of the rest of the run.")
    assert warned.exc_info and isinstance(warned.exc_info[1], ZeroDivisionError)
    assert [name for name, _ in Told.events][-1] == "run_ended"
    folder = Path(TASK) / "llama" / "ft"
    assert answers(Path(options["output"]) / folder) == answers(tmp_path / "alone" / folder)


def test_a_failure_reaches_the_observer(run: Callable[..., Any]) -> None:
    outcome = run(
        "--observe", "told", methods="ft,rome", method_args='ft.lr=-1,rome.steps=1,rome.context_templates=["So. "]'
    )
    assert outcome.status == 1
    ((job, error),) = (values for name, values in Told.events if name == "job_failed")
    assert job.method == "ft" and "Invalid learning rate: -1.0" in str(error)
    results, failed = Told.events[-1][1]
    assert Told.events[-1][0] == "run_ended"
    assert [result.method.name for result in results] == ["rome"] and [one.method for one, _ in failed] == ["ft"]
    done = [values[0].method for name, values in Told.events if name == "job_done"]
    assert done == ["rome"]


def test_a_model_that_cant_be_loaded_fails_each_of_its_jobs(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("xkeb.evaluation.executors.shared_model.load_backbone", load)
    outcome = run("--observe", "told", methods="ft,rome")
    assert outcome.status == 1 and "RuntimeError: no such luck" in outcome.err
    assert [values[0].method for name, values in Told.events if name == "job_failed"] == ["ft", "rome"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--observe", "tolt"), "Unknown observer 'tolt': did you mean 'told'?"),
        (("--observe", "told", "--observer-args", "x=1"), "--observer-args takes observer.option=value, not 'x'."),
        (
            ("--observe", "told", "--observer-args", "breaking.at=x"),
            "--observer-args sets options of 'breaking', which --observe doesn't name.",
        ),
        (
            ("--observe", "breaking", "--observer-args", "breaking.att=x"),
            "Unknown option of observer 'breaking': 'att': did you mean 'at'?",
        ),
    ],
)
def test_an_observer_that_is_asked_for_wrongly(
    run: Callable[..., Any], arguments: tuple[str, ...], message: str
) -> None:
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1] == f"xkeb: {message}"


# The event log ---------------------------------------------------------------------------------------------------------


def test_the_event_log_is_lines_of_json_and_a_second_run_appends(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    assert run("--log-events", path, limit="2").status == 0
    first = path.read_text(encoding="utf-8")
    events = [json.loads(line) for line in first.splitlines()]
    assert [event["event"] for event in events] == [
        "run_started", "model_loading", "job_started", "job_configured",
        "phase_started", "case_done", "case_done",
        "phase_started", "case_done", "case_done", "batch_done",
        "job_done", "run_ended",
    ]  # fmt: skip
    assert all(datetime.fromisoformat(event["time"]).tzinfo for event in events)
    assert events[0]["jobs"] == [f"{TASK} / llama / ft"]
    assert events[3]["options"]["layer"] == 4
    assert events[10]["case_ids"] == ["0", "1"] and set(events[10]["seconds"]) == {"edit", "evaluate"}
    assert 0 <= events[11]["scores"]["reliability"]["en"]["f1"] <= 100
    assert (events[12]["done"], events[12]["failed"]) == (1, 0)
    assert run("--log-events", path, limit="2").status == 0
    whole = path.read_text(encoding="utf-8")
    assert whole.startswith(first)
    again = [json.loads(line)["event"] for line in whole[len(first) :].splitlines()]
    assert (again[0], again[-1]) == ("run_started", "run_ended") and "case_done" not in again


def test_the_event_log_holds_a_failure_with_its_traceback(run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert run("--log-events", path, method_args="ft.lr=-1").status == 1
    events = {event["event"]: event for event in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    assert "Invalid learning rate: -1.0" in events["job_failed"]["error"]
    assert "Traceback" in events["job_failed"]["traceback"] and "ft.py" in events["job_failed"]["traceback"]
    assert (events["run_ended"]["done"], events["run_ended"]["failed"]) == (0, 1)


def test_an_event_log_that_cant_be_written_is_refused(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = run("--log-events", tmp_path / "file" / "events.jsonl")
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith(
        f"xkeb: Can't write the event log {tmp_path / 'file' / 'events.jsonl'}: "
    )
