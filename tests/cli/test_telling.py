"""Which errors are told in a sentence alone."""

from __future__ import annotations

import errno

import pytest

from xkeb.cli.telling import is_told
from xkeb.errors import PluginError, RequestError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RequestError("There is no such task."), True),
        (PluginError("A hook is misspelt."), True),
        (OSError(errno.ENOSPC, "No space left on device", "cases.jsonl"), True),
        (OSError(errno.EROFS, "Read-only file system", "results"), True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "weights.bin"), False),  # a plugin's mistake
        (ValueError("shapes don't fit"), False),
    ],
)
def test_a_disk_and_an_error_of_ours_need_no_place_in_the_code(error: Exception, told: bool) -> None:
    assert is_told(error) is told
