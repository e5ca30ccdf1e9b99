"""Language confusion of short answers: was the answer given in the language that was asked in, or in another of the case's?

The usual line pass rate leaves out lines of fewer than five tokens, which are most answers here. So the record itself is looked
at first, then the script, and only then a detector. Where none of them can tell, the answer has no score.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
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
       answer of another language is in that. Of a language in which the gold answer or an alias is the same text, nothing can
       be told: it is left out.
    2. The script, where others are written in another one: letters of the asked language's script alone, or of theirs alone.
       An answer in another script is in no other language where the gold answer is in that script, too: a name.
    3. A detector (py3langid) that knows the asked language and those written in its script only, for answers of three words
       or more.
    """
    if says_nothing(prediction.text):
        return None
    right = (reference.text, *reference.aliases)
    gold = {normal_form(text, language) for text in right}
    others: list[Language] = []
    equal = False
    for code, text in around.elsewhere.items():
        if code in get_plugins().languages:
            other = get_plugins().languages.get(code)
            foreign = normal_form(text, other)
            if foreign not in gold | {normal_form(one, other) for one in right}:  # each language has units of its own
                others.append(other)
                equal = equal or normal_form(prediction.text, other) == foreign
    if not others:
        return None
    if normal_form(prediction.text, language) in gold:
        return 0.0
    if equal:
        return 1.0
    near = [other for other in others if other.script == language.script]
    far = {script for other in others if other not in near for script in other.scripts}
    here, there = _letters(prediction.text, language.scripts), _letters(prediction.text, far)
    if there:
        return None if here or _letters(reference.text, far) else 1.0
    if near:
        return _by_detector(prediction.text, language, near)
    return 0.0 if here else None


def _letters(text: str, scripts: Iterable[str]) -> int:
    return sum(len(regex.findall(rf"\p{{Script={script}}}", text)) for script in scripts)


def _by_detector(text: str, language: Language, others: Sequence[Language]) -> float | None:
    if len(text.split()) < LEAST_WORDS:
        return None
    detector = _detector(*sorted({language.code, *(other.code for other in others)}))
    if detector is None:
        return None
    (best, probability), *_ = detector.rank(text)
    return float(best != language.code) if probability >= SURE else None


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
