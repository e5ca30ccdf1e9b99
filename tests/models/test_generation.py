"""Free answers, against a loop that passes the whole text anew for each token, one question at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from some_changes import low_rank

import xkeb
from xkeb.editing.changes import ContextChange, batched
from xkeb.evaluation.protocols import GenerateProtocol
from xkeb.models.backbone import Backbone
from xkeb.models.generation import generate_rows
from xkeb.models.passes import TokenRow
from xkeb.types import Query

BUDGET = 12
LONG = "New Fact: The capital of France is Bordeaux.\nPrompt: Which city is the capital of France? Bordeaux\n\n"
CONTEXTS = ("", "In short. ", LONG, LONG + "New Fact: 日本的首都是札幌。\nPrompt: ")
FREE = GenerateProtocol(max_tokens=BUDGET, cut="none")


def never(_: str) -> bool:
    return False


@torch.no_grad()
def naive(backbone: Backbone, prompt: Sequence[int], budget: int = BUDGET) -> list[int]:
    """The likeliest token after the whole text so far, until a special one."""
    ids = list(prompt)
    for _ in range(budget):
        token = int(backbone.model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].argmax())
        ids.append(token)
        if token in backbone.special_ids:
            break
    return ids[len(prompt) :]


def questions(cases: int = 3) -> list[Query]:
    chosen = list(xkeb.load_task("bizsre_mini_en2zh"))[:cases]
    return [Query(probe.prompt, probe.reference, probe.language) for case in chosen for probe in case.probes]


def prompt_ids(backbone: Backbone, query: Query, context: str = "") -> tuple[int, ...]:
    return tuple(backbone.tokenizer(context + query.prompt)["input_ids"])


def ids(backbone: Backbone, queries: Sequence[Query], rows: Any = None) -> list[list[int]]:
    return [list(answer.ids) for answer in FREE.predict(backbone, queries, rows)]


def test_a_batch_gives_the_tokens_of_one_question_at_a_time(tiny: Backbone) -> None:
    queries = questions()
    expected = [naive(tiny, prompt_ids(tiny, query)) for query in queries]
    assert ids(tiny, queries) == expected
    assert len({len(prompt_ids(tiny, query)) for query in queries}) > 5  # so that rows are padded
    assert len({tuple(answer) for answer in expected}) > len(queries) / 2


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_answers_do_not_depend_on_the_batch(tiny: Backbone, batch_size: int) -> None:
    queries = questions()
    random.Random(0).shuffle(queries)
    rows = [TokenRow(prompt_ids(tiny, query), (len(prompt_ids(tiny, query)) - 1,)) for query in queries]
    found = generate_rows(tiny, rows, max_tokens=BUDGET, stop=never, batch_size=batch_size)
    assert found == [naive(tiny, row.ids) for row in rows]


def test_each_row_answers_under_its_own_change(tiny: Backbone) -> None:
    changes = [low_rank(tiny, seed) for seed in (1, 5)]
    queries = [Query(q.prompt, q.target, q.language, row) for q in questions(2) for row in range(2)]
    expected = []
    for query in queries:
        with changes[query.row].applied(tiny):
            expected.append(naive(tiny, prompt_ids(tiny, query)))
    rows = batched(tiny, changes)
    assert rows is not None
    with rows.applied(tiny):
        assert ids(tiny, queries, rows) == expected
    assert sum(expected[i] != expected[i + 1] for i in range(0, len(expected), 2)) > len(expected) / 4


def test_a_context_is_passed_once_and_the_tokens_are_the_same(tiny: Backbone) -> None:
    """Contexts longer than a sliding window, behind which questions of several lengths stand."""
    changes = [ContextChange(text) for text in CONTEXTS]
    queries = [Query(q.prompt, q.target, q.language, row) for q in questions(1) for row in range(len(changes))]
    rows = batched(tiny, changes)
    assert rows is not None
    with rows.applied(tiny):
        found = ids(tiny, queries, rows)
    assert found == [naive(tiny, prompt_ids(tiny, query, CONTEXTS[query.row])) for query in queries]


def test_an_answer_ends_at_a_special_token_where_it_is_told_to_or_with_the_budget(llama: Backbone) -> None:
    (row, *_) = [TokenRow(ids, (len(ids) - 1,)) for ids in [prompt_ids(llama, questions()[0])]]
    whole = naive(llama, row.ids, 40)
    (short,) = generate_rows(llama, [row], max_tokens=5, stop=never)
    assert short == whole[:5]
    (stopped,) = generate_rows(llama, [row], max_tokens=40, stop=lambda text: text == llama.said(whole[:3]))
    assert stopped == whole[:3]
    ending = _ending(llama, whole[4])
    (ended,) = generate_rows(ending, [row], max_tokens=40, stop=never)
    assert ended == whole[: whole.index(whole[4]) + 1]
    assert ending.said(ended) == llama.said(ended[:-1])


def _ending(backbone: Backbone, token: int) -> Backbone:
    """The same model, to which one more token is a special one."""
    other = backbone.asked_in("plain")
    other.__dict__["special_ids"] = backbone.special_ids | {token}
    return other


def test_rows_that_end_early_leave_the_others_as_they_are(llama: Backbone) -> None:
    queries = questions()
    prompts = [prompt_ids(llama, query) for query in queries]
    answers = [naive(llama, prompt) for prompt in prompts]
    common = max({token for answer in answers for token in answer}, key=lambda t: sum(t in a for a in answers))
    ending = _ending(llama, common)
    found = generate_rows(ending, [TokenRow(p, (len(p) - 1,)) for p in prompts], max_tokens=BUDGET, stop=never)
    cut = [a[: a.index(common) + 1] if common in a else a for a in answers]
    assert found == cut and len({len(answer) for answer in cut}) > 1


def test_memory_that_runs_out_halves_the_batch(llama: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = questions()
    expected = ids(llama, queries)
    hidden: Callable[..., torch.Tensor] = llama.hidden

    def small(tokens: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        if len(tokens) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return hidden(tokens, *args, **options)

    monkeypatch.setattr(llama, "hidden", small)
    assert ids(llama, queries) == expected


def test_the_embedded_model_on_real_records(gemma: Backbone, data_dir: Path) -> None:
    cases = list(xkeb.load_task("bizsre_en2zh", data_dir=data_dir))[:3]
    queries = [Query(p.prompt, p.reference, p.language) for case in cases for p in case.probes][:12]
    assert ids(gemma, queries) == [naive(gemma, prompt_ids(gemma, query)) for query in queries]
