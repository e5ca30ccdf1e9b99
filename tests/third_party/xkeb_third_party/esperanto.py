import unicodedata
from pathlib import Path

import xkeb
from xkeb.data import ParallelRecords

FOLDER = Path(__file__).parent / "tasks"


def words(text):
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in normal).split()


def shouted(prediction, reference, language):
    """1 where the answer is the same but for case, in any language."""
    return float(prediction.text.casefold() == reference.text.casefold())


@xkeb.hookimpl
def register_languages(register):
    register("eo", xkeb.Language("eo", "Esperanto", words))


@xkeb.hookimpl
def register_language_pairs(register):
    register("en-eo", xkeb.LanguagePair("en", "eo"))


@xkeb.hookimpl
def register_metrics(register):
    register("shouted", shouted)


@xkeb.hookimpl
def register_datasets(register):
    register("capitals", ParallelRecords("capitals", ("en", "eo"), "capitals.json", shipped=FOLDER))


@xkeb.hookimpl
def register_tasks(register):
    register("xkeb-third-party", FOLDER)
