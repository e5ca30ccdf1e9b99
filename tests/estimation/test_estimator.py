"""What is estimated without weights is what a run measures."""

from __future__ import annotations

import copy
import dataclasses
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import PREFIXES, TINY, installed
from transformers import LlamaConfig, LlamaForCausalLM

import xkeb
from xkeb.editing import training
from xkeb.editing.changes import Change, LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known, load_editor
from xkeb.estimation import fake_tensors
from xkeb.estimation.dry_run import DryRun, guess_tokenizer
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.estimation.meter import Meter, Work
from xkeb.estimation.speed import Speed, measure_speed
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.probing import predict_before
from xkeb.evaluation.runner import local_runner
from xkeb.models.backbone import Backbone
from xkeb.models.generation import Generations
from xkeb.models.skeleton import Skeleton
from xkeb.types import Edit
from xkeb_plugins.methods import encoders
from xkeb_plugins.methods.memit import Memit

FAMILIES = ("llama", "gemma3", "gpt2")
TRAINED: dict[str, Any] = {"steps": 2, "batch_size": 4, "validate_every": 1, "validation": 3}
PREFIXED: dict[str, Any] = {"steps": 4, "contexts": ((6, 3),)}
OPTIONS: dict[str, dict[str, Any]] = {
    "ft": {},
    "rome": PREFIXED,
    "r-rome": {**PREFIXED, "mom2_adjustment": True},
    "memit": {**PREFIXED, "mom2_corpus": "task"},
    "emmet": PREFIXED,
    "alphaedit": PREFIXED,
    "langedit": PREFIXED,
    "ultraedit": {"warmup": 20},
    "ft-l": {"steps": 4},
    "grace": {"steps": 4},
    "ft-m": {"steps": 4},
    "locft-bf": {"steps": 4},
    "lora": {"steps": 4},
    "ike": {"k": 3},
    "kn": {},
    "memoir": {"steps": 4, "context_templates": ("In short. ", "It is said that ")},
    "wise": {"steps": 4, "context_templates": ("In short. ", "It is said that ")},
    "mend": {"rank": 6, **TRAINED},
    "xmend": {"rank": 6, **TRAINED},
    "xmemit-given": PREFIXED,
    "serac": {"accumulate": 1, **TRAINED},
    "remake": {"demonstrations": 2, "threshold": 0.001, **TRAINED},
    "scr": {"validation": 6},
    "xmem": {"demonstrations": 2, "threshold": -1.0, **TRAINED},  # every question in scope: the most that can be needed
}
"""Short enough for tiny models; with as many texts as GPT-2's 512 positions hold."""


class Watching(RunObserver):
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def phase_started(self, name: str, done: int = 0, total: int | None = None) -> None:
        self.meter.turn(name)


def measured(job: Job, config: RunConfig) -> Meter:
    """What a real run needs, by phase. Evaluation belongs to the phase of the edit there."""
    encoders._loaded.cache_clear()
    gc.collect()
    meter = Meter()
    meter.disregard()
    backbone = xkeb.load_backbone("hf", device="cpu", **config.model_args)
    meter.hold([*backbone.model.parameters(), *backbone.model.buffers()])
    with meter:
        local_runner(job, backbone, config, Watching(meter)).run()
        meter.turn("")
    encoders._loaded.cache_clear()
    return meter


@pytest.fixture
def chosen(tiny_folders: dict[str, Path], tiny_bert: Path) -> dict[str, dict[str, Any]]:
    networks = {"classifier": str(tiny_bert), "counterfactual": str(tiny_folders["gpt2"])}
    return {**OPTIONS, "serac": OPTIONS["serac"] | networks}


def planned(method: str, options: Mapping[str, Any], folder: Path, output: Path, **more: Any) -> tuple[Job, RunConfig]:
    config = RunConfig(
        tasks=["bizsre_mini_en2zh"],
        models=["hf"],
        methods=[method],
        model_args={"path": str(folder)},
        method_args={f"{method}.{name}": value for name, value in options.items()},
        limit=10,  # a full batch, and one of two
        train_size=40,
        device="cpu",
        output=output,
        **more,
    )
    (job,) = plan_run(config).jobs
    return job, config


