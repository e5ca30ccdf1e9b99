"""The languages and directions that come with the suite."""

from collections.abc import Callable

from xkeb_plugins.languages.en import ENGLISH
from xkeb_plugins.languages.zh import CHINESE

from xkeb.hookspecs import hookimpl
from xkeb.types import Language, LanguagePair


@hookimpl
def register_languages(register: Callable[[str, Language], None]) -> None:
    for language in (ENGLISH, CHINESE):
        register(language.code, language)


@hookimpl
def register_language_pairs(register: Callable[[str, LanguagePair], None]) -> None:
    for pair in (LanguagePair("en", "zh"), LanguagePair("zh", "en")):
        register(pair.name, pair)
