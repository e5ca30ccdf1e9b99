"""The scores of results: in the layout of the paper's Table 2 on a terminal, as tab-separated values in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from xkeb.cli.damage_display import show_damage
from xkeb.cli.output import make_console, make_table
from xkeb.cli.score_tsv import print_tsv
from xkeb.registry.manager import get_plugins
from xkeb.results.group import comparable_group
from xkeb.results.lines import REVERTED
from xkeb.results.result import Result
from xkeb.results.scores import Score, Scores
from xkeb.results.settings import headline_metrics
from xkeb.results.slices import ANSWERS, HEADLINE
from xkeb.types import PROPERTIES, Property

BASELINE = "(baseline)"
"""The row of the model before any edit."""
CASES_OF: Mapping[str | None, str] = {None: "all cases", HEADLINE: "cases whose answers differ between the languages"}
"""What a table is of, in words."""
GAP = 2
"""Spaces between columns."""
SEPARATORS = (" / ", "/")
"""Between the two metrics of a cell; the second where the first is too wide."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of scores."""

    language: str
    """Its code; empty for reliability, which is asked in the language of the edit."""
    name: Property

    def of(self, scores: Scores, source: str) -> Mapping[str, Score]:
        """What a row of results shows in it."""
        return scores.get(self.name, {}).get(self.language or source, {})

    @property
    def group(self) -> str:
        """The language above it."""
        return language_name(self.language) if self.language else ""


@dataclass(frozen=True, slots=True)
class Row:
    source: str
    method: str
    scores: Scores

    @property
    def n(self) -> int:
        """Cases."""
        return max((score.n for score in self.scores.get("reliability", {}).get(self.source, {}).values()), default=0)


def language_name(code: str) -> str:
    """A language in English; its code where no plugin has it."""
    languages = get_plugins().languages
    return languages.get(code).name if code in languages else code


def show_table(results: Sequence[Result], output: Path, headlines: Sequence[str] = ()) -> None:
    """One block for a model, a way of asking (protocol, its options and prompt) and some languages. The cases whose answers
    differ between the languages come first, where some don't.

    Args:
        headlines: the two metrics to show instead of the protocol's.
    """
    out = make_console()
    if not out.is_terminal:
        print_tsv(results)
        return
    edited = [result for result in results if result.case_ids]
    for group in _blocks([result for result in edited if len(result.task.direction.targets) < 2]):
        if any(len(_values_of(ANSWERS, result)) > 1 for result in group):
            show_block(group, out, HEADLINE, headlines)
        show_block(group, out, headlines=headlines)
        show_blank(group, out, headlines)
        _show_second_turn(group, out, headlines)
    several = [result for result in edited if len(result.task.direction.targets) > 1]
    if several:
        from xkeb.cli.crossing_tables import show_crossing  # which needs numpy

        show_crossing(several, out)
        show_blank(several, out, headlines)
        _show_second_turn(several, out, headlines)
    show_damage(out, results)
    show_skipped(out, results)
    missing = sum(len(result.missing or ()) for result in results)
    if missing:
        out.print(f"{missing} times a case lacks a language; the reasons stand in result.json.")
    if results:
        out.print(f"Results: {output}", soft_wrap=True)


def show_skipped(out: Console, results: Sequence[Result]) -> None:
    """How many cases were skipped, and why the first was; a result without any other case is told by its name."""
    for result in results:
        if result.skipped:
            first, n = result.skipped[0], len(result.skipped)
            count = f"{n:,} case{'s' * (n != 1)} skipped" if result.case_ids else "no case could be edited"
            told = f"{result.title}: {count}; the first, {first.case_id}: {first.reason.rstrip('.')}."
            out.print(told, soft_wrap=True, markup=False)


def _blocks(results: Sequence[Result]) -> list[list[Result]]:
    blocks: dict[tuple[str, str, frozenset[str]], list[Result]] = {}
    for result in results:
        way = comparable_group(result).partition("/")[2]  # without the task: both directions stand in one block
        key = (result.model.name, way, frozenset(_languages([result])))
        blocks.setdefault(key, []).append(result)
    return list(blocks.values())


