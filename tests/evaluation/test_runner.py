"""The way of the data: what is compared with what, what is skipped, what is shared, and what is left untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.editing.changes import Change, DenseChange
from xkeb.errors import PluginError, RequestError
from xkeb.evaluation import runner as evaluation
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.runner import run_job
from xkeb.evaluation.scoring import score_case
from xkeb.models.backbone import Backbone
from xkeb.models.prediction import predict
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.results.schema import Result
from xkeb.types import DEFAULT_METRICS, Case, Edit, Prediction, Probe, Query

TASK = "bizsre_mini_en2zh"
FT = {"ft.lr": 0.05, "ft.steps": 3}
"""So coarse that most answers change."""


@pytest.fixture(autouse=True, scope="module")
def cache_of_this_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that another run sampled or learnt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XKEB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def fingerprint(backbone: Backbone) -> str:
    state = hashlib.sha256()
    model = backbone.model
    for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()], key=lambda pair: pair[0]):
        state.update(name.encode())
        state.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def hooks(backbone: Backbone) -> list[str]:
    return [p for p, m in backbone.model.named_modules() if m._forward_hooks or m._forward_pre_hooks]


def request(tiny_folders: dict[str, Path], output: Path, methods: Sequence[str], **options: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "tasks": [TASK],
        "models": ["hf"],
        "methods": list(methods),
        "model_args": {"path": str(tiny_folders["llama"])},
        "device": "cpu",
        "limit": 4,
        "output": output,
        **options,
    }
    return RunConfig(**fields)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Phases(RunObserver):
    """Counts the cases of each phase."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.now = ""

    def phase(self, name: str, done: int = 0, total: int | None = None) -> None:
        self.now = name
        self.counts.setdefault(name, 0)

    def case_done(self) -> None:
        self.counts[self.now] += 1


def run(cells: Sequence[Job], backbone: Backbone, asked: RunConfig) -> tuple[list[Result], Phases]:
    phases = Phases()
    return [run_job(cell, backbone, asked, phases) for cell in cells], phases


# What is compared with what --------------------------------------------------------------------------------------------


def test_locality_is_judged_by_the_answer_before_and_the_rest_by_the_reference(llama: Backbone) -> None:
    """Answers written by hand, and scores that can be worked out by hand."""
    probes = (
        Probe("reliability", "en", "Who?", "new fact"),
        Probe("generality", "zh", "谁？", "新"),
        Probe("locality", "en", "Where?", "true place"),
        Probe("locality", "zh", "何处？", "真"),
        Probe("portability", "en", "Whose?", "new fact"),
    )
    case = Case("7", Edit("Who?", "new fact", "en", "Who"), probes)

    def answers(*texts: str) -> list[Prediction]:
        return [llama.gold(text) for text in texts]

    before = answers("old", "旧", "wrong place", "错", "old")
    after = answers("new fact", "旧", "wrong place", "真", "fact")
    line = score_case(case, before, after, llama, ("em", "f1_units"), {"edit": 1.0, "evaluate": 2.0})
    scores = [probe["scores"] for probe in line["probes"]]
    assert scores[0] == {"em": 1.0, "f1_units": 1.0}  # the reference, though not the answer before
    assert scores[1] == {"em": 0.0, "f1_units": 0.0}  # the answer before, which is wrong here
    assert scores[2] == {"em": 1.0, "f1_units": 1.0}  # the answer before, though not the reference
    assert scores[3] == {"em": 0.0, "f1_units": 0.0}  # the reference, which is not what counts here
    assert scores[4] == {"em": 0.0, "f1_units": pytest.approx(2 / 3)}  # 1 of 1 predicted, 1 of 2 wanted
    assert (line["case_id"], line["status"], line["reason"]) == ("7", "ok", None)
    assert line["seconds"] == {"edit": 1.0, "evaluate": 2.0}
    assert line["edit"] == {"prompt": "Who?", "subject": "Who", "target": "new fact", "language": "en"}
    assert [probe["before"] for probe in line["probes"]] == ["old", "旧", "wrong place", "错", "old"]
    assert [probe["after"] for probe in line["probes"]] == ["new fact", "旧", "wrong place", "真", "fact"]


