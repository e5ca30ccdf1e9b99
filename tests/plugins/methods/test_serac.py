"""SERAC: who answers, what is learnt, and that nothing else changes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_bert
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

import xkeb
from xkeb.editing.editor import configured, needs_of, options_of
from xkeb.editing.serialization import load_change, save_change
from xkeb.editing.training import TrainingError
from xkeb.errors import RequestError
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.probing import case_queries, predict_after, predict_edited
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.types import Case, Edit, Prediction, Probe, Query
from xkeb.utils.progress import reporting_to
from xkeb_plugins.methods.serac.change import MemoryChange, Router
from xkeb_plugins.methods.serac.counterfactual import CounterfactualTrainee, load_counterfactual, shown
from xkeb_plugins.methods.serac.scope import Encoder, Measure, ScopeTrainee, load_encoder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def training() -> list[Case]:
    """The last ones, held out, are among those learnt, so that their loss falls from the first steps on."""
    facts = list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:20]
    return [*facts, *facts[:4]]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh"))[:4]


@pytest.fixture(autouse=True, scope="module")
def cache_of_this_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Artifacts made by this very code, and each of them once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XKEB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


SHORT: dict[str, Any] = {
    "lr": 1e-2,
    "classifier_lr": 3e-3,
    "steps": 6,
    "validate_every": 2,
    "batch_size": 4,
    "accumulate": 2,
    "validation": 4,
}


@pytest.fixture(scope="module")
def options(tiny_bert: Path, tiny_folders: Mapping[str, Path]) -> dict[str, Any]:
    return {"classifier": str(tiny_bert), "counterfactual": str(tiny_folders["llama"]), **SHORT}


@pytest.fixture(scope="module")
def thorough(options: Mapping[str, Any]) -> dict[str, Any]:
    """Trained until it tells questions apart."""
    return {**options, "steps": 12, "classifier_steps": 120, "validate_every": 12}


def fitted(backbone: Backbone, training: Sequence[Case], options: Mapping[str, Any]) -> Any:
    editor = configured(xkeb.load_editor("serac", **options), backbone)
    editor.fit(backbone, training)
    return editor


@pytest.fixture(scope="module")
def editor(llama: Backbone, training: list[Case], thorough: dict[str, Any]) -> Any:
    return fitted(llama, training, thorough)


def artifacts(cache: Path) -> dict[str, Path]:
    """The trained files, by network; there is one of each."""
    return {
        kind: path for kind in ("serac-scope", "serac-counterfactual") for path in (cache / kind).glob("*.safetensors")
    }


# The scope classifier ------------------------------------------------------------------------------------------------


def naive_embedding(folder: Path, text: str) -> list[float]:
    """What the encoder's last layer says at the first token of a text alone."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].tolist()


def naive_similarity(one: Sequence[float], other: Sequence[float], *, cos: bool, square: bool, bound: bool) -> float:
    if bound:
        one, other = [math.tanh(x) for x in one], [math.tanh(x) for x in other]
    if cos:
        norms = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(x * x for x in other))
        return math.exp(-(1 - sum(x * y for x, y in zip(one, other, strict=True)) / norms))
    squared = sum((x - y) ** 2 for x, y in zip(one, other, strict=True))
    return math.exp(-(squared if square else math.sqrt(squared)))


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(("cos", "square"), [(False, True), (False, False), (True, True)])
def test_similarity_is_the_formula(cos: bool, square: bool, bound: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(3, 5, generator=generator) * 0.5 for _ in range(2))
    found = torch.exp(-Measure(cos, square, bound).distance(one.unsqueeze(1), other.unsqueeze(0)))
    for i in range(3):
        for j in range(3):
            naive = naive_similarity(one[i].tolist(), other[j].tolist(), cos=cos, square=square, bound=bound)
            assert float(found[i, j]) == pytest.approx(naive, abs=1e-5)


def test_an_embedding_does_not_depend_on_the_batch(tiny_bert: Path, training: list[Case]) -> None:
    texts = ["Who?", *(case.edit.prompt for case in training), "Who?", "法国的首都是哪里？" * 30]
    vectors = load_encoder(str(tiny_bert), CPU).embed(texts)
    assert set(vectors) == set(texts)
    for text in (texts[0], texts[3], texts[-1]):
        assert vectors[text].tolist() == pytest.approx(naive_embedding(tiny_bert, text), abs=1e-5)


