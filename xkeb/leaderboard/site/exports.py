"""Tables as files: of rows as CSV, JSON and LaTeX, of one result's answers as CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any

from xkeb.leaderboard.pictures.chart import RISKY, harmless
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.site.tables import Board, Group, Row, Shown
from xkeb.results.lines import CaseRecord

LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip
"""What TeX takes for something else."""


def records(board: Board) -> list[dict[str, Any]]:
    """The table as data: a record a row, with every metric."""
    rows = []
    for row in board.rows:
        entry = row.entry
        scores = {
            f"{name}_{code or entry.source}": {
                metric: {"mean": score.mean, "ci95": list(score.ci95) if score.ci95 else None, "n": score.n}
                for metric, score in place.scores.items()
            }
            for (name, code), place in zip(board.columns, row.places, strict=True)
        }
        rows.append(
            {
                "badge": entry.badge,
                "task": entry.task,
                "source": entry.source,
                "target": entry.target,
                "model": entry.model,
                "method": entry.method,
                "protocol": entry.protocol,
                "prompt": entry.prompt,
                "comparable_group": entry.group,
                "slice": entry.within,
                "origin": entry.origin,
                "recomputed": entry.recomputed is not None,
                "rerun": entry.rerun,
                "sees": None if entry.sees is None else list(entry.sees),
                "train_size": entry.train_size,
                "n_cases": entry.n_cases,
                "seconds_a_case": entry.seconds,
                "overall": row.overall,
                "rank": None if row.rank is None else [row.rank.low, row.rank.high],
                "scores": scores,
                "f1_minus_published": {
                    f"{name}_{code or entry.source}": place.difference
                    for (name, code), place in zip(board.columns, row.places, strict=True)
                    if place.difference is not None
                },
            }
        )
    return rows


def as_json(board: Board) -> str:
    return json.dumps(records(board), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def as_csv(board: Board) -> str:
    """One line a row; F1, EM and F1's interval of each column."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    facts = ("badge", "task", "source", "target", "model", "method", "protocol", "prompt", "group", "n_cases", "origin")
    heads = [f"{name}_{code or 'edited'}" for name, code in board.columns]
    writer.writerow(
        [
            *facts,
            "sees",
            "overall",
            "rank_low",
            "rank_high",
            *(f"{head}_{part}" for head in heads for part in ("f1", "em", "f1_low", "f1_high")),
        ]
    )
    for row in board.rows:
        line = ["" if (fact := getattr(row.entry, name)) is None else harmless(str(fact)) for name in facts]
        line += [" ".join(row.entry.sees or ()), "" if row.overall is None else str(row.overall)]
        line += ["", ""] if row.rank is None else [str(row.rank.low), str(row.rank.high)]
        for place in row.places:
            score = place.f1
            low, high = score.ci95 if score is not None and score.ci95 else ("", "")
            line += [str(place.scores[metric].mean) if metric in place.scores else "" for metric in place.headlines]
            line += [str(low), str(high)]
        writer.writerow(line)
    return out.getvalue()


def as_latex(board: Board) -> str:
    """A tabular a group, for booktabs: F1 / EM, the best bold, what ties with it underlined."""
    return "\n".join(_tabular(board, group) for group in board.groups)


def _tabular(board: Board, group: Group) -> str:
    first = group.first
    cases = "" if group.n_cases is None else f"{group.n_cases:,} cases, "
    printed = ", published" if first.badge == "published" else ""
    metrics = " / ".join(first.headlines)
    heads = [f"{name[:3].capitalize()}. {code or 'edited'}" for name, code in board.columns]
    return "\n".join(
        [
            f"% {_one_line(f'{first.task}: {cases}{first.asked}, {metrics}{printed}')}",
            rf"\begin{{tabular}}{{ll{'r' * (1 + len(heads))}}}",
            r"\toprule",
            rf"Method & Model & Overall & {' & '.join(map(_tex, heads))} \\",
            r"\midrule",
            *(_line(row) for row in group.rows),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _line(row: Row) -> str:
    name = row.entry.method if row.facts is None else f"{row.entry.method} ({row.facts:,} facts)"
    score = "--" if row.overall is None else f"{row.overall:.1f}"
    return rf"{_tex(name)} & {_tex(row.entry.model)} & {score} & {' & '.join(map(_place, row.places))} \\"


def _place(place: Shown) -> str:
    if place.f1 is None:
        return "--"
    return {"best": rf"\textbf{{{place.text}}}", "tie": rf"\underline{{{place.text}}}"}.get(place.mark, place.text)


def _tex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in _one_line(text))


def _one_line(text: str) -> str:
    """Without line ends, which would end a comment, and what can't be seen."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


@dataclass(slots=True)
class AnswersTable:
    """Takes one result's cases: a line a question, with the answers to it."""

    entry: Entry
    _out: io.StringIO = field(default_factory=lambda: io.StringIO(newline=""))
    _writer: Any = field(init=False)

    def __post_init__(self) -> None:
        self._writer = csv.writer(self._out, lineterminator="\n")
        heads = ("case_id", "edit", "target", "property", "language", "question", "reference", "before", "after")
        self._writer.writerow([*heads, *self.entry.headlines])

    def add(self, case: CaseRecord) -> None:
        """Takes a case."""
        headlines = self.entry.headlines
        edit = [harmless(text) for text in (case.case_id, case.edit.prompt, case.edit.target)]
        rows = []
        for probe in case.probes:
            texts = (probe.property, probe.language, probe.prompt, probe.reference, probe.before, probe.after)
            row = [*edit, *[harmless(text) if text.startswith(RISKY) else text for text in texts]]
            for metric in headlines:
                score = None if probe.blank else probe.scores.get(metric)
                row.append("" if score is None else str(score))
            rows.append(row)
        self._writer.writerows(rows)

    @property
    def text(self) -> str:
        """The file."""
        return self._out.getvalue()
