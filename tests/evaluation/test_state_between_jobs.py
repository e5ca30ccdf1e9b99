"""A method that leaves something behind costs its own job only: the next method's scores are what they are alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_jobs import FT, TASK, lines, make_config
from spoilt_methods import (
    DrawsFromNumpy,
    DrawsFromPython,
    Fails,
    Good,
    LeavesHook,
    NoChange,
    Seeds,
    SetsDtype,
    TooFew,
    TurnsGradientsOn,
    WritesWeights,
)

from xkeb.editing.changes import DenseChange, LowRankChange
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import Observers, RunObserver
from xkeb.evaluation.executors.local import run_jobs, train_jobs
from xkeb.evaluation.job import JobError
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.state import ProcessState, fingerprint
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Edit, Sight

pytestmark = pytest.mark.usefixtures("cache_of_this_module")


class Exits(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        raise SystemExit(3)


class ExitsAndWrites(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        backbone.parameter("model.norm.weight").data.mul_(2)
        raise SystemExit(3)


class DeletesParameter(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        backbone.module("model.norm").weight = None  # type: ignore[assignment]
        return made


class TurnsGradOff(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        torch.set_grad_enabled(False)
        return made


class TakesThreads(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().edit(backbone, edits)


class GoesElsewhere(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        os.chdir("/")
        return super().edit(backbone, edits)


KEPT: list[Any] = []
"""What would be taken back if it were forgotten."""


class After(Good):
    """Does something once its changes are made."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        self.spoil(backbone)
        return made

    def spoil(self, backbone: Backbone) -> None:
        raise NotImplementedError


class LeavesGradients(After):
    def spoil(self, backbone: Backbone) -> None:
        weight = backbone.parameter("model.norm.weight")
        weight.grad = torch.ones_like(weight)


