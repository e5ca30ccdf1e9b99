"""Which facts are shown, against a plain loop, and how."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import pytest

from xkeb.errors import RequestError
from xkeb.types import Case, Edit
from xkeb_plugins.methods.xmem.demonstrations import FRAMES, Choice, Demonstrations, Nearest
from xkeb_plugins.methods.xmem.text_index import TextIndex

EDIT = Edit("What is the capital of Norway?", "Berne", "en", "Norway")


def runs(text: str) -> Counter[str]:
    padded = f" {text.lower()} "
    return Counter(padded[i : i + n] for n in (1, 2, 3) for i in range(len(padded) - n + 1))


def naive_cosines(texts: Sequence[str], query: str) -> list[float]:
    """By the formula, run by run; what no text has doesn't count."""
    counts = [runs(text) for text in texts]
    holding = Counter(run for own in counts for run in own)
    idf = {run: 1 + math.log((1 + len(texts)) / (1 + n)) for run, n in holding.items()}

    def weights(text: str) -> dict[str, float]:
        return {run: n * idf[run] for run, n in runs(text).items() if run in idf}

    def cosine(a: dict[str, float], b: dict[str, float]) -> float:
        norms = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
        return sum(a[run] * b[run] for run in a.keys() & b.keys()) / norms if norms else 0.0

    return [cosine(weights(query), weights(text)) for text in texts]


def test_similarity_is_the_formula() -> None:
    texts = ["Berlin", "Bern", "Oslo", "里昂", "里斯本", "Bern"]
    index = TextIndex(texts)
    for query in ("Berne", "里昂", "Os", "??"):
        assert index.similarities(query).tolist() == pytest.approx(naive_cosines(texts, query), abs=1e-9)
    assert index.similarities("OSLO")[2] == pytest.approx(1)
    assert TextIndex([]).similarities("a").tolist() == []


def shown(training: Sequence[Case], nearest: Nearest = "target", count: int = 4, frame: str = "en") -> Demonstrations:
    return Demonstrations(training, Choice(count, nearest, 0.3, 0), frame)


def naive_choice(training: Sequence[Case], edit: Edit, nearest: str) -> list[str]:
    """Questions of the four facts that are shown, the nearest first."""
    questions = [case.edit.prompt for case in training]
    targets = [case.edit.target for case in training]
    by_question, by_target = naive_cosines(questions, edit.prompt), naive_cosines(targets, edit.target)

    def key(i: int) -> tuple[float, ...]:
        if nearest == "question":
            return (-by_question[i],)
        if nearest == "both":
            return (-(by_question[i] + by_target[i]),)
        near = by_target[i] >= 0.3
        return (-round(by_target[i], 6) if near else 0.0, -by_question[i])

    chosen: list[str] = []
    for i in sorted(range(len(training)), key=key):
        if questions[i] != edit.prompt and questions[i] not in chosen:
            chosen.append(questions[i])
    return chosen[:4]


@pytest.mark.parametrize("nearest", ["target", "question", "both"])
def test_the_nearest_facts_are_those_of_a_plain_loop(training: list[Case], cases: list[Case], nearest: Nearest) -> None:
    demonstrations = shown(training, nearest)
    for edit in [EDIT, *(case.edit for case in cases), training[3].edit]:
        for asked in ("en", "zh"):
            found = [case.edit.prompt for case in demonstrations.choose(edit, asked)]
            assert found == naive_choice(training, edit, nearest)


def test_random_facts_depend_on_the_edit_and_the_seed_alone(training: list[Case]) -> None:
    def drawn(edit: Edit, seed: int) -> list[str]:
        some = Demonstrations(training, Choice(4, "random", 0.3, seed), "en")
        return [case.id for case in some.choose(edit, "zh")]

    assert drawn(EDIT, 0) == drawn(EDIT, 0)
    assert drawn(EDIT, 0) != drawn(EDIT, 1) and drawn(EDIT, 0) != drawn(training[0].edit, 0)


def test_a_context_has_the_facts_in_both_languages_the_nearest_last_and_then_the_edit(training: list[Case]) -> None:
    demonstrations = shown(training, count=2)
    contexts = demonstrations.contexts(EDIT)
    assert list(contexts) == ["en", "zh"]
    for asked, separator in (("en", " "), ("zh", "")):
        first, second = demonstrations.choose(EDIT, asked)
        expected = ""
        for case in (second, first):
            edit = case.edit
            expected += f"New Fact: {edit.prompt} {edit.target}\n"
            expected += f"Prompt: {edit.questions[asked]}{separator}{edit.translations[asked]}\n\n"
        expected += f"New Fact: {EDIT.prompt} {EDIT.target}\nPrompt: "
        assert contexts[asked] == expected


def test_an_edit_in_the_other_language_is_shown_facts_in_that_one(training: list[Case]) -> None:
    edit = Edit("挪威的首都是哪座城市？", "伯尔尼", "zh", "挪威")
    demonstrations = shown(training, count=1)
    (case,) = demonstrations.choose(edit, "en")
    of_case = case.edit
    assert demonstrations.contexts(edit)["en"] == (
        f"New Fact: {of_case.questions['zh']}{of_case.translations['zh']}\nPrompt: {of_case.prompt} {of_case.target}\n\n"
        f"New Fact: {edit.prompt}{edit.target}\nPrompt: "
    )


def test_no_facts_leave_the_edit_alone(training: list[Case]) -> None:
    for frame, (before_fact, before_question) in FRAMES.items():
        contexts = shown(training, count=0, frame=frame).contexts(EDIT)
        assert contexts == dict.fromkeys(("en", "zh"), f"{before_fact}{EDIT.prompt} {EDIT.target}\n{before_question}")
    with pytest.raises(RequestError, match="did you mean"):
        shown(training, frame="enn")


def test_a_fact_that_asks_what_the_edit_asks_is_not_shown(training: list[Case]) -> None:
    edit = dataclasses.replace(training[5].edit, translations={}, questions={}, aliases=())
    with_twin = [*training, dataclasses.replace(training[7], id="twin")]
    for nearest in ("target", "question", "both", "random"):
        chosen = Demonstrations(with_twin, Choice(len(with_twin), nearest, 0.3, 0), "en").choose(edit, "zh")
        questions = [case.edit.prompt for case in chosen]
        assert edit.prompt not in questions and len(set(questions)) == len(questions)


def test_only_facts_in_both_languages_are_shown(training: list[Case]) -> None:
    german = [
        dataclasses.replace(
            case,
            edit=dataclasses.replace(
                case.edit,
                questions={"en": case.edit.prompt, "de": f"Frage {i}?"},
                translations={"en": case.edit.target, "de": f"Antwort {i}"},
            ),
        )
        for i, case in enumerate(training[30:])
    ]
    demonstrations = shown([*training[:30], *german])
    assert set(demonstrations.contexts(EDIT)) == {"de", "en", "zh"}
    assert all("de" in case.edit.questions for case in demonstrations.choose(EDIT, "de"))
    assert all("zh" in case.edit.questions for case in demonstrations.choose(EDIT, "zh"))
