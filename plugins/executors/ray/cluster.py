"""A cluster of Ray: one of the run's own on this machine, or one that is there."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError, one_line, optional_import

LONGEST = 45
"""Characters of the folder below which Ray puts its sockets: the path of a socket has 107 at most."""
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
def joined(address: str | None, *, cpus: int, gpus: float) -> Iterator[Any]:
    """Inside, this process belongs to a cluster. Gives the package.

    Args:
        address: of one that is there, as ``ray.init`` takes it. None: one of the run's own, on this machine, for as long as
            the run takes.
        cpus: of an own one. Left to itself, Ray starts as many processes as the machine has cores.
        gpus: likewise.

    Raises:
        RequestError: there is none at the address, or it asks for a token that isn't here.
    """
    ray = import_ray()
    common = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    with contextlib.ExitStack() as stack:
        at_sigterm = signal.getsignal(signal.SIGTERM)
        if address is None:
            folder = _short_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            _make_token()
            own = {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False, "_temp_dir": folder}
            ray.init(address="local", **own, **common)
        else:
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
        # Else Ray tells of each lost worker in nine lines of the standard output, where scores go.
        ray._private.worker._worker_logs_enabled = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)  # Ray has put its own there, which leaves the process at once
        yield ray


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
