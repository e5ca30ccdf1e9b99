"""The points of a grid that were tried, and the file in which they are kept while a tuning runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from xkeb.errors import RequestError
from xkeb.results.fields import Count, Percent, Record, Seconds
from xkeb.results.line_file import LineFile

Measured = Literal["reliability", "generality", "locality", "other_generality", "other_locality"]
"""What is measured at a point: in the language of the edit, and in the other languages that are asked in."""


class PointRecord(Record):
    """One row of the table: the values of a point, and how the method did with them."""

    settings: dict[str, Any]
    """Of the options in the grid."""
    edited: dict[str, Count]
    """Facts that the method could edit, by task."""
    refused: dict[str, str]
    """By task, why it couldn't edit the first of the others, if there are any."""
    means: dict[Measured, Percent]
    """The metric, times 100: mean over the facts of a task, then over its other languages, then over tasks."""
    tasks: dict[str, dict[Measured, Percent]]
    """The same of each task."""
    score: Percent | None
    """The mean of `means`; None where the point failed."""
    seconds: Seconds
    """For learning, editing and asking; what was learned before is in the cache."""
    failure: str | None
    """Why the point can't be chosen."""

    @property
    def facts(self) -> int:
        """Facts that the method could edit."""
        return sum(self.edited.values())


def choose(points: Sequence[PointRecord]) -> int | None:
    """The place of the best point; None where all failed.

    Points that could edit fewer facts than another are not compared with it. Of equal ones the first wins.
    """
    worked = [i for i, point in enumerate(points) if point.score is not None]
    most = max((points[i].facts for i in worked), default=0)
    return max((i for i in worked if points[i].facts == most), key=lambda i: points[i].score or 0.0, default=None)


def settings_text(settings: Mapping[str, Any]) -> str:
    """Options as a sentence has them: ``layer=8, lr=0.1``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())


class PointJournal:
    """A file of JSON lines: each has a finished point, and the hash of everything that the point depends on.

    A point is found again under its hash alone, so that the same file serves a grid that grows. A last line that was cut
    short is dropped. Without any point, no file stays.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        """
        Raises:
            RequestError: the file can't be written, another process writes it, or it holds something else.
        """
        self.path = path
        self.points: dict[str, PointRecord] = {}
        self._file = LineFile(path, overwrite=overwrite)
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        for number, line in self._file.read():
            try:
                value = json.loads(line)
                self.points[value["key"]] = PointRecord.model_validate(value["point"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:  # pydantic's own among them
                raise RequestError(f"{self.path}:{number} is no point of a tuning; --fresh starts over.") from error

    def append(self, key: str, point: PointRecord) -> None:
        """Writes one point, and returns when it is on disk."""
        self._file.append(
            json.dumps({"key": key, "point": point.model_dump(mode="json")}, ensure_ascii=False, allow_nan=False)
        )
        self.points[key] = point

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.points:
            self.path.unlink(missing_ok=True)
        self._file.close()
