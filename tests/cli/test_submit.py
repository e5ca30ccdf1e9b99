"""``xkeb submit``: the parts that jobs of a cluster make, joined, are what one run makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from fake_slurm import FakeSlurm, bash
from finished_cells import CELL, answers, read

from xkeb.cli.commands.run import command as run_command
from xkeb.cli.run_config import run_config
from xkeb.cli.submitting.arguments import run_arguments
from xkeb.cli.submitting.resources import minutes
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.parts import cut, is_done
from xkeb.evaluation.planning import plan_run

pytest_plugins = ("command_line", "fake_slurm")
pytestmark = pytest.mark.usefixtures("cache_of_this_module")
Run = Callable[..., Any]
VARY = ("timing", "command", "environment")
MEND = "mend.rank=4,mend.steps=2,mend.batch_size=4,mend.validate_every=1,mend.validation=3"
FT = "ft.lr=0.05,ft.steps=3"


@pytest.fixture
def asked(options: dict[str, str]) -> dict[str, str]:
    """A method that learns, and one that doesn't, on four cases under two protocols."""
    pytest.importorskip("submitit")
    return options | {
        "methods": "ft,mend",
        "method-args": f"{FT},{MEND}",
        "train-size": "30",
        "limit": "4",
        "device": "cpu",
        "protocol": "teacher_forcing,paper",
    }


