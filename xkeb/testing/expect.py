"""How a check fails: an AssertionError with a sentence that says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from xkeb.errors import one_line

T = TypeVar("T")


def expect(holds: object, sentence: str) -> None:
    """Raises an AssertionError unless `holds`. No ``assert``: Python's ``-O`` would leave it out."""
    if not holds:
        raise AssertionError(sentence)


def run_all(what: str, checks: Iterable[Callable[[T], None]], subject: T) -> None:
    """Runs every check of a subject, and fails with what all of them found.

    Args:
        what: the subject as the sentence names it.

    Raises:
        AssertionError: one line for each check that failed.
    """
    failed: list[tuple[str, Exception]] = []
    for check in checks:
        try:
            check(subject)
        except AssertionError as error:
            failed.append((str(error), error))
        except Exception as error:  # noqa: BLE001 - of the code that is checked
            failed.append((f"{_words(check)}: it should run, and raised {one_line(error)}.", error))
    if failed:
        lines = "\n".join(f"- {sentence}" for sentence, _ in failed)
        many = f"{len(failed)} checks" if len(failed) > 1 else "a check"
        raise AssertionError(f"{what} fails {many}:\n{lines}") from failed[0][1]


def _words(check: Callable[..., object]) -> str:
    return check.__name__.replace("_", " ")
