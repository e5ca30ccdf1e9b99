"""Many edits on one model: what a sequence is, against plain code that edits one after the other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.cli.submitting.arguments import run_arguments
from xkeb.editing.changes import Change
from xkeb.editing.editor import prepare
from xkeb.errors import RequestError
from xkeb.evaluation.api import execute
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.parts import cut
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.probing import case_queries
from xkeb.evaluation.protocols import TeacherForcingProtocol
from xkeb.evaluation.runner import local_runner
from xkeb.evaluation.state import model_state
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.results.regime import order_key
from xkeb.types import Case

Json = dict[str, Any]
MEMIT: Json = {
    "memit.layers": [1, 2],
    "memit.steps": 10,
    "memit.lr": 0.5,
    "memit.mom2_update_weight": 0.1,
    "memit.context_templates": ["In short. "],
}
PROTOCOL = TeacherForcingProtocol()


def in_order(cases: Sequence[Case], seed: int = 0) -> list[Case]:
    return sorted(cases, key=lambda case: order_key(seed, case.id))


def first_cases(n: int) -> list[Case]:
    return list(xkeb.load_task(TASK))[:n]


@contextmanager
def edited_in_place(backbone: Backbone) -> Iterator[None]:
    """Whatever is added to the parameters inside is taken back, from copies of all of them."""
    kept = {name: parameter.detach().clone() for name, parameter in backbone.model.named_parameters()}
    try:
        yield
    finally:
        for name, parameter in backbone.model.named_parameters():
            parameter.data.copy_(kept[name])


def add(backbone: Backbone, change: Change) -> None:
    for name, delta in change.deltas().items():  # type: ignore[attr-defined]
        backbone.parameter(name).data.add_(delta)


def answers(backbone: Backbone, case: Case) -> list[str]:
    return [answer.text for answer in predict(backbone, case_queries(case), style=PROTOCOL.style)]


def afters(line: Json) -> list[str]:
    return [probe["after"] for probe in line["probes"]]


def without_place(line: Json) -> Json:
    return {key: value for key, value in line.items() if key not in ("settings", "chain", "seconds", "sequence")}


def folder_of(output: Path, name: str) -> Path:
    return output / TASK / "llama" / name


# Against plain code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["after_each", "after_all"])
def test_a_sequence_is_one_edit_after_the_other(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, point: str
) -> None:
    """FT: plain code adds each change to the weights themselves, and edits what it finds there."""
    before = model_state(llama)
    asked = make_config(
        tiny_folders,
        tmp_path,
        ["ft"],
        method_args=FT,
        regime="sequential:4",
        evaluate=None if point == "after_all" else point,
    )
    ((result,), _) = run_jobs(llama, asked)
    assert model_state(llama) == before
    cases = in_order(first_cases(4))
    editor = prepare(xkeb.load_editor("ft", lr=0.05, steps=3), llama)
    expected: dict[str, list[str]] = {}
    single: list[bool] = []
    with edited_in_place(llama):
        for case in cases:
            add(llama, editor.edit(llama, [case.edit])[0])
            expected[case.id] = answers(llama, case)
        if point == "after_all":
            single = [answers(llama, case) != expected[case.id] for case in cases]
            expected = {case.id: answers(llama, case) for case in cases}
    assert point == "after_each" or any(single)  # the two points are not the same here
    folder = folder_of(tmp_path, "ft-sequential-4" + ("" if point == "after_all" else "-after_each"))
    written = {line["case_id"]: line for line in lines(folder / "cases.jsonl")}
    assert {case_id: afters(line) for case_id, line in written.items()} == expected
    places = [written[case.id]["sequence"] for case in cases]
    assert [one["place"] for one in places] == [1, 2, 3, 4]
    assert [one["edits"] for one in places] == ([4] * 4 if point == "after_all" else [1, 2, 3, 4])
    assert len({one["sha256"] for one in places}) == 1
    assert (result.regime, result.comparable_group.split("/")[3]) == (f"sequential:4@{point}",) * 2


def test_earlier_edits_are_asked_again(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    """After 1 and 4 edits, against the same questions asked by hand; locality isn't asked."""
    asked = make_config(
        tiny_folders, tmp_path, ["ft"], method_args=FT, regime="sequential:4", evaluate="after_each", limit=9
    )
    ((result,), _) = run_jobs(llama, asked)
    assert result.retention is not None and list(result.retention) == ["1", "4"]
    cases = in_order(first_cases(9))
    editor = prepare(xkeb.load_editor("ft", lr=0.05, steps=3), llama)
    folder = folder_of(tmp_path, "ft-sequential-4-after_each")
    for edits in (1, 4):
        expected: dict[str, list[str]] = {}
        for start in (0, 4):
            with edited_in_place(llama):
                for case in cases[start : start + edits]:
                    add(llama, editor.edit(llama, [case.edit])[0])
                for case in cases[start : start + edits]:
                    kept = zip(case.probes, answers(llama, case), strict=True)
                    expected[case.id] = [
                        text for probe, text in kept if probe.property in ("reliability", "generality")
                    ]
        again = lines(folder / f"retention-{edits}.jsonl")
        assert {line["case_id"]: afters(line) for line in again} == expected
        assert {line["sequence"]["edits"] for line in again} == {edits}
        right = [line["probes"][0]["scores"]["em"] for line in again]
        score = result.retention[str(edits)]["reliability"]["en"]["em"]
        assert score.mean == pytest.approx(100 * sum(right) / len(right)) and score.n == len(again)
        assert set(result.retention[str(edits)]) == {"reliability", "generality"}
    assert [(skip.case_id, skip.reason) for skip in result.skipped][-1:] == [
        (cases[8].id, "it is left over: --regime sequential:4 takes cases in groups of 4")
    ]


