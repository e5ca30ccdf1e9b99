"""Disks that are full or can't be written: small file systems in memory, which only root may mount."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_kinds.campaign import Campaign, Ended, Row, journals, told_in_a_sentence


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True, capture_output=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextmanager
def disk(campaign: Campaign, kilobytes: int) -> Iterator[Path]:
    """A file system of its own."""
    place = campaign.new("disk")
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def full_outputs(campaign: Campaign, sizes: list[int]) -> Row:
    """The disk of the output fills up; then there is room again."""
    row = Row("a full disk: output")
    for size in sizes:
        with disk(campaign, size) as place:
            fill(campaign, row, place, place / "results", campaign.learned)
    return row


def full_caches(campaign: Campaign, sizes: list[int]) -> Row:
    """The same of the cache, while the model is converted and methods learn."""
    row = Row("a full disk: cache")
    for size in sizes:
        with disk(campaign, size) as place:
            fill(campaign, row, place, campaign.new("outside"), place / "cache")
    return row


def fill(campaign: Campaign, row: Row, place: Path, output: Path, cache: Path) -> None:
    """Runs until a disk is full, and goes on when it is larger."""
    ended = campaign.run(output, cache)
    if ended.status == 0:
        row.note(f"{place.name} was large enough")
        return
    row.injected += 1
    told(campaign, ended, row)
    if str(place) not in ended.last:
        row.silent += 1
        row.note(f"no file of the full disk is named: {ended.last}")
    before = journals(output)
    leftovers(place, row)
    mount("-o", "remount,size=8g", str(place))
    campaign.finish(output, cache, row, before)


def told(campaign: Campaign, ended: Ended, row: Row) -> None:
    """Counts an end without a sentence, and notes what the sentence says."""
    if told_in_a_sentence(ended, row):
        row.note(ended.last.replace(str(campaign.folder), "").removeprefix("xkeb: "))


def leftovers(place: Path, row: Row) -> None:
    """Half-written files that a process left that wasn't killed."""
    for path in place.rglob("*.part"):
        row.silent += 1
        row.note(f"{path.name} is left")


def read_only(campaign: Campaign) -> Row:
    """Output or cache can't be written from the start."""
    row = Row("read-only: output, cache")
    with disk(campaign, 1000) as place:
        mount("-o", "remount,ro", str(place))
        row.injected += 1
        told(campaign, campaign.run(place / "results", campaign.learned), row)
        row.injected += 1
        output = campaign.new("outside")
        ended = campaign.run(output, place / "cache")
        if ended.status:
            told(campaign, ended, row)
        else:  # nothing had to be learnt
            campaign.judge(output, row, {})
    return row
