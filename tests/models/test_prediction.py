"""Teacher-forced predictions, against a loop over growing gold prefixes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.changes import ContextChange, batched
from xkeb.models import passes
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Intervention
from xkeb.models.prediction import predict
from xkeb.types import Query

LONG = "New Fact: The capital of France is Bordeaux.\nPrompt: Which city is the capital of France? Bordeaux\n\n"
CONTEXTS = ("", "In short. ", LONG, LONG + "New Fact: 日本的首都是札幌。\nPrompt: ", "今天天气很好，我们去公园。" * 4)


@torch.no_grad()
def naive(backbone: Backbone, query: Query, context: str = "") -> tuple[int, ...]:
    """The model's own next token after each growing gold prefix, one pass each."""
    encoded = backbone.encode(context + query.prompt, query.target, query.language)
    found = []
    for i in range(encoded.target, len(encoded.ids)):
        logits = backbone.model(torch.tensor([encoded.ids[:i]]), logits_to_keep=1).logits
        found.append(int(logits[0, -1].argmax()))
    return tuple(found)


def questions(task: str = "bizsre_mini_en2zh", cases: int = 4, data_dir: Path | None = None) -> list[Query]:
    chosen = list(xkeb.load_task(task, data_dir=data_dir))[:cases]
    return [Query(probe.prompt, probe.reference, probe.language) for case in chosen for probe in case.probes]


def ids(
    backbone: Backbone, queries: Sequence[Query], rows: Intervention | None = None, **options: Any
) -> list[tuple[int, ...]]:
    return [answer.ids for answer in predict(backbone, queries, rows, **options)]


def test_one_pass_gives_the_same_tokens_as_growing_gold_prefixes(tiny: Backbone) -> None:
    queries = questions()
    expected = [naive(tiny, query) for query in queries]
    assert ids(tiny, queries) == expected
    assert len({token for answer in expected for token in answer}) > 20  # the model tells the questions apart


def test_one_pass_gives_the_same_tokens_as_growing_gold_prefixes_on_real_records(
    gemma: Backbone, data_dir: Path
) -> None:
    queries = [
        Query(probe.prompt, probe.reference, probe.language)
        for case in list(xkeb.load_task("bizsre_en2zh", data_dir=data_dir))[:10]
        for probe in case.probes
        if (probe.property, probe.language) in {("reliability", "en"), ("portability", "zh")}
    ]
    assert len(queries) == 20
    assert ids(gemma, queries) == [naive(gemma, query) for query in queries]


def test_every_answer_token_is_predicted(tiny: Backbone) -> None:
    for query, answer in zip(questions(), predict(tiny, questions()), strict=True):
        encoded = tiny.encode(query.prompt, query.target, query.language)
        assert len(answer.ids) == len(encoded.target_ids)
        assert answer == tiny.decode(answer.ids)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_answers_do_not_depend_on_the_batch_size(tiny: Backbone, batch_size: int) -> None:
    queries = questions()
    assert ids(tiny, queries, batch_size=batch_size) == ids(tiny, queries)


