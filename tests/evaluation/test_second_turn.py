"""Questions asked again after an unrelated one and its answer, against a loop that passes the whole text for each token."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from made_results import Json
from sealed_lines import sealed_text
from small_jobs import FT, TASK, lines, make_config, run_jobs
from some_changes import low_rank

import xkeb
from xkeb.editing.changes import Change, ContextChange
from xkeb.errors import RequestError
from xkeb.evaluation.probing import case_queries, predict_after, predict_before, predict_edited
from xkeb.evaluation.protocols import GenerateProtocol
from xkeb.evaluation.protocols.sentences import cut_answer
from xkeb.evaluation.rescoring import rescore
from xkeb.leaderboard.verify.check import check_result
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.results.result import Result
from xkeb.types import Case, Prediction, PromptStyle

pytest_plugins = ("small_jobs", "command_line")
pytestmark = pytest.mark.usefixtures("cache_of_this_module")
BUDGET = 8
AGAIN = GenerateProtocol(max_tokens=BUDGET, second_turn=True)
CHAT = (
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '</' + m.role + '>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)


@torch.no_grad()
def said(backbone: Backbone, prompt: str, language: str) -> str:
    """What the model goes on with, cut: a pass of the whole text for each token."""
    ids = list(backbone.tokenizer(prompt)["input_ids"])
    start = len(ids)
    while len(ids) - start < BUDGET:
        ids.append(int(backbone.model(torch.tensor([ids])).logits[0, -1].argmax()))
        text = str(backbone.tokenizer.decode(ids[start:], skip_special_tokens=True))
        if ids[-1] in backbone.special_ids or (text.strip() and "\n" in text.lstrip()):
            break
    raw = str(backbone.tokenizer.decode(ids[start:], skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return cut_answer(raw, get_plugins().languages.get(language), "sentence")


def around(style: PromptStyle, code: str) -> Callable[[str], str]:
    """A question as it is put in a style, typed in by hand."""
    before, after = {
        ("plain", "en"): ("", ""),
        ("plain", "zh"): ("", ""),
        ("qa", "en"): ("Question: ", "\nAnswer:"),
        ("qa", "zh"): ("问题：", "\n答案："),
        ("chat", "en"): ("<user>", "</user>\n<assistant>"),
        ("chat", "zh"): ("<user>", "</user>\n<assistant>"),
    }[style, code]
    return lambda question: f"{before}{question}{after}"


def second_answers(
    backbone: Backbone, case: Case, style: PromptStyle, context: str = ""
) -> list[tuple[str, ...] | None]:
    """Of each probe, the unrelated question, the answer to that, and the answer to the question after it."""
    found: list[tuple[str, ...] | None] = []
    for probe in case.probes:
        if probe.property == "locality":
            found.append(None)
            continue
        put = around(style, probe.language)
        (unrelated,) = [p.prompt for p in case.probes if (p.property, p.language) == ("locality", probe.language)]
        inside = style == "chat"
        start = put(context + unrelated) if inside else context + put(unrelated)
        reply = said(backbone, start, probe.language)
        join = "" if inside or probe.language == "zh" else " "
        end = "</assistant>\n" if inside else "\n"
        found.append((unrelated, reply, said(backbone, start + join + reply + end + put(probe.prompt), probe.language)))
    return found


def seconds(answers: Sequence[Prediction]) -> list[tuple[str, ...] | None]:
    turns = [answer.second for answer in answers]
    return [None if turn is None else (turn.question, turn.reply, turn.answer.text) for turn in turns]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task(TASK))[:2]


def in_style(backbone: Backbone, style: PromptStyle) -> Backbone:
    other = backbone.asked_in("plain")
    other.tokenizer = backbone.tokenizer
    if style == "chat":
        other.tokenizer = type(backbone.tokenizer)(tokenizer_object=backbone.tokenizer.backend_tokenizer)
        for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
            setattr(other.tokenizer, name, getattr(backbone.tokenizer, name))
        other.tokenizer.chat_template = CHAT
    return other.asked_in(style)


@pytest.mark.parametrize("style", ["plain", "qa", "chat"])
@pytest.mark.parametrize("kind", ["weights", "contexts"])
def test_a_batch_asks_again_as_one_case_at_a_time(
    llama: Backbone, cases: list[Case], style: PromptStyle, kind: str
) -> None:
    """Under low-rank changes of each row, and under contexts, which stand at the start of the conversation."""
    backbone = in_style(llama, style)
    contexts = ["New Fact: it is so.\n\n", "事实。"] if kind == "contexts" else ["", ""]
    changes: list[Change] = [ContextChange(text) for text in contexts]
    if kind == "weights":
        changes = [low_rank(backbone, seed) for seed in (1, 5)]
    found = predict_after(backbone, changes, cases, AGAIN)
    expected = []
    for case, change, context in zip(cases, changes, contexts, strict=True):
        with change.applied(backbone) if kind == "weights" else ContextChange("").applied(backbone):
            expected.append(second_answers(backbone, case, style, context))
    assert [seconds(answers) for answers in found] == expected
    alone = [
        predict_edited(backbone, change, case_queries(case, 0), AGAIN)
        for change, case in zip(changes, cases, strict=True)
    ]
    assert found == alone
    without = predict_after(backbone, changes, cases, GenerateProtocol(max_tokens=BUDGET))
    assert [[dataclasses.replace(a, second=None) for a in answers] for answers in found] == without


def test_a_question_is_asked_again_after_the_edit_only(llama: Backbone, cases: list[Case]) -> None:
    assert all(answer.second is None for answers in predict_before(llama, cases, AGAIN) for answer in answers)


def test_a_case_without_an_unrelated_question_is_not_asked_again(llama: Backbone, cases: list[Case]) -> None:
    some = dataclasses.replace(
        cases[0], probes=tuple(p for p in cases[0].probes if (p.property, p.language) != ("locality", "zh"))
    )
    (answers,) = predict_after(llama, [low_rank(llama, 1)], [some], AGAIN)
    asked = {p.language for p, answer in zip(some.probes, answers, strict=True) if answer.second}
    assert asked == {"en"}


def test_a_question_that_another_model_answers_is_put_to_that_one_again(llama: Backbone, cases: list[Case]) -> None:
    """SERAC's counterfactual model answers both turns of a question in its scope; the scope sees the question asked."""
    from xkeb.models.interventions import Delegate, Intervention

    class Other(Intervention):
        def delegates(self, queries: Sequence[Any]) -> list[Delegate | None]:
            return [Delegate(llama, "Shown. ") if query.language == "en" else None for query in queries]

    class Routed:
        def applied(self, backbone: Backbone) -> Any:
            return Other().installed(backbone)

    (found,) = predict_after(llama, [Routed()], cases[:1], AGAIN)
    with ContextChange("").applied(llama):
        shown, plain = (second_answers(llama, cases[0], "plain", context) for context in ("Shown. ", ""))
    expected = [s if probe.language == "en" else p for probe, s, p in zip(cases[0].probes, shown, plain, strict=True)]
    assert seconds(found) == expected


