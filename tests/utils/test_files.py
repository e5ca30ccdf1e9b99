"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xkeb.utils.files import replacing, write_atomically


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "old")
    write_atomically(tmp_path / "a", "新")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "新"
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a", "half \ud800")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "新"
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "folder"]


def test_a_file_has_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_two_writers_at_once_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"  # whose block ended last
