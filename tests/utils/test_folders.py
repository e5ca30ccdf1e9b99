"""`xkeb.utils.folders`: a reader sees the old folder or the new one."""

from __future__ import annotations

import subprocess
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


KILLED = """
import os, sys, time
from pathlib import Path
from xkeb.utils.folders import replacing_folder

with replacing_folder(Path(sys.argv[1])) as folder:
    (folder / "page").write_text("half")
    print(folder.name, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_one_is_at_work_on_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "site")]
    other = tmp_path / ".site2.1-a.part"
    other.mkdir()
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as working,
    ):
        assert killed.stdout is not None and working.stdout is not None
        names = [process.stdout.readline().strip() for process in (killed, working) if process.stdout]
        killed.kill()
        killed.wait()
        with replacing_folder(tmp_path / "site") as folder:
            fill(folder, "new")
            assert {path.name for path in tmp_path.iterdir()} == {folder.name, names[1], other.name}
        working.kill()
    with replacing_folder(tmp_path / "site") as folder:
        fill(folder, "newer")
    assert {path.name for path in tmp_path.iterdir()} == {"site", other.name}
    assert contents(tmp_path / "site") == {"newer"}


def test_one_within_another(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "site") as folder:
        with replacing_folder(folder / "part") as inner:
            fill(inner, "new")
        assert contents(folder / "part") == {"new"}
    assert contents(tmp_path / "site" / "part") == {"new"}
