"""What a worker's process holds: the model, and the job that it answers cases of. Knows nothing of Ray."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from xkeb.errors import PluginError, RequestError, XkebError, one_line
from xkeb.evaluation.batches import auto_batch
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.executors.shared_model import SharedModel
from xkeb.evaluation.finished import code_contents
from xkeb.evaluation.job import Job
from xkeb.evaluation.state import ProcessState
from xkeb.evaluation.team import Before, JobAbout, LocalTeam, Spent, Wanted
from xkeb.evaluation.worker import Batch
from xkeb.models.memory import retain_freed_memory
from xkeb.registry.manager import get_plugins
from xkeb.results.environment import describe_environment
from xkeb.results.lines import BaselineRecord
from xkeb.types import Case
from xkeb.utils.artifacts import artifacts_used, locked
from xkeb.utils.files import replacing
from xkeb.utils.paths import cache_root


def software() -> dict[str, str]:
    """What must be the same where cases of one job are answered, or tokens differ."""
    versions = describe_environment(torch.device("cpu"))
    return {
        "xkeb": str(versions["xkeb"]),
        "python": platform.python_version().rpartition(".")[0],
        **versions["packages"],
        "plugins": ", ".join(sorted(map(str, get_plugins().packages.values()))),
        "a hash of the code": code_contents()[:12],
    }


def check_software(here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Refuses a worker whose software is another.

    Args:
        here: of the process that plans.
        there: of the worker.

    Raises:
        RequestError: says what differs.
    """
    for what in {**here, **there}:
        ours, theirs = here.get(what) or "none", there.get(what) or "none"
        if ours != theirs:
            raise RequestError(
                f"A worker has other software than this process: {what} is {theirs} there, and {ours} here. Install the same "
                "on all machines."
            )


@dataclass(frozen=True)
class Begun:
    """A job on a worker's model."""

    about: JobAbout
    batch: int
    """Cases that it edits together when that is left to it."""


@dataclass(frozen=True)
class Answered:
    """What came of a chunk."""

    batches: list[tuple[list[str], Batch]]
    """Each with the ids of its cases."""
    shrunk: list[int]
    """Sizes of a batch for which memory was enough, where it ran out."""
    spent: Spent
    """Of the job up to now, on this worker."""


class _Shrinking(RunObserver):
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def batch_shrunk(self, size: int) -> None:
        self.sizes.append(size)


class RemoteWorker:
    """Loads a model once, and answers chunks of cases of one job after another. One call at a time."""

    def __init__(self, threads: int) -> None:
        """
        Args:
            threads: of torch. By another number, sums are taken in another order, and tokens can differ.
        """
        torch.set_num_threads(threads)

    def call(self, name: str, *args: Any) -> Any:
        """Calls a method.

        Raises:
            XkebError: whatever it raised, as one that any process can read.
        """
        try:
            return getattr(self, name)(*args)
        except XkebError:
            raise
        except SystemExit as error:
            raise PluginError(f"The method ended its process ({one_line(error)}).") from error
        except Exception as error:
            raise XkebError(one_line(error)) from error

    def open(self, job: Job, config: RunConfig) -> dict[str, str]:
        """Loads the model. Returns `software`."""
        here = software()
        self.model = SharedModel(job, config, RunObserver())
        self.model.load()
        self.model.take()  # raises what loading raised
        return here

    def begin(self, job: Job, config: RunConfig) -> Begun:
        """The next job."""
        self.model.load()  # anew, where the job before it changed it
        backbone, seconds = self.model.take()
        self.process = ProcessState()
        self.observer = _Shrinking()
        self.team = LocalTeam(job, backbone, config, self.observer, seconds)
        self.open_blocks = contextlib.ExitStack()
        self.open_blocks.enter_context(retain_freed_memory())
        return Begun(self.team.about, auto_batch(backbone.device))

    def learn(self) -> list[str]:
        """Has the method learn. Returns the files of what it learned or read, below the cache."""
        with artifacts_used() as used:
            self.team.learn(lambda what, done, total: None)
        return [str(path.relative_to(cache_root())) for path in used if path.is_file()]

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Those of the files that aren't in this machine's cache."""
        return [name for name in names if not (cache_root() / name).is_file()]

    def artifact(self, name: str) -> bytes:
        return (cache_root() / name).read_bytes()

    def keep(self, name: str, content: bytes) -> None:
        path = cache_root() / name
        with locked(path), replacing(path) as temporary:
            temporary.write_bytes(content)

    def answer_before(self, cases: Sequence[Case], number: int) -> tuple[list[BaselineRecord], Spent]:
        return [record for some in self.team.answer_before(number, cases) for record in some], self.team.spent()

    def why_unsupported(self, cases: Sequence[Case]) -> dict[str, str]:
        return dict(self.team.why_unsupported(cases))

    def edit_and_ask(self, cases: Sequence[Case], wanted: Wanted, before: Before) -> Answered:
        batches = [([case.id for case in some], batch) for some, batch in self.team.edit_and_ask(cases, wanted, before)]
        sizes, self.observer.sizes = self.observer.sizes, []
        return Answered(batches, sizes, self.team.spent())

    def end(self) -> tuple[str, str]:
        """Puts the process back. Returns what the job left changed of it, and of the model, in words."""
        self.open_blocks.close()
        return self.process.restore(), self.model.changed()