def test_questions_are_routed_to_the_nearest_edit_where_it_is_near_enough(
    tiny_bert: Path, llama: Backbone, training: list[Case]
) -> None:
    facts = [case.edit for case in training[:6]]
    memories = [facts[:1], facts[1:4], facts]
    asked = [probe.prompt for case in training[:8] for probe in case.probes] + [facts[2].prompt]
    alike = {
        (fact.prompt, text): naive_similarity(
            naive_embedding(tiny_bert, fact.prompt),
            naive_embedding(tiny_bert, text),
            cos=False,
            square=False,
            bound=True,
        )
        for fact in facts
        for text in asked
    }
    threshold = sorted(alike.values())[int(len(alike) * 0.8)] + 1e-4
    router = Router(load_encoder(str(tiny_bert), CPU), Measure(False, False, True), llama, threshold, {}, ())
    outcomes = set()
    for memory in memories:
        questions = [Query(text, "Lyon", "en") for text in asked]
        for text, route in zip(asked, router.routes([memory] * len(asked), questions), strict=True):
            best = max(memory, key=lambda fact: alike[fact.prompt, text])
            if alike[best.prompt, text] < threshold:
                assert route is None
            else:
                assert route is not None and route.backbone is llama
                assert route.context == f"{best.prompt} {best.target} "
            outcomes.add(route is None)
    assert outcomes == {True, False}


def with_doubles(training: Sequence[Case]) -> list[Case]:
    """Facts as dirty as real ones: a question asked by two, and an unrelated question that is its own fact's."""
    first, second, third = training[:3]
    twin = Case("twin", Edit(first.edit.prompt, "Rome", "en"), second.probes)
    confused = Case("confused", third.edit, (third.probes[0], Probe("locality", "en", third.edit.prompt, "Rome")))
    return [first, second, twin, confused]


def test_its_loss_and_gradient_are_those_of_binary_cross_entropy_pair_by_pair(
    tiny_bert: Path, training: list[Case]
) -> None:
    cases = with_doubles(training)
    encoder = load_encoder(str(tiny_bert), CPU)
    trainee = ScopeTrainee(encoder, Measure(False, False, True), 1e-3, group=4, freeze_embeddings=False)
    for parameter in trainee.module.parameters():
        parameter.requires_grad_()
    losses = trainee.backward(cases)

    model, tokenizer = AutoModel.from_pretrained(tiny_bert), AutoTokenizer.from_pretrained(tiny_bert)

    def g(one: str, other: str) -> torch.Tensor:
        a, b = (model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].tanh() for text in (one, other))
        return torch.exp(-(a - b).square().sum().sqrt())

    inside = [-torch.log(g(case.edit.prompt, case.probes[0].prompt)) for case in cases]  # the rephrase comes first
    outside = []
    for case in cases:
        others = [other.edit.prompt for other in cases] + [case.probes[1].prompt]
        outside += [-torch.log(1 - g(case.edit.prompt, text)) for text in others if text != case.edit.prompt]
    assert len(outside) == 4 * 3 - 2 + 3
    in_scope, out_of_scope = torch.stack(inside).mean(), torch.stack(outside).mean()
    assert losses == pytest.approx(
        {
            "loss": (in_scope + out_of_scope).item(),
            "in_scope": in_scope.item(),
            "out_of_scope": out_of_scope.item(),
        },
        rel=1e-4,
    )
    assert trainee.validate(cases) == pytest.approx(losses, rel=1e-6)
    (in_scope + out_of_scope).backward()
    expected = dict(model.named_parameters())
    for name, parameter in trainee.module.named_parameters():
        gradient = expected[name.replace("/", ".")].grad
        assert gradient is not None and parameter.grad is not None, name
        assert torch.allclose(parameter.grad, gradient, atol=1e-4), name


