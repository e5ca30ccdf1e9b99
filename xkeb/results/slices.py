"""Which of a case's questions are in a slice: all of them, or those of the languages of which it is true.

Whether the answers differ is said of two languages. Of a case in several, it is said of each target beside the language of the
edit; its questions in that language itself count where any of the answers differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from xkeb.results.lines import CaseRecord

ANSWERS = "answers"
"""The kind of slices that is said of two languages."""
DIFFER, EQUAL = "differ", "equal"
HEADLINE = f"{ANSWERS}={DIFFER}"
"""The slice that is told first: cases whose answers differ between the languages."""


def normal(text: str) -> str:
    """A text without what makes no other answer of it: width, case, and space around it."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def parts_of(case: CaseRecord, kind: str) -> dict[str, CaseRecord]:
    """The values of a kind of slices that a case has, each with the case as far as it is in that slice."""
    if kind not in case.slices:
        return {}
    values = _values(case, kind)
    if len({*values.values()}) < 2:
        return {next(iter(values.values()), case.slices[kind]): case}
    parts = {}
    for value in dict.fromkeys(values.values()):
        probes = [probe for probe in case.probes if values[probe.language] == value]
        parts[value] = case.model_copy(update={"probes": probes})
    return parts


def part_in(case: CaseRecord, name: str) -> CaseRecord | None:
    """A case as far as it is in the slice ``KIND=VALUE``; None where it isn't."""
    kind, _, value = name.partition("=")
    return parts_of(case, kind).get(value)


def _values(case: CaseRecord, kind: str) -> Mapping[str, str]:
    """The value of a kind by language."""
    languages = dict.fromkeys(probe.language for probe in case.probes)
    values = dict.fromkeys(languages, case.slices[kind])
    if kind == ANSWERS and len(languages) > 2:
        own = normal(case.edit.target)
        for probe in case.probes:
            if probe.property == "generality" and probe.language != case.edit.language:
                values[probe.language] = EQUAL if normal(probe.reference) == own else DIFFER
    return values
