"""CLM-Bench (https://arxiv.org/abs/2601.17397): 1,010 counterfactual facts written in Chinese, with their English translation.
Upstream (https://github.com/kekeaii/CLM_bench) states no licence. There are no portability questions and no training facts.

A file has one language. Records belong together by their ``case_id``, which is a number in 975 of them and a text in the
other 35; the text ``"1"`` is another record than the number 1.
"""

from xkeb.data.dataset import Download
from xkeb.data.parallel import ParallelRecords
from xkeb.data.sides import FieldNames

_UPSTREAM = "https://raw.githubusercontent.com/kekeaii/CLM_bench/c981f5a486e31c18c2e6c3c22002e5050e29e327"
_SHA256 = {
    "chinese_fields_with_loc.json": "06c9c729f184835e26feee2fd02f93f2b38049fead963f68df039437972899e5",
    "english_fields_with_loc.json": "2300c1b5a06e353ea787e64db047c627b12b0fe50567b461e8aefcaff3c4c190",
}


def _fields(prefix: str) -> FieldNames:
    return FieldNames(
        subject=f"{prefix}subject",
        src=f"{prefix}prompt",
        rephrase=f"{prefix}rephrase_prompt",
        alt=f"{prefix}target_new",
        portability_question=None,
        portability_answer=None,
        old=f"{prefix}ground_truth",
    )


CLM_BENCH = ParallelRecords(
    name="clm_bench",
    languages=("zh", "en"),
    test_file="{}_fields_with_loc.json",
    downloads=tuple(Download(file, f"{_UPSTREAM}/{file}", sha256) for file, sha256 in _SHA256.items()),
    flat=True,
    keys={"zh": "chinese", "en": "english"},
    fields={"zh": _fields(""), "en": _fields("english_")},
    joined_by="case_id",
)