def test_a_template_without_a_second_question_is_refused(llama: Backbone, cases: list[Case]) -> None:
    backbone = in_style(llama, "chat")
    backbone.tokenizer.chat_template = "<user>{{ messages[0].content }}<model>{{ messages[1].content }}"
    with pytest.raises(
        RequestError, match="doesn't show a second question after an answer, so --prompt chat can't ask"
    ):
        predict_after(backbone, [ContextChange("")], cases[:1], AGAIN)


# A run -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tiny_folders: dict[str, Path], llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("again")
    options = {"protocols": ["generate"], "protocol_args": {"max_tokens": BUDGET, "second_turn": True}}
    run_jobs(llama, make_config(tiny_folders, output, ["ft"], limit=3, method_args=FT, **options))
    return output / TASK / "llama" / "ft-generate"


def test_a_run_keeps_and_scores_both_answers(folder: Path) -> None:
    result = Result.load(folder / "result.json")
    assert result.protocol_args["second_turn"] is True
    for line in lines(folder / "cases.jsonl"):
        for probe in line["probes"]:
            if probe["property"] == "locality":
                assert probe["second"] is None
                continue
            second, code = probe["second"], probe["language"]
            language = get_plugins().languages.get(code)
            (unrelated,) = [p for p in line["probes"] if (p["property"], p["language"]) == ("locality", code)]
            assert (second["question"], second["reply"]) == (unrelated["prompt"], unrelated["after"])
            assert second["after"] == cut_answer(second["raw"], language, "sentence")
            f1 = get_plugins().metrics.get("f1_units")
            gold = Prediction(probe["reference"], ())
            assert second["scores"]["f1_units"] == f1(Prediction(second["after"], ()), gold, language)
    assert set(result.second_turn) == {"reliability", "generality", "portability"}
    assert result.second_turn["generality"]["zh"]["f1_units"].n == 3
    assert check_result(folder / "result.json").problems == ()


