"""transformers' own progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from transformers.utils import logging as hf_logging


@contextlib.contextmanager
def show_progress_bars(shown: bool) -> Iterator[None]:
    """Shows or hides them inside the block; the library does so for the whole process."""
    was = hf_logging.is_progress_bar_enabled()
    set_bar: dict[bool, Any] = {True: hf_logging.enable_progress_bar, False: hf_logging.disable_progress_bar}
    set_bar[shown]()
    try:
        yield
    finally:
        set_bar[was]()
