"""The paper's protocol against a plain implementation of the released code, token by token and score by score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import plain_released as plain
import pytest
import torch

import xkeb
from xkeb.editing.changes import ContextChange, LowRankChange
from xkeb.errors import RequestError
from xkeb.evaluation.probing import predict_after, predict_before, predict_reference_state
from xkeb.evaluation.protocols import PaperProtocol, load_protocol
from xkeb.evaluation.scoring import score_case
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Prediction, Probe, Query, Scorer, Texts

LONG = (
    "Who, of all the people that anybody in this town has ever heard or read of in a book or in a newspaper, wrote it?"
)


def cases() -> list[Case]:
    """Of the shipped data, with a number, a target between spaces, one that is cut, and a question that is."""
    shipped = list(xkeb.load_task("bizsre_mini_en2zh"))[:4] + list(xkeb.load_task("bizsre_mini_zh2en"))[:4]
    odd = (
        Probe("reliability", "en", "When was it built?", "2006"),
        Probe("generality", "en", LONG, "Anna"),
        Probe("generality", "zh", "它是什么时候建的？", "2006年"),
        Probe("locality", "en", "who is it", "Ann", Texts("nq question: who is it", " Ann ")),
        Probe("locality", "zh", "谁？", "李" * 40),
        Probe("portability", "en", LONG, "Anna Of The Long Name"),
        Probe("portability", "zh", "谁写的？", "李白"),
    )
    return [*shipped, Case("odd", Edit("When was it built?", "2006", "en", "it"), odd)]


def protocol(scorer: Scorer, **options: object) -> PaperProtocol:
    made = load_protocol("paper", options)
    assert isinstance(made, PaperProtocol)
    object.__setattr__(made, "scorer", scorer)
    return made


def said(backbone: Backbone, case: Case, probe: Probe, scorer: Scorer, context: str = "") -> plain.Said:
    prompt, target = (probe.raw.prompt, probe.raw.reference) if probe.raw else (probe.prompt, probe.reference)
    model, tokenizer = backbone.model, backbone.tokenizer
    if scorer == "in_context":
        return plain.in_context(model, tokenizer, context, prompt, target)
    if probe.property == "portability":
        return plain.portability(model, tokenizer, prompt, target)
    return plain.rewrite(model, tokenizer, prompt, target, serac=scorer == "growing_without_bos")


def compare(
    backbone: Backbone,
    rules: PaperProtocol,
    asked: Sequence[Case],
    answers: Sequence[Sequence[Prediction]],
    expected: Callable[[Case, Probe], plain.Said],
) -> None:
    for case, given in zip(asked, answers, strict=True):
        record = score_case(case, given, given, backbone, ("f1_pr", "em"), {"edit": 0.0, "evaluate": 0.0}, "", rules)
        for probe, answer, scored in zip(case.probes, given, record.probes, strict=True):
            told = expected(case, probe)
            reference = rules.reference(backbone, rules.query(case, probe))
            bags = [backbone.tokenizer.encode(text, add_special_tokens=False) for text in (told.answer, told.target)]
            assert [list(answer.tokens), list(reference.tokens)] == bags, (case.id, probe)
            assert [answer.text, reference.text] == [
                text if bag else "" for text, bag in zip((told.answer, told.target), bags, strict=True)
            ]
            if probe.property != "locality":
                got = scored.scores["f1_pr"], scored.scores["em"]
                assert got == pytest.approx(plain.scores(backbone.tokenizer, told.answer, told.target))


@pytest.mark.parametrize("scorer", ["growing", "growing_without_bos", "in_context"])
def test_before_any_edit(tiny: Backbone, scorer: Scorer) -> None:
    rules = protocol(scorer)
    compare(
        tiny, rules, cases(), predict_before(tiny, cases(), rules), lambda case, probe: said(tiny, case, probe, scorer)
    )


def test_under_a_change_of_weights_for_each_case(llama: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    path = llama.layout.down(2)
    d_out, d_in = llama.parameter(f"{path}.weight").shape
    changes = [
        LowRankChange({path: (torch.randn(d_out, 1, generator=generator), torch.randn(1, d_in, generator=generator))})
        for _ in cases()
    ]
    rules, asked = protocol("growing"), cases()
    answers = predict_after(llama, changes, asked, rules)
    untouched = predict_before(llama, asked, rules)
    assert answers != untouched
    for change, case, given in zip(changes, asked, answers, strict=True):
        with change.applied(llama):
            compare(llama, rules, [case], [given], lambda case, probe: said(llama, case, probe, "growing"))


def test_under_a_context_and_what_locality_is_compared_with(tiny: Backbone) -> None:
    rules, asked = protocol("in_context"), cases()[:3]
    changes = [ContextChange(f"A: 1\n\nB{i}\nPrompt: ", before=f"B{i}\nPrompt: ") for i in range(len(asked))]
    answers = predict_after(tiny, changes, asked, rules)
    for change, case, given in zip(changes, asked, answers, strict=True):
        text = change.text
        assert isinstance(text, str)
        compare(tiny, rules, [case], [given], lambda case, probe: said(tiny, case, probe, "in_context", text))  # noqa: B023
    states = predict_reference_state(tiny, changes, asked, rules)
    for i, (case, state) in enumerate(zip(asked, states, strict=True)):
        places = [k for k, probe in enumerate(case.probes) if probe.property == "locality"]
        assert sorted(state) == places
        for k in places:
            told = said(tiny, case, case.probes[k], "in_context", f"B{i}\nPrompt: ")
            assert state[k].text == told.answer


def test_a_bos_makes_every_answer_a_token_longer(llama: Backbone) -> None:
    """So that no answer of a LLaMA is right to the letter, unless it begins with a special token."""
    query = Query("Who is it?", "Ann", "en", property="generality")
    own = len(llama.tokenizer("Ann", add_special_tokens=False)["input_ids"])
    lengths = {
        scorer: len(protocol(scorer).predict(llama, [query])[0].ids)
        for scorer in ("growing", "growing_without_bos", "in_context")
    }
    assert lengths == {"growing": own + 1, "growing_without_bos": own, "in_context": own}


def test_without_a_bos_an_answer_of_one_token_is_empty_and_right(tiny_folders: dict[str, Path]) -> None:
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    assert len(gpt2.tokenizer("a")["input_ids"]) == 1
    rules = protocol("in_context")
    query = Query("Which?", "a", "en", property="generality")
    assert rules.predict(gpt2, [query])[0].text == rules.reference(gpt2, query).text == ""


def test_reliability_is_scored_against_the_english_target(llama: Backbone) -> None:
    (case,) = list(xkeb.load_task("bizsre_mini_zh2en"))[:1]
    english = next(probe.reference for probe in case.probes if (probe.property, probe.language) == ("generality", "en"))
    probe = case.probes[0]
    assert probe.property == "reliability"
    assert protocol("growing").query(case, probe).target == case.edit.target
    rules = protocol("growing", reliability="english")
    assert rules.query(case, probe).target == english != case.edit.target
    (answers,) = predict_before(llama, [case], rules)
    told = plain.rewrite(llama.model, llama.tokenizer, probe.prompt, english)
    assert (answers[0].text, rules.reference(llama, rules.query(case, probe)).text) == (told.answer, told.target)


@pytest.mark.parametrize(
    ("option", "value", "scorer"),
    [
        ("max_length", 0, "growing"),
        ("texts", "whole", "growing"),
        ("joiner", "language", "growing"),
        ("bos", "dropped", "growing"),
        ("bags", "without_space", "growing"),
        ("case", "kept", "growing"),
        ("questions", "read", "growing"),
        ("joiner", "language", "in_context"),
    ],
)
def test_each_rule_alone_makes_a_difference(llama: Backbone, option: str, value: object, scorer: Scorer) -> None:
    assert_different(llama, option, value, scorer)


def test_where_no_bos_is_added_the_first_token_is_the_answer_s(tiny_folders: dict[str, Path]) -> None:
    assert_different(
        xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu"), "bos", "dropped", "in_context"
    )


def assert_different(llama: Backbone, option: str, value: object, scorer: Scorer) -> None:
    told = []
    for rules in (protocol(scorer), protocol(scorer, **{option: value})):
        asked = [(case, rules.query(case, probe)) for case in cases() for probe in case.probes]
        answers = rules.predict(llama, [query for _, query in asked])
        references = [rules.reference(llama, query) for _, query in asked]
        told.append([(answer.text, answer.tokens, gold.text) for answer, gold in zip(answers, references, strict=True)])
    assert told[0] != told[1]


def test_all_of_our_own_rules_predict_the_ids_of_our_own_protocol(llama: Backbone) -> None:
    own = {"texts": "whole", "joiner": "language", "bags": "without_space", "case": "kept", "questions": "read"}
    rules = protocol("growing", **own)
    asked = cases()
    usual, same = predict_before(llama, asked), predict_before(llama, asked, rules)
    assert [[answer.ids for answer in case] for case in same] == [[answer.ids for answer in case] for case in usual]


def test_answers_are_counted_by_the_tokenizer_that_is_named(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu").tokenizer
    rules = protocol("growing", tokenizer=str(tiny_folders["gpt2"]))
    (answer,) = rules.predict(llama, [Query("Who is it?", "Ann", "en")])
    assert list(answer.tokens) == other(answer.text, add_special_tokens=False)["input_ids"]
    assert rules.options["tokenizer_sha256"] and not protocol("growing").options["tokenizer_sha256"]


def test_a_context_of_a_method_that_says_nothing_is_refused(llama: Backbone) -> None:
    case = cases()[0]
    with pytest.raises(RequestError, match=r"released_scorer"):
        predict_after(llama, [ContextChange("Facts. ")], [case], protocol("growing"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reliabilty": "english"}, r"Unknown option of protocol 'paper': 'reliabilty': did you mean 'reliability'\?"),
        ({"reliability": "french"}, r"Option 'reliability' of protocol 'paper' can't be 'french'"),
        ({"max_length": -1}, r"max_length is a number of tokens, or 0 for no end, not -1"),
        ({"tokenizer": "/no/such/folder"}, r"There is no folder /no/such/folder with the tokenizer"),
    ],
)
def test_bad_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        load_protocol("paper", options)


def test_a_case_without_an_english_answer() -> None:
    case = Case("7", Edit("Wer?", "Anna", "de", "Anna"), (Probe("reliability", "de", "Wer?", "Anna"),))
    rules = protocol("growing", reliability="english")
    with pytest.raises(RequestError, match=r"Case '7' has no English answer"):
        rules.query(case, case.probes[0])
