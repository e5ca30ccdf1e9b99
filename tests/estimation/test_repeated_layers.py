"""One layer run dry stands for all that are alike: with the same bytes and the same work, to the last one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from xkeb.editing.editor import load_editor
from xkeb.estimation.estimator import Estimator
from xkeb.estimation.repeated_layers import LayerCosts, _state
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run

OPTIONS: dict[str, dict[str, Any]] = {
    "ft": {"steps": 3},
    "rome": {"steps": 3, "context_templates": ["In short. "], "mom2_adjustment": True},
}


@pytest.mark.parametrize("method", ["ft", "rome"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_nothing_is_lost(
    method: str, family: str, tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunConfig(
        ["bizsre_mini_en2zh"],
        ["hf"],
        [method],
        model_args={"path": str(tiny_folders[family])},
        limit=2,
        output=tmp_path,
    )
    (job,) = plan_run(request, "estimate").jobs
    assert job.skeleton is not None
    editor = load_editor(method, **OPTIONS[method])
    costs = LayerCosts()
    repeated = Estimator(job.skeleton, costs=costs).cost(editor, job.cases, job.task.training.cases[:8])
    passes = len(costs.known)
    again = Estimator(job.skeleton, costs=costs).cost(editor, job.cases, job.task.training.cases[:8])
    assert len(costs.known) == passes, "nothing new is seen"
    monkeypatch.setattr(LayerCosts, "used", lambda *_: nullcontext())
    whole = Estimator(job.skeleton).cost(editor, job.cases, job.task.training.cases[:8])
    assert repeated.unknown is None
    assert repeated == again == whole
    assert passes > 0


def test_a_cache_that_may_hold_something_else_is_passed_each_time() -> None:
    class Recurrent(DynamicLayer):
        """With a state beside keys and values."""

    cache = DynamicCache()
    assert _state(cache, 0) is None  # no layer yet
    cache.layers = [DynamicLayer(), Recurrent()]
    assert _state(cache, 0) is not None
    assert _state(cache, 1) is None
    assert _state(cache, -1) is None
