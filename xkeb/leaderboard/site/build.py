"""The site: pages from published numbers and from results, the same bytes for the same input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xkeb.errors import RequestError
from xkeb.leaderboard.site import charts, views
from xkeb.leaderboard.site.case_sets import with_case_sets
from xkeb.leaderboard.site.cases import Pages, write_cases
from xkeb.leaderboard.site.charts import Chart
from xkeb.leaderboard.site.comparability import why_incomparable
from xkeb.leaderboard.site.entries import (
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
from xkeb.leaderboard.site.evidence import chinese_edits
from xkeb.leaderboard.site.exports import as_csv, as_json, as_latex
from xkeb.leaderboard.site.heatmap import heatmaps
from xkeb.leaderboard.site.overall import overall
from xkeb.leaderboard.site.samples import Collector, Numbers
from xkeb.leaderboard.site.summary import summarize
from xkeb.leaderboard.site.svg import SHAPES, style_sheet
from xkeb.leaderboard.site.tables import UNRANKED, Board, boards
from xkeb.leaderboard.site.ties import PairedTests, sample_id
from xkeb.results.result import JudgeRecord
from xkeb.results.slices import HEADLINE
from xkeb.types import Sight
from xkeb.utils.folders import replacing_folder

MARKER = ".xkeb-site"
"""Stands in a folder that holds a site, which may be replaced by another."""


@dataclass(frozen=True)
class Built:
    """What was built."""

    index: Path
    n_published: int
    n_results: int
    broken: Sequence[Broken]


@dataclass(frozen=True)
class Drawn:
    """A picture with its files."""

    chart: Chart
    csv: str
    files: Sequence[str]
    """An SVG for each panel."""


class Site:
    """A folder that pages are written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.templates = Environment(
            loader=PackageLoader("xkeb_leaderboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.templates.filters["slug"] = slug
        self.templates.globals.update(
            version=metadata.version("xkeb"),
            paper=published()["citation"],
            unranked=UNRANKED,
            shapes=SHAPES,
            overall=overall,
            crossed=views.crossed,
        )

    def write(self, path: str, content: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")

    def page(self, path: str, template: str, **context: Any) -> None:
        """A page; ``root`` leads from it to the site's own folder."""
        root = "../" * path.count("/")
        self.write(path, self.templates.get_template(template).render(root=root, path=path, **context))

    def pictures(self, prefix: str, charts: Sequence[Chart]) -> list[Drawn]:
        """Pictures as files, beside the pages that have them.

        Args:
            prefix: of their names; letters, digits and hyphens.
        """
        drawn = []
        for chart in charts:
            name = f"pictures/{prefix}-{chart.id}"
            self.write(f"{name}.csv", chart.csv)
            files = [f"{name}-{i}.svg" for i in range(len(chart.panels))]
            for file, panel in zip(files, chart.panels, strict=True):
                self.write(file, panel.drawing.file())
            drawn.append(Drawn(chart, f"{name}.csv", files))
        return drawn

    def board(self, board: Board) -> None:
        """A table as data, beside the pages."""
        self.write(f"tables/{board.id}.csv", as_csv(board))
        self.write(f"tables/{board.id}.json", as_json(board))
        self.write(f"tables/{board.id}.tex", as_latex(board))


def build_site(results: Iterable[Path], output: Path, *, with_published: bool = True) -> Built:
    """Writes the site beside its place, and puts it there when it is whole. A site that stands there already is replaced.

    Args:
        results: folders with results anywhere below them.
        with_published: whether the paper's numbers stand beside them.

    Raises:
        RequestError: a folder is missing, `output` holds something else or the results, or there is nothing to show.
    """
    folders = list(results)
    found = find_results(folders)
    findings = replace(found, entries=with_case_sets(found.entries))
    printed = list(published_entries()) if with_published else []
    if not printed and not findings.entries:
        broken = f" ({len(findings.broken)} can't be read)" if findings.broken else ""
        raise RequestError(f"There is no result to show{broken}.")
    read = [entry.folder for entry in findings.entries if entry.folder is not None]
    _check_place(output, [*folders, *read, *(one.path for one in findings.broken)])
    try:
        with replacing_folder(output) as folder:
            (folder / MARKER).write_text("A leaderboard stands here; building another replaces it.\n", encoding="utf-8")
            _write_site(Site(folder), printed, findings)
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error
    return Built(output / "index.html", len(printed), len(findings.entries), findings.broken)


def _write_site(site: Site, printed: Sequence[Entry], findings: Found) -> None:
    """All pages.

    Args:
        printed: the published rows.
    """
    entries = [*printed, *findings.entries, *baselines(findings.entries)]
    _copy_static(site)
    names = {kind: _names(entries, kind) for kind in ("task", "model", "method")}
    site.templates.globals["pages"] = names
    tests = _results(site, findings.entries, in_slice(entries, HEADLINE), {entry.cell[:3]: entry for entry in printed})
    _overview(site, entries, findings.broken)
    _tables(site, "rows.html", "rows.html", entries, "all", tests, charts=())
    for kind in ("task", "model", "method"):
        for name, page in names[kind].items():
            members = [entry for entry in entries if getattr(entry, kind) == name]
            prefix = f"{kind}-{page}"
            drawn = site.pictures(prefix, charts.present([*heatmaps(members), *PICTURES[kind](members)]))
            path = f"{kind}s/{page}.html"
            _tables(site, path, "listing.html", members, prefix, tests, charts=drawn, kind=kind, name=name)
    site.page("about.html", "about.html")
    _published(site)
    site.page("submit.html", "submit.html")


def _overview(site: Site, entries: Sequence[Entry], broken: Sequence[Broken]) -> None:
    """The first page: the finding as a picture, and a tab for each question of a reader."""
    sliced = in_slice(entries, HEADLINE)
    told = [*sliced, *(entry for entry in entries if entry.group not in {one.group for one in sliced})]
    summaries = [*summarize(entries, "published"), *summarize(told, "reproduced")]
    groups = views.groups_of(entries)
    timed = [rows for rows in groups if sum(entry.seconds is not None for entry in rows) > 1]
    main, costs = (views.leading(entries, chosen[0]) if chosen else [] for chosen in (groups, timed))
    site.page(
        "index.html",
        "overview.html",
        broken=broken,
        most=views.MOST_ROWS,
        summaries=summaries[: views.MOST_GROUPS],
        n_summaries=len(summaries),
        finding=site.pictures("overview", charts.present([charts.crossing(summaries)])),
        balance=site.pictures("overview", charts.present([charts.reliability_locality(main, "balance")])),
        cost=site.pictures("overview", charts.present([charts.transfer_locality(costs, "cost")])),
        models=views.by_model(entries),
        pairs=views.by_pair(entries),
        matrix=site.pictures("overview", list(heatmaps(entries))[: views.MOST_GROUPS]),
        protocols=views.by_protocol(entries),
        costs=views.by_cost(entries),
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


def _check_place(output: Path, sources: Iterable[Path]) -> None:
    """Refuses a place where a site can't stand.

    Raises:
        RequestError: there is something else, or something that is to be kept.
    """
    place = output.resolve()
    try:
        if place.exists() and not place.is_dir():
            raise RequestError(f"{output} is a file; choose a folder with --output.")
        if place.exists() and any(place.iterdir()) and not (place / MARKER).is_file():
            raise RequestError(
                f"{output} holds something that is no leaderboard; choose an empty folder with --output."
            )
        for path in sources:
            if path.resolve().is_relative_to(place):
                raise RequestError(f"{output} holds the results in {path}; choose another folder with --output.")
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error


def _copy_static(site: Site) -> None:
    for part in sorted((files("xkeb_leaderboard") / "static").iterdir(), key=lambda part: part.name):
        if part.is_file() and not part.name.endswith(".py"):
            site.write(f"static/{part.name}", part.read_text(encoding="utf-8"))
    site.write("static/picture.css", style_sheet())


def _names(entries: Sequence[Entry], kind: str) -> dict[str, str]:
    """Page names; what two names have in common after `slug` is told apart by a number."""
    pages: dict[str, str] = {}  # page -> name
    for name in sorted({str(getattr(entry, kind)) for entry in entries}):
        pages[unused(slug(name), pages)] = name
    return {name: page for page, name in pages.items()}


def _tables(
    site: Site, path: str, template: str, entries: Sequence[Entry], prefix: str, tests: PairedTests, **context: Any
) -> None:
    """A page of tables, those of the slice that is told first before the others."""
    first = in_slice(entries, HEADLINE)
    tables = [*boards(first, f"{prefix}-{slug(HEADLINE)}", tests), *boards(entries, prefix, tests)]
    for table in tables:
        site.board(table)
    site.page(path, template, boards=tables, **context)


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


SIGHTS: dict[Sight, str] = {
    Sight.SOURCE_EDIT: "the edit in its own language",
    Sight.TARGET_QUESTION: "its question in the other languages",
    Sight.TARGET_ANSWER: "its answer in the other languages",
    Sight.SUBJECT_ALIASES: "other languages' names of the subject",
    Sight.SOURCE_TRAINING: "training facts in the language of the edit",
    Sight.PARALLEL_TRAINING: "training facts in all languages of the task",
    Sight.EXTERNAL_TRANSLATION: "a translation of its own making",
}
PICTURES: dict[str, Callable[[Sequence[Entry]], Iterable[Chart | None]]] = {
    "task": _charts,
    "model": _model_charts,
    "method": _charts,
}


def _results(
    site: Site, entries: Sequence[Entry], told: Sequence[Entry], counterparts: Mapping[tuple[str, ...], Entry]
) -> PairedTests:
    """The results' pages. Gives the tests between those whose cases could all be read.

    Args:
        told: the rows of the slice that is told first.
        counterparts: the published rows, by task, model and method.
    """
    questions, subjects = Numbers(), Numbers()
    samples = {}
    for entry in entries:
        parts = [entry, *(one for one in told if one.id == entry.id)]
        collectors = [Collector(questions, subjects, entry.headline, part.within) for part in parts]
        shown = write_cases(entry, site.folder / "results" / entry.id, collectors)
        if shown.problem is None:
            samples.update({sample_id(part): one.samples() for part, one in zip(parts, collectors, strict=True)})
        _result(site, entry, shown, counterparts.get(entry.cell[:3]))
    return PairedTests(samples)


def _result(site: Site, entry: Entry, shown: Pages, counterpart: Entry | None) -> None:
    """A result's page.

    Args:
        counterpart: the published row of the same task, model and method.
    """
    assert entry.result is not None
    facts = {
        "Task": entry.result.task.model_dump(mode="json"),
        "Model": entry.result.model.model_dump(mode="json"),
        "Method": entry.result.method.model_dump(mode="json", exclude_none=True),
        **({"Judge": _judge_facts(entry.result.judge)} if entry.result.judge else {}),
        "Timing": entry.result.timing.model_dump(exclude={"phases"}),
        "Phases of the last run": _shares(entry.result.timing.phases.model_dump()),
        "Environment": entry.result.environment,
    }
    metrics = dict.fromkeys(metric for scores in entry.scores.values() for metric in scores)  # in their order
    site.page(
        f"results/{entry.id}/index.html",
        "result.html",
        entry=entry,
        result=entry.result,
        metrics=list(metrics),
        facts={title: {key: _as_text(value) for key, value in fact.items()} for title, fact in facts.items()},
        shown=shown,
        counterpart=counterpart,
        incomparable=why_incomparable(entry) if counterpart else None,
        why_incomparable=why_incomparable,
        slices={name: scores for name, scores in entry.slices.items() if scores},
        shown_to_method=_shown_to(entry.result.method.sees),
        charts=site.pictures(entry.id, list(charts.slices(entry))),
    )


def _shown_to(sees: Iterable[Sight]) -> str:
    """What a method sees, in words."""
    words = [SIGHTS[sight] for sight in Sight if sight in set(sees)]
    return ", ".join(words) or "nothing of the data"


def _judge_facts(judge: JudgeRecord) -> dict[str, Any]:
    """What a result says of its judge."""
    return {"verdicts": "as the judge gave them; nothing computes them again", **judge.model_dump(mode="json")}


def _shares(phases: Mapping[str, float]) -> dict[str, str]:
    """Seconds, and what that is of them all."""
    whole = sum(phases.values()) or 1.0
    return {name: f"{seconds:.1f} s, {100 * seconds / whole:.0f}%" for name, seconds in phases.items()}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
