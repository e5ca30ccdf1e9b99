"""`xkeb.utils.folders`: a reader sees the old folder or the new one."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from xkeb.utils import folders
from xkeb.utils.folders import replacing_folder


def fill(folder: Path, text: str) -> None:
    for name in "abc":
        (folder / name).write_text(text)


def contents(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in "abc"}


@pytest.mark.parametrize("in_one_step", [True, False])
def test_the_new_folder_takes_the_place_when_it_is_whole(
    tmp_path: Path, in_one_step: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system can't exchange two paths."""
    if not in_one_step:
        monkeypatch.setattr(folders, "_renameat2", lambda one, other: False)
    for text in ("first", "second", "third"):
        with replacing_folder(tmp_path / "x" / "site") as folder:
            fill(folder, text)
            assert not (tmp_path / "x" / "site").exists() or contents(tmp_path / "x" / "site") != {text}
        assert contents(tmp_path / "x" / "site") == {text}
        assert [path.name for path in (tmp_path / "x").iterdir()] == ["site"]


def test_what_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "site") as folder:
        fill(folder, "old")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "site") as folder:
        fill(folder, "new")
        raise ZeroDivisionError
    assert contents(tmp_path / "site") == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "site").symlink_to(tmp_path / "there")
    with replacing_folder(tmp_path / "site") as folder:
        fill(folder, "new")
    assert (tmp_path / "site").is_symlink()
    assert contents(tmp_path / "there") == {"new"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two paths in one step")
def test_there_is_no_moment_without_a_folder(tmp_path: Path) -> None:
    """Another thread looks all the time."""
    with replacing_folder(tmp_path / "site") as folder:
        fill(folder, "0")
    looks: list[bool] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            looks.append((tmp_path / "site").is_dir())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(1, 60):
            with replacing_folder(tmp_path / "site") as folder:
                fill(folder, str(number))
    finally:
        done.set()
        watcher.join()
    assert looks and all(looks)