def test_facts_that_all_ask_the_same_give_no_infinite_loss(tiny_bert: Path) -> None:
    """As where every record is the same question: nothing is out of scope."""
    probes = (Probe("generality", "en", "Who is it?", "Ada"), Probe("locality", "en", "Who?", "Bob"))
    case = Case("0", Edit("Who?", "Ada", "en"), probes)
    trainee = ScopeTrainee(load_encoder(str(tiny_bert), CPU), Measure(), 1e-3, group=4, freeze_embeddings=False)
    losses = trainee.validate([case, case])
    assert math.isfinite(losses["loss"]) and losses["out_of_scope"] == 0


# The counterfactual model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_its_loss_and_gradient_are_those_of_each_text_alone(
    family: str, tiny_folders: Mapping[str, Path], training: list[Case]
) -> None:
    chinese = Case(
        "zh", Edit("法国的首都是哪里？", "里昂", "zh"), (Probe("generality", "zh", "法国的首都是哪里？", "里昂"),)
    )
    cases = [*training[:2], chinese]
    backbone = load_counterfactual(str(tiny_folders[family]), CPU)
    trainee = CounterfactualTrainee(backbone, 1e-3, group=2, freeze_embeddings=False)
    for parameter in trainee.module.parameters():
        parameter.requires_grad_()
    losses = trainee.backward(cases)

    model = AutoModelForCausalLM.from_pretrained(tiny_folders[family])
    of_facts = []
    for case in cases:
        joiner = "" if case.edit.language == "zh" else " "
        context = f"{case.edit.prompt}{joiner}{case.edit.target} "
        of_questions = []
        for question in (case.edit.prompt, case.probes[0].prompt):
            text = backbone.encode(context + question, case.edit.target, case.edit.language)
            assert backbone.tokenizer.decode(text.target_ids).strip() == case.edit.target
            log = model(torch.tensor([text.ids])).logits[0].log_softmax(-1)
            nll = [-log[at - 1, text.ids[at]] for at in range(text.target, len(text.ids))]
            of_questions.append(torch.stack(nll).mean())
        of_facts.append(torch.stack(of_questions).mean())
    loss = torch.stack(of_facts).mean()
    assert losses["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert trainee.validate(cases) == pytest.approx(losses, rel=1e-5)
    loss.backward()
    expected = dict(model.named_parameters())
    for name, parameter in trainee.module.named_parameters():
        assert torch.allclose(parameter.grad, expected[name.replace("/", ".")].grad, rtol=1e-3, atol=1e-5), name


def test_what_it_is_shown_is_the_edit_in_its_own_language() -> None:
    assert shown(Edit("What is the capital of France?", "Lyon", "en")) == "What is the capital of France? Lyon "
    assert shown(Edit("法国的首都是哪里？", "里昂", "zh")) == "法国的首都是哪里？里昂 "


# Learning ------------------------------------------------------------------------------------------------------------


def log_of(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_tells_scope(
    llama: Backbone, training: list[Case], thorough: dict[str, Any], empty_cache: Path
) -> None:
    editor = fitted(llama, training, thorough)
    for path in artifacts(empty_cache).values():
        first, *rest = log_of(path)
        assert first["step"] == 0
        assert min(line["loss"] for line in rest) < 0.9 * first["loss"]
    learnt = training[:20]
    memories = [change.facts for change in editor.edit(llama, [case.edit for case in learnt])]

    def routed(prompts: Sequence[str]) -> float:
        routes = editor._router.routes(memories, [Query(prompt, "x", "en") for prompt in prompts])
        return sum(route is not None for route in routes) / len(routes)

    assert routed([case.edit.prompt for case in learnt]) == 1
    assert routed([case.probes[0].prompt for case in learnt]) > 0.8
    assert routed([case.probes[1].prompt for case in learnt]) < 0.2


def test_only_what_is_trained_is_kept(
    llama: Backbone, training: list[Case], options: dict[str, Any], empty_cache: Path
) -> None:
    pretrained = AutoModelForCausalLM.from_pretrained(options["counterfactual"])
    names = {name.replace(".", "/") for name, _ in pretrained.named_parameters()}
    editor = fitted(llama, training, {**options, "freeze_embeddings": True})
    kept = load_file(artifacts(empty_cache)["serac-counterfactual"])
    assert names - set(kept) == {"model/embed_tokens/weight", "lm_head/weight"}
    trained = dict(editor._router.counterfactual.model.named_parameters())
    for name, before in pretrained.named_parameters():
        same = torch.equal(trained[name], before)
        assert same == (name.replace(".", "/") not in kept), name
    words = "embeddings/word_embeddings/weight"
    assert words not in load_file(artifacts(empty_cache)["serac-scope"])
    for path in empty_cache.glob("serac-*/*.safetensors"):
        path.unlink()
    fitted(llama, training, options)
    assert set(load_file(artifacts(empty_cache)["serac-counterfactual"])) == names
    assert words in load_file(artifacts(empty_cache)["serac-scope"])


class Heard(RunObserver):
    """Keeps what it hears of learning, and stops it at a given step."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.steps: list[tuple[str, int]] = []
        self.stop = stop

    def learning(self, what: str, done: int, total: int) -> None:
        self.steps.append((what.partition(",")[0], done))
        if self.steps[-1] == self.stop:
            raise KeyboardInterrupt


def test_it_is_learnt_once(llama: Backbone, training: list[Case], options: dict[str, Any], empty_cache: Path) -> None:
    with reporting_to((first := Heard()).learning):
        fitted(llama, training, options)
    assert first.steps == [(name, i) for name in ("scope classifier", "counterfactual model") for i in range(1, 7)]
    with reporting_to((again := Heard()).learning):
        editor = fitted(llama, training, options)
    assert again.steps == []
    kept = load_file(artifacts(empty_cache)["serac-counterfactual"])
    model = editor._router.counterfactual.model
    assert all(torch.equal(model.get_parameter(name.replace("/", ".")), value) for name, value in kept.items())
    kept = load_file(artifacts(empty_cache)["serac-scope"])
    model = editor._router.encoder.model
    assert all(torch.equal(model.get_parameter(name.replace("/", ".")), value) for name, value in kept.items())


def test_the_edited_model_does_not_matter(
    llama: Backbone,
    tiny_folders: Mapping[str, Path],
    training: list[Case],
    options: dict[str, Any],
    empty_cache: Path,
) -> None:
    fitted(llama, training, options)
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu", dtype="bfloat16")
    with reporting_to((again := Heard()).learning):
        fitted(gpt2, training, options)
    assert again.steps == []


@pytest.mark.parametrize(
    "other", ["lr", "seed", "facts", "classifier", "counterfactual", "square", "freeze_embeddings", "batch_size"]
)
def test_what_was_learnt_otherwise_is_never_used(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    tiny_folders: Mapping[str, Path],
    tmp_path: Path,
    other: str,
) -> None:
    fitted(llama, training, options)
    changed = {
        "lr": {"lr": 2e-3},
        "seed": {"seed": 1},
        "classifier": {"classifier": str(make_bert(tmp_path / "bert", seed=2))},
        "counterfactual": {"counterfactual": str(tiny_folders["gemma3"])},
        "square": {"square": False},
        "freeze_embeddings": {"freeze_embeddings": True},
        "batch_size": {"batch_size": 2, "accumulate": 4},
    }.get(other, {})
    with reporting_to((heard := Heard()).learning):
        fitted(llama, training[1:] if other == "facts" else training, {**options, **changed})
    learnt = {name for name, _ in heard.steps}
    scope, model = "scope classifier", "counterfactual model"
    only = {"classifier": scope, "square": scope, "counterfactual": model, "lr": model}
    assert learnt == ({only[other]} if other in only else {scope, model})


def test_a_foreign_file_is_not_taken_for_an_artifact(
    llama: Backbone, training: list[Case], options: dict[str, Any], empty_cache: Path
) -> None:
    fitted(llama, training, options)
    path = artifacts(empty_cache)["serac-scope"]
    right = path.read_bytes()
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path, {"key": "another"})
    fitted(llama, training, options)
    assert path.read_bytes() == right


def test_the_same_seed_gives_the_same_artifacts(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From an empty cache, and whatever state the global generator is in."""
    found = []
    for i in range(2):
        monkeypatch.setenv("XKEB_CACHE", str(tmp_path / str(i)))
        torch.manual_seed(i)
        fitted(llama, training, options)
        found.append({kind: path.read_bytes() for kind, path in artifacts(tmp_path / str(i)).items()})
    assert found[0] == found[1] and len(found[0]) == 2


@pytest.mark.parametrize("stop", [("scope classifier", 3), ("counterfactual model", 5)])
def test_a_training_that_was_cut_short_goes_on_as_if_it_had_not(
    llama: Backbone, training: list[Case], options: dict[str, Any], empty_cache: Path, stop: tuple[str, int]
) -> None:
    fitted(llama, training, {**options, "seed": 7})
    for path in artifacts(empty_cache).values():  # else the state that is kept would be the one it begins with
        assert min(log_of(path), key=lambda line: line["loss"])["step"] > stop[1]
    expected = {kind: path.read_bytes() for kind, path in artifacts(empty_cache).items()}
    for path in artifacts(empty_cache).values():
        path.unlink()
    with reporting_to(Heard(stop).learning), pytest.raises(KeyboardInterrupt):
        fitted(llama, training, {**options, "seed": 7})
    with reporting_to((rest := Heard()).learning):
        fitted(llama, training, {**options, "seed": 7})
    assert rest.steps[0] == (stop[0], stop[1])  # after the checkpoint, two steps apart
    assert {kind: path.read_bytes() for kind, path in artifacts(empty_cache).items()} == expected


@pytest.mark.parametrize(
    ("rates", "what"),
    [({"classifier_lr": 1e30}, "scope classifier"), ({"lr": 1e30}, "counterfactual model")],
)
def test_a_loss_that_is_no_number_stops_it(
    llama: Backbone,
    training: list[Case],
    options: dict[str, Any],
    empty_cache: Path,
    rates: dict[str, float],
    what: str,
) -> None:
    with pytest.raises(TrainingError, match=rf"{what}: .* is (nan|inf)\. .* Try a lower lr\."):
        fitted(llama, training, {**options, **rates})


def test_too_few_facts_are_refused(llama: Backbone, training: list[Case], options: dict[str, Any]) -> None:
    bare = [Case(case.id, case.edit, case.probes[:1]) for case in training]
    with pytest.raises(RequestError, match="at least 10"):
        fitted(llama, [*training[:9], *bare], options)


# Answers -------------------------------------------------------------------------------------------------------------


def split(editor: Any, change: Any, asked: Sequence[Query]) -> tuple[list[int], list[int]]:
    """Which questions are in scope, by the encoder's embeddings alone, and which are not."""
    (fact,) = change.facts
    encoder: Encoder = editor._router.encoder
    vectors = encoder.embed([fact.prompt, *(query.prompt for query in asked)])
    alike = [float(torch.exp(-(vectors[fact.prompt] - vectors[query.prompt]).square().sum())) for query in asked]
    return [i for i, x in enumerate(alike) if x >= 0.5], [i for i, x in enumerate(alike) if x < 0.5]


def test_in_scope_the_counterfactual_model_answers_and_out_of_it_the_backbone(
    llama: Backbone, editor: Any, cases: list[Case]
) -> None:
    counts = [0, 0]
    for case, change in zip(cases, editor.edit(llama, [case.edit for case in cases]), strict=True):
        asked = case_queries(case, 0)
        untouched = predict(llama, asked)
        answers = predict_edited(llama, change, asked)
        inside, outside = split(editor, change, asked)
        assert 0 in inside  # the edit's own question
        context = f"{case.edit.prompt} {case.edit.target} "
        direct = predict(
            editor._router.counterfactual,
            [Query(context + asked[i].prompt, asked[i].target, asked[i].language) for i in inside],
        )
        assert [answers[i].text for i in inside] == [answer.text for answer in direct]
        assert [answers[i].ids for i in inside] == [answer.ids for answer in direct]
        assert [answers[i] for i in outside] == [untouched[i] for i in outside]
        counts[0] += len(inside)
        counts[1] += len(outside)
    assert min(counts) >= 4


@pytest.mark.parametrize(("edited", "other"), [("llama", "gpt2"), ("gpt2", "llama")])
def test_the_counterfactual_model_may_have_another_tokenizer(
    tiny_folders: Mapping[str, Path],
    training: list[Case],
    cases: list[Case],
    thorough: dict[str, Any],
    edited: str,
    other: str,
) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders[edited]), device="cpu")
    editor = fitted(backbone, training, {**thorough, "counterfactual": str(tiny_folders[other])})
    model = editor._router.counterfactual
    assert len(model.tokenizer) != len(backbone.tokenizer)
    for case, change in zip(cases, editor.edit(backbone, [case.edit for case in cases]), strict=True):
        asked = case_queries(case, 0)
        answers = predict_edited(backbone, change, asked)
        inside, outside = split(editor, change, asked)
        for i in inside:
            (direct,) = predict(model, [Query(shown(case.edit) + asked[i].prompt, asked[i].target, asked[i].language)])
            assert answers[i].text == direct.text
            if "\ufffd" not in direct.text:  # so that scores count the edited model's tokens
                assert answers[i].tokens == backbone.gold(direct.text).tokens
        assert [answers[i] for i in outside] == [predict(backbone, [asked[i]])[0] for i in outside]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_row_by_row_is_one_at_a_time(
    tiny_folders: Mapping[str, Path], training: list[Case], cases: list[Case], thorough: dict[str, Any], dtype: str
) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=dtype)
    editor = fitted(backbone, training, thorough)
    changes = editor.edit(backbone, [case.edit for case in cases])
    one_by_one = [
        predict_edited(backbone, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=True)
    ]
    assert predict_after(backbone, changes, cases) == one_by_one
    assert editor._router.counterfactual.dtype == torch.float32
    assert editor._router.encoder.model.dtype == torch.float32


