from pathlib import Path

import xkeb
from xkeb.datasets import ParallelRecords

FOLDER = Path(__file__).parent / "tasks"


def shouted(prediction, reference, language):
    """1 where the answer is the same but for case, in any language."""
    return float(prediction.text.casefold() == reference.text.casefold())


@xkeb.hookimpl
def register_languages(register):
    register("de", xkeb.Language("de", "German", lambda text: text.casefold().split()))


@xkeb.hookimpl
def register_language_pairs(register):
    register("en-de", xkeb.LanguagePair("en", "de"))


@xkeb.hookimpl
def register_metrics(register):
    register("shouted", shouted)


@xkeb.hookimpl
def register_datasets(register):
    register("capitals", ParallelRecords("capitals", ("en", "de"), "capitals.json", shipped=FOLDER))


@xkeb.hookimpl
def register_tasks(register):
    register("xkeb-third-party", FOLDER)
