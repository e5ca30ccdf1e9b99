"""MzsRE's own files, where they are at hand: that languages can be joined, and where their subjects stand."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from xkeb.data.parallel import ParallelRecords
from xkeb.registry.manager import get_plugins
from xkeb.tasks.task import load_task
from xkeb.types import LanguagePair

MZSRE = cast(ParallelRecords, get_plugins().datasets.get("mzsre"))
UPSTREAM = {"cs": "cz", "nl": "du"}
"""What upstream calls a language, where it isn't its ISO code."""
REAL = Path(os.environ.get("XKEB_DATA_DIR") or "nowhere") / "mzsre"
THERE = [code for code in MZSRE.languages[1:] if (REAL / MZSRE.test_files([code])[0]).is_file()]
real = pytest.mark.skipif(len(THERE) < 2, reason="the upstream files are not at hand: set XKEB_DATA_DIR")


def records(code: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(English side, other side), read without the suite."""
    key = UPSTREAM.get(code, code)
    for record in json.loads((REAL / f"mzsre_test_duplicate_en{key}.json").read_text(encoding="utf-8")):
        yield record["en"], record[key]


@real
@pytest.mark.parametrize("code", THERE)
def test_the_real_files_are_aligned_and_whole(code: str) -> None:
    """English sides are the same, word for word, in the same order; so joining by question and by place agree."""
    assert [en for en, _ in records(code)] == [en for en, _ in records(THERE[0])]
    assert len({en["src"] for en, _ in records(code)}) == len(list(records(code)))
    loaded = load_task(f"mzsre_{code}2en", data_dir=REAL.parent).test
    assert (len(loaded.cases), loaded.skipped) == (len(list(records(code))), ())
    for case in loaded.cases:
        assert loaded.located[case.id] is None or case.edit.subject in case.edit.prompt


@real
def test_real_records_of_two_files_are_the_same_fact() -> None:
    for source, target in ((THERE[0], THERE[-1]), (THERE[-1], THERE[0])):
        loaded = MZSRE.test(LanguagePair(source, target), REAL.parent)
        for case, (_, one), (_, other) in zip(loaded.cases, records(source), records(target), strict=True):
            assert (case.edit.prompt, case.edit.target) == (one["src"].strip(), one["alt"].strip())
            assert case.probes[4].prompt == other["rephrase"].strip()


COVERAGE = {
    400: {"cs": (224, 11, 93, 61, 11), "de": (286, 0, 97, 11, 6), "es": (200, 25, 150, 8, 17),
          "nl": (224, 10, 156, 6, 4), "pt": (225, 8, 154, 6, 7), "ru": (194, 25, 74, 62, 45),
          "th": (73, 3, 276, 18, 30), "tr": (263, 5, 97, 12, 23), "vi": (270, 14, 89, 11, 16),
          "zh": (400, 0, 0, 0, 0)},
    743: {"cs": (428, 20, 154, 121, 20), "de": (533, 4, 171, 18, 17), "es": (374, 60, 271, 14, 24),
          "fr": (369, 60, 282, 14, 18), "nl": (413, 28, 284, 9, 9), "pt": (410, 20, 281, 12, 20),
          "ru": (360, 39, 140, 129, 75), "th": (134, 5, 510, 40, 54), "tr": (496, 8, 175, 24, 40),
          "vi": (493, 25, 178, 16, 31), "zh": (743, 0, 0, 0, 0)},
}  # fmt: skip
"""By number of records, the subjects found in each way and nowhere; exact ones counted without the suite as well."""


@real
@pytest.mark.parametrize("code", THERE)
def test_the_coverage_that_is_documented(code: str) -> None:
    n = len(list(records(code)))
    loaded = load_task(f"mzsre_{code}2en", data_dir=REAL.parent).test
    kinds = Counter(loaded.located.values())
    assert kinds["exact"] == sum(other["subject"].strip() in other["src"] for _, other in records(code))
    if n in COVERAGE:
        assert tuple(kinds[kind] for kind in ("exact", "normalised", "alias", "span", None)) == COVERAGE[n][code]


@real
def test_no_english_edit_needs_more_than_the_exact_words() -> None:
    loaded = load_task(f"mzsre_en2{THERE[0]}", data_dir=REAL.parent).test
    assert set(loaded.located.values()) == {"exact"}
