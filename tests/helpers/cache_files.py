"""Files of the cache."""

from __future__ import annotations

from pathlib import Path


def kept_in(folder: Path) -> list[Path]:
    """What is in a folder of the cache, locks aside."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]
