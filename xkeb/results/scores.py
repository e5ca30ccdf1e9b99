"""The numbers of a result: means with their uncertainty, and what crosses between languages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from xkeb.results.fields import Count, Name, Percent, Record
from xkeb.types import Property


class Score(Record):
    """A mean over cases, times 100, with its uncertainty over clusters of cases: those that edit one subject."""

    mean: Percent
    stderr: Annotated[float, Field(ge=0)]
    """Cluster-robust standard error of the mean; 0 where all clusters agree, or there is but one."""
    ci95: Annotated[tuple[Percent, Percent], Field(strict=False)]
    """Percentile interval of the cluster bootstrap; where all clusters agree, Clopper and Pearson's bound."""
    n: Annotated[int, Field(ge=1)]
    """Cases."""
    n_clusters: Annotated[int, Field(ge=1)]
    """Subjects that their edits are about; a case without one counts as its own."""


Scores = dict[Property, dict[Name, dict[Name, Score]]]
"""property -> language -> metric -> score."""


class BlankRecord(Record):
    """The questions of one language that can't measure locality: what it is compared with says nothing."""

    n: Annotated[int, Field(ge=1)]
    """How many there are."""
    scores: dict[Name, Score]
    """By metric, locality with them; a metric that says nothing of any of the answers is left out."""
    echoes: Count | None = None
    """How many of them the edited model answers with the edit's own answer; None in results that were made before this was
    counted."""

    @property
    def asked(self) -> int:
        """Questions of locality in that language: these, and those that can measure it, as far as a metric has scored them."""
        return max([self.n, *(score.n for score in self.scores.values())])


class CrossingRecord(Record):
    """What crosses from the language of the edits to another, over the cases that are asked in both. Times 100."""

    gain: float
    """Generality in the other language after the edits, less that before them."""
    gain_source: float
    """The same in the language of the edits."""
    transfer: float | None
    """`gain` in percent of `gain_source`; None where that isn't above 0."""
    ci95: Annotated[tuple[float, float], Field(strict=False)] | None
    """Of `transfer`: percentile interval of the cluster bootstrap; None where resamples don't tell one."""
    both: Score
    """Mean of the lower of both scores of a case: of `em`, how often a fact holds in both languages at once."""


Crossings = dict[str, dict[Name, dict[Name, CrossingRecord]]]
"""``answers=differ`` or ``all`` -> target language -> metric -> what crosses."""