def test_changes_of_different_routers_are_applied_one_by_one(
    llama: Backbone, editor: Any, training: list[Case], cases: list[Case], options: dict[str, Any]
) -> None:
    another = fitted(llama, training, options)
    changes = [*editor.edit(llama, [cases[0].edit]), *another.edit(llama, [cases[1].edit])]
    assert xkeb.editing.changes.batched(llama, changes) is None
    expected = [
        predict_edited(llama, change, case_queries(case, 0)) for change, case in zip(changes, cases, strict=False)
    ]
    assert predict_after(llama, changes, cases[:2]) == expected


def test_it_restores_after_an_exception_inside(llama: Backbone, editor: Any, cases: list[Case]) -> None:
    outer, asked = llama.routes, case_queries(cases[0], 0)
    untouched = predict(llama, asked)
    (change,) = editor.edit(llama, [cases[0].edit])
    with pytest.raises(ZeroDivisionError), change.applied(llama):
        assert predict(llama, asked) != untouched
        raise ZeroDivisionError
    assert llama.routes is outer
    assert predict(llama, asked) == untouched


def test_it_takes_no_gradients_along(llama: Backbone, editor: Any) -> None:
    for model in (llama.model, editor._router.counterfactual.model, editor._router.encoder.model):
        assert not model.training
        assert not [name for name, p in model.named_parameters() if p.requires_grad or p.grad is not None]


