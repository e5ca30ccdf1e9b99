"""What is written of each result: its page with its scores, what it was made with, and its cases, and the cases as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xkeb.leaderboard.pictures import charts
from xkeb.leaderboard.rows.entries import Entry
from xkeb.leaderboard.site.browsing import CaseFiles, CaseOrder
from xkeb.leaderboard.site.cases import Pages, write_cases
from xkeb.leaderboard.site.comparability import why_incomparable
from xkeb.leaderboard.site.exports import AnswersTable
from xkeb.leaderboard.site.folder import Site
from xkeb.leaderboard.site.samples import Collector, Gathered, Keys
from xkeb.results.result import JudgeRecord
from xkeb.types import Sight

SIGHTS: dict[Sight, str] = {
    Sight.SOURCE_EDIT: "the edit in its own language",
    Sight.TARGET_QUESTION: "its question in the other languages",
    Sight.TARGET_ANSWER: "its answer in the other languages",
    Sight.SUBJECT_ALIASES: "other languages' names of the subject",
    Sight.SOURCE_TRAINING: "training facts in the language of the edit",
    Sight.PARALLEL_TRAINING: "training facts in all languages of the task",
    Sight.EXTERNAL_TRANSLATION: "a translation of its own making",
}


@dataclass(frozen=True)
class Job:
    """A result whose files are to be written."""

    entry: Entry
    order: CaseOrder
    """Of its group."""
    within: Sequence[str]
    """The slices that tables tell of."""
    counterpart: Entry | None
    """The published row of the same task, model and method."""


@dataclass(frozen=True)
class Written:
    """What a result's cases gave."""

    gathered: Gathered
    whole: bool
    """Whether all could be read."""


@dataclass(frozen=True)
class ResultWriter:
    """Writes results, one after the other. What it writes of one depends on no other."""

    site: Site
    keys: Keys = field(default_factory=Keys)

    def write(self, job: Job) -> Written:
        """A result's page, its cases, and what the case browser fetches of it."""
        entry = job.entry
        collector = Collector(self.keys, entry.headline, job.within)
        table, files = AnswersTable(entry), CaseFiles(entry, job.order)
        shown = write_cases(entry, self.site.folder / "results" / entry.id, [collector, table, files])
        self.site.write(f"results/{entry.id}/cases.csv", table.text)
        if shown.problem is None:
            files.write(self.site.folder)
        _result(self.site, entry, shown, job.counterpart)
        return Written(collector.gathered, shown.problem is None)


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
        shown_whole=() if shown.problem else (entry.id,),
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
