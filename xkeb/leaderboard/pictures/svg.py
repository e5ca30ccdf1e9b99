"""A picture as SVG: marks and texts in the colours of the page's style sheet, or of its own where it stands alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

LONGEST = 40
"""Letters of a text in a picture."""
SHAPES = (
    "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",  # circle
    "M0-1.25L1.25 0L0 1.25L-1.25 0z",  # diamond
    "M-.9-.9H.9V.9H-.9z",  # square
    "M0-1.15L1.1.85H-1.1z",  # triangle
    "M0 1.15L1.1-.85H-1.1z",  # triangle that points down
    "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4z",  # cross
)
"""Of a mark of size 1: tell series apart where colours don't."""
N_SERIES = 24
"""That colour and shape together tell apart."""
COLOURS = {
    "light": ["#0067a8", "#b84a00", "#00795a", "#a63d7c", "#6b46b8", "#7a5c00", "#b3261e", "#4a5563"],
    "dark": ["#6cb4ee", "#f29a5c", "#4fd1a5", "#f09ccd", "#b9a2f5", "#dcb94f", "#ff8f86", "#b4bfcb"],
}
"""Of the series."""
INK = {"light": ("#1c2530", "#55606e", "#dbe1e8", "#ffffff"), "dark": ("#e4e9ef", "#a3adba", "#303a46", "#12171d")}
"""Of text, of text that says less, of lines, and of what is behind them all, as ``site.css`` has them."""
RULES = (
    "text{fill:var(--ink);font:12px system-ui,sans-serif}.quiet{fill:var(--soft)}.bold{font-weight:600}"
    ".grid{stroke:var(--line)}.axis{stroke:var(--soft)}.base{stroke:var(--soft);stroke-dasharray:4 3}"
    ".front{fill:none;stroke:var(--soft);stroke-width:1.5}.front.grid{stroke:var(--line);stroke-width:1}"
    ".shade{fill:var(--soft);fill-opacity:.2;stroke:var(--soft)}.faint{fill-opacity:.4}.halo{paint-order:stroke;stroke:var(--ground);stroke-width:3px}"
    + "".join(
        f".s{i}{{fill:var(--s{i % len(COLOURS['light'])})}}.shape.s{i}{{stroke:var(--s{i % len(COLOURS['light'])});fill:none}}"
        for i in range(N_SERIES)
    )
    + ".shape{stroke-width:2}.dash{stroke-dasharray:6 4}.shape.thin{stroke-width:1}"
)
"""How the parts look."""


def text_of(content: object) -> str:
    """A strange text as SVG takes it: escaped, and without what XML has no place for."""
    return escape("".join(letter if letter.isprintable() else " " for letter in str(content)))


def cut(content: object) -> str:
    """A text that is short enough for a picture."""
    text = str(content)
    return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]}…{text[-LONGEST // 4 :]}"


@dataclass
class Drawing:
    """Parts of a picture, drawn one upon the other."""

    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, content: object, anchor: str = "start", role: str = "") -> None:
        """Args:
        anchor: what of it stands at `x`: ``start``, ``middle`` or ``end``.
        role: ``quiet``, ``bold``, or ``halo`` for a text upon marks.
        """
        look = f' class="{role}"' if role else ""
        self.parts.append(f'<text x="{x:.4g}" y="{y:.4g}" text-anchor="{anchor}"{look}>{text_of(cut(content))}</text>')

    def turned(self, x: float, y: float, content: object, anchor: str = "start", role: str = "") -> None:
        """A text that is read upwards."""
        self.parts.append(f'<g transform="translate({x:.5g} {y:.5g}) rotate(-90)">')
        self.text(0, 0, content, anchor, role)
        self.parts.append("</g>")

    def line(self, start: tuple[float, float], end: tuple[float, float], role: str) -> None:
        points = f'x1="{start[0]:.5g}" y1="{start[1]:.5g}" x2="{end[0]:.5g}" y2="{end[1]:.5g}"'
        self.parts.append(f'<line {points} class="{role}"/>')

    def path(self, points: Iterable[tuple[float, float]], role: str, *, closed: bool = False, tip: str = "") -> None:
        """Args:
        tip: what is told where a pointer rests on it.
        """
        way = "L".join(f"{x:.5g} {y:.5g}" for x, y in points)
        end = f"><title>{text_of(tip)}</title></path>" if tip else "/>"
        self.parts.append(f'<path d="M{way}{"z" if closed else ""}" class="{role}"{end}')

    def bar(self, x: float, y: float, width: float, height: float, role: str, tip: str, full: float = 1.0) -> None:
        """Args:
        full: from 0, which can't be seen, to 1.
        """
        place = f'x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}"'
        look = f'class="{role}"' + ("" if full == 1.0 else f' fill-opacity="{full:.2g}"')
        self.parts.append(f"<rect {place} {look}><title>{text_of(tip)}</title></rect>")

    def mark(self, x: float, y: float, series: int, tip: str, *, size: float = 5, role: str = "") -> None:
        """Args:
        series: sets colour and shape.
        tip: what is told where a pointer rests on it.
        """
        place = f"translate({x:.5g} {y:.5g}) scale({size:.3g})"
        look = f"mark s{series % N_SERIES}{f' {role}' if role else ''}"
        self.parts.append(
            f'<path d="{SHAPES[series % len(SHAPES)]}" transform="{place}" class="{look}"><title>{text_of(tip)}</title></path>'
        )

    def place(self, other: Drawing, x: float, y: float) -> None:
        """Puts another picture into this one, its upper left corner there."""
        self.parts.append(f'<g transform="translate({x:.5g} {y:.5g})">{"".join(other.parts)}</g>')

    def svg(self) -> str:
        """For a page that has the colours."""
        return f'<svg viewBox="0 0 {self.width:g} {self.height:g}" class="picture">{"".join(self.parts)}</svg>'

    def file(self) -> str:
        """For itself: with a ground, a size, and the colours of a light or a dark screen."""
        style = _in_both_schemes("svg", {scheme: _ink(scheme) + _colours(scheme) for scheme in COLOURS}) + RULES
        return self._standing(style, "var(--ground)")

    def printed(self) -> str:
        """For a paper: the same upon white, with nothing that a program of drawings may not know, such as variables."""
        values = dict(re.findall(r"--(\w+):([^;]+);", _ink("light") + _colours("light")))
        style = re.sub(r"var\(--(\w+)\)", lambda found: values[found[1]], RULES).replace("system-ui,", "")
        return self._standing(style, values["ground"])

    def _standing(self, style: str, ground: str) -> str:
        size = f'width="{self.width:g}" height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}"'
        behind = f'<rect width="100%" height="100%" fill="{ground}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{behind}{"".join(self.parts)}</svg>\n'


def style_sheet() -> str:
    """For the pages: of pictures that stand in them."""
    return f"{_in_both_schemes(':root', {scheme: _colours(scheme) for scheme in COLOURS})}.picture{{{RULES}}}\n"


def _in_both_schemes(of: str, values: Mapping[str, str]) -> str:
    return f"{of}{{{values['light']}}}@media (prefers-color-scheme:dark){{{of}{{{values['dark']}}}}}"


def _ink(scheme: str) -> str:
    names = ("ink", "soft", "line", "ground")
    return "".join(f"--{name}:{value};" for name, value in zip(names, INK[scheme], strict=True))


def _colours(scheme: str) -> str:
    return "".join(f"--s{i}:{value};" for i, value in enumerate(COLOURS[scheme]))