def flags(options: dict[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def check_alike(one: Path, other: Path, methods: Sequence[str]) -> None:
    """All but times and versions."""
    for method in methods:
        results = [read(root / CELL / method / "result.json") for root in (one, other)]
        assert answers(one / CELL / method) == answers(other / CELL / method)
        assert list(answers(one / CELL / method)) == results[0]["case_ids"] == ["0", "1", "2", "3"]
        for result in results:
            for name in VARY:
                del result[name]
        assert results[0] == results[1]


FOLDERS = ("ft", "ft-paper", "mend", "mend-paper")


def test_on_this_machine_by_submitit_s_own_executor(xkeb_cli: Run, asked: dict[str, str], tmp_path: Path) -> None:
    asked |= {"methods": "ft", "method-args": FT}
    whole = xkeb_cli("run", *flags(asked | {"output": str(tmp_path / "whole")}))
    assert whole.status == 0, whole.err
    submit = ("submit", *flags(asked), "--cases-per-job", "3", "--cluster", "local")
    done = xkeb_cli(*submit)
    assert done.status == 0, done.err
    assert "Jobs: 1. Parts: 2, of which 0 are finished, 0 in the queue, 2 to be made." in done.err
    assert done.out == whole.out, "the table"
    check_alike(tmp_path / "whole", Path(asked["output"]), FOLDERS[:2])
    checked = xkeb_cli("leaderboard", "check", asked["output"])
    assert checked.status == 0, checked.out

    again = xkeb_cli(*submit)
    assert (again.status, again.out) == (0, whole.out)
    assert "Parts" not in again.err, "nothing is submitted"

    # One part is lost, and a result: only that part is made again.
    (part,) = (tmp_path / "results-parts").glob("cases-3-3-*")
    for name in ("cases.jsonl", "result.json"):
        (part / CELL / "ft" / name).unlink()
        (Path(asked["output"]) / CELL / "ft" / name).unlink()
    missing = xkeb_cli(*submit, "--join")
    assert missing.status == 1
    assert missing.err.splitlines() == [
        "xkeb: bizsre_mini_en2zh / llama / ft: not finished, parts that are missing: 1 of 2."
    ]
    mended = xkeb_cli(*submit)
    assert (mended.status, mended.out) == (0, whole.out), mended.err
    assert "Parts: 2, of which 1 are finished, 0 in the queue, 1 to be made." in mended.err
    check_alike(tmp_path / "whole", Path(asked["output"]), FOLDERS[:2])


def test_on_a_slurm_that_runs_here(xkeb_cli: Run, asked: dict[str, str], slurm: FakeSlurm, tmp_path: Path) -> None:
    submit = (
        "submit", *flags(asked), "--cases-per-job", "2", "--partition", "gpu", "--time", "1-2", "--gpus", "1", "--cpus", "4",
        "--memory", "40G", "--at-once", "2", "--sbatch-args", "qos=low",
    )  # fmt: skip
    slurm.hold()
    done = xkeb_cli(*submit)
    assert done.status == 0, done.err
    assert "Parts: 4, of which 0 are finished, 0 in the queue, 4 to be made." in done.err
    jobs = slurm.jobs()
    learn, parts, learned, join = (jobs[f"xkeb-{name}"] for name in ("learn", "parts", "learned-parts", "join"))
    assert "dependency" not in learn and "dependency" not in parts
    assert learned["dependency"] == f"afterok:{learn['id']}"
    assert learned["kill-on-invalid-dep"] == "yes"
    assert join["dependency"] == f"afterany:{parts['id']},afterany:{learned['id']}"
    assert parts["array"] == learned["array"] == "0-1%2"
    expected = {"partition": "gpu", "time": "1560", "cpus-per-task": "4", "mem": "40G", "qos": "low"}
    for job in (learn, parts, learned, join):
        assert expected.items() <= job.items()
    assert [job.get("gpus-per-node") for job in (learn, parts, learned, join)] == ["1", "1", "1", None]

    waiting = xkeb_cli(*submit)
    assert waiting.status == 0, waiting.err
    assert "Parts: 4, of which 0 are finished, 4 in the queue, 0 to be made." in waiting.err
    assert len(slurm.jobs()) == 4
    assert set(slurm.wait().values()) == {"0"}
    whole = xkeb_cli("run", *flags(asked | {"output": str(tmp_path / "whole")}))
    check_alike(tmp_path / "whole", Path(asked["output"]), FOLDERS)
    again = xkeb_cli(*submit)
    assert (again.status, again.out) == (0, whole.out)


def test_what_is_printed_does_the_same(
    xkeb_cli: Run, asked: dict[str, str], slurm: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)  # as where it isn't installed
    both = xkeb_cli("submit", *flags(asked), "--cases-per-job", "2", "--print")
    assert 'learned_parts_0=$(sbatch --parsable --dependency="afterok:${learn_0}" --kill-on-invalid-dep=yes' in both.out
    asked |= {"methods": "ft", "method-args": FT}
    printed = xkeb_cli("submit", *flags(asked), "--cases-per-job", "2", "--gpus", "a100:1", "--print")
    assert printed.status == 0, printed.err
    assert not slurm.jobs(), "nothing is submitted"
    bash(printed.out)
    assert set(slurm.wait().values()) == {"0"}
    jobs = slurm.jobs()
    assert jobs["xkeb-join"]["dependency"] == f"afterany:{jobs['xkeb-parts']['id']}"
    assert jobs["xkeb-parts"]["gpus-per-node"] == "a100:1"
    whole = xkeb_cli("run", *flags(asked | {"output": str(tmp_path / "whole")}))
    assert whole.status == 0, whole.err
    check_alike(tmp_path / "whole", Path(asked["output"]), FOLDERS[:2])
    refused = xkeb_cli("submit", *flags(asked | {"limit": "3"}))
    assert refused.status == 2
    assert (
        "xkeb submit without --print needs submitit, which isn't installed: pip install 'xkeb[slurm]'." in refused.err
    )


def test_parts_wait_for_learning_that_fails_and_then_aren_t_run(
    xkeb_cli: Run, asked: dict[str, str], slurm: FakeSlurm, fresh_cache: Path
) -> None:
    fresh_cache.mkdir()
    (fresh_cache / "mend").write_text("no folder can be made here")
    outcome = xkeb_cli("submit", *flags(asked), "--cases-per-job", "2")
    assert outcome.status == 0, outcome.err
    ended = slurm.wait()
    jobs = slurm.jobs()
    states = {name.removeprefix("xkeb-"): ended[job["id"]] for name, job in jobs.items()}
    assert states == {"learn": "1", "parts": "0", "learned-parts": "never", "join": "1"}
    assert sorted(answers(Path(asked["output"]) / CELL / "ft")) == ["0", "1", "2", "3"], "the other method is joined"


def test_time_that_is_up_and_the_same_part_goes_on(asked: dict[str, str], tmp_path: Path) -> None:
    """What submitit does on Slurm's signal: the command is asked to stop in order, and to be submitted once more."""
    code = (
        "import signal, sys\n"
        "from xkeb.cli.submitting.launched import Launched\n"
        "launched = Launched(sys.argv[1:])\n"
        "def again(number, frame):\n"
        "    print(launched.checkpoint().function.arguments == sys.argv[1:], flush=True)\n"
        "    sys.exit(5)\n"
        "signal.signal(signal.SIGUSR2, again)\n"
        "launched()\n"
    )
    asked |= {"methods": "ft", "method-args": FT, "limit": "40", "batch-size": "1"}
    journal = Path(asked["output"]) / CELL / "ft" / "cases.jsonl"
    command = [sys.executable, "-c", code, "run", *flags(asked)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 200
    while not (journal.is_file() and journal.read_text().count("\n") > 1):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGUSR2)  # all processes of the job
    out, err = process.communicate(timeout=100)
    assert (out, process.returncode) == ("True\n", 5)
    assert "xkeb: stopped; the same command goes on from here." in err
    assert 1 < journal.read_text().count("\n") < 40


def test_jobs_that_aren_t_cut_write_where_the_run_does(
    xkeb_cli: Run, asked: dict[str, str], slurm: FakeSlurm, tmp_path: Path
) -> None:
    asked |= {"methods": "ft", "method-args": FT, "protocol": "teacher_forcing"}
    printed = xkeb_cli("submit", *flags(asked), "--print")
    assert printed.status == 0, printed.err
    assert "xkeb-join" not in printed.out
    bash(printed.out)
    assert set(slurm.wait().values()) == {"0"}
    result = read(Path(asked["output"]) / CELL / "ft" / "result.json")
    assert (result["selection"], result["case_ids"]) == ("first", ["0", "1", "2", "3"])
    done = xkeb_cli("submit", *flags(asked), "--print")
    assert done.status == 0 and "sbatch" not in done.out and "Fine-tuning" not in done.err
    assert not (tmp_path / "results-parts" / "jobs.json").exists()


def test_a_run_over_more_cases_is_not_replaced(xkeb_cli: Run, asked: dict[str, str]) -> None:
    asked |= {"methods": "ft", "method-args": FT}
    assert xkeb_cli("run", *flags(asked)).status == 0
    refused = xkeb_cli("submit", *flags(asked | {"limit": "3"}), "--cases-per-job", "2", "--print")
    assert refused.status == 2
    assert "holds 1 cases that this run hasn't, and the joined result would take their place" in refused.err
    other = xkeb_cli("submit", *flags(asked | {"seed": "1"}), "--print")
    assert other.status == 2
    assert "was made with other settings (seed)" in other.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--time", "soon"), "--time takes minutes, hours:minutes:seconds or days-hours, not 'soon'."),
        (("--time", "0"), "--time must be at least a minute, not '0'."),
        (("--gpus", "all"), "--gpus takes a number, or TYPE:NUMBER, not 'all'."),
        (("--sbatch-args", "qos"), "--sbatch-args takes key=value pairs separated by commas, not 'qos'."),
        (("--cases-per-job", "0"), "0 is not in the range x>=1"),
        (("--fresh",), "No such option"),
    ],
)
def test_what_can_t_be_is_refused(
    xkeb_cli: Run, asked: dict[str, str], arguments: tuple[str, ...], sentence: str
) -> None:
    outcome = xkeb_cli("submit", *flags(asked), *arguments)
    assert outcome.status == 2
    assert sentence in outcome.err


