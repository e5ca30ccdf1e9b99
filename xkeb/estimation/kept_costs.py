"""What dry runs found, kept in the cache: the same method on the same shapes and the same texts needs the same again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xkeb.estimation.estimator import Cost
from xkeb.estimation.meter import Work
from xkeb.utils.files import write_atomically
from xkeb.utils.hashing import digest
from xkeb.utils.paths import cache_root


def find_cost(key: Mapping[str, Any]) -> Cost | None:
    """The cost that is kept for this key; None where none is, or it can't be read.

    Args:
        key: all that it depends on, as data.
    """
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return _from_data(json.loads(_path(key).read_text(encoding="utf-8")))
    return None


def keep_cost(key: Mapping[str, Any], cost: Cost) -> None:
    """For `find_cost`. A cache that can't be written costs time only."""
    with contextlib.suppress(OSError):
        _path(key).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_path(key), json.dumps(dataclasses.asdict(cost)))


def _path(key: Mapping[str, Any]) -> Path:
    return cache_root() / "plans" / f"{digest(dict(key))}.json"


def _from_data(data: dict[str, Any]) -> Cost:
    works = {name: Work(**work) for name, work in data["works"].items()}
    return Cost(**{**data, "works": works})
