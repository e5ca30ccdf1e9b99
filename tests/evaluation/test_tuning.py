"""A tuning: the facts that it asks, what it measures, what it chooses, and how it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from tuning_data import records, write_facts

import xkeb
from xkeb.editing.editor import make_changes as real_changes
from xkeb.editing.editor import prepare
from xkeb.errors import NotHereError, RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.events import RunObserver
from xkeb.evaluation.job import Job
from xkeb.evaluation.tuning import PointRecord, Tuning, tune
from xkeb.evaluation.tuning.facts import HELD_OUT, VALIDATION, TuningFacts, tuning_task
from xkeb.evaluation.tuning.points import choose
from xkeb.models.backbone import Backbone
from xkeb.tasks.task import Task, load_task
from xkeb.types import Case, Edit
from xkeb_plugins.methods.ike import InContext
from xkeb_plugins.methods.mend.editor import Mend

pytest_plugins = ("tuning_data",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")

Grid = Mapping[str, Sequence[Any]]
SMALL_MEND = {"mend.rank": 4, "mend.steps": 2, "mend.batch_size": 4, "mend.validate_every": 1, "mend.validation": 3}


@pytest.fixture
def config(tiny_folders: dict[str, Path], facts_dir: Path) -> RunConfig:
    return RunConfig(
        tasks=["bizsre_en2zh"],
        models=["hf"],
        methods=["ft"],
        model_args={"path": str(tiny_folders["llama"])},
        metrics=["f1"],
        limit=4,
        device="cpu",
        data_dir=facts_dir,
    )


def replace(config: RunConfig, **changes: Any) -> RunConfig:
    values = {name: getattr(config, name) for name in RunConfig.__slots__}
    return RunConfig(**{**values, **changes})


class Jobs(RunObserver):
    """Counts the jobs that run."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []

    def job_started(self, job: Job) -> None:
        self.started.append(dict(job.options))


# The facts ---------------------------------------------------------------------------------------------------------------


def facts_of(task: Task) -> TuningFacts:
    assert isinstance(task.dataset, TuningFacts)
    return task.dataset


def questions(case: Case) -> set[str]:
    return {case.edit.prompt, *(probe.prompt for probe in case.probes)}


def test_without_a_validation_file_the_last_training_facts_are_held_out(facts_dir: Path) -> None:
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 5)
    assert [case.edit.prompt for case in task] == [fact["src"] for fact in records()[-5:]]
    assert facts_of(task).record(learns=False)["source"] == HELD_OUT
    last = next(iter(task))
    fact = records()[-5]
    asked = [(probe.property, probe.language, probe.prompt, probe.reference) for probe in last.probes]
    assert asked == [
        ("reliability", "en", fact["src"], fact["alt"]),
        ("generality", "en", fact["rephrase"], fact["alt"]),
        ("locality", "en", fact["loc"].removeprefix("nq question: "), fact["loc_ans"]),
    ]


def test_a_validation_file_comes_first_in_either_language(facts_dir: Path) -> None:
    for task_name, file, language in (
        ("bizsre_en2zh", "zsre_mend_eval.json", "en"),
        ("bizsre_zh2en", "zsre_mend_eval_chinese.json", "zh"),
    ):
        write_facts(facts_dir, file, records(language)[100:110])
        task = tuning_task(load_task(task_name, data_dir=facts_dir), 3)
        assert [case.edit.prompt for case in task] == [fact["src"] for fact in records(language)[100:103]]
        assert {probe.language for case in task for probe in case.probes} == {language}
        assert facts_of(task).record(learns=False)["source"] == VALIDATION
        assert facts_of(task).record(learns=False)["file"] == file


