"""A session on disk: what a sequence of edits goes on from after its process was killed."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from xkeb.editing.session import Session
from xkeb.errors import RequestError
from xkeb.utils.hashing import digest_file

LOG = logging.getLogger(__name__)
NOTE = "session.json"
FOLDER = "session"


class SavedSession:
    """The folder of a job's session. It holds a folder for the last batch that was saved, which is whole or not there."""

    def __init__(self, folder: Path, key: str) -> None:
        """
        Args:
            key: of everything that the session depends on; one saved under another key is never gone on from.
        """
        self.folder, self.key = folder, key

    def save(self, session: Session, batches: int, seconds: Sequence[float]) -> None:
        """Puts the session after so many batches in the place of what was there.

        Args:
            seconds: that each batch took.

        Raises:
            RequestError: the folder can't be written.
        """
        part, place = self.folder / ".part", self.folder / str(batches)
        try:
            shutil.rmtree(part, ignore_errors=True)
            session.save(part)
            files = {str(path.relative_to(part)): digest_file(path) for path in sorted(part.rglob("*.safetensors"))}
            note = {"key": self.key, "batches": batches, "seconds": list(seconds), "files": files}
            (part / NOTE).write_text(json.dumps(note), encoding="utf-8")
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)
            for other in self.folder.iterdir():
                if other != place:
                    shutil.rmtree(other)
        except OSError as error:
            raise RequestError(f"Can't write {place}: {error.strerror}.") from error

    def load(self, session: Session) -> tuple[int, list[float]]:
        """Brings a session to where it was saved last.

        Returns:
            How many batches it holds, and the seconds that each took; nothing where no session was saved under this key, or
            what was is damaged.
        """
        for place in sorted(self._places(), key=lambda path: -int(path.name)):
            try:
                note = json.loads((place / NOTE).read_text(encoding="utf-8"))
                if note["key"] != self.key:
                    continue
                if any(digest_file(place / name) != sha256 for name, sha256 in note["files"].items()):
                    raise ValueError("a file isn't as it was written")
                session.load(place)
            except (OSError, ValueError, KeyError, TypeError, RequestError) as error:
                LOG.warning("%s can't be gone on from (%s); its edits are made again.", place, error)
                continue
            return int(note["batches"]), [float(one) for one in note["seconds"]]
        return 0, []

    def clear(self) -> None:
        """Removes what was saved."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _places(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if path.name.isdecimal()]
