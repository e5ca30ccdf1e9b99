"""`xkeb.results.journal`: whatever happens to the process that writes it, no case is lost, repeated, half-written or mixed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import made_records
import pytest
from made_records import scored, skipped
from made_results import result

from xkeb.errors import RequestError, XkebError
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord, CaseSeconds
from xkeb.results.result import Result
from xkeb.results.settings import LINES_VERSION
from xkeb.utils.hashing import digest

WRITER = """
import sys
from pathlib import Path
from made_records import skipped
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord

with Journal(Path(sys.argv[1]), CaseRecord, "s") as journal:
    done = [int(line.case_id) for line in journal]
    assert done == list(range(len(done))), done
    print("open", flush=True)
    for i in range(len(done), int(sys.argv[2])):
        journal.append(skipped(str(i), "波尔多" * (i % 7 * 40)))
"""


FIRST = "19f1b7885463c175f8ea93196a4556ff5d496afeb79830ffffa9961a94a5f5a4"
"""The checksum of the first line of `fill(path, "a")`, by hand."""


FULL = """
import resource, sys
from pathlib import Path
from made_records import skipped
from xkeb.errors import one_line
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with Journal(Path(sys.argv[1]), CaseRecord, "s") as journal:
        for i in range(9):
            journal.append(skipped(str(i), "x" * 400))
except OSError as error:
    print(one_line(error))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "task" / "cases.jsonl"


def opened(path: Path, settings: str = "s", **options: bool) -> Journal[CaseRecord]:
    return Journal(path, CaseRecord, settings, **options)


def fill(path: Path, *cases: str, settings: str = "s") -> bytes:
    with opened(path, settings) as journal:
        for case in cases:
            journal.append(skipped(case, "波尔多\n", settings))
    return path.read_bytes()


def ids(path: Path) -> list[str]:
    return [json.loads(line)["case_id"] for line in path.read_text(encoding="utf-8").splitlines()]


