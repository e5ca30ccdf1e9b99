"""A checksum a line, over the line and the one before it: nothing that happened to a file is resumed from."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from made_records import located, scored, skipped

from xkeb.errors import RequestError
from xkeb.results.journal import Journal
from xkeb.results.lines import AnswerRecord, BaselineRecord, CaseRecord

RECORDS = [scored("a", f1=1.0), located("b", 0.1 + 0.2), skipped("c", "波尔多"), scored("d", f1=1e-7), skipped("e")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of five cases."""
    with Journal(tmp_path / "cases.jsonl", CaseRecord, "s") as journal:
        for record in RECORDS:
            journal.append(record)
    return tmp_path / "cases.jsonl"


def read(path: Path, *, shared: bool = False) -> list[CaseRecord]:
    with Journal(path, CaseRecord, "s", shared=shared) as journal:
        return list(journal)


def test_no_flipped_bit_is_resumed_from(path: Path) -> None:
    """Refused with the file and the line, or read as what was written: of a line's end, the last case is made again."""
    written, right = path.read_bytes(), read(path)
    chance = random.Random(0)
    refused = 0
    for place in sorted(chance.sample(range(8 * len(written)), 1500)):
        flipped = bytearray(written)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found = read(path)
        except RequestError as error:
            refused += 1
            assert f"{path}:" in str(error) and "--fresh starts over" in str(error)
            assert path.read_bytes() == flipped
        else:
            assert found == right or (place // 8 == len(written) - 1 and found == right[:-1])
    assert refused > 1450


def exchanged(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeated(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[1], *lines[2:]]


def rescored(lines: list[bytes]) -> list[bytes]:
    assert b'"f1": 0.30000000000000004' in lines[1]
    return [lines[0], lines[1].replace(b'"f1": 0.30000000000000004', b'"f1": 0.9'), *lines[2:]]


def of_another_file(lines: list[bytes]) -> list[bytes]:
    """A line that is right by itself, as another journal has it in its first place."""
    return [lines[0], lines[0].replace(b'"a"', b'"b"'), *lines[2:]]


@pytest.mark.parametrize(
    ("spoil", "number"),
    [(exchanged, 2), (repeated, 3), (rescored, 2), (of_another_file, 2), (lambda lines: lines[1:], 1),
     (lambda lines: [lines[0], *lines[2:]], 2)],
    ids=["exchanged", "repeated", "another score", "of another file", "without the first", "without the second"],
)  # fmt: skip
def test_lines_that_are_not_as_they_were_written_are_refused_and_kept(path: Path, spoil: object, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    assert callable(spoil)
    spoilt = b"".join(spoil(lines))
    path.write_bytes(spoilt)
    with pytest.raises(RequestError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:{number} ")
    assert path.read_bytes() == spoilt
    assert [record.case_id for record in read(path, shared=True)] == ["a", "b", "c", "d", "e"][: number - 1]


def test_the_advice_is_right(path: Path) -> None:
    """Without the damaged line and those after it, the run goes on from the cases before it."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    with Journal(path, CaseRecord, "s") as journal:
        assert list(journal.lines) == ["a", "b"]
        for record in RECORDS[2:]:
            journal.append(record)
    assert path.read_bytes().splitlines(keepends=True) == lines


def test_one_altered_answer_before_the_edits_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "before.jsonl"
    with Journal(path, BaselineRecord, "s", shared=True) as journal:
        for case_id in "abc":
            answer = AnswerRecord(text="Paris", tokens=[1], ids=[1])
            journal.append(BaselineRecord(case_id=case_id, answers=[answer], settings="s"))
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace("Paris", "Pariz") + lines[2], encoding="utf-8")
    with Journal(path, BaselineRecord, "s", shared=True) as journal:
        assert list(journal.lines) == ["a"]
    assert path.read_text(encoding="utf-8") == lines[0]


def test_a_line_nested_too_deep_is_named(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"case_id": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    with pytest.raises(RequestError, match=r"cases\.jsonl:6 is not a line of a journal"):
        read(path)


def test_the_order_of_a_line_s_keys_and_how_its_letters_are_escaped_mean_nothing(path: Path) -> None:
    right = read(path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(line, sort_keys=True, indent=None) + "\n" for line in lines), encoding="utf-8")
    assert read(path) == right
