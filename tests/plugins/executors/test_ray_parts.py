"""Parts of the Ray executor that need no cluster: options, environments, what travels from one worker to another."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_jobs import make_config

from xkeb.errors import RequestError
from xkeb.evaluation.executors.interrupts import StopSignal
from xkeb.evaluation.planning import plan_run
from xkeb_plugins.executors.ray.cluster import LONGEST, _short_folder, worker_environment
from xkeb_plugins.executors.ray.remote_worker import RemoteWorker, check_software, software

pytest_plugins = ("command_line", "small_jobs")


def test_without_the_package_a_sentence_says_how_to_get_it(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = run("--executor", "ray", "--workers", "2")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "xkeb: Executor 'ray' needs ray, which isn't installed: pip install 'xkeb[ray]'.\n"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--executor", "ray", "--workers", "0"], "it needs at least 1 worker, not 0"),
        (["--executor", "ray", "--executor-args", "gpus_per_worker=1.5"], "a whole number of them, not 1.5"),
        (["--executor", "ray", "--executor-args", "threads=0"], "at least 1 thread, not 0"),
        (["--executor", "ray", "--executor-args", "worker=2"], "did you mean 'workers'?"),
        (["--executor", "ray", "--workers", "2", "--executor-args", "workers=2"], "both say how many"),
        (["--workers", "2"], "Executor 'local' has no options, so no 'workers'"),
    ],
)
def test_a_wrong_number_or_option_is_refused(run: Callable[..., Any], flags: list[str], sentence: str) -> None:
    pytest.importorskip("ray")
    outcome = run(*flags)
    assert (outcome.status, outcome.out) == (2, "")
    assert sentence in outcome.err and len(outcome.err.splitlines()) == 1


def test_a_worker_has_the_threads_it_is_given_and_no_card_that_it_isnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", "/somewhere")
    alone = worker_environment(3, 0)
    assert alone["OMP_NUM_THREADS"] == "3" and alone["CUDA_VISIBLE_DEVICES"] == ""
    assert alone["XKEB_CACHE"] == "/somewhere"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(3, 1), "Ray says which"


def test_the_folder_of_the_sockets_is_short_wherever_temporary_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    name = _short_folder()
    assert len(name) <= LONGEST and Path(name).is_dir() and not list(long.iterdir())
    Path(name).rmdir()


def test_other_software_is_refused_with_what_differs() -> None:
    here = software()
    check_software(here, dict(here))
    assert {"xkeb", "torch", "transformers", "plugins", "a hash of the code"} <= here.keys()
    with pytest.raises(RequestError, match=r"torch is 2\.12\.0 there, and 2\."):
        check_software(here, here | {"torch": "2.12.0"})
    with pytest.raises(RequestError, match=r"plugins is mine 1[.]0 there, and none here"):
        check_software(here | {"plugins": ""}, here | {"plugins": "mine 1.0"})


def test_what_one_worker_learned_another_reads_whose_cache_lacks_it(
    tiny_folders: dict[str, Path], tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = make_config(
        tiny_folders, tmp_path / "out", ["ike"], limit=2, train_size=20, method_args={"ike.encoder": str(tiny_bert)}
    )
    (job,) = plan_run(asked).jobs
    workers = [RemoteWorker(1), RemoteWorker(1)]
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "one"))
    for worker in workers:
        worker.call("open", job, asked)
        worker.call("begin", job, asked)
    names = workers[0].call("learn")
    assert len(names) == 1 and workers[0].call("lacking", names) == []
    content = workers[0].call("artifact", names[0])
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "two"))
    assert workers[1].call("lacking", names) == names
    workers[1].call("keep", names[0], content)
    written = (tmp_path / "two" / names[0]).stat().st_mtime_ns
    assert workers[1].call("learn") == names, "the same key"
    assert (tmp_path / "two" / names[0]).stat().st_mtime_ns == written, "read, not made again"
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "one"))  # as it was when they began
    for worker in workers:
        assert worker.call("end") == ("", "")


def test_whatever_a_method_raises_reaches_the_other_process_as_one_sentence() -> None:
    class Ends(RemoteWorker):
        def learn(self) -> list[str]:
            raise SystemExit(3)

    with pytest.raises(Exception, match="ended its process"):
        Ends(1).call("learn")
    with pytest.raises(Exception, match=r"^AttributeError: .*no attribute 'nothing'"):
        RemoteWorker(1).call("nothing")


def test_the_first_signal_is_noted_and_takes_its_way_when_it_is_passed_on() -> None:
    told = []
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopSignal(lambda: told.append(1)) as stop:
            stop.pass_on()
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.noted and told == [1]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                stop.pass_on()
            assert not stop.noted
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