class TrainsOn(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.model.train()


class ExchangesModule(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.model.model.norm = torch.nn.Identity()


class ExchangesForward(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.module("model.norm").forward = lambda hidden: hidden


class TurnsAKnob(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.module("model.norm").variance_epsilon = 1.0  # type: ignore[assignment]


class Halves(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.model.bfloat16()


class AddsToken(After):
    def spoil(self, backbone: Backbone) -> None:
        backbone.tokenizer.add_tokens([" of"])


class KeepsItsChange(After):
    """One that is applied, and never taken back."""

    def spoil(self, backbone: Backbone) -> None:
        ones = torch.ones_like(backbone.parameter(f"{backbone.layout.down(1)}.weight"))
        KEPT.append(DenseChange({f"{backbone.layout.down(1)}.weight": ones}).applied(backbone))
        KEPT[-1].__enter__()


class HooksAllModules(After):
    def spoil(self, backbone: Backbone) -> None:
        torch.nn.modules.module.register_module_forward_hook(lambda module, given, out: None)


class ExchangesForAll(After):
    """Of a class, so that a model loaded anew has it, too."""

    def spoil(self, backbone: Backbone) -> None:
        type(backbone.module("model.norm")).forward = lambda self, hidden: 2 * hidden


class ExchangesFunction(After):
    def spoil(self, backbone: Backbone) -> None:
        torch.nn.functional.silu = torch.nn.functional.relu


class LeavesAutocast(After):
    def spoil(self, backbone: Backbone) -> None:
        torch.autocast("cpu", dtype=torch.bfloat16).__enter__()


class EntersInference(After):
    def spoil(self, backbone: Backbone) -> None:
        KEPT.append(torch.inference_mode())
        KEPT[-1].__enter__()


class LowersPrecision(After):
    def spoil(self, backbone: Backbone) -> None:
        torch.set_float32_matmul_precision("medium")


class MovesTheCache(After):
    def spoil(self, backbone: Backbone) -> None:
        os.environ["XKEB_CACHE"] = "/nowhere"


class NeverEnds(Good):
    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        return self.edit(backbone, edits)


class Draws(Good):
    """What no method should do, and the next one must not be able to tell."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        return [DenseChange({k: v * (1 + torch.rand(())) for k, v in change.updates.items()}) for change in made]


CHANGING: dict[type[Any], str] = {
    WritesWeights: "the values of model.norm.weight",
    LeavesHook: "the hooks of model.norm",
    TurnsGradientsOn: "requires_grad of model.norm.weight",
    DeletesParameter: "the values of model.norm.weight",
    ExitsAndWrites: "the values of model.norm.weight",
    LeavesGradients: "the gradient of model.norm.weight",
    TrainsOn: "the training mode of the model",
    ExchangesModule: "the values of model.norm.weight",
    ExchangesForward: "the forward of model.norm",
    TurnsAKnob: "the attributes of model.norm",
    Halves: "the values of model.embed_tokens.weight",
    AddsToken: "the tokenizer",
    KeepsItsChange: "the values of model.layers.1.mlp.down_proj.weight",
}
"""What is left of the model by a method, as the sentence has it."""
LEAVING: dict[type[Any], str] = {
    SetsDtype: "torch's default dtype",
    TurnsGradOff: "the grad mode",
    TakesThreads: "the number of threads",
    GoesElsewhere: "the working folder",
    HooksAllModules: "hooks on all modules",
    ExchangesForAll: "LlamaRMSNorm.forward",
    ExchangesFunction: "torch.nn.functional.silu",
    LeavesAutocast: "autocast",
    EntersInference: "the grad mode, the inference mode",
    LowersPrecision: "the precision of float32 products",
    MovesTheCache: "variables of the environment",
    Seeds: "",
    DrawsFromNumpy: "",
    DrawsFromPython: "",
}
"""What is left of the process; nothing is said of the generators."""
ENDING: dict[type[Any], str] = {
    Exits: "Method 'culprit' ended the process (SystemExit: 3); the run goes on.",
    Fails: "nobody tried this",
    NeverEnds: "maximum recursion depth exceeded",
    TooFew: "TooFew.edit returned 1 changes for 2 edits; a list with a change for each edit was expected.",
    NoChange: "",
}
"""What is said of a job that comes to nothing."""


def test_there_are_twenty_misbehaviours_and_more() -> None:
    assert len({*CHANGING, *LEAVING, *ENDING}) >= 20


@pytest.fixture
def settings_of_this_process() -> Iterator[None]:
    """As they were, whatever a test did."""
    process = ProcessState()
    yield
    process.restore()


@pytest.fixture
def config(tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run of a registered class, and of others after it."""

    def make(method: type[Any], *others: str, output: str = "out") -> RunConfig:
        for name, cls in (("culprit", method), ("draws", Draws)):
            entry: Entry[type[Any]] = Entry(cls, "tests")
            monkeypatch.setitem(get_plugins().methods.entries, name, entry)
        args = FT if "ft" in others else {}
        return make_config(tiny_folders, tmp_path / output, ["culprit", *others], limit=2, method_args=args)

    return make


def answers(folder: Path) -> list[Any]:
    return [line["probes"] for line in lines(folder / "cases.jsonl")]


@pytest.mark.usefixtures("settings_of_this_process")
@pytest.mark.parametrize("method", CHANGING, ids=lambda method: method.__name__)
def test_one_that_changes_the_model_is_named_and_the_next_has_it_anew(
    method: type[Any], config: Any, tmp_path: Path
) -> None:
    alone = config(Good, "ft", output="alone")
    run_jobs(plan_run(alone).jobs, alone)
    asked = config(method, "ft")
    with pytest.raises(JobError) as caught:
        run_jobs(plan_run(asked).jobs, asked)
    ((job, error),) = caught.value.failed
    assert job.method == "culprit"
    assert str(error).startswith(f"Method 'culprit' left the model changed: {CHANGING[method]}")
    folders = [tmp_path / name / TASK / "llama" for name in ("alone", "out")]
    assert answers(folders[0] / "ft") == answers(folders[1] / "ft")
    assert not (folders[1] / "culprit" / "result.json").exists()
    assert not (folders[1] / "culprit" / "cases.jsonl").exists(), "nothing to go on from"
    assert (folders[1] / "culprit" / "cases.spoilt.jsonl").is_file()


@pytest.mark.usefixtures("settings_of_this_process")
@pytest.mark.parametrize("method", LEAVING, ids=lambda method: method.__name__)
def test_what_one_leaves_of_the_process_is_put_back(
    method: type[Any], config: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the generators, which is shown by a method that draws from them."""
    alone = config(Good, "ft", "draws", output="alone")
    torch.manual_seed(7)
    run_jobs(plan_run(alone).jobs, alone)
    asked = config(method, "ft", "draws")
    torch.manual_seed(7)
    with caplog.at_level(logging.WARNING):
        try:
            run_jobs(plan_run(asked).jobs, asked)
        except JobError as error:  # its own answers may come to nothing, too
            assert [job.method for job, _ in error.failed] == ["culprit"]
    said = [record.message for record in caplog.records if "left" in record.message]
    assert said == (
        [f"Method 'culprit' left {LEAVING[method]} changed; it is put back for the next job."] * bool(LEAVING[method])
    )
    for name in ("ft", "draws"):
        folders = [tmp_path / output / TASK / "llama" / name for output in ("alone", "out")]
        assert answers(folders[0]) == answers(folders[1])


@pytest.mark.parametrize("method", ENDING, ids=lambda method: method.__name__)
def test_one_that_fails_costs_its_own_job(method: type[Any], config: Any, tmp_path: Path) -> None:
    alone = config(Good, "ft", output="alone")
    run_jobs(plan_run(alone).jobs, alone)
    asked = config(method, "ft")
    with pytest.raises(JobError) as caught:
        run_jobs(plan_run(asked).jobs, asked)
    ((job, error),) = caught.value.failed
    assert job.method == "culprit"
    assert ENDING[method] in str(error)
    folders = [tmp_path / name / TASK / "llama" / "ft" for name in ("alone", "out")]
    assert answers(folders[0]) == answers(folders[1])


def test_an_observer_that_ends_the_process_costs_itself() -> None:
    class Leaves(RunObserver):
        def model_loading(self, name: str) -> None:
            raise SystemExit(3)

    watching = Observers([Leaves(), RunObserver()])
    watching.model_loading("x")
    assert [type(one) for one in watching.observers] == [RunObserver]


def test_training_is_watched_too(config: Any) -> None:
    class Learns(Good):
        sees = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

        def needs_training(self) -> bool:
            return True

        def fit(self, backbone: Backbone, cases: Sequence[Any]) -> None:
            backbone.model.train()

    asked = config(Learns)
    with pytest.raises(JobError, match="left the model changed: the training mode of the model"):
        train_jobs(plan_run(asked, "train").jobs, asked, RunObserver())


class Overflows(Good):
    """An edit that came to nothing, for the second case only; each in another way."""

    kind: str = "dense"

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        made = super().edit(backbone, edits)
        (path,) = (name.removesuffix(".weight") for name in made[0].updates)
        rows, columns = made[1].updates[f"{path}.weight"].shape
        bad = {
            "dense": DenseChange({f"{path}.weight": torch.full((rows, columns), float("nan"))}),
            "low rank": LowRankChange({path: (torch.ones(rows, 1), torch.full((1, columns), float("inf")))}),
            "product": LowRankChange({path: (torch.full((rows, 1), 1e30), torch.full((1, columns), 1e30))}),
        }
        return [made[0], bad[self.kind]]


@pytest.mark.parametrize("kind", ["dense", "low rank", "product"])
def test_an_edit_with_values_that_are_no_numbers_is_a_failed_one(
    kind: str, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Overflows, "kind", kind)
    asked = config(Overflows)
    (result,) = run_jobs(plan_run(asked).jobs, asked)
    assert result.case_ids == ["0"]
    ((case_id, reason),) = [(one.case_id, one.reason) for one in result.skipped]
    assert case_id == "1"
    assert reason.startswith("the edit has values that are infinite or no numbers, in model.layers.2.mlp.down_proj")
    assert [line["status"] for line in lines(tmp_path / "out" / TASK / "llama" / "culprit" / "cases.jsonl")] == [
        "ok",
        "skipped",
    ]
    assert result.task.dataset.n_cases == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_fingerprint_tells_one_flipped_value_and_two_exchanged_ones(dtype: torch.dtype) -> None:
    values = (torch.arange(5000) % 97).to(dtype).reshape(50, 100)
    seen = {fingerprint(values), fingerprint(values.clone())}
    assert len(seen) == 1
    for place in (0, 1, 2500, 4999):
        other = values.clone()
        other.view(-1)[place] = 1 if not other.view(-1)[place] else 0
        seen.add(fingerprint(other))
    if dtype != torch.bool:
        seen |= {
            fingerprint(values[torch.tensor([1, 0, *range(2, 50)])]),
            fingerprint(values.T),
            fingerprint(values.flip(1)),
        }
    assert len(seen) == (8 if dtype != torch.bool else 5)
