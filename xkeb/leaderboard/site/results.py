"""All results of a site: their files, written by one process or by several, and what the tables need of their cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.site.browsing import CaseOrder, write_index
from xkeb.leaderboard.site.folder import Site
from xkeb.leaderboard.site.result_pages import Job
from xkeb.leaderboard.site.samples import Numbering
from xkeb.leaderboard.site.ties import PairedTests, sample_id
from xkeb.leaderboard.site.workers import write_all


@dataclass(frozen=True)
class ReadCases:
    """What the results' cases gave."""

    tests: PairedTests
    """Between the results whose cases could all be read."""
    whole: Sequence[Entry]
    """Those results."""


def write_results(
    site: Site,
    entries: Sequence[Entry],
    told: Sequence[Entry],
    counterparts: Mapping[tuple[str, ...], Entry],
    workers: int,
) -> ReadCases:
    """The results' pages, and what the case browser fetches.

    Args:
        told: the rows of the slice that is told first.
        counterparts: the published rows, by task, model and method.
        workers: processes that write; the files are the same, however many.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    orders = {group: CaseOrder.of(members) for group, members in groups.items()}
    parts = {entry.id: [one for one in told if one.id == entry.id] for entry in entries}
    jobs = [
        Job(
            entry,
            orders[entry.group],
            [one.within for one in parts[entry.id] if one.within],
            counterparts.get(entry.cell[:3]),
        )
        for entry in entries
    ]
    numbering, samples, whole = Numbering(), {}, []
    with closing(write_all(site, jobs, workers)) as results:
        for entry, written in zip(entries, results, strict=True):
            found = numbering.samples(written.gathered)
            if written.whole:
                samples.update({sample_id(one): found.get(one.within, {}) for one in (entry, *parts[entry.id])})
                whole.append(entry)
    ids = {entry.id for entry in whole}
    readable = {group: [entry for entry in members if entry.id in ids] for group, members in groups.items()}
    write_index(site.folder, {group: members for group, members in readable.items() if members}, orders)
    return ReadCases(PairedTests(samples), whole)
