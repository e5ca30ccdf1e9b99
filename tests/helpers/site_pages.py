"""A built site, as tests read it."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

TABLE = "all--en-zh"
"""Begins the names of the overview's tables of English and Chinese: one for each way of asking."""


class Page(HTMLParser):
    """Every element with its attributes, the visible text, and the rows of the tables as text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.data = False
        self.feed(path.read_text(encoding="utf-8"))
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.data = tag in ("script", "style")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self.data = False

    def handle_data(self, data: str) -> None:
        if self.data:
            return
        self.texts.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def records(site: Path, table: str = TABLE) -> list[dict[str, Any]]:
    """The rows of all tables of these languages, whatever the way of asking."""
    found: list[dict[str, Any]] = []
    for path in sorted((site / "tables").glob(f"{table}--*.json")):
        found += json.loads(path.read_text(encoding="utf-8"))
    return found


def csv_lines(site: Path) -> list[dict[str, str]]:
    """The same as `records`, of the tables as CSV."""
    found: list[dict[str, str]] = []
    for path in sorted((site / "tables").glob(f"{TABLE}--*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += csv.DictReader(file)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def result_pages(site: Path) -> list[Path]:
    return sorted(site.glob("results/*/index.html"))