def test_answers_do_not_depend_on_the_bound_on_a_batchs_tokens(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = questions()
    usual = ids(tiny, queries)
    for bound in (1, 100):
        monkeypatch.setattr(passes, "BATCH_TOKENS", bound)
        assert ids(tiny, queries) == usual


def test_answers_do_not_depend_on_the_order_of_the_questions(tiny: Backbone) -> None:
    queries = questions()
    usual = ids(tiny, queries)
    order = list(range(len(queries)))
    random.Random(0).shuffle(order)
    assert ids(tiny, [queries[i] for i in order], batch_size=3) == [usual[i] for i in order]


def test_no_question_has_no_answer(llama: Backbone) -> None:
    assert predict(llama, []) == []


def in_rows(queries: Sequence[Query], n: int) -> list[Query]:
    """Each question under each of `n` changes, the changes' questions interleaved."""
    return [Query(query.prompt, query.target, query.language, row) for query in queries for row in range(n)]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_sharing_a_context_gives_the_same_tokens_as_growing_gold_prefixes(tiny: Backbone, batch_size: int) -> None:
    changes = [ContextChange(text) for text in CONTEXTS]
    queries = in_rows(questions(cases=1), len(changes))
    expected = [naive(tiny, query, CONTEXTS[query.row]) for query in queries]
    rows = batched(tiny, changes)
    assert rows is not None
    with rows.applied(tiny):
        assert ids(tiny, queries, rows, batch_size=batch_size) == expected
    by_context = {row: [e for q, e in zip(queries, expected, strict=True) if q.row == row] for row in range(5)}
    assert len({tuple(answers) for answers in by_context.values()}) == len(CONTEXTS)  # contexts make a difference


def test_contexts_of_the_test_are_longer_than_the_sliding_window(tiny_folders: dict[str, Path]) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    assert backbone.model.config.sliding_window == 16
    assert set(backbone.model.config.layer_types) == {"sliding_attention", "full_attention"}
    assert all(len(backbone.encode(context).ids) > 32 for context in CONTEXTS[2:])


def test_a_context_with_a_single_question(tiny: Backbone) -> None:
    queries = questions(cases=1)[:3]
    changes = [ContextChange(CONTEXTS[2]), ContextChange(CONTEXTS[4]), ContextChange(CONTEXTS[1])]
    lone = [Query(query.prompt, query.target, query.language, row) for row, query in enumerate(queries)]
    rows = batched(tiny, changes)
    assert rows is not None
    assert ids(tiny, lone, rows) == [naive(tiny, query, changes[query.row].context("en")) for query in lone]


def test_a_context_under_which_a_question_is_asked_twice_or_continues_another(tiny: Backbone) -> None:
    asked = [
        Query("Who?", "Ada Lovelace", "en"),
        Query("Who?", "Ada Lovelace", "en"),
        Query("Who? Ada", "Lovelace", "en"),
        Query("Who?", "Ada", "en"),
    ]
    rows = batched(tiny, [ContextChange(LONG)])
    assert rows is not None
    assert ids(tiny, asked, rows) == [naive(tiny, query, LONG) for query in asked]


def test_a_context_for_each_language_is_shown_to_its_own_questions(tiny: Backbone) -> None:
    texts = {"en": LONG + "New Fact: a b\nPrompt: ", "zh": LONG + "New Fact: a 乙\nPrompt: "}
    queries = questions(cases=1)
    rows = batched(tiny, [ContextChange(texts)])
    assert rows is not None
    assert ids(tiny, queries, rows) == [naive(tiny, query, texts[query.language]) for query in queries]


class Reading(Intervention):
    """A change with a context for each language; counts the tokens that pass."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self.texts, self.tokens = texts, 0

    def context(self, index: int, language: str) -> str:
        return self.texts[language]

    def hooks(self, backbone: Backbone) -> list[Any]:
        def count(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            self.tokens += inputs[0].shape[0] * inputs[0].shape[1]

        return [backbone.module(backbone.layout.down(0)).register_forward_pre_hook(count)]


@pytest.mark.parametrize("alike", [True, False])
def test_what_contexts_begin_with_is_passed_once_for_those_that_begin_alike(llama: Backbone, alike: bool) -> None:
    """Of one change: the contexts of its languages have a long beginning in common, or none."""
    texts = {"en": LONG * 4, "zh": LONG * 4 + "乙" if alike else "今天天气很好，我们去公园。" * 16}
    queries = questions(cases=1)
    rows = Reading(texts)
    with rows.applied(llama):
        answers = ids(llama, queries, rows)
    assert answers == [naive(llama, query, texts[query.language]) for query in queries]
    contexts = [len(llama.encode(text).ids) for text in texts.values()]
    rest = sum(len(llama.encode(q.prompt, q.target, q.language).ids) for q in queries)
    once = contexts[0] if alike else sum(contexts)
    assert once < rows.tokens < once + 2 * rest + 10 * len(queries)


def test_a_context_applied_alone_gives_the_same_tokens_as_in_rows(tiny: Backbone) -> None:
    queries = questions(cases=1)
    for text in CONTEXTS:
        with ContextChange(text).applied(tiny):
            assert ids(tiny, queries) == [naive(tiny, query, text) for query in queries]
    assert ids(tiny, queries) == [naive(tiny, query) for query in queries]


def test_a_long_context_on_the_embedded_model(gemma: Backbone) -> None:
    # Longer than its sliding window of 512 tokens, as 16 demonstrations can be.
    contexts = [LONG * 26, "今天天气很好。" * 3]
    assert len(gemma.encode(contexts[0]).ids) > gemma.model.config.sliding_window
    queries = in_rows(questions(cases=1)[:2], 2)
    rows = batched(gemma, [ContextChange(text) for text in contexts])
    assert rows is not None
    assert ids(gemma, queries, rows) == [naive(gemma, query, contexts[query.row]) for query in queries]


class Both(Intervention):
    """Changes of a third party that have a context as well as a hook: each row's hook must see its own change."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[list[int], int]] = []

    def context(self, index: int, language: str) -> str:
        return CONTEXTS[index]

    def hooks(self, backbone: Backbone) -> list[Any]:
        def look(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            self.seen.append((list(self.selected), len(inputs[0])))

        return [backbone.module(backbone.layout.down(0)).register_forward_pre_hook(look)]


def test_each_row_of_a_batch_is_selected_where_changes_have_contexts_and_hooks(llama: Backbone) -> None:
    queries = in_rows(questions(cases=1), 3)
    rows = Both()
    with rows.applied(llama):
        predict(llama, queries, rows)
    assert rows.seen
    for selected, size in rows.seen:
        assert len(selected) == size
    assert {row for selected, _ in rows.seen for row in selected} == {0, 1, 2}
