"""BMIKE-53 (Nie et al., 2024, https://arxiv.org/abs/2406.17764): ZsRE, CounterFact and WikiFactDiff in English and 52 languages
that they were machine-translated into. Upstream (https://github.com/ercong21/MultiKnow) states no licence.

A test file has the English side beside one other language; English is the same in all of them. Records belong together by
their ``case_id``. Upstream's ``*_en.json`` are copies of the German files, so they are left out. Of its training facts only
the English ones are read: those of the other languages are larger than the tests by far, and translations of the same.
"""

from importlib.resources import files

from xkeb.data.dataset import Download
from xkeb.data.parallel import ParallelRecords
from xkeb.data.sides import FieldNames

_UPSTREAM = "https://raw.githubusercontent.com/ercong21/MultiKnow/6e3e245bf0a17edaecfb4d71664efc1b5fb67906/data/BMIKE53"
_OTHERS = """
af ar az be bg bn ca ceb cs cy da de el es et eu fa fi fr ga gl he hi hr hu hy id it ja ka ko la lt lv ms nl pl pt ro ru
sk sl sq sr sv ta th tr uk ur vi zh
"""


def _part(name: str, tests: str, training: str, *, old: str | None = "old", nested: bool = False) -> ParallelRecords:
    """One of its three sets.

    Args:
        tests: the path of a test file, ``{}`` for the language.
        old: what its files call the answer that holds before the edit.
        nested: its training facts stand below the name of their language.
    """
    others = _OTHERS.split()
    ours = {training, *(tests.format(code) for code in others)}
    lines = files(__name__).joinpath("SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {file: sha256 for sha256, file in map(str.split, lines) if file in ours}
    return ParallelRecords(
        name=f"bmike53_{name}",
        languages=("en", *others),
        test_file=tests,
        training_files={"en": training},
        nested_training=nested,
        downloads=tuple(Download(file, f"{_UPSTREAM}/{file}", sha256) for file, sha256 in sums.items()),
        pivot="en",
        fields=FieldNames(portability_question="port", portability_answer="port_ans", old=old),
        joined_by="case_id",
        folder="bmike53",
    )


ZSRE = _part("zsre", "zsRE/zsre_test_{}.json", "zsRE/zsre_mend_train_10000.json", old=None)
COUNTERFACT = _part("counterfact", "CounterFact/counterfact_test_{}.json", "CounterFact/counterfact-train.json")
WIKIFACTDIFF = _part("wikifactdiff", "WikiFactDiff/wfd_test_{}.json", "WikiFactDiff/wfd-train.json", nested=True)