def estimated(job: Job) -> Cost:
    assert job.skeleton is not None
    protocols = [one.protocol for one in job.measurements]
    return Estimator(job.skeleton, protocols=protocols).cost(
        load_editor(job.method, **job.options), job.cases, job.training()
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", OPTIONS)
def test_the_peak_is_what_a_run_measures(
    method: str,
    family: str,
    tiny_folders: dict[str, Path],
    chosen: dict[str, dict[str, Any]],
    tmp_path: Path,
    fresh_cache: Path,
) -> None:
    job, config = planned(method, chosen[method], tiny_folders[family], tmp_path / "out")
    cost = estimated(job)
    assert cost.unknown is None
    assert not list(fresh_cache.rglob("*.safetensors"))  # nothing was kept
    real = measured(job, config).peaks
    together = {**cost.peaks, "edit": max(cost.peaks["edit"], cost.peaks["evaluate"])}
    for phase in ("before", "fit", "edit") if job.needs_training else ("before", "edit"):
        assert together[phase] == pytest.approx(real[phase], rel=0.15), phase
    assert cost.peak == pytest.approx(max(real.values()), rel=0.15)
    assert cost.weights + cost.learned + cost.changes + cost.activations == cost.peak


@pytest.mark.parametrize(("method", "family"), [("ft", "gemma3"), ("mend", "gpt2"), ("ultraedit", "llama")])
def test_shapes_are_those_that_torch_s_own_mode_finds(
    method: str,
    family: str,
    tiny_folders: dict[str, Path],
    chosen: dict[str, dict[str, Any]],
    tmp_path: Path,
    fresh_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, _ = planned(method, chosen[method], tiny_folders[family], tmp_path / "out")
    training._order.cache_clear()  # which facts come when is worked out once, and that is an operation
    told = estimated(job)
    monkeypatch.setattr(fake_tensors, "has_shape_kernel", lambda func: False)
    training._order.cache_clear()
    assert estimated(job) == told


def test_the_work_is_what_a_run_does(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """Two steps of five are done, and the work of five is told."""
    job, config = planned("ft", {"steps": 5, "stop_loss": 0.0}, tiny_folders["llama"], tmp_path / "out")
    job = dataclasses.replace(job, cases=job.cases[:8])
    cost = estimated(job)
    meter = Meter()
    backbone = xkeb.load_backbone("hf", device="cpu", **config.model_args)
    with meter:
        local_runner(job, backbone, config, Watching(meter)).run()
        meter.turn("")
    told = sum(cost.works[name].flops for name in ("edit", "evaluate")) * 8
    assert told == pytest.approx(meter.works["edit"].flops, rel=0.01)
    assert cost.works["before"].flops * 8 == pytest.approx(meter.works["before"].flops, rel=0.01)


def test_the_work_of_second_moments_is_that_of_all_their_texts(
    tiny_folders: dict[str, Path], tmp_path: Path, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a part of them, the longest: a few facts stand for forty."""
    monkeypatch.setattr(DryRun, "longest", lambda session, n=5: sorted(session.training, key=lambda case: case.id)[:n])
    job, config = planned("memit", OPTIONS["memit"], tiny_folders["llama"], tmp_path / "out")
    told = estimated(job).works["fit"].flops
    real = measured(job, config).works["fit"].flops
    assert told == pytest.approx(real, rel=0.15)  # by characters, which aren't tokens


@pytest.mark.parametrize(
    ("method", "fewer", "more"),
    [
        ("xmemit", {**PREFIXED, "translated_tokens": 4}, {**PREFIXED, "translated_tokens": 40}),
        ("xmem", {**OPTIONS["xmem"], "lexicon": 1}, {**OPTIONS["xmem"], "lexicon": 4}),
    ],
)
def test_what_a_model_would_translate_is_told(
    method: str, fewer: Any, more: Any, tiny_folders: dict[str, Path], tmp_path: Path, fresh_cache: Path
) -> None:
    """A model of random weights translates nothing, so no run of one shows it. The longer a translation may be, or what is
    shown before it, the more."""
    works = []
    for name, options in (("fewer", fewer), ("more", more)):
        job, _ = planned(method, options, tiny_folders["llama"], tmp_path / name)
        cost = estimated(dataclasses.replace(job, cases=job.cases[:2]))
        assert cost.unknown is None
        works.append(cost.works["edit"].flops)
    assert works[0] < works[1]


def test_facts_in_one_language_are_told_to_be_too_few(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    job, _ = planned("xmemit", PREFIXED, tiny_folders["llama"], tmp_path)
    alone = [
        dataclasses.replace(case, edit=dataclasses.replace(case.edit, questions={}, translations={}))
        for case in job.training()
    ]
    assert job.skeleton is not None
    cost = Estimator(job.skeleton).cost(load_editor("xmemit", **PREFIXED), job.cases[:2], alone)
    assert cost.unknown and "it needs at least 20, and 0 of 40 are" in cost.unknown


@pytest.mark.parametrize("method", ["rome", "memit"])
def test_second_moments_over_wikipedia_are_told_without_it(
    method: str, tiny_folders: dict[str, Path], tmp_path: Path, fresh_cache: Path
) -> None:
    options = {"steps": 2, "mom2_corpus": "wikipedia"} | ({"mom2_adjustment": True} if method == "rome" else {})
    costs = []
    for samples in (1000, 2000):
        more = {**options, "mom2_samples": samples}
        job, _ = planned(method, more, tiny_folders["llama"], tmp_path / str(samples))
        costs.append(estimated(job))
    assert [cost.unknown for cost in costs] == [None, None]
    assert costs[1].works["fit"].flops == pytest.approx(2 * costs[0].works["fit"].flops, rel=0.01)
    assert costs[0].works["edit"].flops == pytest.approx(costs[1].works["edit"].flops)


@pytest.mark.parametrize(
    ("method", "family"),
    [("ft", "llama"), ("ft", "gemma3"), ("ft", "gpt2"), ("ike", "llama"), ("ike-published", "gpt2")],
)
def test_free_answers_are_told_from_two_tokens(
    method: str,
    family: str,
    tiny_folders: dict[str, Path],
    tmp_path: Path,
    fresh_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of changes row by row and of contexts, where every answer has half the tokens that it may have."""
    options = {"steps": 2} if method == "ft" else {"k": 3}
    both = {"protocols": ["teacher_forcing", "generate"], "protocol_args": {"generate.max_tokens": 12}}
    job, config = planned(method, options, tiny_folders[family], tmp_path / "out", **both)
    job = dataclasses.replace(job, cases=job.cases[:8])
    cost = estimated(job)
    alone = estimated(dataclasses.replace(job, measurements=job.measurements[:1]))
    monkeypatch.setattr(Generations, "_ended", lambda passes, said: 2 * len(said) >= passes.max_tokens)
    meter = measured(job, config)
    assert cost.works["before"].flops * 8 == pytest.approx(meter.works["before"].flops, rel=0.03)
    told = sum(cost.works[name].flops for name in ("edit", "evaluate")) * 8
    assert told == pytest.approx(meter.works["edit"].flops, rel=0.05)
    assert cost.peak == pytest.approx(max(meter.peaks.values()), rel=0.15)
    assert cost.works["evaluate"].flops > 1.1 * alone.works["evaluate"].flops


@installed
@pytest.mark.parametrize("method", ["easyeditor-ft", "easyeditor-rome", "easyeditor-memit"])
def test_edits_one_after_the_other_are_told_from_two(
    method: str, tiny_folders: dict[str, Path], tmp_path: Path, fresh_cache: Path
) -> None:
    given = {} if method == "easyeditor-ft" else {"contexts": None, "context_templates": PREFIXES}
    job, config = planned(method, TINY[method] | given, tiny_folders["llama"], tmp_path / "out")
    job = dataclasses.replace(job, cases=job.cases[:8])
    cost, meter = estimated(job), measured(job, config)
    assert cost.peak == pytest.approx(max(meter.peaks.values()), rel=0.15)
    told = sum(cost.works[name].flops for name in ("edit", "evaluate")) * 8
    assert told == pytest.approx(meter.works["edit"].flops, rel=0.25)  # the longest edit stands for the others


class Mute(Editor):
    """An editor that doesn't say what it needs."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        raise AssertionError


class Loud(Mute):
    """One that does: a third party's, in one line."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        weight = backbone.parameter(f"{backbone.layout.down(0)}.weight")
        return [LowRankChange({backbone.layout.down(0): (weight[:, :1] + 1, weight[:1] + 1)}) for _ in edits]

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> Sequence[Change]:
        return self.edit(session.backbone, edits)


def test_a_method_that_does_not_say_is_unknown(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    job, _ = planned("ft", {}, tiny_folders["llama"], tmp_path / "out")
    assert job.skeleton is not None
    cost = Estimator(job.skeleton).cost(Mute(), job.cases)
    assert cost.unknown and "Mute" in cost.unknown
    assert set(cost.peaks) == {"before"} and cost.peak > cost.weights
    known = Estimator(job.skeleton).cost(Loud(), job.cases)
    assert known.unknown is None
    assert known.changes == len(job.cases[:8]) * (32 + 80) * 4
    assert set(known.works) == {"before", "fit", "edit", "evaluate"}


class Named(Mute):
    """An editor that does otherwise on a model that it knows."""

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> Sequence[Change]:
        raise xkeb.errors.RequestError(f"{session.backbone.name} is too good")


def test_the_name_of_the_model_and_the_reason_are_told(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    job, _ = planned("ft", {}, tiny_folders["llama"], tmp_path / "out")
    assert job.skeleton is not None
    cost = Estimator(job.skeleton, name="mine").cost(Named(), job.cases)
    assert cost.unknown == "mine is too good"


def test_what_is_asked_before_any_edit_is_worked_out_once_for_all_methods(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [planned(method, OPTIONS[method], tiny_folders["llama"], tmp_path / method)[0] for method in ("kn", "ft")]
    alone = [estimated(job) for job in jobs]
    passes = []

    def counted(*given: Any) -> Any:
        passes.append(given)
        return predict_before(*given)

    monkeypatch.setattr("xkeb.estimation.estimator.predict_before", counted)
    shared = Estimator(known(jobs[0].skeleton))
    assert [shared.cost(job.editor, job.cases, job.training()) for job in jobs] == alone
    assert len(passes) == 1
    other = shared.cost(jobs[0].editor, jobs[0].cases[:1], ())
    assert len(passes) == 2 and other.works["before"] != alone[0].works["before"]
    assert gc.get_freeze_count() == 0


def test_a_skeleton_and_an_editor_are_left_as_they_were(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    job, _ = planned("memit", {"steps": 2, "mom2_corpus": "task"}, tiny_folders["gemma3"], tmp_path / "out")
    assert job.skeleton is not None
    editor = load_editor("memit", **job.options)
    assert isinstance(editor, Memit)
    options = vars(editor).copy()
    Estimator(job.skeleton).cost(editor, job.cases, job.training())
    assert vars(editor) == options and not editor._statistics
    assert all(parameter.is_meta for parameter in job.skeleton.model.parameters())


def test_a_copy_of_a_part_holds_the_whole_and_lets_go_of_it(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """As keys and values of a sliding window are copied: the last of them, out of all."""
    job, _ = planned("ft", {}, tiny_folders["gemma3"], tmp_path / "out")
    assert job.skeleton is not None
    session = DryRun(job.skeleton, torch.float32)
    with session.open():
        part = torch.zeros(8, 4)[3:]
        before = session.meter.live
        copied = copy.deepcopy(part)
        assert (copied.shape, copied.stride(), copied.storage_offset()) == ((5, 4), (4, 1), 12)
        assert session.meter.live - before == 8 * 4 * 4
        del copied
        assert session.meter.live == before


def test_texts_are_grouped_as_on_the_device_in_question(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """Passes of a card are larger: fewer calls, and more padding."""
    job, _ = planned("ft", {"steps": 2}, tiny_folders["gemma3"], tmp_path / "out")
    assert job.skeleton is not None
    here, card = (
        Estimator(job.skeleton, device=device).cost(load_editor("ft", **job.options), job.cases).works["before"]
        for device in ("cpu", "cuda")
    )
    assert card.operations < here.operations
    assert card.flops > here.flops


def test_ike_s_encoder_works_where_the_model_does(
    tiny_folders: dict[str, Path], tiny_bert: Path, tmp_path: Path
) -> None:
    job, _ = planned("ike", {"encoder": str(tiny_bert)}, tiny_folders["gemma3"], tmp_path / "out")
    assert job.skeleton is not None
    here, card = (
        Estimator(job.skeleton, device=device).cost(load_editor("ike", **job.options), job.cases, job.training())
        for device in ("cpu", "cuda")
    )
    assert card.works["fit"].flops == here.works["fit"].flops > 0


def test_a_tied_head_counts_once(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    job, _ = planned("ft", {}, tiny_folders["gemma3"], tmp_path / "out")
    assert job.skeleton is not None
    loaded = xkeb.load_backbone("hf", device="cpu", path=str(tiny_folders["gemma3"]))
    assert job.skeleton.n_parameters == loaded.n_parameters


def test_text_of_an_unknown_tokenizer_is_cut_by_characters(tmp_path: Path) -> None:
    """Without files: nothing but shapes."""
    config = LlamaConfig(
        vocab_size=99, hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4
    )
    with torch.device("meta"):
        skeleton = Skeleton(LlamaForCausalLM(config))
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))[:4]
    cost = Estimator(skeleton, torch.bfloat16).cost(Loud(), cases)
    assert cost.weights >= skeleton.n_bytes(torch.bfloat16)
    tokens = guess_tokenizer()("Who was 爱因斯坦?")["input_ids"]
    assert len(tokens) == 7  # "Who ", "was ", four characters, "?"


def test_seconds_are_the_sum_of_the_parts() -> None:
    speed = Speed(flops=1e9, moved=1e8, overhead=1e-3)
    assert speed.seconds(Work(1e9, 1e8, 1000)) == pytest.approx(2 + 1 + 1)
    found = measure_speed(torch.device("cpu"), torch.float32)
    assert found.flops > found.moved > 1e6 and 0 < found.overhead < 1e-2
