"""Parallel texts, written for this project: the same ten passages in each of some languages."""

from __future__ import annotations

import json
from importlib.resources import files

TEXTS = files(__name__)


def passages(code: str) -> tuple[str, ...]:
    """The passages in a language, in the same order in all; empty where there are none."""
    file = TEXTS / f"{code}.json"
    return tuple(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else ()
