"""The first picture: what an edit does in its own language, and in another."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.leaderboard.pictures.chart import Chart, Panel, one_digit, way
from xkeb.leaderboard.pictures.plots import PairRow, pairs
from xkeb.leaderboard.rows.summary import Means, Summary

MOST_PANELS = 4


def crossing(summaries: Sequence[Summary]) -> Chart | None:
    """What an edit does in its own language and in another: a panel a group, the fullest of each kind.

    Tasks of one language are left out.
    """
    groups: dict[tuple[str, str], list[Summary]] = {}
    for view in (view for view in summaries if view.targets):
        groups.setdefault((view.badge, view.group), []).append(view)
    chosen: list[list[Summary]] = []
    for badge in ("published", "reproduced"):
        of_kind = [views for (kind, _), views in groups.items() if kind == badge]
        of_kind = [views for views in of_kind if any(_shown(view) for view in views)]
        chosen += of_kind[: MOST_PANELS // 2]
    if not chosen:
        return None
    panels, rows = [], []
    for views in chosen:
        first = views[0]
        drawn: list[PairRow] = []
        for view in views:
            models = view.models[0] if len(view.models) == 1 else f"mean of {len(view.models)} models"
            drawn.append(PairRow(models))
            drawn += [
                PairRow(line.name, line.here, line.there, "*" if line.saw_target_answer else "")
                for line in _shown(view)
            ]
            rows += [
                [
                    view.badge,
                    view.task,
                    view.asked,
                    ", ".join(view.models),
                    line.name,
                    one_digit(line.here),
                    one_digit(line.there),
                ]
                for line in (*_shown(view), *([view.baseline] if view.baseline else []))
            ]
        before = first.baseline.there if first.baseline else None
        cases = f"{first.n_cases:,} cases" if first.n_cases else "cases not said"
        others = ", ".join(first.targets) if len(first.targets) < 4 else f"{len(first.targets)} languages"
        edits = f"{first.badge.capitalize()}: edits in {first.source}, asked in {others}"
        part = ", answers differ" if first.within else ""
        title = f"{edits}; {cases}{part}, {way(first.asked)}"
        panels.append(Panel(title, pairs(drawn, before)))
    return Chart(
        "crossing",
        "What an edit does in its own language, and in another",
        f"{len(panels)} plots with a line for each method: F1 of the question in other words, in the language of the edit and "
        "in another. The numbers stand in the table below.",
        panels,
        ["kind", "task", "protocol", "models", "method", "F1, language of the edit", "F1, another language"],
        rows,
        [("s0", "in the language of the edit"), ("s1", "in another language")],
        "F1 of the edited fact, asked in other words. A long line is an edit that stays behind in its language. * was shown "
        "the answer in the other language; dashed: the unedited model in the other language.",
    )


def _shown(view: Summary) -> list[Means]:
    return [line for line in view.methods if line.here is not None or line.there is not None]