# Saved ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(
    llama: Backbone, training: list[Case], cases: list[Case], options: dict[str, Any], empty_cache: Path, tmp_path: Path
) -> tuple[Path, list[Prediction]]:
    """A saved change, and what it answers."""
    (change,) = fitted(llama, training, options).edit(llama, [cases[0].edit])
    change.save(tmp_path / "change")
    return tmp_path / "change", predict_edited(llama, change, case_queries(cases[0], 0))


def test_what_is_saved_is_loaded(llama: Backbone, cases: list[Case], saved: tuple[Path, list[Prediction]]) -> None:
    folder, answers = saved
    loaded: Any = load_change(folder)
    assert isinstance(loaded, MemoryChange)
    edit = cases[0].edit
    assert loaded.facts == (Edit(edit.prompt, edit.target, edit.language, edit.subject),)
    assert predict_edited(llama, loaded, case_queries(cases[0], 0)) == answers
    with safe_open(folder / "change.safetensors", "pt") as file:
        metadata = file.metadata()
        assert metadata["kind"] == "method:serac"
        assert list(file.keys()) == []  # the networks stay in the cache
    again: Any = load_change(folder)
    assert again.router is loaded.router
    loaded.save(folder.parent / "again")
    with safe_open(folder.parent / "again" / "change.safetensors", "pt") as file:
        assert json.loads(file.metadata()["data"]) == json.loads(metadata["data"])