def test_the_journal_holds_the_models_own_answers_before_and_after(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    """One case by hand: the edit made and applied here, every probe asked here."""
    asked = request(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT)
    run(plan_run(asked), llama, asked)
    (line,) = lines(tmp_path / TASK / "hf" / "ft" / "cases.jsonl")
    case = next(iter(xkeb.load_task(TASK)))
    asking = [Query(probe.prompt, probe.reference, probe.language) for probe in case.probes]
    before = predict(llama, asking)
    (change,) = xkeb.load_editor("ft", lr=0.05, steps=3).edit(llama, [case.edit])
    with change.applied(llama):
        after = predict(llama, asking)
    assert [b.text for b in before] != [a.text for a in after]
    assert line["case_id"] == case.id and len(line["probes"]) == 7
    for probe, written, old, new in zip(case.probes, line["probes"], before, after, strict=True):
        assert (written["property"], written["language"]) == (probe.property, probe.language)
        assert (written["prompt"], written["reference"]) == (probe.prompt, probe.reference)
        assert (written["before"], written["after"]) == (old.text, new.text)
        expected = old if probe.property == "locality" else llama.gold(probe.reference)
        language = get_plugins().languages.get(probe.language)
        assert written["scores"] == {
            name: get_plugins().metrics.get(name)(new, expected, language) for name in DEFAULT_METRICS
        }


def test_a_result_is_the_mean_of_its_cases(tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path) -> None:
    asked = request(tiny_folders, tmp_path, ["ft"], method_args=FT)
    ((result,), _) = run(plan_run(asked), llama, asked)
    folder = tmp_path / TASK / "hf" / "ft"
    written = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    entries = lines(folder / "cases.jsonl")
    assert written["case_ids"] == [entry["case_id"] for entry in entries] == ["0", "1", "2", "3"]
    cells = {(name, language) for name, by_language in written["scores"].items() for language in by_language}
    assert len(cells) == 7 and ("reliability", "zh") not in cells
    for name, language in cells:
        for metric in DEFAULT_METRICS:
            values = [
                100 * probe["scores"][metric]
                for entry in entries
                for probe in entry["probes"]
                if (probe["property"], probe["language"]) == (name, language)
            ]
            score = written["scores"][name][language][metric]
            assert score["mean"] == pytest.approx(sum(values) / 4) and score["n"] == 4
            assert result.scores[name][language][metric].mean == pytest.approx(score["mean"])
            assert score["ci95"][0] <= score["mean"] <= score["ci95"][1]
    assert written["task"]["dataset"]["n_cases"] == 4 and written["skipped"] == []
    assert written["model"]["sha256"] == llama.sha256 and written["model"]["dtype"] == "float32"
    assert written["method"]["name"] == "ft" and written["method"]["params"]["lr"] == 0.05
    assert written["method"]["params"]["layer"] == 4  # the one that was used, though none was asked for


def test_answers_and_scores_do_not_depend_on_the_batch_size(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    found = []
    for size in (1, 3, None):
        asked = request(
            tiny_folders, tmp_path / str(size), ["ft", "rome"], method_args={**FT, "rome.steps": 4}, batch_size=size
        )
        run(plan_run(asked), llama, asked)
        found.append(
            [
                [
                    (entry["case_id"], entry["probes"])
                    for entry in lines(tmp_path / str(size) / TASK / "hf" / m / "cases.jsonl")
                ]
                for m in ("ft", "rome")
            ]
        )
    assert found[0] == found[1] == found[2]


# What is skipped -------------------------------------------------------------------------------------------------------


def side(subject: str, prompt: str, answer: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "src": prompt,
        "rephrase": f"Again: {prompt}",
        "alt": answer,
        "loc": "nq question: what is red",
        "loc_ans": "a colour",
        "portability": {"New Question": f"And {prompt}", "New Answer": f"not {answer}"},
    }


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Four records: a good one, one without its subject in the prompt, one without a target, another good one."""
    sides = [
        side("Ada", "Where does Ada live?", "Rome"),
        side("Bo", "Where does he live?", "Oslo"),
        side("Cy", "Where does Cy live?", ""),
        side("Di", "Where does Di live?", "Lima"),
    ]
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    (folder / "bizsre_test.json").write_text(json.dumps([{"en": one, "zh": one} for one in sides]), encoding="utf-8")
    return tmp_path / "data"


def test_a_case_that_a_method_refuses_is_journaled_and_counted(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, dirty: Path
) -> None:
    asked = request(
        tiny_folders, tmp_path, ["rome", "ft"], tasks=["bizsre_en2zh"], data_dir=dirty, method_args={"rome.steps": 2}
    )
    (rome, ft), phases = run(plan_run(asked), llama, asked)
    entries = {entry["case_id"]: entry for entry in lines(tmp_path / "bizsre_en2zh" / "hf" / "rome" / "cases.jsonl")}
    assert {case_id: entry["status"] for case_id, entry in entries.items()} == {"0": "ok", "1": "skipped", "3": "ok"}
    assert "'Bo'" in entries["1"]["reason"] and entries["1"]["probes"] == []
    assert entries["1"]["edit"]["prompt"] == "Where does he live?"
    written = json.loads((tmp_path / "bizsre_en2zh" / "hf" / "rome" / "result.json").read_text(encoding="utf-8"))
    skipped = {skip["case_id"]: skip["reason"] for skip in written["skipped"]}
    assert set(skipped) == {"1", "2"}
    assert skipped["1"] == entries["1"]["reason"] and "alt" in skipped["2"]
    assert written["case_ids"] == ["0", "3"] == list(rome.case_ids)
    assert {score["n"] for p in written["scores"].values() for m in p.values() for score in m.values()} == {2}
    # A method that needs no subject runs it.
    assert list(ft.case_ids) == ["0", "1", "3"]
    assert [skip["case_id"] for skip in ft.skipped] == ["2"]
    assert phases.counts["edit"] == 6


def test_a_cell_all_of_whose_cases_are_refused_has_a_result(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, dirty: Path
) -> None:
    asked = request(tiny_folders, tmp_path, ["rome"], tasks=["bizsre_en2zh"], data_dir=dirty, cases=["1"])
    ((result,), _) = run(plan_run(asked), llama, asked)
    assert result.scores == {} and [skip["case_id"] for skip in result.skipped] == ["2", "1"]


# What is shared --------------------------------------------------------------------------------------------------------


def test_answers_before_are_made_once_for_all_methods(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = request(tiny_folders, tmp_path, ["ft", "ike", "rome"], method_args={**FT, "ike.k": 0, "rome.steps": 2})
    cells = plan_run(asked)
    assert [cell.method for cell in cells] == ["ft", "ike", "rome"]
    _, phases = run(cells[:1], llama, asked)
    assert phases.counts["before"] == 4
    shared = tmp_path / TASK / "hf" / "before.jsonl"
    content, written = shared.read_bytes(), shared.stat().st_mtime_ns
    assert len(lines(shared)) == 4
    _, phases = run(cells[1:], llama, asked)
    assert "before" not in phases.counts
    assert (shared.read_bytes(), shared.stat().st_mtime_ns) == (content, written)
    each = [lines(tmp_path / TASK / "hf" / method / "cases.jsonl") for method in ("ft", "ike", "rome")]
    told = [[[probe["before"] for probe in entry["probes"]] for entry in entries] for entries in each]
    assert told[0] == told[1] == told[2]


def test_another_model_of_the_same_name_does_not_share_them(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = request(tiny_folders, tmp_path, ["ike"], method_args={"ike.k": 0})
    run(plan_run(asked), llama, asked)
    shared = tmp_path / TASK / "hf" / "before.jsonl"
    first = [line["answers"] for line in lines(shared)]
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")
    again = request(tiny_folders, tmp_path, ["ike"], method_args={"ike.k": 0}, fresh=True)
    run(plan_run(again), other, again)
    assert [line["answers"] for line in lines(shared)] != first


def test_running_again_edits_nothing_and_a_higher_limit_only_what_is_new(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = request(tiny_folders, tmp_path, ["ft"], limit=2, method_args=FT)
    ((first,), phases) = run(plan_run(asked), llama, asked)
    assert phases.counts == {"before": 2, "edit": 2}
    journal = tmp_path / TASK / "hf" / "ft" / "cases.jsonl"
    content = journal.read_bytes()
    ((second,), phases) = run(plan_run(asked), llama, asked)
    assert phases.counts == {"edit": 0} and journal.read_bytes() == content
    assert second.scores == first.scores
    more = request(tiny_folders, tmp_path, ["ft"], limit=3, method_args=FT)
    ((third,), phases) = run(plan_run(more), llama, more)
    assert phases.counts == {"before": 1, "edit": 1} and journal.read_bytes().startswith(content)
    assert list(third.case_ids) == ["0", "1", "2"]


# What is left untouched ------------------------------------------------------------------------------------------------


def test_after_a_run_every_parameter_is_the_original_to_the_bit(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    before = fingerprint(llama)
    asked = request(
        tiny_folders,
        tmp_path,
        ["ft", "ike", "ike-published", "rome"],
        method_args={**FT, "ike.k": 0, "ike-published.k": 0},
    )
    run(plan_run(asked), llama, asked)
    assert fingerprint(llama) == before
    assert not hooks(llama) and llama.context("en") == ""


def test_a_run_by_name_gives_the_same_as_cell_by_cell(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = request(tiny_folders, tmp_path / "a", ["ft"], method_args=FT)
    ((by_cell,), _) = run(plan_run(asked), llama, asked)
    (by_name,) = xkeb.evaluate(
        tasks=TASK,
        model="hf",
        methods="ft",
        model_args={"path": str(tiny_folders["llama"])},
        method_args=FT,
        device="cpu",
        limit=4,
        output=tmp_path / "b",
    )
    assert by_name.scores == by_cell.scores and by_name.settings == by_cell.settings


class Opaque:
    """A change that can only be applied alone, and may fail when it is used."""

    def __init__(self, name: str, fails: bool) -> None:
        self.change = DenseChange({name: torch.ones(32, 80)})
        self.fails = fails

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        with self.change.applied(backbone):
            if self.fails:
                raise ZeroDivisionError("while it was asked")
            yield


@dataclass
class Failing:
    """A third party's method that goes wrong in its second batch."""

    where: str = "edit"
    _batches: list[int] = field(default_factory=list, init=False, repr=False)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Change]:
        self._batches.append(len(edits))
        second = len(self._batches) == 2
        name = f"{backbone.layout.down(1)}.weight"
        if second and self.where == "edit":
            with DenseChange({name: torch.ones(32, 80)}).applied(backbone):
                raise ZeroDivisionError("while it edited")
        if second and self.where == "count":
            return []
        return [Opaque(name, second and self.where == "change") for _ in edits]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(get_plugins().methods.entries, "failing", Entry(Failing, "tests"))
    return "failing"


@pytest.mark.parametrize(
    ("where", "error"), [("edit", ZeroDivisionError), ("change", ZeroDivisionError), ("count", PluginError)]
)
def test_after_an_exception_in_the_middle_every_parameter_is_the_original_to_the_bit(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, failing: str, where: str, error: type[Exception]
) -> None:
    before = fingerprint(llama)
    asked = request(tiny_folders, tmp_path, [failing], batch_size=2, method_args={"failing.where": where})
    with pytest.raises(error):
        run(plan_run(asked), llama, asked)
    assert fingerprint(llama) == before
    assert not hooks(llama)
    # What was done before is kept, and the next run goes on from there.
    folder = tmp_path / TASK / "hf" / failing
    assert [entry["case_id"] for entry in lines(folder / "cases.jsonl")] == ["0", "1"]
    assert not (folder / "result.json").exists()
    ((result,), phases) = run(plan_run(asked), llama, asked)
    assert phases.counts == {"edit": 2} and list(result.case_ids) == ["0", "1", "2", "3"]
    assert fingerprint(llama) == before


def test_a_method_that_fails_costs_its_own_cell_alone(
    tiny_folders: dict[str, Path], tmp_path: Path, failing: str
) -> None:
    from xkeb.evaluation.job import JobError

    with pytest.raises(JobError) as failed:
        xkeb.evaluate(
            tasks=TASK,
            model="hf",
            methods=[failing, "ft"],
            model_args={"path": str(tiny_folders["llama"])},
            method_args=FT,
            batch_size=2,
            device="cpu",
            limit=4,
            output=tmp_path,
        )
    assert [cell.method for cell, _ in failed.value.failed] == [failing]
    assert [result.method["name"] for result in failed.value.results] == ["ft"]
    assert (tmp_path / TASK / "hf" / "ft" / "result.json").is_file()
    assert not failed.value.wrong_request


def test_cases_of_other_settings_are_never_mixed(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = request(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT)
    run(plan_run(asked), llama, asked)
    journal = tmp_path / TASK / "hf" / "ft" / "cases.jsonl"
    content = journal.read_bytes()
    other = request(tiny_folders, tmp_path, ["ft"], limit=2, method_args={**FT, "ft.steps": 4})
    with pytest.raises(RequestError, match="other settings"):
        run(plan_run(other), llama, other)
    assert journal.read_bytes() == content


def test_row_by_row_and_alone_give_the_same_journal(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = ["ft", "ike", "ike-published", "rome"]
    options = {**FT, "ike.k": 0, "ike-published.k": 0, "rome.steps": 4}
    found = []
    for name in ("rows", "alone"):
        if name == "alone":
            monkeypatch.setattr(evaluation, "together", lambda backbone, changes: None)
        asked = request(tiny_folders, tmp_path / name, methods, method_args=options)
        run(plan_run(asked), llama, asked)
        found.append(
            [
                [
                    (entry["case_id"], entry["probes"])
                    for entry in lines(tmp_path / name / TASK / "hf" / m / "cases.jsonl")
                ]
                for m in methods
            ]
        )
    assert found[0] == found[1]
