"""The table of a tuning: what is measured, and what is chosen."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from made_results import result
from tuning_data import SMALL_MEND, records, replace, write_facts

import xkeb
from xkeb.cli.tuning_display import show_tuning
from xkeb.editing.editor import make_changes as real_changes
from xkeb.errors import NotHereError, RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.tuning import PointRecord, Tuning, tune
from xkeb.evaluation.tuning.points import choose, measured_point
from xkeb.models.backbone import Backbone
from xkeb.results.fields import validated
from xkeb.results.result import Result
from xkeb.types import Edit

pytest_plugins = ("tuning_data",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def answer(backbone: Backbone, question: str, target: str, language: str) -> tuple[list[int], list[int]]:
    """What the model says at each token of the target, and the target, both as tokens: one text at a time."""
    text = backbone.encode(question, target, language)
    with torch.no_grad():
        logits = backbone.model(torch.tensor([text.ids[:-1]])).logits[0, text.target - 1 :]
    ids = logits.argmax(-1).tolist()
    ids = [token for token in ids if token not in backbone.tokenizer.all_special_ids]
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


def by_hand(
    backbone: Backbone, method: str, options: Mapping[str, Any], n: int, *, cross_lingual: bool = False
) -> dict[str, float]:
    """The means of a point, fact by fact, from the records themselves."""
    editor = xkeb.load_editor(method, **options).configure(backbone.spec)
    scores: dict[str, list[float]] = defaultdict(list)
    languages = {"": "en", "other_": "zh"} if cross_lingual else {"": "en"}
    for facts in zip(*(records(language)[-n:] for language in languages.values()), strict=True):
        asked = [(name, language, fact) for (name, language), fact in zip(languages.items(), facts, strict=True)]
        before = [answer(backbone, fact["loc"], fact["loc_ans"], language)[0] for _, language, fact in asked]
        _, _, own = asked[0]
        (change,) = editor.edit(backbone, [Edit(own["src"], own["alt"], "en", own["subject"])])
        with change.applied(backbone):
            scores["reliability"].append(overlap(*answer(backbone, own["src"], own["alt"], "en")))
            for (name, language, fact), said in zip(asked, before, strict=True):
                scores[f"{name}generality"].append(overlap(*answer(backbone, fact["rephrase"], fact["alt"], language)))
                after, _ = answer(backbone, fact["loc"], fact["loc_ans"], language)
                silent = not any(sign.isalnum() for sign in str(backbone.tokenizer.decode(said)))
                scores[f"{name}locality"] += [] if silent else [overlap(after, said)]
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


def test_what_crosses_counts_where_it_is_asked(config: RunConfig, llama: Backbone, tmp_path: Path) -> None:
    tuning = tune(
        replace(config, method_args={"ft.steps": 3}),
        {"layer": [1, 4], "lr": [0.01]},
        tmp_path / "out.yaml",
        cross_lingual=True,
    )
    for point in tuning.points:
        wanted = by_hand(llama, "ft", {"steps": 3, **point.settings}, 4, cross_lingual=True)
        assert dict(point.means) == pytest.approx(wanted, abs=1e-6)
        assert list(point.means) == ["reliability", "generality", "locality", "other_generality", "other_locality"]
        assert point.score == pytest.approx(fmean(wanted.values()))
    found = yaml.safe_load((tmp_path / "out.yaml").read_text(encoding="utf-8"))
    assert "and of generality and locality in the others" in found["formula"]
    assert found["facts"][0]["also_asked_in"] == ["zh"]


def test_a_method_that_is_told_the_answer_is_told_it_of_the_facts(config: RunConfig, tmp_path: Path) -> None:
    told = replace(config, methods=["ike-published"], method_args={})
    with pytest.raises(RequestError, match=r"'ike-published' is told the answer .*: add --cross-lingual\.$"):
        tune(told, {"k": [0]}, tmp_path / "out.yaml")
    (point,) = tune(told, {"k": [0]}, tmp_path / "out.yaml", cross_lingual=True).points
    assert point.failure is None and "other_generality" in point.means


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


def test_the_questions_that_locality_leaves_out_are_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Two tasks, of which one has only such questions in the other language."""
    made = []
    for source, target, counts in (("en", "zh", {"en": 1, "zh": 4}), ("zh", "en", {"zh": 2})):
        one = result(f"bizsre_{source}2{target}", source=source, target=target)
        one["blank"] = {
            code: {"n": n, "scores": one["scores"]["locality"][code], "echoes": 0} for code, n in counts.items()
        }
        if counts.get(target) == 4:
            del one["scores"]["locality"][target]
        made.append(validated(Result, one))
    point = measured_point({"layer": 1}, made[:1], "f1")
    assert point.left_out == {"locality": (1, 4), "other_locality": (4, 4)} and "other_locality" not in point.means
    both = measured_point({"layer": 1}, made, "f1")
    assert both.left_out == {"locality": (3, 8), "other_locality": (4, 4)}
    show_tuning(Tuning(Path("out.yaml"), "llama", [point], 0, []), "ft", "f1")
    said = capsys.readouterr().out
    assert "Locality: 1 of 4 questions are left out, which the model answers with nothing.\n" in said
    assert "Other locality: 4 of 4 questions are left out, which the model answers with nothing. So the score" in said


def test_such_questions_are_counted_where_the_metric_has_no_score_of_them() -> None:
    one = result()
    del one["scores"]["locality"]["zh"]
    one["blank"] = {"zh": {"n": 3, "scores": {}, "echoes": 0}}
    point = measured_point({"layer": 1}, [validated(Result, one)], "f1")
    assert point.left_out == {"other_locality": (3, 3)}


def test_a_task_in_which_nothing_can_be_edited_does_not_count(config: RunConfig, tmp_path: Path) -> None:
    """ROME needs the subject, which the Chinese training file of the full data set lacks."""
    without = [{key: value for key, value in fact.items() if key != "subject"} for fact in records("zh")]
    write_facts(tmp_path / "data", "zsre_mend_train_10000_chinese.json", without)
    rome = replace(config, methods=["rome"], method_args={"rome.contexts": [[3, 2]]}, tasks=["bizsre"])
    (point,) = tune(rome, {"layer": [2]}, tmp_path / "out.yaml").points
    assert (list(point.tasks), point.facts) == (["bizsre_en2zh"], 4)
    assert point.edited == {"bizsre_en2zh": 4, "bizsre_zh2en": 0}
    assert point.refused["bizsre_zh2en"].startswith("it has no subject")
    tuning = tune(replace(rome, tasks=["bizsre_zh2en"]), {"layer": [2]}, tmp_path / "zh.yaml")
    assert tuning.chosen is None
    assert str(tuning.points[0].failure).startswith("It can edit none of the facts; the first: it has no subject")


# What is chosen ----------------------------------------------------------------------------------------------------------


def made(score: float | None, facts: int = 4) -> PointRecord:
    failure = "no" if score is None else None
    edited = {} if score is None else {"one": 1, "other": facts - 1}
    return PointRecord(
        settings={}, edited=edited, refused={}, means={}, tasks={}, score=score, seconds=0.0, failure=failure
    )


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

    monkeypatch.setattr("xkeb.evaluation.worker.make_changes", make_changes)
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
