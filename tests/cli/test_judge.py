"""`xkeb judge`: what it says before it asks, what it prints, and everything that a user can get wrong."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer, Reply, completion, judge, serving
from result_files import read_result
from small_jobs import TASK

pytest_plugins = ("command_line", "judge_server")

KEY = "sk-verySecret123"


@pytest.fixture(autouse=True)
def own_verdicts(fresh_cache: Path) -> None:
    """No verdict of another test is known."""


@pytest.fixture
def run_judge(
    xkeb_cli: Callable[..., Any], judge_server: JudgeServer, free_answers: Path, tmp_path: Path
) -> Callable[..., Any]:
    """The command with what it needs."""

    def run(*arguments: object, url: str | None = None) -> Any:
        endpoint = ("--endpoint", url or judge_server.url, "--judge-model", "some/model", "--output", tmp_path / "out")
        return xkeb_cli("judge", free_answers, *endpoint, *arguments)

    return run


def below(output: Path) -> Path:
    return output / TASK / "llama" / "ft-generate"


def sentence(outcome: Any) -> str:
    assert outcome.status == 2, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("xkeb: ")
    return str(line)


def test_cost_first_and_agreement_last(run_judge: Callable[..., Any], judge_server: JudgeServer) -> None:
    outcome = run_judge("--yes", "--price-in", "3", "--price-out", "15")
    assert outcome.status == 0, outcome.err
    prompts = [body["messages"][0]["content"] for body in judge_server.bodies]
    tokens = sum(sum(one.isascii() for one in text) // 4 + sum(not one.isascii() for one in text) for text in prompts)
    cost = (3 * tokens + 15 * 10 * 30) / 1e6
    assert outcome.out.startswith(
        f"Judge: some/model at {judge_server.url}\n"
        "Results: 1; different questions about answers: 30\n"
        "  6 answers need no judge: the answer says nothing\n"
        "  3 answers need no judge: it is compared with itself\n"
        "  3 answers need no judge: what it is compared with says nothing\n"
        "  0 verdicts are known, 30 questions are to be asked\n"
        f"  about {tokens:,} tokens to the judge and 300 from it, more if it thinks aloud\n"
        f"  about {cost:,.4f} at 3 and 15 a million tokens\n"
    )
    assert "\treliability.en.judge\t" in outcome.out
    told = {
        tuple(line.split()[:2]): line.split()[2:]
        for line in outcome.out.splitlines()
        if line.startswith(("exact", "em"))
    }
    assert told["exact", "all"] == ["15", "40.0%", "0.00", "6", "9", "0"]
    assert told["exact", "English"] == ["9", "66.7%", "0.00", "6", "3", "0"]
    assert told["em", "Chinese"][:2] == ["6", "0.0%"]
    assert "3 answers without a verdict: what it is compared with says nothing" in outcome.out


def test_the_second_time_nothing_is_asked_and_nobody_has_to_agree(
    run_judge: Callable[..., Any], judge_server: JudgeServer
) -> None:
    assert run_judge("--yes").status == 0
    judge_server.bodies.clear()
    outcome = run_judge()
    assert outcome.status == 0, outcome.err
    assert "30 verdicts are known, 0 questions are to be asked" in outcome.out
    assert judge_server.bodies == []
    assert run_judge("--fresh", "--yes").status == 0
    assert len(judge_server.bodies) == 30


def test_where_nobody_can_agree_nothing_is_asked(
    run_judge: Callable[..., Any], judge_server: JudgeServer, tmp_path: Path
) -> None:
    assert "30 questions are to be asked, and nobody is here to agree: say --yes." in sentence(run_judge())
    assert judge_server.bodies == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("word", "count"), [("n", 0), ("", 0), ("y", 30)])
def test_somebody_at_a_terminal_is_asked(
    judge_server: JudgeServer, free_answers: Path, tmp_path: Path, word: str, count: int
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "xkeb.cli", "judge", str(free_answers), "--endpoint", judge_server.url]
    command += ["--judge-model", "m", "--output", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        os.write(ours, f"{word}\n".encode())
        assert running.stdout
        said = running.stdout.read()
    os.close(ours)
    os.close(theirs)
    assert running.returncode == 0, said
    assert "Go on? [y/N]" in said
    assert ("Nothing was asked." in said) == (count == 0)
    assert len(judge_server.bodies) == count
    assert below(tmp_path / "out").exists() == (count > 0)


def test_a_process_that_is_killed_loses_no_verdict(
    judge_server: JudgeServer, free_answers: Path, tmp_path: Path, fresh_cache: Path
) -> None:
    """With `kill -9`, in the middle. What is under way then may be asked again; nothing else is."""

    def slowly(record: Any) -> Any:
        time.sleep(0.05)
        return judge(record)

    judge_server.answer = slowly
    command = [sys.executable, "-m", "xkeb.cli", "judge", str(free_answers), "--endpoint", judge_server.url, "--yes"]
    command += ["--judge-model", "m", "--output", str(tmp_path / "out"), "--concurrency", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        end = time.monotonic() + 60
        while len(judge_server.bodies) < 9 and time.monotonic() < end:
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    time.sleep(0.2)  # the server ends what it was asked
    asked = len(judge_server.bodies)
    file = sqlite3.connect(fresh_cache / "judge" / "verdicts.sqlite")
    (known,) = file.execute("SELECT count(*) FROM verdicts").fetchone()
    file.close()
    assert asked - 2 <= known + 2 and 5 <= known < 30
    judge_server.bodies.clear()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert len(judge_server.bodies) == 30 - known
    assert read_result(below(tmp_path / "out"))["judge"]["cached"] == known


HEEDING = "import os, signal, sys; [signal.signal(n, 0) for n in (2, 15)]; os.execvp(sys.argv[1], sys.argv[1:])"
"""Runs a command that heeds both signals, whatever these tests themselves were told to ignore: SIG_DFL is 0."""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_is_stopped_waits_for_no_reply(
    judge_server: JudgeServer, free_answers: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    over = threading.Event()

    def never(record: Any) -> Any:
        over.wait(60)
        return judge(record)

    judge_server.answer = never
    command = [sys.executable, "-c", HEEDING, sys.executable, "-m", "xkeb.cli", "judge", str(free_answers), "--yes"]
    command += ["--endpoint", judge_server.url, "--judge-model", "m", "--output", str(tmp_path / "out")]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as running:
        while len(judge_server.bodies) < 4 and running.poll() is None:
            time.sleep(0.005)
        began = time.monotonic()
        running.send_signal(number)
        assert running.wait(30) == status
        assert time.monotonic() - began < 20
        over.set()
        assert running.stderr
        assert running.stderr.read().strip() == "xkeb: stopped; the same command goes on from here."
    assert not (tmp_path / "out").exists()


def test_an_endpoint_that_dies_on_the_way_leaves_a_result_and_a_status(
    run_judge: Callable[..., Any], judge_server: JudgeServer, tmp_path: Path
) -> None:
    judge_server.answer = lambda record: judge(record) if len(judge_server.bodies) <= 6 else (503, {}, b"")
    outcome = run_judge("--yes", "--retries", "0", "--concurrency", "1")
    assert outcome.status == 1
    assert outcome.err.splitlines() == [
        "xkeb: The endpoint gave no reply to 24 of 30 questions; the same command asks them again."
    ]
    assert re.search(r"\d+ answers without a verdict: HTTP 503\n", outcome.out)
    assert re.search(r"\d+ answers without a verdict: not asked any more: HTTP 503\n", outcome.out)
    counted = read_result(below(tmp_path / "out"))["judge"]["undecided"]
    assert sum(counted.values()) == 24 + 3
    judge_server.answer = judge
    again = run_judge("--yes")
    assert again.status == 0 and "6 verdicts are known, 24 questions" in again.out


def test_a_key_is_in_no_file_and_no_message(
    run_judge: Callable[..., Any], judge_server: JudgeServer, free_answers: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """The endpoint says it back in all that it says."""
    monkeypatch.setenv("MY_KEY", KEY)
    replies: dict[str, Reply] = {
        "Paris": (400, {"X-Key": KEY}, KEY.encode()),
        "Rome": (200, {}, completion(f"{KEY} is incorrect")),
    }
    verdict: Reply = (200, {}, completion(f'{{"verdict": "correct", "key": "{KEY}"}}'))
    judge_server.answer = lambda record: replies.get(record["answer"], verdict)
    outcome = run_judge("--yes", "--api-key-env", "MY_KEY", "--retries", "0", "--log-level", "debug")
    assert outcome.status == 1
    assert {headers["Authorization"] for headers in judge_server.headers} == {f"Bearer {KEY}"}
    assert KEY not in outcome.out + outcome.err
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in written} == {".json", ".jsonl", ".sqlite"}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    judge_server.answer = lambda _: (403, {}, KEY.encode())
    refused = run_judge("--yes", "--fresh", "--api-key-env", "MY_KEY")
    assert KEY not in sentence(refused)
    given = run_judge("--yes", "--api-key-env", KEY)
    assert "takes the name of an environment variable" in sentence(given) and KEY not in given.out + given.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--endpoint", "localhost:8000"), "takes an address such as http://localhost:8000/v1, not 'localhost:8000'"),
        (("--endpoint", "http://me:secret@localhost/v1"), "without a user, a query or a fragment"),
        (("--judge-model", ""), "--judge-model takes the name of a model at the endpoint, not ''."),
        (("--judge-args", "temperature"), "--judge-args takes key=value pairs"),
        (("--judge-args", "messages=[]"), "--judge-args can't set 'messages'"),
        (("--judge-args", "api_key=abc"), "'api_key' is named as a secret"),
        (("--api-key-env", "NO_SUCH_VARIABLE"), "an environment variable that holds the key; there is none."),
        (("--api-key-env", ""), "an environment variable that holds the key; there is none."),
        (("--price-in", "1"), "name --price-in and --price-out, or neither."),
        (("--price-in", "-1"), "'--price-in'"),
        (("--price-in", "much"), "'--price-in'"),
        (("--concurrency", "0"), "'--concurrency'"),
        (("--timeout", "0"), "'--timeout'"),
        (("--timeout", "nan"), "--timeout takes a number, not nan."),
        (("--price-in", "inf", "--price-out", "1"), "--price-in takes a number, not inf."),
        (("--retries", "-1"), "'--retries'"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_a_wrong_request_is_a_sentence(
    run_judge: Callable[..., Any], judge_server: JudgeServer, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in sentence(run_judge("--yes", *arguments))
    assert judge_server.bodies == [] and not (tmp_path / "out").exists()


def test_nobody_at_the_endpoint(run_judge: Callable[..., Any], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    line = sentence(run_judge("--yes", "--retries", "0", url=url))
    assert f"{url} gave no reply to any question: the endpoint can't be reached (" in line
    assert not (tmp_path / "out").exists()


def test_a_slow_endpoint(run_judge: Callable[..., Any], judge_server: JudgeServer) -> None:
    def late(record: Any) -> Any:
        if record["answer"] == "Rome":
            time.sleep(5)
        return judge(record)

    judge_server.answer = late
    outcome = run_judge("--yes", "--timeout", "2", "--retries", "0")
    assert outcome.status == 1
    assert "3 answers without a verdict: no reply within 2 s" in outcome.out


def test_the_library_for_requests_is_missing(run_judge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    line = sentence(run_judge("--yes"))
    assert "xkeb judge needs httpx2, which isn't installed: pip install 'xkeb[judge]'." in line


def test_two_judges_are_not_compared(
    run_judge: Callable[..., Any],
    xkeb_cli: Callable[..., Any],
    judge_server: JudgeServer,
    free_answers: Path,
    tmp_path: Path,
) -> None:
    assert run_judge("--yes").status == 0
    with serving() as other:
        other.answer = lambda _: (200, {}, completion("incorrect"))
        options = ("--endpoint", other.url, "--judge-model", "strict", "--output", tmp_path / "strict", "--yes")
        assert xkeb_cli("judge", free_answers, *options).status == 0
    outcome = xkeb_cli("compare", below(tmp_path / "out"), below(tmp_path / "strict"))
    assert outcome.status == 0, outcome.err
    said = " ".join((outcome.out + outcome.err).split())
    assert "They differ in judge, whose verdicts are left out: some/model" in said and "and strict" in said
    assert not re.search(r"^\w+ +\w+ +judge ", outcome.out, re.MULTILINE)
    same = xkeb_cli("compare", below(tmp_path / "out"), below(tmp_path / "out"))
    assert re.search(r"^ *\w+ +\w+ +judge ", same.out, re.MULTILINE) and "They differ" not in same.out + same.err
