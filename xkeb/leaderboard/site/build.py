"""The site: pages from published numbers and from results, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError
from xkeb.leaderboard.pictures import charts
from xkeb.leaderboard.pictures.chart import Chart, present
from xkeb.leaderboard.pictures.crossing import crossing
from xkeb.leaderboard.pictures.families import families
from xkeb.leaderboard.pictures.heatmap import heatmaps
from xkeb.leaderboard.pictures.sequences import points, retention
from xkeb.leaderboard.rows.case_sets import with_case_sets
from xkeb.leaderboard.rows.entries import (
    Broken,
    Entry,
    Found,
    baselines,
    find_results,
    in_slice,
    published,
    published_entries,
    slug,
    unused,
)
from xkeb.leaderboard.rows.sequences import by_regime, twins
from xkeb.leaderboard.rows.summary import summarize
from xkeb.leaderboard.site import views
from xkeb.leaderboard.site.badges import Failed, with_checks, with_reruns
from xkeb.leaderboard.site.comparability import why_incomparable
from xkeb.leaderboard.site.evidence import chinese_edits
from xkeb.leaderboard.site.folder import MARKER, Site, check_place
from xkeb.leaderboard.site.ranks import RankInterval, rank_intervals
from xkeb.leaderboard.site.results import write_results
from xkeb.leaderboard.site.tables import boards
from xkeb.leaderboard.site.ties import PairedTests
from xkeb.leaderboard.site.workers import best_workers
from xkeb.leaderboard.verify.source import Sources
from xkeb.results.outcomes import MEANINGS
from xkeb.results.slices import HEADLINE
from xkeb.utils.folders import replacing_folder


@dataclass(frozen=True)
class Built:
    """What was built."""

    index: Path
    n_published: int
    n_results: int
    broken: Sequence[Broken]
    failed: Sequence[Failed] = ()
    """Shown without the badge, where results were checked."""


def build_site(
    results: Iterable[Path],
    output: Path,
    *,
    with_published: bool = True,
    sources: Sources | None = None,
    reruns: Iterable[Path] = (),
    workers: int | None = 1,
) -> Built:
    """Writes the site beside its place, and puts it there when it is whole. A site that stands there already is replaced.

    Args:
        results: folders with results anywhere below them.
        with_published: whether the paper's numbers stand beside them.
        sources: where the data is looked for to check each result; None: none is checked.
        reruns: folders with second runs of results, by those who build the site.
        workers: processes that write results; None: as many as are worth it. A script that asks for several has to guard its
            own work by ``if __name__ == "__main__"``, since each of them imports it.

    Raises:
        RequestError: a folder is missing, `output` holds something else or the results, there is nothing to show, or
            `workers` is below 1.
        XkebError: a process that wrote results was killed.
    """
    if workers is not None and workers < 1:
        raise RequestError(f"--workers must be at least 1, not {workers}.")
    folders = list(results)
    found = find_results(folders)
    entries = with_reruns(with_case_sets(found.entries), reruns)
    entries, failed = (entries, []) if sources is None else with_checks(entries, sources)
    findings = replace(found, entries=entries)
    printed = list(published_entries()) if with_published else []
    if not printed and not findings.entries:
        broken = f" ({len(findings.broken)} can't be read)" if findings.broken else ""
        raise RequestError(f"There is no result to show{broken}.")
    read = [entry.folder for entry in findings.entries if entry.folder is not None]
    check_place(output, [*folders, *read, *(one.path for one in findings.broken)])
    try:
        with replacing_folder(output) as folder:
            (folder / MARKER).write_text("A leaderboard stands here; building another replaces it.\n", encoding="utf-8")
            _write_site(Site(folder), printed, findings, best_workers(entries) if workers is None else workers)
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error
    return Built(output / "index.html", len(printed), len(findings.entries), findings.broken, failed)


@dataclass(frozen=True)
class Standing:
    """What the rows' cases say of them beside each other."""

    tests: PairedTests
    ranks: Mapping[str, RankInterval]


def _write_site(site: Site, printed: Sequence[Entry], findings: Found, workers: int) -> None:
    """All pages.

    Args:
        printed: the published rows.
        workers: processes that write the results.
    """
    entries = [*printed, *findings.entries, *baselines(findings.entries)]
    site.copy_static()
    names = {kind: _names(entries, kind) for kind in ("task", "model", "method")}
    site.templates.globals["pages"] = names
    counterparts: dict[tuple[str, ...], Entry] = {entry.cell[:3]: entry for entry in printed}
    read = write_results(site, findings.entries, in_slice(entries, HEADLINE), counterparts, workers)
    standing = Standing(read.tests, rank_intervals([*entries, *in_slice(entries, HEADLINE)], read.tests.samples))
    site.whole.update(entry.id for entry in read.whole)
    _overview(site, entries, findings.broken)
    _tables(site, "rows.html", "rows.html", entries, "all", standing, charts=())
    for kind in ("task", "model", "method"):
        for name, page in names[kind].items():
            members = [entry for entry in entries if getattr(entry, kind) == name]
            prefix = f"{kind}-{page}"
            drawn = site.pictures(prefix, present([*_of_many(members), *PICTURES[kind](members)]))
            path = f"{kind}s/{page}.html"
            _tables(site, path, "listing.html", members, prefix, standing, charts=drawn, kind=kind, name=name)
    site.page("cases.html", "cases.html", results=read.whole, outcomes=MEANINGS)
    site.page("about.html", "about.html")
    _published(site)
    site.page("submit.html", "submit.html")


