"""result.json: what a cell of the table is, and how it is computed from its cases."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.stats import bootstrap

from xkeb.errors import RequestError
from xkeb.types import Score
from xkeb.utils.files import write_atomically

SCHEMA_VERSION = 2
"""Of result.json. 2 brought `seed`, `metrics` and the phases of `timing`."""
RESAMPLES = 2000
"""Bootstrap resamples of an interval; the generator's seed is fixed, so that a result is a function of its cases."""

Scores = dict[str, dict[str, dict[str, Score]]]
"""property -> language -> metric -> score."""


@dataclass(frozen=True, slots=True)
class Result:
    """One cell: a task, a backbone, a method. The fields are those of the file."""

    schema_version: int
    task: Mapping[str, Any]
    """name, version, source, target, dataset {name, sha256, n_cases}."""
    model: Mapping[str, Any]
    """name, dtype, n_parameters, sha256."""
    method: Mapping[str, Any]
    """name, params."""
    protocol: str
    metrics: Sequence[str]
    """In the order asked for."""
    seed: int
    """Of the run; a method that draws has it among its params."""
    scores: Scores
    scores_before: Scores
    """The same of the untouched model, on the same cases: what an edit has to be measured against."""
    skipped: Sequence[Mapping[str, str]]
    """case_id and reason of each case that could not be run."""
    case_ids: Sequence[str]
    """The cases behind `scores`; the journal may hold more, from a run with a higher limit."""
    timing: Mapping[str, Any]
    """edit_seconds and evaluate_seconds of `case_ids`, whichever run made them; wall_seconds, peak_memory_bytes and phases
    {`xkeb.progress.Phase`: seconds} of the last run. The phases but ``load`` add up to wall_seconds."""
    environment: Mapping[str, Any]
    command: str
    settings: str
    """Hash of everything the cases depend on; each line of the journal carries it."""

    def save(self, folder: Path) -> None:
        text = json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=2, allow_nan=False, default=str)
        path = folder / "result.json"
        try:
            write_atomically(path, text + "\n")
        except OSError as error:
            raise RequestError(f"Can't write {path}: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a file written by `save`."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["schema_version"] != SCHEMA_VERSION:
                raise ValueError("it " + other_version(values["schema_version"]))
            for key in ("scores", "scores_before"):
                values[key] = _read_scores(values[key])
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RequestError(f"{path} is not a result of schema version {SCHEMA_VERSION}: {error}.") from error


def other_version(version: int) -> str:
    """What is to be said of a file of another schema version, after its name."""
    if version > SCHEMA_VERSION:
        return f"is of schema version {version}, newer than the {SCHEMA_VERSION} that this xkeb reads"
    return (
        f"is of schema version {version}, older than the {SCHEMA_VERSION} that this xkeb reads: the command that made it, "
        "given again, writes it anew from its cases"
    )


def _read_scores(values: Any) -> Scores:
    return {
        name: {
            language: {metric: Score(**{**score, "ci95": tuple(score["ci95"])}) for metric, score in metrics.items()}
            for language, metrics in languages.items()
        }
        for name, languages in values.items()
    }


def summarise(entries: Iterable[Mapping[str, Any]], key: str = "scores") -> Scores:
    """Means over cases, times 100, with standard errors and intervals.

    Args:
        entries: lines of a journal; those that were skipped count nowhere.
        key: which scores of a probe: ``scores``, or the untouched model's ``scores_before``.
    """
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for entry in entries:
        for probe in entry.get("probes", ()):
            for metric, value in probe[key].items():
                values[probe["property"], probe["language"], metric].append(value)
    scores: Scores = {}
    for (name, language, metric), sample in values.items():
        scores.setdefault(name, {}).setdefault(language, {})[metric] = score(sample)
    return scores


def score(sample: Sequence[float]) -> Score:
    """Mean of values from 0 to 1, times 100, with its standard error and 95% percentile bootstrap interval."""
    values = np.asarray(sample, dtype=np.float64) * 100
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Score(mean, 0.0, (mean, mean), len(values))
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0), batch=100
    ).confidence_interval
    stderr = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Score(mean, stderr, (float(interval.low), float(interval.high)), len(values))
