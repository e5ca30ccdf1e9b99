"""Where data and artifacts live."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``$XKEB_CACHE``, or ``~/.cache/xkeb``."""
    return Path(os.environ.get("XKEB_CACHE") or Path.home() / ".cache" / "xkeb").expanduser()


def data_roots(data_dir: Path | str | None = None) -> list[Path]:
    """The folders in which a data set's own folder is looked for, in order: `data_dir`, ``$XKEB_DATA_DIR``, the cache."""
    roots = [data_dir, os.environ.get("XKEB_DATA_DIR"), cache_root() / "data"]
    return [Path(root).expanduser() for root in roots if root]