@pytest.mark.parametrize("kind", ["serac-scope", "serac-counterfactual"])
def test_a_saved_change_wants_its_own_networks(
    saved: tuple[Path, list[Prediction]], empty_cache: Path, kind: str
) -> None:
    path = artifacts(empty_cache)[kind]
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata)
    with pytest.raises(RequestError, match=r"is another (scope classifier|counterfactual model)"):
        load_change(saved[0])
    path.unlink()
    with pytest.raises(RequestError, match="not in the cache"):
        load_change(saved[0])


def test_a_saved_change_wants_the_networks_that_training_began_with(
    llama: Backbone, training: list[Case], cases: list[Case], options: dict[str, Any], empty_cache: Path, tmp_path: Path
) -> None:
    folder = make_bert(tmp_path / "bert", seed=3)
    (change,) = fitted(llama, training, {**options, "classifier": str(folder)}).edit(llama, [cases[0].edit])
    change.save(tmp_path / "change")
    other = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RequestError, match="another scope classifier than the one that is loaded"):
        load_change(tmp_path / "change")


def test_a_change_of_an_unknown_method_is_refused(tmp_path: Path) -> None:
    for kind, match in (("method:no-such", "no-such"), ("method:rome", "no change of a known kind")):
        save_change(tmp_path, kind, {}, {})
        with pytest.raises(RequestError, match=match):
            load_change(tmp_path)


