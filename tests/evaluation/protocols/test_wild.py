"""WILD's rule, against a plain implementation that was written from the rule alone, and against `transformers`' own stops."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from small_jobs import FT, TASK, lines, make_config, run_jobs
from some_changes import low_rank

import xkeb
from xkeb.editing.changes import ContextChange
from xkeb.errors import RequestError
from xkeb.evaluation.probing import predict_after
from xkeb.evaluation.protocols import WildProtocol, load_protocol
from xkeb.evaluation.protocols.wild import end_ids
from xkeb.leaderboard.verify.check import check_result
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.results.result import Result
from xkeb.types import Prediction, Query

pytest_plugins = ("small_jobs", "command_line")
ASKED = {
    "question-only": "{}",
    "qa_inst": "Please answer the question:\n\nQ: {}\nA:",
    "chat_temp": "<s>[INST] <<SYS>>\nYou are a helpful, respectful and honest assistant.\n<</SYS>>\n\n{} [/INST]</s>",
}


@torch.no_grad()
def plain(backbone: Backbone, text: str) -> list[int]:
    """The likeliest token after the whole text so far, 50 times, or up to one that has a full stop or a line break in it, or
    ends a text."""
    tokenizer = backbone.tokenizer
    ids = list(tokenizer(text)["input_ids"])
    start = len(ids)
    eos = backbone.model.generation_config.eos_token_id
    while len(ids) - start < 50:
        ids.append(int(backbone.model(torch.tensor([ids])).logits[0, -1].argmax()))
        before = len(str(tokenizer.decode(ids[start:-1])))
        new = str(tokenizer.decode(ids[start:]))[before:]
        ended = ids[-1] in (eos if isinstance(eos, list) else [eos])
        if ended or "." in new or "\n" in new or tokenizer.eos_token in str(tokenizer.decode(ids[start:])):
            break
    return ids[start:]


def said(backbone: Backbone, ids: list[int]) -> str:
    text = str(backbone.tokenizer.decode(ids))
    for suffix in (".", "\n", backbone.tokenizer.eos_token):
        text = text.removesuffix(suffix)
    return text


def normal(text: str) -> str:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def questions(n: int = 2) -> list[Query]:
    cases = list(xkeb.load_task(TASK))[:n]
    return [Query(p.prompt, p.reference, p.language, 0, p.property) for case in cases for p in case.probes]


@pytest.mark.parametrize("context_type", ASKED)
def test_a_batch_says_what_the_plain_rule_says(tiny: Backbone, context_type: str) -> None:
    wild = load_protocol("wild", {"context_type": context_type})
    asked = questions()
    found = wild.predict(tiny, asked)
    expected = [plain(tiny, ASKED[context_type].format(query.prompt)) for query in asked]
    assert [list(answer.ids) for answer in found] == expected
    assert [answer.text for answer in found] == [said(tiny, ids).strip() for ids in expected]
    assert [answer.raw for answer in found] == [tiny.tokenizer.decode(ids) for ids in expected]


def test_the_stops_are_those_of_transformers(tiny: Backbone) -> None:
    """`generate` with the stop strings that the released code names."""
    tokenizer, asked = tiny.tokenizer, questions()
    found = WildProtocol().predict(tiny, asked)
    for query, answer in zip(asked, found, strict=True):
        prompt = tokenizer(query.prompt, return_tensors="pt")
        generate: Any = tiny.model.generate
        whole = generate(
            prompt["input_ids"], attention_mask=prompt["attention_mask"], max_new_tokens=50, do_sample=False,
            stop_strings=[".", "\n", tokenizer.eos_token], tokenizer=tokenizer, pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        assert whole[0, prompt["input_ids"].shape[1] :].tolist() == list(answer.ids)


def test_rows_under_changes_say_what_each_says_alone(llama: Backbone) -> None:
    cases = list(xkeb.load_task(TASK))[:2]
    changes = [low_rank(llama, seed) for seed in (1, 5)]
    wild = WildProtocol("qa_inst")
    for case, change, answers in zip(cases, changes, predict_after(llama, changes, cases, wild), strict=True):
        with change.applied(llama):
            expected = [plain(llama, ASKED["qa_inst"].format(probe.prompt)) for probe in case.probes]
        assert [list(answer.ids) for answer in answers] == expected
    (shown,) = predict_after(llama, [ContextChange("New Fact: so it is.\n")], cases[:1], wild)
    texts = ["New Fact: so it is.\n" + ASKED["qa_inst"].format(probe.prompt) for probe in cases[0].probes]
    assert [list(answer.ids) for answer in shown] == [plain(llama, text) for text in texts]


def test_an_answer_ends_with_the_first_token_that_has_a_stop_in_it(llama: Backbone) -> None:
    """A model that says one text after another, whatever it is asked."""
    from xkeb.models.generation import generate_rows
    from xkeb.models.passes import TokenRow

    ids = llama.tokenizer("It was J. R. R. Tolkien", add_special_tokens=False)["input_ids"]
    row = TokenRow((*llama.tokenizer("Who?")["input_ids"],), (0,))
    told = iter(ids)
    real = llama.logits

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        made = real(hidden)
        made[:] = 0
        made[:, next(told)] = 1
        return made

    other = llama.asked_in("plain")
    other.logits = logits  # type: ignore[method-assign]
    style = WildProtocol().style
    (found,) = style.ids(other, [row], None, 1)
    answer = style.answer(llama, Query("Who?", "", "en"), [found])
    assert (answer.text, answer.raw) == ("It was J", "It was J.")
    told = iter(ids)
    (longer,) = generate_rows(other, [row], max_tokens=len(ids), stop=lambda text: False, ends=())
    assert longer == ids


@contextmanager
def generation_ends(backbone: Backbone, ids: int | list[int] | None) -> Iterator[None]:
    """Inside, the model's generation settings name these ids."""
    config = backbone.model.generation_config
    before = config.eos_token_id
    try:
        config.eos_token_id = ids
        yield
    finally:
        config.eos_token_id = before


