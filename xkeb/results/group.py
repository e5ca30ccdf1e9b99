"""Which results may be set against each other: those of one comparable group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from xkeb.errors import RequestError
from xkeb.results.result import Result
from xkeb.results.settings import METHODS_OWN, RunSettings, scorer_of
from xkeb.results.untrusted import inline
from xkeb.utils.hashing import digest

Across = Literal["protocol", "prompt", "regime", "task"]
"""What two results may differ in whose gap is asked for."""
Differences = Mapping[str, tuple[str, str]]
"""What two results differ in, and what each of them has."""
HINT: Mapping[str, str] = {
    "protocol": "the two protocols",
    "prompt": "the two styles",
    "regime": "the two regimes",
    "task": "the two tasks",
}


def comparable_group(settings: RunSettings | Result) -> str:
    """What two results must share for their numbers to be comparable: task and data, protocol and its rules, prompt, regime,
    and what scores them."""
    task = settings.task
    rules = {name: value for name, value in settings.protocol_args.items() if name not in METHODS_OWN}
    data = f"{task.name}@{task.version}:{task.dataset.sha256[:8]}"
    protocol = f"{settings.protocol}:{digest(rules)[:8]}" if rules else settings.protocol
    return f"{data}/{protocol}/{settings.prompt}/{settings.regime}/{scorer_of(settings.protocol)}"


def group_differences(a: Result, b: Result) -> dict[Across, dict[str, tuple[str, str]]]:
    """In which settings of a comparable group two results differ, by what a gap can be asked for across.

    Empty where they are of one group.
    """
    found: dict[Across, dict[str, tuple[str, str]]] = {
        "task": dict(_task(a, b)),
        "protocol": dict(_protocol(a, b)),
        "prompt": {"prompt": (a.prompt, b.prompt)},
        "regime": {"regime": (a.regime, b.regime)},
    }
    kept = {
        across: {name: both for name, both in facts.items() if both[0] != both[1]} for across, facts in found.items()
    }
    return {across: facts for across, facts in kept.items() if facts}


def check_comparable(a: Result, b: Result) -> None:
    """
    Raises:
        RequestError: they are of two comparable groups; says in which settings they differ.
    """
    differences = group_differences(a, b)
    if not differences:
        return
    told = in_words({name: both for facts in differences.values() for name, both in facts.items()})
    hint = ""
    if len(differences) == 1:
        (across,) = differences
        hint = f"; --across {across} shows the gap between {HINT[across]}"
    raise RequestError(f"They can't be set against each other, since they differ in {told}{hint}.")


def in_words(differences: Differences) -> str:
    """As ``prompt (plain and qa), and in regime (..)``."""
    return ", and in ".join(f"{name} ({inline(a)} and {inline(b)})" for name, (a, b) in differences.items())


def _task(a: Result, b: Result) -> Iterator[tuple[str, tuple[str, str]]]:
    names = [f"{result.task.name}, version {result.task.version}" for result in (a, b)]
    yield "task", (names[0], names[1])
    data = [f"{result.task.dataset.name} {result.task.dataset.sha256[:12]}…" for result in (a, b)]
    yield "data", (data[0], data[1])


def _protocol(a: Result, b: Result) -> Iterator[tuple[str, tuple[str, str]]]:
    """A protocol brings its own options and scorer, so that these say something only where the protocol is the same."""
    yield "protocol", (a.protocol, b.protocol)
    if a.protocol == b.protocol:
        yield "scorer", (a.scorer, b.scorer)
        for name in sorted((a.protocol_args.keys() | b.protocol_args.keys()) - METHODS_OWN):
            yield f"the protocol's {inline(name)}", (_option(a, name), _option(b, name))


def _option(result: Result, name: str) -> str:
    return str(result.protocol_args[name]) if name in result.protocol_args else "not said"
