"""The folder of a site: where pages and pictures are written to, and what may not stand there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xkeb.errors import RequestError
from xkeb.leaderboard.pictures.chart import Chart
from xkeb.leaderboard.pictures.svg import SHAPES, style_sheet
from xkeb.leaderboard.rows.entries import published, slug
from xkeb.leaderboard.rows.overall import overall, stays
from xkeb.leaderboard.site import views
from xkeb.leaderboard.site.badges import open_text, openness
from xkeb.leaderboard.site.browsing import RIGHT_TO_LEFT, full_name, text_direction
from xkeb.leaderboard.site.exports import as_csv, as_json, as_latex
from xkeb.leaderboard.site.tables import UNRANKED, Board

MARKER = ".xkeb-site"
"""Stands in a folder that holds a site, which may be replaced by another."""


@dataclass(frozen=True)
class Drawn:
    """A picture with its files."""

    chart: Chart
    csv: str
    files: Sequence[str]
    """An SVG for each panel."""


class Site:
    """A folder that pages are written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.whole: set[str] = set()
        """Ids of the results whose cases can be browsed; templates see it."""
        self.templates = Environment(
            loader=PackageLoader("xkeb_leaderboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.templates.filters["slug"] = slug
        self.templates.globals.update(
            version=metadata.version("xkeb"),
            paper=published()["citation"],
            whole=self.whole,
            unranked=UNRANKED,
            shapes=SHAPES,
            overall=overall,
            crossed=views.crossed,
            stays=stays,
            text_direction=text_direction,
            openness=openness,
            open_text=open_text,
            full_name=full_name,
            right_to_left=" ".join(RIGHT_TO_LEFT),
        )

    def write(self, path: str, content: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")

    def page(self, path: str, template: str, **context: Any) -> None:
        """A page; ``root`` leads from it to the site's own folder."""
        root = "../" * path.count("/")
        self.write(path, self.templates.get_template(template).render(root=root, path=path, **context))

    def pictures(self, prefix: str, charts: Sequence[Chart]) -> list[Drawn]:
        """Pictures as files, beside the pages that have them.

        Args:
            prefix: of their names; letters, digits and hyphens.
        """
        drawn = []
        for chart in charts:
            name = f"pictures/{prefix}-{chart.id}"
            self.write(f"{name}.csv", chart.csv)
            files = [f"{name}-{i}.svg" for i in range(len(chart.panels))]
            for file, panel in zip(files, chart.panels, strict=True):
                self.write(file, panel.drawing.file())
            drawn.append(Drawn(chart, f"{name}.csv", files))
        return drawn

    def board(self, board: Board) -> None:
        """A table as data, beside the pages."""
        self.write(f"tables/{board.id}.csv", as_csv(board))
        self.write(f"tables/{board.id}.json", as_json(board))
        self.write(f"tables/{board.id}.tex", as_latex(board))

    def copy_static(self) -> None:
        """Style sheets, scripts and the icon, as they are."""
        for part in sorted((files("xkeb_leaderboard") / "static").iterdir(), key=lambda part: part.name):
            if part.is_file() and not part.name.endswith(".py"):
                self.write(f"static/{part.name}", part.read_text(encoding="utf-8"))
        self.write("static/picture.css", style_sheet())


def check_place(output: Path, sources: Iterable[Path]) -> None:
    """Refuses a place where a site can't stand.

    Raises:
        RequestError: there is something else, or something that is to be kept.
    """
    place = output.resolve()
    try:
        if place.exists() and not place.is_dir():
            raise RequestError(f"{output} is a file; choose a folder with --output.")
        if place.exists() and any(place.iterdir()) and not (place / MARKER).is_file():
            raise RequestError(
                f"{output} holds something that is no leaderboard; choose an empty folder with --output."
            )
        for path in sources:
            if path.resolve().is_relative_to(place):
                raise RequestError(f"{output} holds the results in {path}; choose another folder with --output.")
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error
