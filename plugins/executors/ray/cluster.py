"""A cluster of Ray: one of the run's own on this machine, or one that is there."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from xkeb.errors import RequestError, one_line, optional_import
from xkeb.utils.importing import importing

LONGEST = 45
"""Characters of the folder below which Ray puts its sockets: the path of a socket has 107 at most."""
PATIENCE = 10.0
"""Seconds in which an address must answer."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no reports to anybody
    # Ray would have every worker run `uv run` again, in an environment of its own, where the driver was started so.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # A worker without cards sees those that its environment says: none, see `worker_environment`.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # By default, a worker gives way to whatever else runs on its machine: on a busy one it had a fifth of a core.
    "RAY_worker_niceness": "0",
}
PASSED_ON = ("XKEB_CACHE", "XKEB_DATA_DIR", "HF_HUB_OFFLINE", "HF_HOME", "TOKENIZERS_PARALLELISM")
"""Variables that a worker on another machine must not lack."""


def import_ray() -> Any:
    """The package, with what must be set before it is imported.

    Raises:
        RequestError: it isn't installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return optional_import("ray", "ray", "Executor 'ray'")


def worker_environment(threads: int, gpus: float) -> dict[str, str]:
    """Variables of a worker's process."""
    # Ray sets OMP_NUM_THREADS to 1 where nobody else does. Its own numbers of threads are no part of the job's.
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    variables |= {name: value for name in PASSED_ON if (value := os.environ.get(name)) is not None}
    if not gpus:  # it would see every card of its machine
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


@contextlib.contextmanager
def joined(address: str | None, *, cpus: int, gpus: int | None) -> Iterator[Any]:
    """Inside, this process belongs to a cluster. Gives the package. Not to be entered by the first thread: there Ray would have
    SIGTERM leave the process at once.

    Args:
        address: of one that is there, as ``ray.init`` takes it. None: one of the run's own, on this machine, for as long as
            the run takes.
        cpus: of an own one. Ray starts as many processes at once; left to itself, as the machine has cores.
        gpus: likewise; None for all of this machine's.

    Raises:
        RequestError: there is none at the address, or it asks for a token that isn't here.
    """
    ray = import_ray()
    common = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    with contextlib.ExitStack() as stack:
        if address is None:
            folder = _short_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            _make_token()
            own = {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False, "_temp_dir": folder}
            ray.init(address="local", **own, **common)
        else:
            _check_answers(address)
            try:
                ray.init(address=address, **common)
            except ray.exceptions.AuthenticationError as error:
                raise RequestError(
                    f"The Ray cluster at {address} asks for a token: put that of its head into ~/.ray/auth_token, or name "
                    "its file in RAY_AUTH_TOKEN_PATH."
                ) from error
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise RequestError(f"There is no Ray cluster at {address}: {one_line(error)}.") from error
        stack.callback(ray.shutdown)
        if address is None:
            stack.callback(_kill_autoscaler)
        # Else Ray tells of each lost worker in nine lines of the standard output, where scores go.
        ray._private.worker._worker_logs_enabled = False
        yield ray


class Cluster:
    """Workers to be had of a cluster. The first ones start at once."""

    def __init__(self, ray: Any, workers: int, threads: int, cores: int, gpus: float, start_seconds: float) -> None:
        """
        Args:
            workers: that a pool has at a time.
            threads: of torch in each.
            cores: of the cluster that are kept for each.
            gpus: cards of each, or a part of one.
            start_seconds: in which one must have loaded its model.
        """
        self.ray, self.workers, self.start_seconds = ray, workers, start_seconds
        actor = ray.remote(WorkerProcess).options(
            num_cpus=cores,
            num_gpus=gpus,
            max_restarts=0,  # what a worker had in hand is given to another by the driver, which knows what is done
            max_task_retries=0,
        )
        environment = worker_environment(threads, gpus)
        self._new = lambda: actor.remote(threads, environment)
        self._started = [self._new() for _ in range(workers)]

    def start(self) -> Any:
        """A worker that nobody has. Returns at once."""
        return self._started.pop() if self._started else self._new()


class WorkerProcess:
    """A `RemoteWorker` in a process of its own, which imports torch in that process alone."""

    def __init__(self, threads: int, environment: Mapping[str, str]) -> None:
        """
        Args:
            environment: to be set before torch is imported. Ray would start another process for it, though one is there.
        """
        os.environ.update(environment)
        with importing():
            from xkeb_plugins.executors.ray.remote_worker import RemoteWorker

        self._worker = RemoteWorker(threads)

    def call(self, name: str, *args: Any) -> Any:
        return self._worker.call(name, *args)


def _kill_autoscaler() -> None:
    """Ends the process that would add machines to an own cluster. Ray would wait a second for it."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it is gone already
            if any(part.endswith("autoscaler/_private/monitor.py") for part in process.cmdline()):
                process.kill()


def _check_answers(address: str) -> None:
    """Refuses an address at which nobody answers; Ray would try for many minutes.

    Raises:
        RequestError: says so.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:  # such as `auto`
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise RequestError(f"There is no Ray cluster at {address}: {one_line(error)}.") from error


def _short_folder() -> str:
    """A new folder whose path is short enough for the sockets below it."""
    name = tempfile.mkdtemp(prefix="xkeb-ray-")
    if len(name) > LONGEST:
        Path(name).rmdir()
        name = tempfile.mkdtemp(prefix="xkeb-ray-", dir="/tmp")
    return name


def _make_token() -> None:
    """An own cluster asks its processes for a token since Ray 2.59. Without one in the environment, Ray would put it into the
    home folder. It is the same for the whole process, since Ray reads it once."""
    if not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