@pytest.mark.parametrize("validation", [False, True])
def test_no_training_fact_has_a_question_or_a_subject_of_theirs(facts_dir: Path, validation: bool) -> None:
    facts = records()
    held = facts[50:60] if validation else facts[-10:]
    others = [
        {**facts[0], "rephrase": held[3]["src"]},
        {**facts[1], "loc": held[4]["loc"]},
        {**facts[2], "src": held[5]["rephrase"]},
        {**facts[3], "loc": held[6]["src"]},
        {**facts[4], "subject": held[7]["subject"]},
    ]
    write_facts(facts_dir, "zsre_mend_train_10000.json", [*others, *facts])
    if validation:
        write_facts(facts_dir, "zsre_mend_eval.json", held)
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    task = tuning_task(plain, 10)
    assert [case.edit.prompt for case in task] == [fact["src"] for fact in held]
    left = {case.id for case in task.training.cases}
    own = [str(5 + facts.index(fact)) for fact in held]
    near = [case.id for case in plain.training.cases if case.id not in left]
    assert near == ["0", "1", "2", "3", "4", *own]
    assert task.training.sha256 != plain.training.sha256
    assert facts_of(task).record(learns=True)["learned_from"] == {
        "file": "zsre_mend_train_10000.json",
        "facts": len(left),
        "left_out": len(near),
    }


def test_a_question_in_another_spelling_is_the_same_question(facts_dir: Path) -> None:
    facts = [{"src": f"Who made {i}?", "alt": "Ada", "subject": ""} for i in range(6)]
    again = {"src": "who made  5 ?", "alt": "Bo", "subject": ""}
    write_facts(facts_dir, "zsre_mend_train_10000.json", [again, *facts])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2)
    assert [case.edit.prompt for case in task] == ["Who made 4?", "Who made 5?"]
    assert [case.edit.prompt for case in task.training.cases] == [f"Who made {i}?" for i in range(4)]


def test_facts_with_all_questions_come_before_others_and_none_twice(facts_dir: Path) -> None:
    full = records()[:3]
    bare = [{"src": f"Who made {i}?", "alt": "Ada"} for i in range(3)]
    write_facts(facts_dir, "zsre_mend_train_10000.json", [*full, full[1], *bare])
    task = tuning_task(load_task("bizsre_en2zh", data_dir=facts_dir), 2)
    assert [(case.id, case.edit.prompt) for case in task] == [("2", full[2]["src"]), ("3", full[1]["src"])]


def test_facts_on_both_sides_are_left_out_of_parallel_training(facts_dir: Path) -> None:
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    task = tuning_task(plain, 10)
    assert {case.id for case in task.parallel_training.cases} == {case.id for case in task.training.cases}
    assert len(task.parallel_training.cases) < len(plain.parallel_training.cases)


def test_another_number_of_facts_has_another_hash(facts_dir: Path) -> None:
    plain = load_task("bizsre_en2zh", data_dir=facts_dir)
    hashes = [tuning_task(plain, limit).test.sha256 for limit in (3, 4, 3)]
    assert hashes[0] == hashes[2] != hashes[1]


