"""Files are written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xkeb.errors import one_line
from xkeb.utils.files import naming, replacing, write_atomically


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


FULL = """
import resource, sys
from pathlib import Path
import torch
from xkeb.errors import one_line
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.files import write_atomically

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for write in (
    lambda: write_atomically(Path(sys.argv[1]) / "x.json", "x" * 5000),
    lambda: cached_tensors("mend", {"a": 1}, lambda: {"x": torch.zeros(5000)}),
):
    try:
        write()
    except OSError as error:
        print(one_line(error) if error.filename.endswith("x.json") else f"{Path(error.filename).parent.name}: {error.strerror}")
"""


def test_a_file_for_which_there_is_no_room_leaves_no_part(tmp_path: Path) -> None:
    """No file may grow beyond 1,000 bytes, which is how a full disk looks to who writes."""
    environment = {**os.environ, "XKEB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{tmp_path / 'out' / 'x.json'}: File too large", "mend: File too large"]
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught, naming(tmp_path / "a"):
        Path("/dev/full").write_text("x")
    assert one_line(caught.value) == f"{tmp_path / 'a'}: No space left on device"


def test_what_a_library_in_rust_tells_of_the_system_is_told_like_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, naming(tmp_path / "a"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert one_line(caught.value) == f"{tmp_path / 'a'}: No space left on device"
    with pytest.raises(RuntimeError, match="no such file"), naming(tmp_path / "a"):
        raise RuntimeError("no such file (os error 2)")
