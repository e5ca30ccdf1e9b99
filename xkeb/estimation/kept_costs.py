"""What dry runs found, kept in the cache: the same method on the same shapes and the same texts needs the same again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from xkeb.estimation.estimator import Cost
from xkeb.estimation.meter import Work
from xkeb.utils.files import write_atomically
from xkeb.utils.hashing import digest
from xkeb.utils.paths import cache_root


def kept_cost(key: Mapping[str, Any], estimate: Callable[[], Cost]) -> Cost:
    """A cost from the cache, or else estimated, and kept.

    Args:
        key: all that it depends on, as data.
    """
    path = cache_root() / "plans" / f"{digest(dict(key))}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # none is there, or it can't be read
        return _from_data(json.loads(path.read_text(encoding="utf-8")))
    cost = estimate()
    with contextlib.suppress(OSError):  # a cache that can't be written costs time only
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(dataclasses.asdict(cost)))
    return cost


def _from_data(data: dict[str, Any]) -> Cost:
    works = {name: Work(**work) for name, work in data["works"].items()}
    return Cost(**{**data, "works": works})
