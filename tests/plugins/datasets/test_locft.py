"""LocFT's sets of 3,000: English alone, in three schemas of one loader. The small records are our own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from xkeb.data.parallel import ParallelRecords
from xkeb.data.report import check_dataset
from xkeb.registry.manager import get_plugins
from xkeb.types import Direction, Skipped

SETS = {part: cast(ParallelRecords, get_plugins().datasets.get(f"locft_{part}")) for part in
        ("zsre", "counterfact", "wikibigedit")}  # fmt: skip
EN = Direction("en", ())
REAL = Path(os.environ.get("XKEB_DATA_DIR", "nowhere")) / "locft"


def record(part: str, alt: str = "Oslo") -> dict[str, Any]:
    if part == "zsre":
        return {"subject": "Bo", "src": "Where is Bo?", "pred": "Rome", "rephrase": "Bo is where?", "alt": alt,
                "answers": ["Rome"], "loc": "nq question: what is red", "loc_ans": "a colour", "cond": ""}  # fmt: skip
    texts = {"subject": "Bo", "prompt": "Where is Bo?", "rephrase_prompt": "Bo is where?", "target_new": alt,
             "locality_prompt": "what is red", "locality_ground_truth": "a colour"}  # fmt: skip
    return texts | ({"case_id": 7, "ground_truth": "Rome"} if part == "counterfact" else {})


@pytest.mark.parametrize("part", SETS)
def test_one_loader_reads_each_set_in_its_one_language(tmp_path: Path, part: str) -> None:
    (tmp_path / "locft").mkdir()
    path = tmp_path / "locft" / f"{part}_3k.json"
    path.write_text(json.dumps([record(part), record(part, alt=" "), record(part, alt="rome")]))
    loaded = SETS[part].test(EN, tmp_path)
    assert ([case.id for case in loaded.cases], loaded.skipped) == (["0", "2"], (Skipped("1", "en: empty alt"),))
    case = loaded.cases[0]
    assert (case.edit.prompt, case.edit.target, case.edit.subject) == ("Where is Bo?", "Oslo", "Bo")
    assert (case.edit.translations, case.edit.aliases) == ({"en": "Oslo"}, ())
    assert [(probe.property, probe.prompt, probe.reference) for probe in case.probes] == [
        ("reliability", "Where is Bo?", "Oslo"),
        ("generality", "Bo is where?", "Oslo"),
        ("locality", "what is red", "a colour"),
    ]
    counts = {(count.kind, count.field): count.records for count in check_dataset(SETS[part], tmp_path).counts}
    assert counts["absent field", "portability question"] == 3
    assert counts.get(("true answer as target", "alt")) == (None if part == "wikibigedit" else 1)
    SETS[part].verify(f"{part}_3k.json", path)


def test_each_file_is_pinned() -> None:
    for part, dataset in SETS.items():
        (download,) = dataset.downloads
        assert download.url.endswith(f"/51db7854feb3596085051e45bf8b3147bfb0ccb1/data/{part}/{part}_3k.json")
        assert dataset.registered_hashes(EN) == {download.sha256}


@pytest.mark.skipif(not REAL.is_dir(), reason="the upstream files are not at hand: set XKEB_DATA_DIR")
@pytest.mark.parametrize("part", SETS)
def test_every_real_record_is_a_case(part: str) -> None:
    if not (REAL / f"{part}_3k.json").is_file():
        pytest.skip("the file is not there")
    loaded = SETS[part].test(EN, REAL.parent)
    records = json.loads((REAL / f"{part}_3k.json").read_text("utf-8"))
    assert (len(loaded.cases), loaded.skipped) == (len(records), ())
    found = sum(case.edit.subject in case.edit.prompt for case in loaded.cases)
    assert found >= 0.99 * len(records)
