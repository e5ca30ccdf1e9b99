"""Journals that are cut or flipped between two runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from fault_kinds.campaign import CASES, Campaign, Row, journals, said, told_in_a_sentence
from xkeb.errors import RequestError
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord


def cut_journals(campaign: Campaign, step: int, whole_runs: int) -> Row:
    """Cuts a journal at every byte, or at every `step`-th, as a machine does that loses its power: it must be read as the lines
    before the cut. Some are gone on from, too."""
    row = Row("a journal cut at a byte")
    path = longest_journal(campaign)
    written = path.read_bytes()
    lines = written.split(b"\n")[:-1]
    for at in range(0, len(written) + 1, step):
        row.injected += 1
        read = records(campaign, written[:at], row)
        if read is None:
            row.silent += 1
            row.note(f"cut at byte {at}: refused")
        elif read != [said(line) for line in lines[: written[:at].count(b"\n")]]:
            row.wrong += 1
            row.note(f"cut at byte {at}: other lines are read")
    for at in sorted(campaign.chance.sample(range(len(written)), whole_runs)):
        output, copied = copy(campaign, path)
        copied.write_bytes(written[:at])
        before = {str(copied.relative_to(output)): written[:at].split(b"\n")[:-1]}
        campaign.finish(output, campaign.learned, row, before)
    return row


def flipped_journals(campaign: Campaign, bits: int, whole_runs: int) -> Row:
    """Flips a bit of a journal: it must be refused, change nothing that is read, or cost the last case. Some runs are started
    on it, and say what is wrong."""
    row = Row("a journal with a flipped bit")
    path = longest_journal(campaign)
    written = path.read_bytes()
    right = [said(line) for line in written.split(b"\n")[:-1]]
    refused = []
    for place in sorted(campaign.chance.sample(range(8 * len(written)), bits)):
        row.injected += 1
        spoilt = flipped(written, place)
        read = records(campaign, spoilt, row)
        if read is None:
            refused.append(place)
        elif read != right and not (place // 8 == len(written) - 1 and read == right[:-1]):
            row.silent += 1
            row.note(f"bit {place}: other lines are read, without a word")
    row.note(f"{len(refused)} of {bits} refused with file and line")
    for place in campaign.chance.sample(refused, whole_runs):
        output, copied = copy(campaign, path)
        copied.write_bytes(flipped(written, place))
        shutil.rmtree(campaign.learned / "finished", ignore_errors=True)
        if told_in_a_sentence(campaign.run(output, campaign.learned), row, (1, 2)):
            copied.write_bytes(written)  # what was damaged is left as it is; mended, the run goes on
            campaign.finish(output, campaign.learned, row, journals(output))
    return row


def flipped(written: bytes, place: int) -> bytes:
    spoilt = bytearray(written)
    spoilt[place // 8] ^= 1 << place % 8
    return bytes(spoilt)


def longest_journal(campaign: Campaign) -> Path:
    found = list((campaign.folder / "rehearsed").rglob(CASES))
    return max(found, key=lambda path: path.stat().st_size)


def records(campaign: Campaign, content: bytes, row: Row) -> list[object] | None:
    """What a run would go on from, line by line; None where it refuses."""
    path = campaign.folder / "tried" / CASES
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    settings = campaign.results[str(longest_journal(campaign).relative_to(campaign.folder / "rehearsed"))]["settings"]
    try:
        with Journal(path, CaseRecord, settings):
            pass
    except RequestError as error:
        if f"{path}:" not in str(error):
            row.silent += 1
            row.note(f"refused without file and line: {error}")
        return None
    return [said(line) for line in path.read_bytes().split(b"\n")[:-1]]


def copy(campaign: Campaign, journal: Path) -> tuple[Path, Path]:
    """A copy of the finished output, one cell of it without its result; and that cell's journal."""
    output = campaign.new("copied")
    shutil.copytree(campaign.folder / "rehearsed", output)
    copied = output / journal.relative_to(campaign.folder / "rehearsed")
    (copied.parent / "result.json").unlink()
    return output, copied
