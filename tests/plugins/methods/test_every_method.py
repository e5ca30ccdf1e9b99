"""What holds for every registered editing method: all that the conformance kit asks of a stranger's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from short_options import PAPER, WITHOUT_MORE, short_options

import xkeb
from xkeb.editing.editor import load_editor, prepare, supported_cases
from xkeb.evaluation.probing import case_queries, predict_after
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.testing.methods import CHECKS
from xkeb.testing.trial import Trial
from xkeb.types import Case
from xkeb_plugins.metrics.overlap import f1


@pytest.fixture(scope="module", params=WITHOUT_MORE)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def backbone(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=request.param)


@pytest.fixture(scope="module")
def options(method: str, tiny_folders: dict[str, Path], tiny_bert: Path) -> dict[str, Any]:
    return short_options(method, tiny_bert, tiny_folders["gpt2"])


@pytest.fixture(scope="module")
def trial(method: str, backbone: Backbone, options: dict[str, Any]) -> Iterator[Trial]:
    """Three edits on a tiny model, which all checks share."""
    with Trial(method, backbone, options) as trial:
        yield trial


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_kit_s_check(trial: Trial, check: Callable[[Trial], None]) -> None:
    check(trial)


@pytest.mark.parametrize("paper_method", PAPER)
def test_a_batch_of_sixteen_answers_as_sixteen_batches_of_one(
    paper_method: str, llama: Backbone, tiny_folders: dict[str, Path], tiny_bert: Path
) -> None:
    with Trial(paper_method, llama, short_options(paper_method, tiny_bert, tiny_folders["gpt2"])) as trial:
        editor = trial.editor()
        cases = supported_cases(editor, llama, list(xkeb.load_task("bizsre_mini_en2zh")))[:16]
        assert len(cases) == 16
        batch = predict_after(llama, editor.edit(llama, [case.edit for case in cases]), cases)
        alone = [predict_after(llama, editor.edit(llama, [case.edit]), [case])[0] for case in cases]
    assert batch == alone
    untouched = predict(llama, [query for case in cases for query in case_queries(case, 0)])
    assert [answer for answers in batch for answer in answers] != untouched


# On the embedded model -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> tuple[list[Case], list[Case]]:
    """Three records and their training facts: real ones where they are at hand, or of the shipped data set."""
    root = os.environ.get("XKEB_DATA_DIR")
    files = ("bizsre_test.json", "zsre_mend_train_10000.json")
    at_hand = root and all((Path(root) / "bizsre" / name).is_file() for name in files)
    task = xkeb.load_task("bizsre_en2zh" if at_hand else "bizsre_mini_en2zh")
    return list(task)[:3], list(task.training.cases)[:150]


CACHE = os.environ.get("XKEB_CACHE")


@pytest.fixture
def usual_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs use: on the embedded model, statistics take a while, and stand under their own hashes."""
    if CACHE:
        monkeypatch.setenv("XKEB_CACHE", CACHE)
    else:
        monkeypatch.delenv("XKEB_CACHE", raising=False)


@pytest.mark.parametrize(("name", "least"), [("rome", 100), ("ike", 90)])
def test_it_edits_the_embedded_model(
    gemma: Backbone, usual_cache: None, real: tuple[list[Case], list[Case]], name: str, least: float
) -> None:
    cases = [Case(case.id, case.edit, case.probes[:1]) for case in real[0]]
    training = real[1]
    editor = prepare(load_editor(name), gemma, training)
    changes = editor.edit(gemma, [case.edit for case in cases])
    english = get_plugins().languages.get("en")
    scores = [
        f1(answers[0], gemma.encode_reference(case.edit.target), english)
        for case, answers in zip(cases, predict_after(gemma, changes, cases), strict=True)
    ]
    assert [case.probes[0].property for case in cases] == ["reliability"] * 3
    assert 100 * sum(scores) / 3 >= least
