"""`xkeb.evaluation.planning`: what is known before anything is loaded."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import xkeb_tasks.runs
from xkeb.editing.editor import load_editor
from xkeb.errors import NotHereError, RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run
from xkeb.tasks import task as tasks
from xkeb.tasks.config import Definition, read_definitions

pytest_plugins = ("command_line",)

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that is looked into alone; its test file is there, its training file isn't."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    shutil.copy(MINI / "bizsre_mini_test.json", folder / "bizsre_test.json")
    return tmp_path / "data"


def rome_on_gemma(data: Path) -> RunConfig:
    return RunConfig(["bizsre_en2zh"], ["gemma3-270m"], ["rome"], limit=1, data_dir=data, output=data / "results")


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "xkeb.evaluation.executors.shared_model.load_backbone", lambda *_, **__: pytest.fail("it is loaded")
    )


@pytest.mark.usefixtures("nothing_loaded")
def test_that_a_tuned_method_learns_shows_before_weights_are_loaded(data: Path) -> None:
    """What ROME needs depends on the model: its skeleton says so."""
    with pytest.raises(NotHereError, match=r"lacks zsre_mend_train_10000\.json"):
        plan_run(rome_on_gemma(data))
    plan = plan_run(rome_on_gemma(data), "estimate")
    assert plan.jobs[0].needs_training
    (absent,) = plan.absent
    assert "lacks zsre_mend_train_10000.json" in absent


@pytest.mark.usefixtures("nothing_loaded")
def test_a_run_whose_tuned_method_lacks_its_training_file_is_refused_at_once(
    xkeb_cli: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    outcome = xkeb_cli(
        "run", "--tasks", "bizsre_en2zh", "--model", "gemma3-270m", "--methods", "ft,rome", "--data-dir", data,
        "--output", tmp_path / "results",
    )  # fmt: skip
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith("xkeb: Data set 'bizsre' lacks zsre_mend_train_10000.json: looked in ")
    assert not (tmp_path / "results").exists()


def test_the_plan_says_what_a_tuned_method_learns_from(
    xkeb_cli: Callable[..., Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(MINI / "bizsre_mini_train.json", data / "bizsre" / "zsre_mend_train_10000.json")
    facts = len(plan_run(rome_on_gemma(data)).jobs[0].training())
    monkeypatch.setattr("xkeb.evaluation.api.execute", lambda *_: [])
    outcome = xkeb_cli(
        "run", "--tasks", "bizsre_en2zh", "--model", "gemma3-270m", "--methods", "ft,rome", "--data-dir", data,
        "--output", tmp_path / "results",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    ft, rome = (next(line for line in outcome.err.splitlines() if f" {name} " in line) for name in ("ft", "rome"))
    assert f"{facts} training facts" in rome
    assert "training facts" not in ft


def test_all_methods_are_those_that_are_not_told_the_answer(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    config = RunConfig(
        ["bizsre_mini_en2zh"],
        ["hf"],
        ["all"],
        model_args={"path": str(tiny_folders["llama"])},
        limit=1,
        output=tmp_path / "results",
    )
    planned = {job.method for job in plan_run(config, "estimate").jobs}
    assert {"ft", "ike", "ike-original", "xmem", "xmemit"} <= planned
    assert not {"ike-published", "xmemit-given"} & planned


def test_planning_many_tasks_reads_each_file_once(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mzsre is two groups of many tasks, all of them of a few files."""
    read: Counter[Path] = Counter()
    original = read_definitions

    def counting(path: Path) -> list[Definition]:
        read[path.resolve()] += 1
        return original(path)

    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setattr(tasks, "read_definitions", counting)
    config = RunConfig(
        ["mzsre_en2x", "mzsre_x2en"],
        ["hf"],
        ["ft"],
        model_args={"path": str(tiny_folders["llama"])},
        data_dir=tmp_path,
        output=tmp_path / "results",
    )
    plan = plan_run(config, "estimate")
    assert len(plan.jobs) > 15
    assert any("mzsre" in path.name or path.parent.name == "mzsre" for path in read)
    assert set(read.values()) == {1}


@pytest.mark.parametrize("purpose", ["estimate", "train"])
def test_only_a_run_makes_its_output_folder(tiny_folders: dict[str, Path], tmp_path: Path, purpose: Any) -> None:
    path = {"path": str(tiny_folders["llama"])}
    config = RunConfig(["bizsre_mini_en2zh"], ["hf"], ["mend"], model_args=path, output=tmp_path / "results")
    plan_run(config, purpose)
    assert not (tmp_path / "results").exists()
    plan_run(config)
    assert (tmp_path / "results").is_dir() and not list((tmp_path / "results").iterdir())