# Requests ------------------------------------------------------------------------------------------------------------


def test_without_fit_it_is_refused(llama: Backbone, cases: list[Case], options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"fit\(\)"):
        xkeb.load_editor("serac", **options).edit(llama, [cases[0].edit])


def test_an_unknown_language_is_refused_at_once(llama: Backbone, editor: Any) -> None:
    with pytest.raises(RequestError, match="no-such-language"):
        editor.edit(llama, [Edit("Who?", "Ada", "no-such-language")])


def test_networks_that_are_not_there_are_refused_with_some_that_are(
    llama: Backbone, training: list[Case], options: dict[str, Any]
) -> None:
    """The tests run without a hub."""
    for given in ({}, {"classifier": "no/such/folder"}, {"classifier": "no-such/encoder"}):
        with pytest.raises(RequestError, match=r"^The scope classifier .* all-MiniLM-L6-v2") as refused:
            fitted(llama, training, given)
        assert "\n" not in str(refused.value)
    for given in ("JackFram/llama-160m", "no/such/folder"):
        with pytest.raises(RequestError, match=r"^The counterfactual model .* gemma3-270m or smollm2-135m") as refused:
            fitted(llama, training, {**options, "counterfactual": given})
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 0}, {"threshold": 1.5}, {"batch_size": 0}, {"accumulate": 0}, {"validation": 0}]
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(wrong))):
        xkeb.load_editor("serac", **wrong)


def test_defaults_are_the_released_settings_unless_tuned(llama: Backbone) -> None:
    found = options_of(configured(xkeb.load_editor("serac"), llama))
    assert found == {
        "classifier": "distilbert-base-cased",
        "counterfactual": "JackFram/llama-160m",
        "threshold": 0.5,
        "cos": False,
        "square": True,
        "bound_embeds": False,
        "lr": 1e-5,
        "classifier_lr": 1e-5,
        "steps": 10_000,
        "classifier_steps": 10_000,
        "batch_size": 10,
        "accumulate": 10,
        "validate_every": 100,
        "patience": 3000,
        "grad_clip": 100.0,
        "validation": 500,
        "freeze_embeddings": False,
        "seed": 0,
    }
    given = options_of(configured(xkeb.load_editor("serac", lr=1e-2, classifier_steps=3), llama))
    assert (given["lr"], given["classifier_lr"], given["steps"], given["classifier_steps"]) == (1e-2, 1e-2, 10_000, 3)
    assert needs_of(xkeb.load_editor("serac")) == {"generality", "locality"}
