"""The English sets of 3,000 facts of LocFT (https://arxiv.org/abs/2509.22072), for sequences of edits: parts of ZsRE,
CounterFact and WikiBigEdit. MIT licence (https://github.com/ICT-STAR/LocFT). There are no portability questions and no
training facts."""

from xkeb.data.dataset import Download
from xkeb.data.parallel import ParallelRecords
from xkeb.data.sides import FieldNames

_UPSTREAM = "https://raw.githubusercontent.com/ICT-STAR/LocFT/51db7854feb3596085051e45bf8b3147bfb0ccb1/data"


def _part(name: str, sha256: str, fields: FieldNames) -> ParallelRecords:
    file = f"{name}_3k.json"
    return ParallelRecords(
        name=f"locft_{name}",
        languages=("en",),
        test_file=file,
        downloads=(Download(file, f"{_UPSTREAM}/{name}/{file}", sha256),),
        flat=True,
        fields=fields,
        folder="locft",
    )


def _fields(old: str | None) -> FieldNames:
    return FieldNames(
        src="prompt",
        rephrase="rephrase_prompt",
        alt="target_new",
        loc="locality_prompt",
        loc_ans="locality_ground_truth",
        portability_question=None,
        portability_answer=None,
        old=old,
    )


ZSRE = _part(
    "zsre",
    "45431e9b32d2dea71b6697a47433e88551a8bdf8c4fb5756779038fd8d7f82dc",
    FieldNames(portability_question=None, portability_answer=None, old="answers"),
)
COUNTERFACT = _part(
    "counterfact", "a34303165e89e5898a51646e6d17a21da924d815be086a1933bcd54a91e96076", _fields("ground_truth")
)
WIKIBIGEDIT = _part("wikibigedit", "0d8bd37239f9c6c0c2e34d4f95f59e749ab8cb9dccbf2517622da16386d9ca82", _fields(None))