# The paper's protocol ----------------------------------------------------------------------------------------------------


def planned(tiny_folders: dict[str, Path], tmp_path: Path, **options: Any) -> RunConfig:
    usual: dict[str, Any] = {"model_args": {"path": str(tiny_folders["llama"])}, "limit": 1, "output": tmp_path}
    return RunConfig(["bizsre_mini_zh2en"], ["hf"], **usual, **options)


def test_by_the_paper_s_protocol_the_paper_s_methods_are_those_of_the_released_code(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    ours, theirs = (
        {job.method for job in plan_run(planned(tiny_folders, tmp_path, protocols=[protocol])).jobs}
        for protocol in ("teacher_forcing", "paper")
    )
    assert ours == {"ft", "serac", "ike", "mend", "kn", "rome", "memit"}
    assert theirs == ours - {"ike"} | {"ike-published"}
    (named,) = plan_run(planned(tiny_folders, tmp_path, protocols=["paper"], methods=["ike"])).jobs
    assert (named.method, named.measurements[0].folder.name) == ("ike", "ike-paper")


def test_a_run_file_s_options_of_methods_are_defaults(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    config = planned(
        tiny_folders,
        tmp_path,
        methods=["ft"],
        method_defaults={"ft.steps": 3, "ft.lr": 0.25, "mend.outer": "edit"},
        method_args={"ft.steps": 7},
    )
    (job,) = plan_run(config).jobs
    assert (vars(job.editor)["steps"], vars(job.editor)["lr"]) == (7, 0.25)


def test_the_shipped_run_file_follows_the_paper() -> None:
    """Its options reach the methods; each differs from the default, or it need not stand there."""
    values = yaml.safe_load((Path(xkeb_tasks.runs.__file__).parent / "paper.yaml").read_text(encoding="utf-8"))
    assert values["protocol"] == "paper"
    for key, value in values["method_args"].items():
        method, _, option = key.rpartition(".")
        assert getattr(load_editor(method, **{option: value}), option) == value
        assert getattr(load_editor(method), option) != value


def test_reliability_against_english_needs_a_task_that_asks_in_english(
    tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "german").mkdir()
    text = "task: de2ru\nversion: 1\ndataset: mzsre\npair: de-ru\n"
    (tmp_path / "german" / "task.yaml").write_text(text, encoding="utf-8")
    config = RunConfig(
        ["de2ru"],
        ["hf"],
        ["ft"],
        model_args={"path": str(tiny_folders["llama"])},
        protocols=["paper"],
        protocol_args={"reliability": "english"},
        include=[tmp_path / "german"],
        output=tmp_path / "out",
    )
    with pytest.raises(RequestError, match=r"Task 'de2ru' asks in de and ru: its reliability can't be scored"):
        plan_run(config)


@pytest.mark.parametrize(
    ("methods", "args", "said"), [(["ft"], {"ft.stepz": 3}, "option of method 'ft'"), (["frt"], {}, "method 'frt'")]
)
def test_a_wrong_method_or_option_converts_no_model(
    methods: list[str], args: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RequestError, match=f"Unknown {said}"):
        plan_run(RunConfig(["bizsre_mini_en2zh"], ["gemma3-270m"], methods, method_args=args, output=tmp_path / "out"))
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("nothing_loaded")
def test_rome_takes_its_text_from_the_suite_where_a_task_has_none(tmp_path: Path) -> None:
    """A table without a training file: ROME only wants text, and the plan says whose it takes."""
    (tmp_path / "mine.csv").write_text("q,a,f,g,s\nWhat is it?,Lyon,Was ist es?,Lyon,it\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nversion: 1\npair: en-de\ndataset:\n  format: csv\n  path: mine.csv\n"
        "  columns: {en: {question: q, answer: a, subject: s}, de: {question: f, answer: g}}\n",
        encoding="utf-8",
    )
    request: dict[str, Any] = {"include": [tmp_path], "output": tmp_path / "out"}
    (job,) = plan_run(RunConfig(["mine"], ["gemma3-270m"], ["rome"], **request)).jobs
    assert job.needs_training and job.borrows_training
    assert job.training_split == tasks.load_task("bizsre_mini_en2zh").training and len(job.training()) >= 100
    with pytest.raises(RequestError, match="has no training facts: name them in"):
        plan_run(RunConfig(["mine"], ["gemma3-270m"], ["ike"], **request))