def test_the_test_file_is_never_read(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't there in any other test of this file; here it is, and reading it raises."""
    write_facts(tmp_path / "data", "bizsre_test.json", [])
    monkeypatch.setattr("xkeb.data.parallel.read_test", lambda *_: pytest.fail("the test file is read"))
    grid = {"layer": [2], "steps": [2]}
    assert tune(replace(config, methods=["ft"]), grid, tmp_path / "out.yaml").chosen == 0
    learns = replace(config, methods=["mend"], method_args=SMALL_MEND)
    assert tune(learns, {"lr": [1e-4]}, tmp_path / "mend.yaml").chosen == 0


# What a method sees ------------------------------------------------------------------------------------------------------


def test_the_demonstrations_of_a_fact_hold_no_fact_that_is_asked(
    config: RunConfig, llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: dict[str, str] = {}
    real = InContext.context

    def context(self: InContext, edit: Edit, shown: str) -> str | dict[str, str]:
        contexts[edit.prompt] = shown
        return real(self, edit, shown)

    monkeypatch.setattr(InContext, "context", context)
    tuning = tune(replace(config, methods=["ike"]), {"k": [4]}, tmp_path / "out.yaml")
    assert tuning.points[0].failure is None
    held = records()[-4:]
    assert sorted(contexts) == sorted(fact["src"] for fact in held)
    assert all(text.count("New Fact: ") == 4 for text in contexts.values())
    asked = [fact[key] for fact in held for key in ("src", "rephrase", "loc")]
    assert not [question for text in contexts.values() for question in asked if question in text]

    plain = load_task("bizsre_en2zh", data_dir=config.data_dir)  # with all facts, each is its own demonstration
    editor = prepare(xkeb.load_editor("ike", k=4), llama, plain.training.cases)
    editor.edit(llama, [case.edit for case in plain.training.cases[-4:]])
    assert all(question in text for question, text in contexts.items())


def test_networks_learn_from_no_fact_that_is_asked(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Sequence[Case]] = []
    real = Mend.fit

    def fit(self: Mend, backbone: Backbone, cases: Sequence[Case]) -> None:
        shown.append(cases)
        real(self, backbone, cases)

    monkeypatch.setattr(Mend, "fit", fit)
    tune(replace(config, methods=["mend"], method_args=SMALL_MEND), {"edit_lr": [1e-4, 1e-3]}, tmp_path / "out.yaml")
    assert len(shown) == 2
    held = {fact[key] for fact in records()[-4:] for key in ("src", "rephrase", "loc")}
    for cases in shown:
        assert len(cases) > 200
        assert not held & set().union(*(questions(case) for case in cases))


# What is measured --------------------------------------------------------------------------------------------------------


def answer(backbone: Backbone, question: str, target: str, language: str) -> tuple[list[int], list[int]]:
    """What the model says at each token of the target, and the target, both as tokens: one text at a time."""
    text = backbone.encode(question, target, language)
    with torch.no_grad():
        logits = backbone.model(torch.tensor([text.ids[:-1]])).logits[0, text.target - 1 :]
    ids = logits.argmax(-1).tolist()
    said = str(backbone.tokenizer.decode(ids)).strip()
    return ids if "\ufffd" in said else bag(backbone, said), bag(backbone, target)


def bag(backbone: Backbone, text: str) -> list[int]:
    """The tokens of a text, but for a space at its start."""
    ids: list[int] = backbone.tokenizer(text, add_special_tokens=False).input_ids
    return ids[1:] if len(ids) > 1 and not str(backbone.tokenizer.decode(ids[:1])).strip() else ids


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """F1 of two bags."""
    common = sum((Counter(one) & Counter(other)).values())
    return 100 * (float(one == other) if not common else 2 * common / (len(one) + len(other)))


def by_hand(backbone: Backbone, method: str, options: Mapping[str, Any], n: int) -> dict[str, float]:
    """The means of a point, fact by fact, from the records themselves."""
    editor = xkeb.load_editor(method, **options).configure(backbone.spec)
    scores: dict[str, list[float]] = {"reliability": [], "generality": [], "locality": []}
    for fact in records()[-n:]:
        before, _ = answer(backbone, fact["loc"], fact["loc_ans"], "en")
        (change,) = editor.edit(backbone, [Edit(fact["src"], fact["alt"], "en", fact["subject"])])
        with change.applied(backbone):
            scores["reliability"].append(overlap(*answer(backbone, fact["src"], fact["alt"], "en")))
            scores["generality"].append(overlap(*answer(backbone, fact["rephrase"], fact["alt"], "en")))
            after, _ = answer(backbone, fact["loc"], fact["loc_ans"], "en")
            scores["locality"].append(overlap(after, before))
    return {name: fmean(values) for name, values in scores.items()}


@pytest.mark.parametrize(
    ("method", "fixed", "grid"),
    [
        ("ft", {"ft.steps": 3}, {"layer": [1, 4], "lr": [0.005, 0.05]}),
        ("rome", {"rome.contexts": [[3, 2]]}, {"layer": [1, 3]}),
    ],
)
def test_the_table_is_that_of_a_plain_loop(
    config: RunConfig, llama: Backbone, tmp_path: Path, method: str, fixed: dict[str, Any], grid: dict[str, list[Any]]
) -> None:
    tuning = tune(replace(config, methods=[method], method_args=fixed), grid, tmp_path / "out.yaml")
    lrs = grid.get("lr", [None])
    expected = [
        {"layer": layer} | ({} if lr is None else {"lr": lr}) for layer in grid["layer"] for lr in lrs
    ]  # the last option changes first
    assert [point.settings for point in tuning.points] == expected
    for point in tuning.points:
        own = {name.partition(".")[2]: value for name, value in fixed.items()}
        wanted = by_hand(llama, method, {**own, **point.settings}, 4)
        assert dict(point.means) == pytest.approx(wanted, abs=1e-6)
        assert point.score == pytest.approx(fmean(wanted.values()))
        assert (point.facts, point.failure) == (4, None)
    scores = [point.score or 0 for point in tuning.points]
    assert len(set(scores)) > 1
    assert tuning.chosen == scores.index(max(scores))


def test_several_tasks_are_averaged_and_each_is_told(config: RunConfig, tmp_path: Path) -> None:
    both = replace(config, tasks=["bizsre"], method_args={"ft.steps": 3})
    (point,) = tune(both, {"layer": [2]}, tmp_path / "both.yaml").points
    assert list(point.tasks) == ["bizsre_en2zh", "bizsre_zh2en"]
    for name, mean in point.means.items():
        assert mean == pytest.approx(fmean(of_task[name] for of_task in point.tasks.values()))
    for task, found in point.tasks.items():
        (alone,) = tune(replace(both, tasks=[task]), {"layer": [2]}, tmp_path / f"{task}.yaml").points
        assert found == alone.means
    assert point.facts == 8


def test_what_the_facts_have_no_question_for_is_left_out_of_the_score(config: RunConfig, tmp_path: Path) -> None:
    bare = [{key: fact[key] for key in ("subject", "src", "alt", "rephrase")} for fact in records()]
    write_facts(tmp_path / "data", "zsre_mend_train_10000.json", bare)
    (point,) = tune(config, {"layer": [2]}, tmp_path / "out.yaml").points
    assert list(point.means) == ["reliability", "generality"]
    assert point.score == pytest.approx(fmean(point.means.values()))


def test_a_task_in_which_nothing_can_be_edited_does_not_count(config: RunConfig, tmp_path: Path) -> None:
    """ROME needs the subject, which the Chinese training file of the full data set lacks."""
    without = [{key: value for key, value in fact.items() if key != "subject"} for fact in records("zh")]
    write_facts(tmp_path / "data", "zsre_mend_train_10000_chinese.json", without)
    rome = replace(config, methods=["rome"], method_args={"rome.contexts": [[3, 2]]}, tasks=["bizsre"])
    (point,) = tune(rome, {"layer": [2]}, tmp_path / "out.yaml").points
    assert (list(point.tasks), point.facts) == (["bizsre_en2zh"], 4)
    tuning = tune(replace(rome, tasks=["bizsre_zh2en"]), {"layer": [2]}, tmp_path / "zh.yaml")
    assert tuning.chosen is None
    assert str(tuning.points[0].failure).startswith("It can edit none of the facts; the first: the subject ''")


# What is chosen ----------------------------------------------------------------------------------------------------------


def made(score: float | None, facts: int = 4) -> PointRecord:
    failure = "no" if score is None else None
    return PointRecord(settings={}, facts=facts, means={}, tasks={}, score=score, seconds=0.0, failure=failure)


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ([made(1.0), made(3.0), made(2.0)], 1),
        ([made(1.0), made(3.0), made(3.0)], 1),
        ([made(None), made(0.0)], 1),
        ([made(50.0, 4), made(90.0, 3)], 0),
        ([made(None), made(None)], None),
    ],
    ids=["best", "first of equal ones", "not one that failed", "not one of fewer facts", "none"],
)
def test_the_choice(points: list[PointRecord], chosen: int | None) -> None:
    assert choose(points) == chosen