def _languages(group: Sequence[Result]) -> list[str]:
    """Codes of the languages that were asked in: the edited one first where all edits are in one, then by code."""
    sources = {result.task.source for result in group}
    asked = {code for result in group for codes in result.scores.values() for code in codes}
    asked |= sources | {code for result in group for code in result.task.direction.languages}
    return sorted(asked, key=lambda code: (len(sources) > 1 or code not in sources, code))


def _values_of(kind: str, result: Result) -> list[str]:
    """The slices of a kind that a result has."""
    return [name for name in result.slices if name.startswith(f"{kind}=")]


def show_block(group: Sequence[Result], out: Console, within: str | None = None, headlines: Sequence[str] = ()) -> None:
    """The scores of all cases, or of those of a slice, in as many tables as the terminal's width asks for."""
    rows = list(_rows(group, within))
    result = group[0]
    metrics = shown_metrics(result, headlines)
    columns = [Column("", "reliability")]
    columns += [
        Column(code, name) for code in _languages(group) for name in PROPERTIES if name != "reliability"
    ]  # fmt: skip
    leads = {"Editing": [language_name(row.source) for row in rows], "Method": [row.method for row in rows]}
    leads["Cases"] = [str(row.n) for row in rows]
    said = [result.model.name, result.protocol.replace("_", " ")]
    said += [result.prompt] if result.prompt != "plain" else []
    said += [result.regime] if result.regime != "single" else []
    said.append(" / ".join(filter(None, metrics)))
    if len(set(leads["Editing"])) == 1:  # what is the same in each row is said once
        said.append(f"edited in {leads.pop('Editing')[0]}")
    counted = CASES_OF.get(within, within) or ""
    if len(set(leads["Cases"])) == 1:
        count = leads.pop("Cases")[0]
        counted = counted.replace("all cases", f"all {count} cases") if within is None else f"{count} {counted}"
    out.print(f"{', '.join(said)}: {counted}", style="bold", soft_wrap=False)
    for separator, piece in _pieces(columns, rows, leads, metrics, out.width):
        out.print(_table(piece, rows, leads, metrics, separator, SIMPLE_HEAD if out.is_terminal else None))
        out.print()


def _rows(group: Sequence[Result], within: str | None) -> Iterator[Row]:
    """The results, those of one language together, each after the baseline of its task."""
    seen: set[str] = set()
    for result in group:
        before, after = result.scores_before, result.scores
        if within is not None:
            before, after = result.slices_before.get(within, {}), result.slices.get(within, {})
        if result.task.source not in seen:
            seen.add(result.task.source)
            yield Row(result.task.source, BASELINE, before)
        yield Row(result.task.source, result.method.name, after)


def _pieces(
    columns: Sequence[Column],
    rows: Sequence[Row],
    leads: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    width: int,
) -> Iterator[tuple[str, list[Column]]]:
    """The columns of each table, and what stands between two metrics: all in one where that fits, else a table for each
    language, and of one that is still too wide as many of its columns as fit."""
    taken = sum(GAP + max(map(len, [name, *cells])) for name, cells in leads.items())

    def fits(piece: Sequence[Column], separator: str) -> bool:
        return taken + sum(_widths(piece, rows, metrics, separator)) + GAP * (len(piece) - 1) <= width

    loose, tight = SEPARATORS
    if fits(columns, loose):
        yield loose, list(columns)
        return
    groups = _by_language(columns)
    separator = loose if all(fits(group, loose) for group in groups) else tight
    for group in groups:
        piece: list[Column] = []
        for column in group:
            if piece and not fits([*piece, column], separator):
                yield separator, piece
                piece = []
            piece.append(column)
        yield separator, piece


