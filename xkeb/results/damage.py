"""Damage: what edits that stay did to all that no edit was about. The lines of damage.jsonl, and their means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

from xkeb.results.fields import Count, Name, Percent, Record, Seconds, Sha256
from xkeb.utils.hashing import digest

DAMAGE = "damage.jsonl"
"""The file of its lines, beside cases.jsonl."""
DAMAGE_VERSION = 1
"""Of what is measured; a part of the hash that the lines carry."""
Nats = Annotated[float, Field(ge=0)]


class TextLoss(Record):
    """How well a model expects the text of a language."""

    tokens: Annotated[int, Field(ge=1)]
    """That are predicted: all but the first of each passage."""
    loss: Nats | None
    """Mean negative log-likelihood of a token, in nats. None where it is no finite number."""
    loss_before: Nats | None
    """The same of the untouched model."""


class LanguageDamage(Record):
    """Of one model after some edits, in one language."""

    n: Count
    """Questions of locality."""
    changed: Count
    """Of them, those that are answered by another text than before any edit."""
    n_kl: Count
    """Of them, those that have a divergence: those that the model itself answers, not another one that a change asks."""
    kl: Nats | None
    """Mean divergence of these from the untouched model. None where there is none, or it is no finite number."""
    text: TextLoss | None
    """None where the language has no text."""


class DamageRecord(Record):
    """A line of damage.jsonl: a sequence of edits at one point."""

    what: ClassVar[str] = "point"
    sequence: Sha256
    """Of the ids of all cases of the sequence, in the order of their edits."""
    edits: Annotated[int, Field(ge=1)]
    """Up to which place edits had been made."""
    languages: dict[Name, LanguageDamage]
    seconds: Seconds
    """That measuring took."""
    settings: str
    """`damage_settings` of the cases' settings and the texts."""
    chain: str = ""
    """As in cases.jsonl."""

    @property
    def key(self) -> str:
        return point_key(self.sequence, self.edits)


class Perplexity(Record):
    """Of a text: the exponential of the mean loss of a token. None where that is no finite number."""

    tokens: Annotated[int, Field(ge=1)]
    before: float | None
    """Of the untouched model."""
    after: float | None


class DamageScore(Record):
    """Means over the sequences of a result."""

    n: Count
    """Questions of locality, of all sequences."""
    changed: Percent | None
    """Of them, those that are answered by another text than before any edit, in percent. None where there is no question."""
    n_kl: Count
    """Of them, those that have a divergence: those that the model itself answers, not another one that a change asks."""
    kl: Nats | None
    """Mean divergence of these from the untouched model, in nats. None where there is none, or it is no finite number."""
    perplexity: Perplexity | None
    """None where the language has no text."""


class DamagePoint(Record):
    """Some number of edits."""

    sequences: Annotated[int, Field(ge=1)]
    """That reached it."""
    languages: dict[Name, DamageScore]


class Damage(Record):
    """What edits that stay did to all that no edit was about (``--damage``)."""

    texts: dict[Name, Sha256]
    """By language, the hash of the text whose perplexity is measured; a language that isn't there has none."""
    after: dict[Annotated[str, Field(pattern="^[1-9][0-9]*$")], DamagePoint]
    """After how many edits -> means over sequences."""


def point_key(sequence: str, edits: int) -> str:
    """Of a line: which sequence, and after how many edits."""
    return f"{sequence}@{edits}"


def texts_of(passages: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The hash of each language's passages, of those that have any."""
    return {code: digest(list(parts)) for code, parts in passages.items() if parts}


def damage_settings(cases: str, texts: Mapping[str, str]) -> str:
    """The hash that lines of damage.jsonl carry.

    Args:
        cases: the settings of the lines of cases.jsonl, which don't depend on whether damage is measured.
        texts: as in `Damage.texts`.
    """
    return digest({"cases": cases, "damage": DAMAGE_VERSION, "texts": dict(texts)})


def mean_damage(lines: Iterable[DamageRecord], texts: Mapping[str, str]) -> Damage:
    """The means over sequences: of questions over all of them, of perplexity the geometric mean, since losses are averaged."""
    points: dict[int, list[DamageRecord]] = {}
    for line in lines:
        points.setdefault(line.edits, []).append(line)
    after = {}
    for edits in sorted(points):
        codes = dict.fromkeys(code for line in points[edits] for code in line.languages)
        parts = {code: [line.languages[code] for line in points[edits] if code in line.languages] for code in codes}
        languages = {code: _score(some) for code, some in parts.items()}
        after[str(edits)] = DamagePoint(sequences=len(points[edits]), languages=languages)
    return Damage(texts=dict(texts), after=after)


def _score(parts: Sequence[LanguageDamage]) -> DamageScore:
    n, changed, n_kl = (sum(getattr(part, name) for part in parts) for name in ("n", "changed", "n_kl"))
    measured = [part for part in parts if part.n_kl]
    sums = [None if part.kl is None else part.kl * part.n_kl for part in measured]
    texts = [part.text for part in parts if part.text is not None]
    return DamageScore(
        n=n,
        changed=100 * changed / n if n else None,
        n_kl=n_kl,
        kl=_total(sums, n_kl),
        perplexity=_perplexity(texts) if texts else None,
    )


def _perplexity(texts: Sequence[TextLoss]) -> Perplexity:
    before = _total([text.loss_before for text in texts], len(texts))
    after = _total([text.loss for text in texts], len(texts))
    return Perplexity(tokens=texts[0].tokens, before=_exponential(before), after=_exponential(after))


def _total(values: Sequence[float | None], count: int) -> float | None:
    """The sum of values divided by a count; None where one of them is no number, or there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / count if known and len(known) == len(values) else None


def _exponential(loss: float | None) -> float | None:
    try:
        return None if loss is None else math.exp(loss)
    except OverflowError:
        return None