def test_times_as_slurm_writes_them() -> None:
    times = ("90", "90:30", "1:30:00", "2-12", "1-0:30", "0-1:30:30")
    assert [minutes(text) for text in times] == [90, 91, 90, 3600, 1470, 91]
    with pytest.raises(RequestError):
        minutes("1:2:3:4")


def test_a_part_s_command_asks_for_all_that_the_run_asks_for(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """Read again as a command line, it is the same configuration but for the job and its cases."""
    (tmp_path / "tasks").mkdir()
    config = RunConfig(
        tasks=["bizsre_mini_en2zh"],
        models=["hf:one"],
        methods=["ft", "kn"],
        model_args={"path": str(tiny_folders["llama"])},
        method_args={"ft.lr": 1e-05},
        method_defaults={"ft.steps": 7},
        metrics=["f1", "em"],
        protocols=["teacher_forcing", "paper"],
        protocol_args={"paper.reliability": "english"},
        prompt="plain",
        limit=5,
        train_size=20,
        device="cpu",
        dtype="float32",
        batch_size=2,
        seed=3,
        data_dir=tmp_path,
        output=tmp_path / "out put",
        include=[tmp_path / "tasks"],
        observers={"event-log": {"path": str(tmp_path / "a, b.jsonl")}},
    )
    cells = cut(plan_run(config).jobs, config, 2, tmp_path / "parts")
    assert [part.case_ids for part in cells[0].parts] == [["0", "1"], ["2", "3"], ["4"]]
    arguments = run_arguments(config, cells[0].parts[1])
    context = run_command.make_context("run", arguments[1:])
    with context:
        read_back = run_config(context.params)
    changed = {
        "methods": ["ft"],
        "method_args": {"ft.lr": 1e-05, "ft.steps": 7},
        "method_defaults": {},
        "cases": ["2", "3"],
        "limit": None,
        "output": cells[0].parts[1].output,
        "command": read_back.command,
    }
    expected = {name: changed.get(name, getattr(config, name)) for name in RunConfig.__dataclass_fields__}
    for name, value in expected.items():
        found = getattr(read_back, name)
        assert (list(found) if isinstance(found, tuple) else found) == (
            list(value) if isinstance(value, tuple) else value
        ), name
    assert not is_done(cells[0].job, config, config.output, ["0"])
    assert isinstance(context, click.Context)