def _by_language(columns: Sequence[Column]) -> list[list[Column]]:
    """Each language's columns; reliability stands with the first language."""
    groups: dict[str, list[Column]] = {}
    first = next(column.language for column in columns if column.language)
    for column in columns:
        groups.setdefault(column.language or first, []).append(column)
    return list(groups.values())


def _widths(columns: Sequence[Column], rows: Sequence[Row], metrics: Sequence[str], separator: str) -> list[int]:
    return [
        max(
            cell_len(column.group),
            len(column.name),
            *(len(_cell(column.of(row.scores, row.source), metrics, separator)) for row in rows),
        )
        for column in columns
    ]


def _table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    leads: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    separator: str,
    box: Box | None,
) -> Table:
    table = Table(box=box, padding=(0, GAP - (1 if box else 0), 0, 0), pad_edge=False, show_edge=False)
    for name in leads:
        table.add_column(f"\n{name}", justify="right" if name == "Cases" else "left")
    for column in columns:
        table.add_column(f"{column.group}\n{column.name.capitalize()}", justify="right", overflow="fold")
    for i, row in enumerate(rows):
        cells = [_cell(column.of(row.scores, row.source), metrics, separator) for column in columns]
        first = [values[i] for values in leads.values()]
        table.add_row(*first, *cells, style="dim" if row.method == BASELINE else None)
    return table


def shown_metrics(result: Result, headlines: Sequence[str] = ()) -> tuple[str, str]:
    """The two metrics that a table shows, where they were measured: `headlines`, else f1, as the protocol's own code computes
    it, and em."""
    measured = list(next(iter(next(iter(result.scores.values())).values()))) if result.scores else []
    chosen = [name for name in headlines if name in measured] or headline_metrics(result.protocol, measured)
    return (chosen[0] if chosen else "", chosen[1] if len(chosen) > 1 else "")


def _cell(measured: Mapping[str, Score], metrics: Sequence[str], separator: str = SEPARATORS[0]) -> str:
    return separator.join(f"{measured[metric].mean:.2f}" for metric in metrics if metric in measured) or "-"


def show_blank(group: Sequence[Result], out: Console, headlines: Sequence[str] = ()) -> None:
    """What locality leaves out, what it would be with it, and how much of that is answered with the edit."""
    metrics = shown_metrics(group[0], headlines)
    columns = ["Editing", "Method", "In", "Left out", "Locality", "With them", "Echoes"]
    rows = make_table("Locality: questions that the model answers with nothing", columns, out, right=columns[3:])
    for result in group:
        source = result.task.source
        for language in sorted(result.blank, key=lambda code: (code != source, code)):
            blank = result.blank[language]
            counted = result.scores.get("locality", {}).get(language, {})
            names = [language_name(code) for code in (source, language)]
            rows.add_row(
                names[0], result.method.name, names[1], f"{blank.n} of {blank.asked}", _cell(counted, metrics),
                _cell(blank.scores, metrics), "-" if blank.echoes is None else str(blank.echoes),
            )  # fmt: skip
    if rows.row_count:
        out.print(rows)
        out.print()


def _show_second_turn(group: Sequence[Result], out: Console, headlines: Sequence[str]) -> None:
    """What was asked again, and how many of the answers that were right at first are not any more."""
    metrics = shown_metrics(group[0], headlines)
    columns = ["Editing", "Method", "Property", "In", "First", "Again", "Reverted"]
    rows = make_table("Asked again after an unrelated question and its answer", columns, out, right=columns[4:])
    for result in group:
        for name, languages in result.second_turn.items():
            for language, scores in languages.items():
                reverted = scores.get(REVERTED)
                names = [language_name(code) for code in (result.task.source, language)]
                rows.add_row(
                    names[0], result.method.name, name, names[1],
                    _cell(result.scores.get(name, {}).get(language, {}), metrics), _cell(scores, metrics),
                    "none was right" if reverted is None else f"{reverted.mean * reverted.n / 100:.0f} of {reverted.n}",
                )  # fmt: skip
    if rows.row_count:
        out.print(rows)
        out.print()