def change_lines(folder: Path, there: Path, change: Callable[[Json], None]) -> Path:
    """A copy of a result, with something changed in the second turn of each reliability."""
    there.mkdir()
    found = lines(folder / "cases.jsonl")
    for line in found:
        for probe in line["probes"]:
            if probe["property"] == "reliability":
                change(probe)
    (there / "cases.jsonl").write_text(sealed_text(found), encoding="utf-8")
    (there / "result.json").write_bytes((folder / "result.json").read_bytes())
    return there


def test_answers_that_were_right_and_are_not_again_are_counted(
    folder: Path, tmp_path: Path, xkeb_cli: Callable[..., Any]
) -> None:
    """Two of three first answers made right; one of their second ones, too. Scored anew, one of two has reverted."""
    done: list[str] = []

    def change(probe: Json) -> None:
        done.append(probe["prompt"])
        probe["raw"]["after"] = f" {probe['reference']}." if len(done) < 3 else "?"
        probe["second"]["raw"] = f"{probe['reference']}\nmore" if len(done) == 1 else " no idea."

    there = change_lines(folder, tmp_path / "made", change)
    outcome = xkeb_cli(
        "rescore", there, "--protocol-args", "cut=line", "--metrics", "exact", "--output", tmp_path / "new"
    )
    assert outcome.status == 0, outcome.err
    rows = list(csv.DictReader(io.StringIO(outcome.out), delimiter="\t"))
    (again,) = (row for row in rows if row["when"] == "again")
    assert (again["cases_of"], again["cases"]) == ("all", "3")
    assert (again["reliability.en.reverted"], again["reliability.en.exact"]) == ("50.00", "33.33")
    result = Result.load(tmp_path / "new" / TASK / "llama" / "made" / "result.json")
    (scores,) = result.second_turn["reliability"].values()
    assert (scores["reverted"].mean, scores["reverted"].n) == (50.0, 2)
    assert scores["exact"].mean == pytest.approx(100 / 3)
    assert result.scores["reliability"]["en"]["exact"].mean == pytest.approx(200 / 3)
    assert check_result(tmp_path / "new" / TASK / "llama" / "made" / "result.json").problems == ()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("reverted", True, "asked again: reverted is stated as true, and is null by its answers"),
        ("question", "Why?", "is no unrelated question of the case with its answer"),
        ("reply", "made up", "is no unrelated question of the case with its answer"),
        ("after", "made up", "asked again: has other scores than the result: "),  # Latin letters tell a language
        ("scores", {"f1_units": 1.0}, "asked again: has other scores than the result: 'f1_units'"),
    ],
)
def test_a_second_turn_that_does_not_hang_together_is_told(
    folder: Path, tmp_path: Path, key: str, value: Any, sentence: str
) -> None:
    there = change_lines(folder, tmp_path / "made", lambda probe: probe["second"].update({key: value}))
    problems = check_result(there / "result.json").problems
    assert any(sentence in problem for problem in problems), problems


def test_a_mean_of_the_second_turn_is_computed_again(folder: Path, tmp_path: Path) -> None:
    there = change_lines(folder, tmp_path / "made", lambda probe: None)
    result = json.loads((there / "result.json").read_text(encoding="utf-8"))
    result["second_turn"]["generality"]["en"]["f1_units"]["mean"] += 2
    (there / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (problem,) = check_result(there / "result.json").problems
    assert problem.startswith("second_turn.generality.en.f1_units.mean is stated as ")


def test_the_same_rules_give_the_same_second_turn(folder: Path, tmp_path: Path) -> None:
    (new,) = rescore(folder, tmp_path, None, {})
    assert new.second_turn == Result.load(folder / "result.json").second_turn