def test_an_answer_ends_where_the_model_s_generation_does(llama: Backbone) -> None:
    with generation_ends(llama, [7, 9]):
        assert end_ids(llama) == {7, 9, llama.tokenizer.eos_token_id}
    with generation_ends(llama, None):
        assert end_ids(llama) == {llama.tokenizer.eos_token_id}


def test_answers_with_other_ends_are_never_mixed(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT, protocols=["wild"])
    own = llama.tokenizer.eos_token_id
    with generation_ends(llama, None):
        (bare,), _ = run_jobs(llama, asked)
    with generation_ends(llama, [own]):
        (same,), phases = run_jobs(llama, asked)
    assert bare.model.ends is None and same.settings == bare.settings and phases.counts["edit"] == 0
    with generation_ends(llama, [7, own]):
        with pytest.raises(RequestError, match="made with other settings or data"):
            run_jobs(llama, asked)
        (other,), phases = run_jobs(llama, dataclasses.replace(asked, overwrite=True))
        assert phases.counts == {"before": 1, "edit": 1}
        assert other.model.ends == sorted([7, own]) and other.settings == other.run_settings().sha256
        (forced,), _ = run_jobs(llama, dataclasses.replace(asked, protocols=["teacher_forcing"]))
    assert forced.model.ends is None


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("The Beatles", "beatles", 1.0),
        ("J. R. R. Tolkien", "J R R Tolkien", 1.0),
        ("  an  apple ,a pear", "apple pear", 1.0),
        ("theatre", "atre", 0.0),
        ("“Paris”", "Paris", 0.0),  # ASCII punctuation alone
        ("Paris France", "Paris", 0.0),
        ("1,000", "1000", 1.0),
        ("ＰＡＲＩＳ", "paris", 0.0),
        ("", "?", 1.0),  # to the letter
    ],
)
def test_the_exact_match(answer: str, gold: str, expected: float) -> None:
    language = get_plugins().languages.get("en")
    measure = get_plugins().metrics.get("exact_wild")
    assert measure(Prediction(answer, ()), Prediction(gold, ()), language) == expected
    assert float(normal(answer) == normal(gold)) == expected


def test_an_unrelated_answer_is_kept_where_every_token_is() -> None:
    language = get_plugins().languages.get("en")
    measure = get_plugins().metrics.get("exact_wild")
    before = Prediction("Rome", (1,), raw="Rome.")
    assert measure(Prediction("Rome", (1,), raw="Rome."), before, language) == 1.0
    assert measure(Prediction("Rome", (1,), raw="Rome\n"), before, language) == 0.0
    assert measure(Prediction("\ufffd", (1,), raw="\ufffd"), Prediction("\ufffd", (2,), raw="\ufffd"), language) == 0.0


def test_what_it_can_t_be_is_refused() -> None:
    with pytest.raises(RequestError, match="Option 'context_type' of protocol 'wild' can't be 'few_shot'"):
        load_protocol("wild", {"context_type": "few_shot"})
    with pytest.raises(RequestError, match="WILD puts questions in its own ways"):
        WildProtocol().check_prompt("qa")


def test_a_run(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], limit=2, method_args=FT, protocols=["wild"]))
    folder = tmp_path / TASK / "llama" / "ft-wild"
    result = Result.load(folder / "result.json")
    assert (result.protocol, result.protocol_args) == ("wild", {"context_type": "question-only"})
    assert result.scorer == "f1_units+exact_wild" and "exact_wild" in result.scores["reliability"]["en"]
    for line in lines(folder / "cases.jsonl"):
        for probe in line["probes"]:
            expected = normal(probe["after"]) == normal(probe["reference"])
            if probe["property"] == "locality":
                expected = probe["raw"]["after"] == probe["raw"]["before"]
            assert probe["scores"]["exact_wild"] == float(expected)
            assert probe["blank"] is False
    assert check_result(folder / "result.json").problems == ()
    outcome = xkeb_cli("rescore", folder, "--protocol-args", "cut=line", "--output", tmp_path / "new")
    assert outcome.status == 2 and "only the answers of --protocol generate can be cut anew" in outcome.err
