"""The file in which the points that were tried are kept, while a tuning runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from xkeb.errors import RequestError
from xkeb.evaluation.tuning.points import PointRecord
from xkeb.results.line_file import LineFile


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
