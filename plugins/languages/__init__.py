"""The languages that come with the suite, which are data: `languages.toml`. Any two of them make a direction; the pairs
registered are the paper's."""

import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from xkeb.registry.hookspecs import hookimpl
from xkeb.types import Language, LanguagePair
from xkeb_plugins.languages.segmentation import graphemes, words
from xkeb_plugins.languages.texts import passages


def read_languages() -> dict[str, Language]:
    """Every language of the file, by code."""
    tables = tomllib.loads(files(__name__).joinpath("languages.toml").read_text(encoding="utf-8"))
    return {code: _language(code, **table) for code, table in tables.items()}


def _language(code: str, name: str, *, units: str = "words", abbreviations: str = "", **table: Any) -> Language:
    """A language from its table; the keys are described at the head of the file."""
    cut = {key: table.pop(key) for key in ("articles", "inside", "within", "capitals") if key in table}
    makers: dict[str, Callable[..., Callable[[str], list[str]]]] = {"words": words, "characters": lambda: graphemes}
    segment = makers[units](**cut)
    known = frozenset(abbreviations.split())
    return Language(code, name, segment, abbreviations=known, passages=passages(code), **table)


@hookimpl
def register_languages(register: Callable[[str, Language], None]) -> None:
    for code, language in read_languages().items():
        register(code, language)


@hookimpl
def register_language_pairs(register: Callable[[str, LanguagePair], None]) -> None:
    for pair in (LanguagePair("en", "zh"), LanguagePair("zh", "en")):
        register(pair.name, pair)
