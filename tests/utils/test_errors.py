"""Exceptions as they are told."""

from __future__ import annotations

import errno
import os

import pytest

from xkeb.errors import one_line


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a\nb."), "ValueError: a b"),
        (ValueError(), "ValueError"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/x"), "/disk/x: No space left on device"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "OSError: [Errno 28] No space left on device"),
        (OSError("odd"), "OSError: odd"),
    ],
)
def test_an_exception_in_one_line(error: Exception, told: str) -> None:
    assert one_line(error) == told
