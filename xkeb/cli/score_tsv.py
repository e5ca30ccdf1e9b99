"""The scores of results as tab-separated values, for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from xkeb.cli.echo import plain_line
from xkeb.results.result import Result
from xkeb.results.scores import Scores
from xkeb.results.slices import ANSWERS

FACTS = ("task", "model", "protocol", "prompt", "editing", "method", "when", "cases_of", "cases")
"""Columns before the scores. `when`: ``before`` any edit, ``after`` it, or ``again`` in a second turn. `cases_of`: ``all`` or a
slice."""

Place = tuple[str, str, str]
"""Property, language, metric."""


def print_tsv(results: Sequence[Result]) -> None:
    """A header, then two lines for each result, before and after its edits, and two more for each value of ``answers``; one
    more where questions were asked again.

    A column of scores is called ``property.language.metric``; what wasn't measured is empty. Where a model got several
    edits, the regime is told. ``left_out.language`` are the
    questions that can't measure locality. ``damage.language.measure`` is of the model after the last edit of a sequence.
    """
    if not results:
        return
    places = list(dict.fromkeys(place for result in results for place in _places(result)))
    blank = list(dict.fromkeys(code for result in results for code in result.blank))
    regimes = ["regime"] if any(result.regime != "single" for result in results) else []
    damage = list(dict.fromkeys(name for result in results for _, name, _ in _damage(result)))
    _print_line([*FACTS, *regimes, *map(".".join, places), *(f"left_out.{code}" for code in blank), *damage])
    for result in results:
        for cases_of, when, scores in _parts(result):
            edit = scores.get("reliability", {}).get(result.task.source, {})
            count = max((score.n for score in edit.values()), default=0)
            facts = [result.task.name, result.model.name, result.protocol, result.prompt, result.task.source]
            facts += [result.method.name, when, cases_of, str(count), *([result.regime] if regimes else [])]
            left_out = [str(result.blank[code].n) if code in result.blank else "" for code in blank]
            numbers = [_number(scores, place) for place in places]
            told = {name: text for at, name, text in _damage(result) if (cases_of, when) == ("all", at)}
            counts = left_out if cases_of == "all" else [""] * len(blank)
            _print_line([*facts, *numbers, *counts, *(told.get(name, "") for name in damage)])


def _places(result: Result) -> Iterator[Place]:
    for scores in (result.scores, result.second_turn):
        for name, languages in scores.items():
            for code, metrics in languages.items():
                for metric in metrics:
                    yield name, code, metric


def _damage(result: Result) -> Iterator[tuple[str, str, str]]:
    """Whether it is ``before`` or ``after`` the edits, the name of a column, and its number."""
    if result.damage is None or not result.damage.after:
        return
    last = list(result.damage.after.values())[-1]
    for code, score in last.languages.items():
        values = [("after", "kl", score.kl), ("after", "changed", score.changed)]
        if score.perplexity:
            values += [(when, "perplexity", getattr(score.perplexity, when)) for when in ("before", "after")]
        for when, name, value in values:
            yield when, f"damage.{code}.{name}", "" if value is None else f"{value:.6g}"


def _parts(result: Result) -> Iterator[tuple[str, str, Scores]]:
    """What lines are made of: of which cases, when they were asked, and the scores."""
    for when, scores, slices in (
        ("before", result.scores_before, result.slices_before),
        ("after", result.scores, result.slices),
        ("again", result.second_turn, {}),
    ):
        if scores or when != "again":
            yield "all", when, scores
        for name, part in slices.items():
            if name.startswith(f"{ANSWERS}="):
                yield name, when, part


def _number(scores: Scores, place: Place) -> str:
    name, code, metric = place
    score = scores.get(name, {}).get(code, {}).get(metric)  # type: ignore[call-overload]
    return "" if score is None else f"{score.mean:.2f}"


def _print_line(cells: Sequence[str]) -> None:
    click.echo("\t".join(plain_line(cell) for cell in cells))