@contextmanager
def writer(path: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes, from the moment that it has the journal open."""
    helpers = {**os.environ, "PYTHONPATH": str(Path(made_records.__file__).parent)}
    command = [sys.executable, "-c", WRITER, str(path), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=helpers)
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
    edit = '{"prompt": "Where is it?", "subject": "it", "target": "波尔多", "language": "en"}'
    assert fill(path, "a").decode() == (
        '{"case_id": "a", "status": "skipped", "reason": "波尔多\\n", "edit": '
        f'{edit}, "probes": [], "slices": {{}}, "seconds": null, "settings": "s", "chain": "{FIRST}"}}\n'
    )


def test_a_line_is_read_as_the_record_that_was_written(path: Path) -> None:
    written = [scored("a", f1=1.0, em=1.0), scored("b", f1=0.1 + 0.2, em=0.0), skipped("c")]
    with opened(path) as journal:
        kept = [journal.append(record) for record in written]
    with opened(path) as journal:
        assert list(journal) == kept
    assert [one.model_copy(update={"chain": ""}) for one in kept] == written


def test_a_journal_opened_again_goes_on_where_it_was(path: Path) -> None:
    before = fill(path, "a", "b")
    with opened(path) as journal:
        assert "a" in journal
        assert "c" not in journal
        assert [line.case_id for line in journal] == ["a", "b"]
        journal.append(skipped("c"))
        assert "c" in journal
    assert path.read_bytes().startswith(before)
    assert ids(path) == ["a", "b", "c"]


def test_a_case_is_never_written_twice(path: Path) -> None:
    before = fill(path, "a")
    with opened(path) as journal, pytest.raises(XkebError, match="'a' is already in"):
        journal.append(skipped("a"))
    assert path.read_bytes() == before


def test_a_value_that_is_no_json_leaves_the_journal_whole(path: Path) -> None:
    unchecked = CaseSeconds.model_construct(edit=float("nan"), evaluate=0.0)
    with opened(path) as journal:
        journal.append(skipped("a"))
        with pytest.raises(ValueError, match="not JSON compliant"):
            journal.append(skipped("b").model_copy(update={"seconds": unchecked}))
        assert "b" not in journal
        journal.append(skipped("b"))
    assert ids(path) == ["a", "b"]


def test_a_last_line_cut_short_anywhere_is_mended(path: Path) -> None:
    whole = fill(path, "a", "b")
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        with opened(path) as journal:
            assert list(journal.lines) == ["a"]
            journal.append(skipped("b", "波尔多\n"))
        assert path.read_bytes() == whole


def test_lines_of_other_settings_are_refused_and_kept(path: Path) -> None:
    before = fill(path, "a", "b") + b'{"case_id": "c", "cut sho'
    path.write_bytes(before)
    with pytest.raises(RequestError, match="made with other settings") as caught:
        opened(path, "other")
    assert str(path.parent) in str(caught.value)
    assert "--output" in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert path.read_bytes() == before


def test_lines_of_an_older_version_are_of_other_settings_whatever_they_hold(path: Path) -> None:
    """The version of the lines is a part of their settings, so that nobody is told of a damaged file."""
    settings = Result.model_validate(result()).run_settings()
    older = digest({**settings.model_dump(mode="json"), "schema_version": LINES_VERSION - 1})
    assert older != settings.sha256
    path.parent.mkdir()
    path.write_text(json.dumps({"case_id": "a", "text": "as it was then", "settings": older}) + "\n")
    with pytest.raises(RequestError, match="holds cases made with other settings"):
        opened(path, settings.sha256)
    with opened(path, settings.sha256, shared=True) as journal:
        assert list(journal) == []


def test_a_damaged_line_of_these_settings_is_named_by_number_not_as_other_settings(path: Path) -> None:
    line = json.loads(fill(path, "a"))
    for spoilt in (
        {**line, "extra": 1},
        {**line, "reason": 3},
        {key: value for key, value in line.items() if key != "edit"},
        {**line, "seconds": {"edit": float("nan"), "evaluate": 0.0}},
    ):
        path.write_text(json.dumps(line) + "\n" + json.dumps({**spoilt, "case_id": "b"}) + "\n")
        with pytest.raises(RequestError, match=r"cases\.jsonl:2 is not a line of a journal; --fresh starts over"):
            opened(path)


def test_fresh_discards_what_is_there(path: Path) -> None:
    fill(path, "a", "b")
    with opened(path, "other", overwrite=True) as journal:
        assert list(journal) == []
        journal.append(skipped("a"))
    assert ids(path) == ["a"]


def test_a_shared_journal_discards_lines_of_other_settings(path: Path) -> None:
    fill(path, "a", "b")
    with opened(path, "other", shared=True) as journal:
        assert list(journal) == []
        journal.append(skipped("c", settings="other"))
    assert ids(path) == ["c"]
    with opened(path, "other", shared=True) as journal:
        assert list(journal.lines) == ["c"]


@pytest.mark.parametrize(
    "line", [b"not json", b"[]", b"3", b'{"case_id": "x"}', b'{"settings": "s"}', b"\xff\xfe", b""], ids=repr
)
def test_a_line_that_is_none_of_a_journal_s_is_named_by_number_and_kept(path: Path, line: bytes) -> None:
    before = fill(path, "a")
    before += line + b"\n" + before.replace(b'"case_id": "a"', b'"case_id": "c"')
    path.write_bytes(before)
    with pytest.raises(RequestError, match=r"cases\.jsonl:2 is not a line of a journal"):
        opened(path)
    assert path.read_bytes() == before
    with opened(path, "s", shared=True) as journal:
        assert list(journal.lines) == ["a"]


def test_a_case_that_stands_twice_is_named_by_number(path: Path) -> None:
    before = fill(path, "a", "b") * 2
    path.write_bytes(before)
    with pytest.raises(RequestError, match=r"cases\.jsonl:3 repeats case 'a'"):
        opened(path)
    assert path.read_bytes() == before


def test_a_journal_that_another_process_writes_is_refused(path: Path) -> None:
    with writer(path, 10**9):
        with pytest.raises(RequestError, match="Another process is writing"):
            opened(path)
        with pytest.raises(RequestError, match="Another process is writing"):
            opened(path, "s", overwrite=True)
        wait_until_longer(path, 0)
    with opened(path) as journal:
        assert list(journal.lines) == [str(i) for i in range(len(journal.lines))] != []


def test_a_refused_journal_is_let_go(path: Path) -> None:
    """What raises on opening must not hold the lock."""
    fill(path, "a")
    with pytest.raises(RequestError):
        opened(path, "other")
    assert fill(path, "b")


def test_a_journal_that_is_written_anew_is_whole_and_locked(path: Path) -> None:
    fill(path, "a", "b")
    with opened(path) as journal:
        old = path.open("rb")
        journal.rewrite(lambda line: line.model_copy(update={"reason": f"{line.reason} anew"}))
        journal.append(skipped("c"))
        for place in (
            path,
            Path(f"/proc/self/fd/{old.fileno()}"),
        ):  # who opened the old file just before is refused, too
            with pytest.raises(RequestError, match="Another process is writing"):
                opened(place)
        old.close()
    with opened(path) as again:
        assert [line.case_id for line in again] == ["a", "b", "c"]
        assert [line.reason for line in again][:2] == ["波尔多\n anew"] * 2
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_journal_that_can_t_be_written_anew_stays_as_it_was(path: Path) -> None:
    written = fill(path, "a", "b")

    def fails(line: CaseRecord) -> CaseRecord:
        if line.case_id == "b":
            raise ZeroDivisionError
        return line

    with opened(path) as journal:
        with pytest.raises(ZeroDivisionError):
            journal.rewrite(fails)
        assert path.read_bytes() == written
        journal.append(skipped("c"))
    with opened(path) as again:
        assert len(again.lines) == 3


def test_a_shared_journal_waits_for_the_process_that_has_it(path: Path) -> None:
    with writer(path, 40) as process, opened(path, "s", shared=True) as journal:
        assert len(journal.lines) == 40
        assert process.wait(10) == 0


def test_a_line_is_on_disk_when_append_returns(path: Path) -> None:
    """Seen from another process, while the journal is open."""
    count = "import sys; print(len(open(sys.argv[1], 'rb').read().splitlines()))"
    with opened(path) as journal:
        for i in range(1, 3):
            journal.append(skipped(str(i)))
            seen = subprocess.run(
                [sys.executable, "-c", count, str(path)], capture_output=True, text=True, check=True
            ).stdout
            assert int(seen) == i


def test_a_full_disk_is_told_with_the_file_and_costs_the_case_in_hand(path: Path) -> None:
    """No file may grow beyond 1,000 bytes. What the last line lacks is tried once more when the journal is closed, and fails
    again."""
    environment = {**os.environ, "PYTHONPATH": str(Path(made_records.__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == f"{path}: File too large\n"
    with opened(path) as journal:
        assert [line.case_id for line in journal] == ["0"]


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
    with opened(path) as journal:
        assert len(journal.lines) == seen
    assert ids(path) == [str(i) for i in range(seen)]


@pytest.mark.parametrize("below", ["file/task", "file"])
def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RequestError, match=f"Can't write to {tmp_path / below}: "):
        opened(tmp_path / below / "cases.jsonl")