def test_a_point_that_fails_is_a_row_with_its_reason(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_changes(editor: Any, backbone: Any, edits: Any) -> Any:
        if editor.layer == 1:
            raise torch.OutOfMemoryError("no memory is left")
        if editor.layer == 3:
            raise ZeroDivisionError
        return real_changes(editor, backbone, edits)

    monkeypatch.setattr("xkeb.evaluation.runner.make_changes", make_changes)
    output = tmp_path / "out.yaml"
    tuning = tune(config, {"layer": [1, 2, 3, 99]}, output)
    assert tuning.chosen == 1
    reasons = [point.failure for point in tuning.points]
    assert str(reasons[0]).startswith("Memory ran out with case ") and reasons[1] is None
    assert reasons[2:] == ["ZeroDivisionError.", "ft.layer is 99; 'llama' has layers 0 to 5."]
    table = yaml.safe_load(output.read_text())["table"]
    assert [row["failure"] for row in table] == reasons
    assert [row["chosen"] for row in table] == [False, True, False, False]
    lines = output.with_name("out.yaml.jsonl").read_text().splitlines()
    assert [json.loads(line)["point"]["settings"] for line in lines] == [{"layer": 2}]


def test_where_all_fail_nothing_is_written_and_no_model_is_loaded(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkeb.evaluation.tuning.search.load_backbone", lambda *_, **__: pytest.fail("it is loaded"))
    tuning = tune(config, {"layer": [98, 99]}, tmp_path / "out.yaml")
    assert tuning.chosen is None and all(point.failure for point in tuning.points)
    assert not list(tmp_path.glob("out.yaml*"))


def test_a_training_file_that_is_missing_is_said_at_once(config: RunConfig, tmp_path: Path) -> None:
    """Also where the validation file is there: without it the method learns from nothing."""
    write_facts(tmp_path / "data", "zsre_mend_eval.json", records()[:10])
    (tmp_path / "data" / "bizsre" / "zsre_mend_train_10000.json").unlink()
    with pytest.raises(NotHereError, match=r"lacks zsre_mend_train_10000\.json"):
        tune(replace(config, methods=["mend"], method_args=SMALL_MEND), {"lr": [1e-4]}, tmp_path / "out.yaml")
    assert tune(config, {"layer": [2]}, tmp_path / "out.yaml").chosen == 0


# The file, and going on --------------------------------------------------------------------------------------------------


def contents(path: Path) -> Any:
    """Of a settings file, but for what a clock says."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for row in values["table"]:
        del row["seconds"]
    del values["date"]
    return values


def test_the_file_says_where_its_settings_come_from(config: RunConfig, llama: Backbone, tmp_path: Path) -> None:
    fixed = replace(config, method_args={"ft.steps": "3"}, seed=7, command="xkeb tune ..", metrics=["em"])
    tuning = tune(fixed, {"layer": [1, 2]}, tmp_path / "out.yaml")
    found = contents(tmp_path / "out.yaml")
    assert tuning.chosen is not None
    assert (found["method"], found["settings"]) == ("ft", {"steps": 3, **tuning.points[tuning.chosen].settings})
    assert (found["model"]["name"], found["model"]["sha256"]) == ("llama", llama.sha256)
    assert (found["metric"], found["seed"], found["command"]) == ("em", 7, "xkeb tune ..")
    assert found["formula"].startswith("score = mean of reliability, generality and locality")
    assert found["environment"]["xkeb"] == xkeb.__version__
    (facts,) = found["facts"]
    ids = [str(i) for i in range(len(records()) - 4, len(records()))]
    assert (facts["source"], facts["ids"], facts["count"]) == (HELD_OUT, ids, 4)
    assert facts["file_sha256"] == load_task("bizsre_en2zh", data_dir=config.data_dir).training.sha256
    assert [row["settings"] for row in found["table"]] == [{"layer": 1}, {"layer": 2}]


def test_a_tuning_that_was_killed_goes_on_to_the_same_file(config: RunConfig, tmp_path: Path) -> None:
    grid = {"layer": [1, 2, 3]}
    tune(config, grid, tmp_path / "whole.yaml")

    def stop(point: PointRecord, number: int, total: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    output = tmp_path / "again.yaml"
    with pytest.raises(KeyboardInterrupt):
        tune(config, grid, output, report=stop)
    assert not output.exists()
    journal = tmp_path / "again.yaml.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"key": "cut sh')  # as the process may have left it
    jobs = Jobs()
    tune(config, grid, output, jobs)
    assert [options["layer"] for options in jobs.started] == [3]
    assert contents(output) == contents(tmp_path / "whole.yaml")
    again = Jobs()
    tune(config, grid, output, again)
    assert again.started == []
    assert contents(output) == contents(tmp_path / "whole.yaml")


@pytest.mark.parametrize(
    "changes",
    [{"limit": 3}, {"metrics": ["em"]}, {"method_args": {"ft.steps": 2}}, {"seed": 1, "method_args": {"ft.lr": 0.1}}],
    ids=str,
)
def test_points_of_other_settings_are_tried_again(config: RunConfig, tmp_path: Path, changes: dict[str, Any]) -> None:
    tune(config, {"layer": [2]}, tmp_path / "out.yaml")
    jobs = Jobs()
    tune(replace(config, **changes), {"layer": [2]}, tmp_path / "out.yaml", jobs)
    assert len(jobs.started) == 1


def test_a_grid_that_grows_keeps_what_is_done_and_fresh_starts_over(config: RunConfig, tmp_path: Path) -> None:
    tune(config, {"layer": [2]}, tmp_path / "out.yaml")
    jobs = Jobs()
    usual = xkeb.load_editor("ft").configure(xkeb.load_backbone("hf", path=config.model_args["path"]).spec)
    steps = usual.steps  # type: ignore[attr-defined]
    tuning = tune(config, {"layer": [1, 2], "steps": [steps]}, tmp_path / "out.yaml", jobs)
    assert [options["layer"] for options in jobs.started] == [1]
    assert [point.settings for point in tuning.points] == [{"layer": 1, "steps": steps}, {"layer": 2, "steps": steps}]
    fresh = Jobs()
    tune(replace(config, overwrite=True), {"layer": [2]}, tmp_path / "out.yaml", fresh)
    assert len(fresh.started) == 1


def test_files_of_something_else_are_left_as_they_are(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("mine: true\n")
    (tmp_path / "out.yaml.jsonl").write_text('{"mine": true}\n')
    for name, message in (("notes.yaml", "is no settings file"), ("out.yaml", r"out\.yaml\.jsonl:1 is no point")):
        with pytest.raises(RequestError, match=message):
            tune(config, {"layer": [2]}, tmp_path / name)
    assert (tmp_path / "notes.yaml").read_text() == "mine: true\n"
    assert (tmp_path / "out.yaml.jsonl").read_text() == '{"mine": true}\n'


def test_two_processes_do_not_write_one_file(config: RunConfig, tmp_path: Path) -> None:
    messages = []

    def another(point: PointRecord, number: int, total: int) -> None:
        with pytest.raises(RequestError, match="Another process is writing") as refused:
            tune(config, {"layer": [2]}, tmp_path / "out.yaml")
        messages.append(refused)

    tuning: Tuning = tune(config, {"layer": [1]}, tmp_path / "out.yaml", report=another)
    assert tuning.chosen == 0 and len(messages) == 1
