"""Language confusion of short answers: was the answer given in the language that was asked in, or in the case's other one?

The usual line pass rate leaves out lines of fewer than five tokens, which are most answers here. So the record itself is looked
at first, then the script, and only then a detector. Where none of them can tell, the answer has no score.
"""

from __future__ import annotations

import functools
from typing import Any

import regex

from xkeb.errors import optional_import
from xkeb.registry.manager import get_plugins
from xkeb.results.blank import says_nothing
from xkeb.types import Around, Language, Prediction
from xkeb_plugins.metrics.normal_form import normal_form

LEAST_WORDS, SURE = 3, 0.9
"""Of an answer that the detector is asked about, and the least probability that it is believed at."""


def wrong_language(
    prediction: Prediction, reference: Prediction, language: Language, *, around: Around
) -> float | None:
    """1 where the answer is in another language of the case, 0 where it is in the one that was asked in, None where nobody can
    tell.

    1. The record: an answer that equals the gold one, or an alias of it, is in the right language; one that equals the gold
       answer of the other language is in that. Where both gold answers are one text, nothing can be told.
    2. The script: letters of the asked language's script alone, or of the other's alone, if the two are written in different
       ones. An answer in the other script is none of the other language where the gold answer is in that script, too: a name.
    3. A detector (py3langid) that knows the two languages only, for answers of three words or more.
    """
    codes = [code for code in around.elsewhere if code in get_plugins().languages]
    if says_nothing(prediction.text) or not codes:
        return None
    other = get_plugins().languages.get(codes[0])
    right = (reference.text, *reference.aliases)
    gold = {normal_form(text, language) for text in right}
    foreign = normal_form(around.elsewhere[other.code], other)
    if foreign in gold or foreign in {normal_form(text, other) for text in right}:  # each language has units of its own
        return None
    if normal_form(prediction.text, language) in gold:
        return 0.0
    if normal_form(prediction.text, other) == foreign:
        return 1.0
    if language.script != other.script:
        return _by_script(prediction.text, reference.text, language, other)
    return _by_detector(prediction.text, language, other)


def _by_script(text: str, gold: str, language: Language, other: Language) -> float | None:
    here, there = (_letters(text, script) for script in (language.script, other.script))
    if here and not there:
        return 0.0
    if there and not here and not _letters(gold, other.script):
        return 1.0
    return None


def _letters(text: str, script: str) -> int:
    return len(regex.findall(rf"\p{{Script={script}}}", text))


def _by_detector(text: str, language: Language, other: Language) -> float | None:
    if len(text.split()) < LEAST_WORDS:
        return None
    detector = _detector(*sorted((language.code, other.code)))
    if detector is None:
        return None
    (best, probability), *_ = detector.rank(text)
    return float(best == other.code) if probability >= SURE else None


@functools.cache
def _detector(*codes: str) -> Any:
    """A detector that knows these languages only; None where it doesn't know one of them."""
    library = optional_import("py3langid.langid", "generate", "The metric wrong_language")
    detector = library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)
    try:
        detector.set_languages(list(codes))
    except ValueError:
        return None
    return detector
