"""A run with free answers, and its answers scored anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_records import scored
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.errors import RequestError
from xkeb.evaluation.protocols import load_protocol
from xkeb.evaluation.protocols.generate import LONGEST_TOKEN, MOST_TOKENS
from xkeb.evaluation.protocols.sentences import cut_answer
from xkeb.evaluation.rescoring import rescore
from xkeb.leaderboard.verify.check import check_result
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord, RawRecord, Tokens
from xkeb.results.records import read_lines
from xkeb.results.result import Result
from xkeb.types import FREE_METRICS, Prediction

pytest_plugins = ("small_jobs", "command_line")
pytestmark = pytest.mark.usefixtures("cache_of_this_module")
BUDGET = 10


@torch.no_grad()
def said(backbone: Backbone, prompt: str) -> str:
    """What the model goes on with, a pass of the whole text for each token: to a special token, the end of its first line that
    isn't blank, or the budget."""
    ids = list(backbone.tokenizer(prompt)["input_ids"])
    start = len(ids)
    while len(ids) - start < BUDGET:
        ids.append(int(backbone.model(torch.tensor([ids])).logits[0, -1].argmax()))
        text = str(backbone.tokenizer.decode(ids[start:], skip_special_tokens=True))
        if ids[-1] in backbone.special_ids or (text.strip() and "\n" in text.lstrip()):
            break
    return str(backbone.tokenizer.decode(ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.fixture(scope="module")
def output(tiny_folders: dict[str, Path], llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("free")
    options = {"protocols": ["generate"], "protocol_args": {"max_tokens": BUDGET}}
    run_jobs(llama, make_config(tiny_folders, folder, ["ft"], limit=3, method_args=FT, **options))
    return folder


def test_a_line_has_what_the_model_says_by_itself_and_what_is_cut_from_it(output: Path, llama: Backbone) -> None:
    found = lines(output / TASK / "llama" / "ft-generate" / "cases.jsonl")
    assert len(found) == 3
    for line, case in zip(found, list(xkeb.load_task(TASK)), strict=False):
        (change,) = xkeb.load_editor("ft", lr=0.05, steps=3).edit(llama, [case.edit])
        for probe, asked in zip(line["probes"], case.probes, strict=True):
            language = get_plugins().languages.get(asked.language)
            before = said(llama, asked.prompt)
            with change.applied(llama):
                after = said(llama, asked.prompt)
            assert (probe["raw"]["before"], probe["raw"]["after"]) == (before, after)
            assert probe["after"] == cut_answer(after, language, "sentence")
            expected = probe["before"] if asked.property == "locality" else asked.reference
            f1 = get_plugins().metrics.get("f1_units")(
                Prediction(probe["after"], ()), Prediction(expected, ()), language
            )
            assert probe["scores"]["f1_units"] == f1
            untold = {"wrong_language"}  # of noise, which language it is
            assert set(FREE_METRICS) - untold <= set(probe["scores"]) <= set(FREE_METRICS)


def test_the_longest_answers_can_be_read(tmp_path: Path) -> None:
    """One of spaces alone, and those of 160 probes in a script of three bytes a character, cut from nothing."""
    long, ids = "ก" * 3 * MOST_TOKENS, list(range(10_000, 10_000 + MOST_TOKENS))
    case = scored("0", f1=1.0)
    tokens = Tokens(reference=ids, before=ids, after=ids)
    raw = RawRecord(before=long, after=long)
    probe = case.probes[0].model_copy(update={"before": long, "after": long, "raw": raw, "tokens": tokens})
    spaces = probe.model_copy(update={"after": " " * LONGEST_TOKEN * MOST_TOKENS})
    case = case.model_copy(update={"probes": [spaces, *[probe] * 160]})
    with Journal(tmp_path / "cases.jsonl", CaseRecord, "s") as journal:
        journal.append(case)
    (line,) = read_lines(tmp_path / "cases.jsonl", CaseRecord)
    assert line.problem is None and line.record is not None and line.record.probes == case.probes


@pytest.mark.parametrize("max_tokens", [0, MOST_TOKENS + 1])
def test_answers_that_nothing_could_read_are_refused_at_the_start(max_tokens: int) -> None:
    with pytest.raises(RequestError, match=f"max_tokens must be from 1 to 1,024, not {max_tokens}"):
        load_protocol("generate", {"max_tokens": max_tokens})
    assert load_protocol("generate", {"max_tokens": MOST_TOKENS})


def test_the_result_says_how_it_was_asked_and_passes_the_check(output: Path) -> None:
    path = output / TASK / "llama" / "ft-generate" / "result.json"
    result = Result.load(path)
    assert result.protocol == "generate" and result.protocol_args == {
        "max_tokens": BUDGET,
        "cut": "sentence",
        "second_turn": False,
    }
    assert tuple(result.metrics) == FREE_METRICS
    assert check_result(path).problems == ()
    assert (output / TASK / "llama" / "before-generate.jsonl").is_file()


def test_other_metrics_and_another_cut_are_scored_without_a_model(output: Path, tmp_path: Path) -> None:
    """By hand from the raw answers; what was there stays as it was."""
    folder = output / TASK / "llama" / "ft-generate"
    before = (folder / "result.json").read_bytes()
    (new,) = rescore(folder, tmp_path, ["exact", "f1_units"], {"cut": "line"})
    assert (folder / "result.json").read_bytes() == before
    there = tmp_path / TASK / "llama" / "ft-generate"
    for line in lines(there / "cases.jsonl"):
        for probe in line["probes"]:
            language = get_plugins().languages.get(probe["language"])
            assert probe["after"] == cut_answer(probe["raw"]["after"], language, "line")
            assert set(probe["scores"]) == {"exact", "f1_units"}
    assert new.protocol_args["cut"] == "line" and new.settings != json.loads(before)["settings"]
    assert check_result(there / "result.json").problems == ()
    with Journal(there / "cases.jsonl", CaseRecord, new.settings) as journal:
        assert len(journal.lines) == 3


def test_two_results_that_would_go_to_one_place_are_refused_and_nothing_is_written(
    output: Path, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        shutil.copytree(output, tmp_path / "both" / name)
    with pytest.raises(RequestError, match=r"both/one.* and .*both/other.* would both go to"):
        rescore(tmp_path / "both", tmp_path / "new", None, {})
    assert not (tmp_path / "new").exists()


def test_the_same_rules_give_the_same_scores(output: Path, tmp_path: Path) -> None:
    folder = output / TASK / "llama" / "ft-generate"
    (new,) = rescore(folder, tmp_path, None, {})
    old = Result.load(folder / "result.json")
    assert (new.scores, new.slices, new.blank, new.settings) == (old.scores, old.slices, old.blank, old.settings)


@pytest.mark.parametrize(
    ("metrics", "args", "sentence"),
    [
        (["f1"], {"cut": "line"}, "Metric 'f1' counts a model's tokens"),
        (["exact"], {"max_tokens": 3}, "only the cut can be changed, not 'max_tokens'"),
        (["exact"], {"cut": "none"}, "ended with their first line"),
        (["exact"], {"cut": "word"}, "Option 'cut' of protocol 'generate' can't be 'word'"),
        (["exakt"], {}, "Unknown metric 'exakt': did you mean 'exact'"),
    ],
)
def test_what_kept_answers_do_not_tell_is_refused(
    output: Path, tmp_path: Path, metrics: list[str], args: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        rescore(output / TASK / "llama" / "ft-generate", tmp_path, metrics, args)
    assert list(tmp_path.iterdir()) == []


def test_the_command(xkeb_cli: Callable[..., Any], output: Path, tmp_path: Path) -> None:
    outcome = xkeb_cli("rescore", output, "--metrics", "exact,contains", "--output", tmp_path / "new")
    assert outcome.status == 0, outcome.err
    assert (
        "\tllama\tgenerate\t" in outcome.out
        and ".zh.exact\t" in outcome.out
        and (tmp_path / "new" / TASK / "llama" / "ft-generate").is_dir()
    )
    again = xkeb_cli("rescore", output, "--output", output)
    assert again.status == 2 and "holds the result itself; name another folder with --output." in again.err
    nothing = xkeb_cli("rescore", tmp_path / "nowhere", "--output", tmp_path / "x")
    assert nothing.status == 2 and len(nothing.err.splitlines()) == 1