def _overview(site: Site, entries: Sequence[Entry], broken: Sequence[Broken]) -> None:
    """The first page: the finding as a picture, and a tab for each question of a reader."""
    sliced = in_slice(entries, HEADLINE)
    told = [*sliced, *(entry for entry in entries if entry.group not in {one.group for one in sliced})]
    summaries = [*summarize(entries, "published"), *summarize(told, "reproduced")]
    groups = views.groups_of(entries)
    timed = [rows for rows in groups if rows[0].targets and sum(entry.seconds is not None for entry in rows) > 1]
    main, costs = (views.leading(entries, chosen[0]) if chosen else [] for chosen in (groups, timed))
    site.page(
        "index.html",
        "overview.html",
        broken=broken,
        most=views.MOST_ROWS,
        summaries=summaries[: views.MOST_GROUPS],
        n_summaries=len(summaries),
        finding=site.pictures("overview", present([crossing(summaries)])),
        balance=site.pictures("overview", present([charts.reliability_locality(main, "balance")])),
        cost=site.pictures("overview", present([charts.transfer_locality(costs, "cost")])),
        models=views.by_model(entries),
        pairs=views.by_pair(entries),
        matrix=site.pictures("overview", list(heatmaps(entries))[: views.MOST_GROUPS]),
        families=site.pictures("overview", list(families(entries))[: views.MOST_GROUPS]),
        sequences=by_regime(entries, views.MOST_GROUPS),
        kept=site.pictures("overview", list(_sequences(entries))[: views.MOST_GROUPS]),
        protocols=views.by_protocol(entries),
        costs=views.by_cost(entries),
        alone=views.of_one_language(entries),
    )


def _published(site: Site) -> None:
    """The page about the published numbers, whether they stand on this site or not."""
    rows = list(published_entries())
    edits = chinese_edits(rows)
    highest = max(row.reliability[1] for row in edits if row.gap > 0)
    values = (
        _Least(entry.model, entry.source, mean)
        for entry in rows
        if (mean := entry.mean(("reliability", entry.source))) is not None
    )
    least = min(values, key=lambda value: value.mean)
    site.page("published.html", "published.html", printed=published(), edits=edits, highest=highest, least=least)


@dataclass(frozen=True)
class _Least:
    """Where the published F1 is lowest."""

    model: str
    source: str
    mean: float


def _names(entries: Sequence[Entry], kind: str) -> dict[str, str]:
    """Page names; what two names have in common after `slug` is told apart by a number."""
    pages: dict[str, str] = {}  # page -> name
    for name in sorted({str(getattr(entry, kind)) for entry in entries}):
        pages[unused(slug(name), pages)] = name
    return {name: page for page, name in pages.items()}


def _tables(
    site: Site, path: str, template: str, entries: Sequence[Entry], prefix: str, standing: Standing, **context: Any
) -> None:
    """A page of tables, those of the slice that is told first before the others."""
    first = in_slice(entries, HEADLINE)
    tables = boards(first, f"{prefix}-{slug(HEADLINE)}", standing.tests, standing.ranks)
    tables += boards(entries, prefix, standing.tests, standing.ranks)
    for table in tables:
        site.board(table)
    site.page(path, template, boards=tables, **context)


def _of_many(entries: Sequence[Entry]) -> Iterator[Chart | None]:
    """Pictures of many languages, and of many edits."""
    yield from heatmaps(entries)
    yield from families(entries)
    yield from _sequences(entries)


def _sequences(entries: Sequence[Entry]) -> Iterator[Chart]:
    """What is kept of earlier edits, by group; then what is asked at two points."""
    tables = by_regime(entries)
    yield from present(retention(table.rows, f"retention-{i}") for i, table in enumerate(tables))
    for i, pairs in enumerate(twins(entries)):
        yield points(pairs, f"points-{i}")


def _charts(entries: Sequence[Entry]) -> Iterator[Chart | None]:
    """Pictures of each group with enough rows, the fullest first."""
    for i, members in enumerate(views.groups_of(entries)[: views.MOST_GROUPS]):
        group = [entry for entry in entries if entry.group == members[0].group]
        yield charts.reliability_locality(group, f"balance-{i}")
        yield charts.transfer_locality(group, f"cost-{i}")
        yield charts.training_sizes(group, f"sizes-{i}")


def _model_charts(entries: Sequence[Entry]) -> Iterator[Chart | None]:
    """The radars of each group, the published rows among those that are measured as they are; then those of any page."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    beside: dict[str, list[Entry]] = {}  # published rows that stand in a picture of ours, by its group
    for group, members in groups.items():
        alike = {entry.cell for entry in members if entry.result is not None and why_incomparable(entry) is None}
        beside[group] = [entry for entry in entries if entry.badge == "published" and entry.cell in alike]
    placed = {entry.id for rows in beside.values() for entry in rows}
    ordered = sorted(groups, key=lambda group: (groups[group][0].task, groups[group][0].asked, group))
    for i, group in enumerate(ordered):
        own = [entry for entry in groups[group] if entry.id not in placed]
        yield charts.radars([*beside[group], *own], f"radar-{i}") if own else None
    yield from _charts(entries)


PICTURES: dict[str, Callable[[Sequence[Entry]], Iterable[Chart | None]]] = {
    "task": _charts,
    "model": _model_charts,
    "method": _charts,
}
