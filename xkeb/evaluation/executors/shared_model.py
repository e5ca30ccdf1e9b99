"""The model of several jobs: loaded once, compared after each, and what becomes of a job that changed it."""

from __future__ import annotations

import contextlib
import gc
import shutil
import time

from xkeb.errors import PluginError, one_line
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.sequences.saved import FOLDER
from xkeb.evaluation.state import Snapshot, difference, model_state
from xkeb.models.backbone import Backbone
from xkeb.models.loader import load_backbone
from xkeb.models.oom import detach_traceback
from xkeb.results.damage import DAMAGE
from xkeb.results.lines import CASES, RETENTION
from xkeb.results.result import RESULT

SPOILT = "cases.spoilt.jsonl"
"""What the cases of a job are called that changed the model: kept to be looked at, never gone on from."""


class SharedModel:
    """The model of several jobs, loaded when the first needs it, and again after one that changed it."""

    def __init__(self, job: Job, config: RunConfig, observer: RunObserver) -> None:
        self.job, self.config, self.observer = job, config, observer
        self._backbone: Backbone | Exception | None = None
        self._state: Snapshot = {}
        self._seconds = 0.0

    def load(self) -> None:
        """Loads it, where it isn't there. What that raises is kept for `take`."""
        if self._backbone is not None:
            return
        started = time.perf_counter()
        try:
            self._backbone = _load(self.job, self.config, self.observer)
            self._state = model_state(self._backbone)
        except SystemExit as error:
            self._backbone = PluginError(f"Loading {self.job.model!r} ended the process ({one_line(error)}).")
        except Exception as error:  # noqa: BLE001 - raised by `take`, for each job of the model
            self._backbone = detach_traceback(error)
        self._seconds = time.perf_counter() - started

    def take(self) -> tuple[Backbone, float]:
        """The model, and the seconds that loading it took, if that was for this job."""
        assert self._backbone is not None
        if isinstance(self._backbone, Exception):
            raise self._backbone
        seconds, self._seconds = self._seconds, 0.0
        return self._backbone, seconds

    def changed(self) -> str:
        """What is no longer as it was loaded, in words. Then the model is let go of."""
        assert isinstance(self._backbone, Backbone)
        changed = difference(self._state, model_state(self._backbone))
        if changed:
            self._backbone = None
            gc.collect()
        return changed


def set_aside(job: Job) -> None:
    """Takes the cases and the result of a job out of the way, so that no run goes on from them."""
    for measurement in job.measurements:
        for path in (
            measurement.folder / RESULT,
            measurement.folder / DAMAGE,
            *measurement.folder.glob(RETENTION.format("*")),
        ):
            path.unlink(missing_ok=True)
        shutil.rmtree(measurement.folder / FOLDER, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (measurement.folder / CASES).replace(measurement.folder / SPOILT)


def _load(job: Job, config: RunConfig, observer: RunObserver) -> Backbone:
    """The model of a job, under its display name."""
    observer.model_loading(job.model)
    name = f"{job.choice.plugin}:{job.model}"
    return load_backbone(name, device=config.device, dtype=config.dtype, **job.model_args)


def changed_model(job: Job, changed: str) -> PluginError:
    """What is said of a job that didn't leave the model as it was."""
    return PluginError(
        f"Method {job.method!r} left the model changed: {changed}. Its answers can't be relied on and don't count; "
        "the next job gets the model loaded anew."
    )
