"""The fenced blocks of a page, with what the page says about running them.

A block in ``sh``, ``console`` or ``python`` is run, unless an HTML comment just before it says otherwise:

    <!-- not run: network -->              one or more of REASONS, separated by commas
    <!-- run with: {llama} for /models/yours; --port 0 for --port 8000 -->   other words in the place of these
    <!-- run quickly with: --limit 1 for --limit 50 -->   likewise, only to save time: not in `make docs-as-printed`

Both of the latter may stand before one block.

A block with a title (``python title="a/b.py"``) is a file, which is written where the page's commands find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REASONS = {
    "gpu": "needs a GPU",
    "network": "fetches something",
    "data": "needs the real records, which are not in the repository",
    "hours": "takes more than some minutes",
}
RUN = ("sh", "console", "python")
SHOWN = ("text", "yaml", "json", "toml", "csv", "bibtex")
"""What is read and not run."""

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
_MARK = re.compile(r"^ *<!-- (?P<kind>not run|run with|run quickly with): (?P<text>.+) -->$")
_COMMENT = re.compile(r"^ *<!-- *(not run|run)\b")
_TITLE = re.compile(r'\btitle="([^"]+)"')


class PageError(Exception):
    """A page that can't be followed as it is written."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """Of its first line of text, from 1."""
    language: str
    text: str
    """As it is written, without the fence's indentation."""
    file: str | None = None
    """The path that it is the text of."""
    reasons: tuple[str, ...] = ()
    """Why it is not run."""
    words: tuple[tuple[str, str], ...] = ()
    """(as written, as run)."""
    quick: tuple[tuple[str, str], ...] = ()
    """Likewise, of what is only replaced to save time."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.language in RUN and self.file is None and not self.reasons

    def as_run(self, places: dict[str, str], *, quickly: bool = True) -> str:
        """The text with its words replaced, and ``{name}`` in them by a place of that name."""
        text = self.text
        for old, new in (*self.words, *(self.quick if quickly else ())):
            if old not in text:
                raise PageError(f"{self.place}: there is no {old!r} in the block whose words the mark replaces")
            text = text.replace(old, re.sub(r"\{(\w+)\}", lambda name: places[name[1]], new))
        return text


def read_blocks(path: Path, page: str) -> list[Block]:
    """Every block of a page, in order.

    Raises:
        PageError: a block in an unknown language, an unknown reason, a mark that stands before no block.
    """
    return list(_read(path.read_text(encoding="utf-8").splitlines(), page))


def _read(lines: list[str], page: str) -> Iterator[Block]:
    marks: dict[str, str] = {}
    i = 0
    while i < len(lines):
        here = f"{page}:{i + 1}"
        if found := _MARK.match(lines[i]):
            if found["kind"] in marks:
                raise PageError(f"{here}: a second mark of this kind before one block")
            marks[found["kind"]] = found["text"]
        elif _COMMENT.match(lines[i]):
            raise PageError(
                f"{here}: not a mark: `not run: REASON`, `run with: NEW for OLD` or `run quickly with:` was expected"
            )
        elif fence := _FENCE.match(lines[i]):
            end = next((k for k in range(i + 1, len(lines)) if lines[k].strip() == fence["ticks"]), None)
            if end is None:
                raise PageError(f"{here}: this block never ends")
            indent = len(fence["indent"])
            text = "".join(line[indent:] + "\n" for line in lines[i + 1 : end])
            yield _block(page, i + 2, fence["info"].strip(), text, marks)
            marks = {}
            i = end
        elif lines[i].strip() and marks:
            raise PageError(f"{here}: the mark before this stands before no block")
        i += 1
    if marks:
        raise PageError(f"{page}: the last mark stands before no block")


def _block(page: str, line: int, info: str, text: str, marks: dict[str, str]) -> Block:
    language = info.split(maxsplit=1)[0] if info else ""
    title = _TITLE.search(info)
    if language not in RUN + SHOWN and title is None:
        found = f"{language!r}" if language else "no language"
        known = f"those that are run are {', '.join(RUN)}, those that are only shown {', '.join(SHOWN)}"
        raise PageError(f"{page}:{line}: a block in {found}; {known}")
    reasons = tuple(reason.strip() for reason in marks.get("not run", "").split(",") if reason.strip())
    if unknown := set(reasons) - set(REASONS):
        raise PageError(f"{page}:{line}: {', '.join(sorted(unknown))!r} is no reason; these are: {', '.join(REASONS)}")
    here = f"{page}:{line}"
    words, quick = (_words(marks.get(kind, ""), here) for kind in ("run with", "run quickly with"))
    return Block(page, line, language, text, title[1] if title else None, reasons, words, quick)


def _words(text: str, here: str) -> tuple[tuple[str, str], ...]:
    """(as written, as run) of a mark."""
    if not text:
        return ()
    pairs = [pair.rpartition(" for ") for pair in text.split("; ")]
    words = tuple((old, new) for new, _, old in pairs)
    if not all(old and new for old, new in words):
        raise PageError(f"{here}: `run with` takes NEW for OLD, and more of them after semicolons")
    return words
