"""Names from outside, of tasks, models and methods: they become names of folders, and never paths."""

from __future__ import annotations

import unicodedata
from pathlib import Path

JOINERS = "\u200c\u200d"
"""Not printable by Python's rule, and a part of words in Persian and Hindi."""
LONGEST_NAME = 200
"""Characters of a name; also the bytes of one that a folder has, which leaves room for what is put behind it."""
EXPECTED = f"expected a name of at most {LONGEST_NAME} characters, all printable, without / or \\"


def is_name(text: str) -> bool:
    """Whether a text may be the name of something: one line that a terminal can show and that leads to no other folder."""
    return (
        0 < len(text) <= LONGEST_NAME
        and text.isprintable()
        and text.strip() not in ("", ".", "..")
        and not {"/", "\\"} & set(text)
    )


def is_label(text: str) -> bool:
    """Whether a text may say what a case is, as its relation does: one line that a terminal can show. It is printed and never a
    folder's name, so that it may hold what would lead to one, as in ``capital / seat of government``."""
    return 0 < len(text) <= LONGEST_NAME and (text.isprintable() or all(map(is_shown, text)))


def is_shown(character: str) -> bool:
    """Whether a terminal shows a character on its line, and doesn't obey it."""
    return character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"


def is_folder_name(text: str) -> bool:
    """Whether a name is short enough for a file system, too."""
    return is_name(text) and len(text.encode()) <= LONGEST_NAME


def check_folder_name(text: str) -> str:
    """The name itself.

    Raises:
        ValueError: it can't be the name of a folder; says what was expected.
    """
    if not is_folder_name(text):
        raise ValueError(EXPECTED)
    return text


def folder_below(root: Path, *names: str) -> Path:
    """The folder of these names, each within the one before.

    Raises:
        ValueError: one of them could lead elsewhere.
    """
    return root.joinpath(*map(check_folder_name, names))