def test_nothing_is_asked_again_where_nobody_wants_it(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    config = make_config(tiny_folders, tmp_path, ["ft"], method_args=FT, regime="sequential:4", limit=4)
    (job,) = plan_run(config).jobs
    (kept,) = local_runner(job.placed(tmp_path / "kept"), llama, config, RunObserver()).run()
    without = dataclasses.replace(job, retention=False).placed(tmp_path / "without")
    (bare,) = local_runner(without, llama, config, RunObserver()).run()
    assert kept.retention and not bare.retention
    assert bare.scores == kept.scores
    assert not list((tmp_path / "without-sequential-4").glob("retention-*"))


def test_a_batch_is_the_methods_own_batch(
    tiny_folders: dict[str, Path], llama: Backbone, training: list[Case], tmp_path: Path
) -> None:
    """MEMIT: the answers under its own change of all edits."""
    asked = make_config(tiny_folders, tmp_path, ["memit"], method_args=MEMIT, regime="batch:4", train_size=40)
    ((result,), _) = run_jobs(llama, asked)
    cases = in_order(first_cases(4))
    options = {name.removeprefix("memit."): value for name, value in MEMIT.items()}
    editor = prepare(xkeb.load_editor("memit", **options), llama, training)
    change = editor.edit_together(llama, [case.edit for case in cases])
    with change.applied(llama):
        expected = {case.id: answers(llama, case) for case in cases}
    assert {case.id: answers(llama, case) for case in cases} != expected
    written = lines(folder_of(tmp_path, "memit-batch-4") / "cases.jsonl")
    assert {line["case_id"]: afters(line) for line in written} == expected
    assert result.regime == "batch:4@after_batch" and result.retention is None


def test_batches_follow_one_another(
    tiny_folders: dict[str, Path], llama: Backbone, training: list[Case], tmp_path: Path
) -> None:
    """MEMIT in two batches of two, each asked after its own."""
    asked = make_config(
        tiny_folders,
        tmp_path,
        ["memit"],
        method_args=MEMIT,
        regime="sequential:2x2",
        evaluate="after_batch",
        train_size=40,
    )
    run_jobs(llama, asked)
    cases = in_order(first_cases(4))
    options = {name.removeprefix("memit."): value for name, value in MEMIT.items()}
    editor = prepare(xkeb.load_editor("memit", **options), llama, training)
    expected: dict[str, list[str]] = {}
    with edited_in_place(llama):
        for batch in (cases[:2], cases[2:]):
            add(llama, editor.edit_together(llama, [case.edit for case in batch]))
            expected |= {case.id: answers(llama, case) for case in batch}
    written = lines(folder_of(tmp_path, "memit-sequential-2x2-after_batch") / "cases.jsonl")
    assert {line["case_id"]: afters(line) for line in written} == expected


@pytest.mark.parametrize("method", ["ft", "rome"])
def test_a_sequence_of_one_is_a_single_edit(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, method: str
) -> None:
    options = {**FT, "rome.steps": 3, "rome.context_templates": ["In short. "]}
    chosen = {name: value for name, value in options.items() if name.startswith(f"{method}.")}
    plain = make_config(tiny_folders, tmp_path, [method], method_args=chosen, train_size=40)
    ((one,), _) = run_jobs(llama, plain)
    each = make_config(
        tiny_folders,
        tmp_path,
        [method],
        method_args=chosen,
        train_size=40,
        regime="sequential:1",
        evaluate="after_each",
    )
    ((other,), _) = run_jobs(llama, each)
    singles = {line["case_id"]: without_place(line) for line in lines(folder_of(tmp_path, method) / "cases.jsonl")}
    alone = lines(folder_of(tmp_path, f"{method}-sequential-1-after_each") / "cases.jsonl")
    assert {line["case_id"]: without_place(line) for line in alone} == singles
    assert one.scores == other.scores
    assert "sequence" not in lines(folder_of(tmp_path, method) / "cases.jsonl")[0]


def test_the_order_is_by_seed(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    orders = []
    for seed in (0, 1):
        asked = make_config(
            tiny_folders,
            tmp_path / str(seed),
            ["ft"],
            method_args=FT,
            regime="sequential:4",
            evaluate="after_each",
            seed=seed,
        )
        run_jobs(llama, asked)
        written = lines(folder_of(tmp_path / str(seed), "ft-sequential-4-after_each") / "cases.jsonl")
        orders.append([line["case_id"] for line in written])
        assert orders[-1] == [case.id for case in in_order(first_cases(4), seed)]
    assert orders[0] != orders[1]


# What was asked for wrongly ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"regime": "sequential:5"}, "--regime sequential:5 makes 5 edits on one model, and 'bizsre_mini_en2zh' has 4"),
        ({"regime": "batch:2"}, "Method 'ft' can't follow --regime batch:2: it makes one edit at a time."),
        ({"regime": "many"}, "A regime is single, batch:N or sequential:N[xM], N and M from 1 to 999999; not 'many'."),
        ({"regime": "batch:0"}, "A regime is single, batch:N or sequential:N[xM], N and M from 1 to 999999; not 'batch:0'."),
        ({"regime": "sequential:2", "evaluate": "after_al"}, "Unknown point of evaluation 'after_al': did you mean"),
        ({"regime": "sequential:2", "evaluate": "after_batch"}, "The regime sequential:2 is asked after_all or"),
        ({"regime": "sequential:2x2", "evaluate": "after_each"}, "The regime sequential:2x2 is asked after_all or after_batch"),
        ({"evaluate": "after_all"}, "The regime single is asked after_each, not after_all."),
        ({"regime": "sequential:2", "methods": ["ike"]}, "Method 'ike' can't follow --regime sequential:2: it shows one edit"),
        ({"regime": "sequential:2", "methods": ["xmem"], "method_args": {"xmem.scope": "all"}}, "Method 'xmem' can't follow"),
    ],
)  # fmt: skip
def test_a_wrong_regime_is_one_sentence(
    tiny_folders: dict[str, Path], tmp_path: Path, options: Json, said: str
) -> None:
    with pytest.raises(RequestError) as caught:
        plan_run(make_config(tiny_folders, tmp_path, **{"methods": ["ft"], "limit": 4, **options}))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_workers_elsewhere_refuse_a_sequence(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    config = make_config(tiny_folders, tmp_path, ["ft"], regime="sequential:2", executor="ray")
    with pytest.raises(
        RequestError, match="--executor ray divides single edits among workers; --regime sequential:2 runs"
    ):
        execute(plan_run(config).jobs, config)


def test_a_sequence_is_submitted_whole(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    config = make_config(tiny_folders, tmp_path, ["ft"], regime="sequential:2", evaluate="after_each")
    jobs = plan_run(config).jobs
    with pytest.raises(
        RequestError, match="--cases-per-job cuts a job into parts, and --regime sequential:2 edits one model"
    ):
        cut(jobs, config, 2, tmp_path / "parts")
    ((whole,),) = (cell.parts for cell in cut(jobs, config, None, tmp_path / "parts"))
    arguments = run_arguments(config, whole)
    assert arguments[arguments.index("--regime") :][:4] == ["--regime", "sequential:2", "--evaluate", "after_each"]


def test_a_task_says_its_regime(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    text = "task: many\nversion: 1\ndataset: bizsre_mini\npair: en-zh\nregime: sequential:2\n"
    (tmp_path / "many.yaml").write_text(f"{text}evaluate: after_each\n", encoding="utf-8")
    shared: Json = {"tasks": ["many"], "include": [tmp_path]}
    (job,) = plan_run(make_config(tiny_folders, tmp_path / "out", ["ft"], **shared)).jobs
    assert str(job.regime) == "sequential:2@after_each"
    (job,) = plan_run(make_config(tiny_folders, tmp_path / "out", ["ft"], evaluate="after_all", **shared)).jobs
    assert str(job.regime) == "sequential:2@after_all"
    (job,) = plan_run(make_config(tiny_folders, tmp_path / "out", ["ft"], regime="single", **shared)).jobs
    assert str(job.regime) == "single"
    (tmp_path / "many.yaml").write_text(f"{text}evaluate: later\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"many\.yaml:6: Unknown point of evaluation 'later'"):
        plan_run(make_config(tiny_folders, tmp_path / "out", ["ft"], **shared))


# The settings of single edits --------------------------------------------------------------------------------------------


def test_single_edits_are_as_they_were(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    """The hash of the settings is that of a record typed in by hand, without any word of sequences; an old folder goes on."""
    asked = make_config(tiny_folders, tmp_path, ["ft"], method_args=FT, limit=2)
    ((result,), _) = run_jobs(llama, asked)
    folder = folder_of(tmp_path, "ft")
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert written["regime"] == "single" and not {"retention", "sequence"} & written.keys()
    assert set(lines(folder / "cases.jsonl")[0]) == {
        *("case_id", "status", "reason", "edit", "probes", "slices", "seconds", "settings", "chain")
    }
    settings = result.run_settings().model_dump(mode="json")
    assert list(settings) == [
        *(
            "schema_version",
            "task",
            "model",
            "method",
            "protocol",
            "protocol_args",
            "prompt",
            "regime",
            "metrics",
            "seed",
        )
    ]
    first = (folder / "cases.jsonl").read_bytes()
    run_jobs(llama, make_config(tiny_folders, tmp_path, ["ft"], method_args=FT, limit=3))
    assert (folder / "cases.jsonl").read_bytes().startswith(first)
    assert sorted(path.name for path in folder.iterdir()) == ["cases.jsonl", "result.json"]
    assert torch.is_grad_enabled()
