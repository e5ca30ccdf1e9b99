"""A picture: its plots, a text for those who don't see them, and the same numbers as a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xkeb.leaderboard.pictures.svg import Drawing

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Panel:
    """One of the plots of a picture."""

    title: str
    drawing: Drawing


@dataclass(frozen=True)
class Chart:
    id: str
    title: str
    alt: str
    """What is to be seen, in words."""
    panels: Sequence[Panel]
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    """The data as a table."""
    keys: Sequence[tuple[str, str]] = ()
    """Class and text of what colours and shapes stand for."""
    note: str = ""
    """How to read it."""
    small: bool = False
    """Whether its panels are many and small."""

    @property
    def csv(self) -> str:
        """The data as a file."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.heads)
        writer.writerows([harmless(value) for value in row] for row in self.rows)
        return out.getvalue()


RISKY = tuple("=+-@\t\r")


def harmless(text: str) -> str:
    """A spreadsheet takes what begins like this for a formula; numbers stay numbers."""
    return f"'{text}" if text.startswith(RISKY) and not NUMBER.fullmatch(text) else text


def present(charts: Iterable[Chart | None]) -> list[Chart]:
    """Those that have something to show."""
    return [chart for chart in charts if chart is not None]


def way(asked: str) -> str:
    """A way of asking, as a reader sees it."""
    return asked.replace("_", " ")


def one_digit(value: float | None) -> str:
    """Nothing where there is no value."""
    return "" if value is None else f"{value:.1f}"
