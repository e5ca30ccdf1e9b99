"""One number for a row: high only if the edit takes, holds in other words, crosses, and leaves the rest alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, harmonic_mean

from xkeb.leaderboard.rows.entries import Cell, Entry


def overall(entry: Entry) -> float | None:
    """The harmonic mean of reliability, generality in the language of the edit, generality in the others, and locality.

    Meng et al. (NeurIPS 2022, 3.4; ICLR 2023) call the harmonic mean of efficacy, paraphrase and
    neighborhood scores *Score*; generality in another language is what this field adds. It is near to the least of the four: an
    edit that does nothing has perfect locality and the unedited model's reliability, one that spoils the model the reverse.
    A task of one language has no others: there it is their *Score* of the remaining three.

    Returns:
        Percent; None where one of them wasn't measured.
    """
    parts = [[entry.mean(cell) for cell in cells] for cells in overall_parts(entry)]
    values = [fmean(known) for part in parts if (known := [value for value in part if value is not None])]
    return harmonic_mean([max(0.0, value) for value in values]) if len(values) == len(parts) else None


def overall_parts(entry: Entry) -> Sequence[Sequence[Cell]]:
    """The places of the table that each of the four, or three, is the mean of."""
    parts = [
        [("reliability", entry.source)],
        [("generality", entry.source)],
        [("generality", code) for code in entry.targets],
        [("locality", code) for code in dict.fromkeys(entry.languages)],
    ]
    return [part for part in parts if part]


def stays(entry: Entry) -> float | None:
    """Locality, its mean over the languages; None where it wasn't measured."""
    known = [value for code in dict.fromkeys(entry.languages) if (value := entry.mean(("locality", code))) is not None]
    return fmean(known) if known else None
