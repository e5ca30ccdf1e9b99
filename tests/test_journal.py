"""`xkeb.results.journal`: whatever happens to the process that writes it, no case is lost, repeated, half-written or mixed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xkeb.errors import RequestError, XkebError
from xkeb.results.journal import Journal

WRITER = """
import sys
from pathlib import Path
from xkeb.journal import Journal

with Journal(Path(sys.argv[1]), "s") as journal:
    done = [int(line["case_id"]) for line in journal]
    assert done == list(range(len(done))), done
    print("open", flush=True)
    for i in range(len(done), int(sys.argv[2])):
        journal.append({"case_id": str(i), "text": "波尔多" * (i % 7 * 40)})
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "task" / "cases.jsonl"


def fill(path: Path, *cases: str, settings: str = "s") -> bytes:
    with Journal(path, settings) as journal:
        for case in cases:
            journal.append({"case_id": case, "text": "波尔多\n"})
    return path.read_bytes()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["case_id"] for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def writer(path: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes, from the moment that it has the journal open."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_longer(path: Path, than: int) -> None:
    """Until the other process has written something more."""
    deadline = time.monotonic() + 30
    while path.stat().st_size <= than and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_case_is_one_line_with_its_settings(path: Path) -> None:
    assert fill(path, "a").decode() == '{"case_id": "a", "text": "波尔多\\n", "settings": "s"}\n'


def test_a_journal_opened_again_goes_on_where_it_was(path: Path) -> None:
    before = fill(path, "a", "b")
    with Journal(path, "s") as journal:
        assert "a" in journal
        assert "c" not in journal
        assert [line["case_id"] for line in journal] == ["a", "b"]
        journal.append({"case_id": "c"})
        assert "c" in journal
    assert path.read_bytes().startswith(before)
    assert ids(path) == ["a", "b", "c"]


def test_a_case_is_never_written_twice(path: Path) -> None:
    before = fill(path, "a")
    with Journal(path, "s") as journal, pytest.raises(XkebError, match="'a' is already in"):
        journal.append({"case_id": "a"})
    assert path.read_bytes() == before


def test_a_value_that_is_no_json_leaves_the_journal_whole(path: Path) -> None:
    with Journal(path, "s") as journal:
        journal.append({"case_id": "a"})
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append({"case_id": "b", "score": float("nan")})
        assert "b" not in journal
        journal.append({"case_id": "b", "score": 0.0})
    assert ids(path) == ["a", "b"]


def test_a_last_line_cut_short_anywhere_is_mended(path: Path) -> None:
    whole = fill(path, "a", "b")
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        with Journal(path, "s") as journal:
            assert list(journal.lines) == ["a"]
            journal.append({"case_id": "b", "text": "波尔多\n"})
        assert path.read_bytes() == whole


def test_lines_of_other_settings_are_refused_and_kept(path: Path) -> None:
    before = fill(path, "a", "b") + b'{"case_id": "c", "cut sho'
    path.write_bytes(before)
    with pytest.raises(RequestError, match="made with other settings") as caught:
        Journal(path, "other")
    assert str(path.parent) in str(caught.value)
    assert "--output" in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert path.read_bytes() == before


def test_fresh_discards_what_is_there(path: Path) -> None:
    fill(path, "a", "b")
    with Journal(path, "other", fresh=True) as journal:
        assert list(journal) == []
        journal.append({"case_id": "a"})
    assert ids(path) == ["a"]


def test_a_shared_journal_discards_lines_of_other_settings(path: Path) -> None:
    fill(path, "a", "b")
    with Journal(path, "other", shared=True) as journal:
        assert list(journal) == []
        journal.append({"case_id": "c"})
    assert ids(path) == ["c"]
    with Journal(path, "other", shared=True) as journal:
        assert list(journal.lines) == ["c"]


@pytest.mark.parametrize(
    "line", [b"not json", b"[]", b"3", b'{"case_id": "x"}', b'{"settings": "s"}', b"\xff\xfe", b""], ids=repr
)
def test_a_line_that_is_none_of_a_journal_s_is_named_by_number_and_kept(path: Path, line: bytes) -> None:
    before = fill(path, "a") + line + b"\n" + b'{"case_id": "c", "settings": "s"}\n'
    path.write_bytes(before)
    with pytest.raises(RequestError, match=r"cases\.jsonl:2 is not a line of a journal"):
        Journal(path, "s")
    assert path.read_bytes() == before
    with Journal(path, "s", shared=True) as journal:
        assert list(journal) == []


def test_a_case_that_stands_twice_is_named_by_number(path: Path) -> None:
    before = fill(path, "a", "b") * 2
    path.write_bytes(before)
    with pytest.raises(RequestError, match=r"cases\.jsonl:3 repeats case 'a'"):
        Journal(path, "s")
    assert path.read_bytes() == before


def test_a_journal_that_another_process_writes_is_refused(path: Path) -> None:
    with writer(path, 10**9):
        with pytest.raises(RequestError, match="Another run is writing"):
            Journal(path, "s")
        with pytest.raises(RequestError, match="Another run is writing"):
            Journal(path, "s", fresh=True)
        wait_until_longer(path, 0)
    with Journal(path, "s") as journal:
        assert list(journal.lines) == [str(i) for i in range(len(journal.lines))] != []


def test_a_refused_journal_is_let_go(path: Path) -> None:
    """What raises on opening must not hold the lock."""
    fill(path, "a")
    with pytest.raises(RequestError):
        Journal(path, "other")
    assert fill(path, "b")


def test_a_shared_journal_waits_for_the_process_that_has_it(path: Path) -> None:
    with writer(path, 40) as process, Journal(path, "s", shared=True) as journal:
        assert len(journal.lines) == 40
        assert process.wait(10) == 0


def test_a_line_is_on_disk_when_append_returns(path: Path) -> None:
    """Seen from another process, while the journal is open."""
    count = "import sys; print(len(open(sys.argv[1], 'rb').read().splitlines()))"
    with Journal(path, "s") as journal:
        for i in range(1, 3):
            journal.append({"case_id": str(i)})
            seen = subprocess.run(
                [sys.executable, "-c", count, str(path)], capture_output=True, text=True, check=True
            ).stdout
            assert int(seen) == i


def test_a_writer_killed_at_random_moments_loses_and_repeats_nothing(path: Path) -> None:
    chance, seen = random.Random(0), 0
    for _ in range(12):
        size = path.stat().st_size if path.exists() else 0
        with writer(path, 10**9) as process:
            wait_until_longer(path, size)
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        whole = path.read_bytes().rpartition(b"\n")[0].decode().splitlines()
        assert [json.loads(line)["case_id"] for line in whole] == [str(i) for i in range(len(whole))]
        assert len(whole) >= seen
        seen = len(whole)
    assert seen > 12
    with Journal(path, "s") as journal:
        assert len(journal.lines) == seen
    assert ids(path) == [str(i) for i in range(seen)]


@pytest.mark.parametrize("below", ["file/task", "file"])
def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match=f"Can't write to {tmp_path / below}: "):
        Journal(tmp_path / below / "cases.jsonl", "s")
