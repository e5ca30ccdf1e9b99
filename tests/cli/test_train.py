"""``xkeb train``: what it learns is what ``xkeb run`` then finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xkeb.editing.training import TrainingError
from xkeb_plugins.methods.rome import Rome

pytest_plugins = ("command_line",)

SMALL = "mend.rank=4,mend.steps=2,mend.batch_size=4,mend.validate_every=1,mend.validation=3"


@pytest.fixture
def train(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path], fresh_cache: Path) -> Callable[..., Any]:
    def run(*arguments: object) -> Any:
        model = f"path={tiny_folders['llama']}"
        return xkeb_cli(
            "train", "--tasks", "bizsre_mini_en2zh", "--model", "hf", "--model-args", model, "--train-size", "30", *arguments
        )  # fmt: skip

    return run


def test_a_run_uses_what_was_trained(
    train: Callable[..., Any],
    xkeb_cli: Callable[..., Any],
    options: dict[str, str],
    fresh_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcome = train("--method", "mend", "--method-args", SMALL)
    assert outcome.status == 0, outcome.err
    assert "bizsre_mini_en2zh / llama / mend: 30 facts" in outcome.out
    assert str(fresh_cache) in outcome.out
    (artifact,) = (fresh_cache / "mend").glob("*.safetensors")
    made = artifact.stat().st_mtime_ns
    options |= {"methods": "mend", "method-args": SMALL, "train-size": "30"}
    ran = xkeb_cli("run", *(part for key, value in options.items() for part in (f"--{key}", value)))
    assert ran.status == 0, ran.err
    assert "30 training facts with a rephrase and an unrelated question" in ran.err
    assert [path.stat().st_mtime_ns for path in (fresh_cache / "mend").glob("*.safetensors")] == [made]
    result = json.loads(next(Path(options["output"]).rglob("result.json")).read_text())
    assert result["method"]["train_size"] == 30
    assert len(result["method"]["training_sha256"]) == 64
    assert result["method"]["params"]["layers"] == [3, 4, 5]


def test_another_train_size_is_another_setting(
    train: Callable[..., Any], xkeb_cli: Callable[..., Any], options: dict[str, str], fresh_cache: Path
) -> None:
    options |= {"methods": "mend", "method-args": SMALL, "train-size": "30"}

    def run() -> Any:
        return xkeb_cli("run", *(part for key, value in options.items() for part in (f"--{key}", value)))

    assert run().status == 0
    options["train-size"] = "20"
    outcome = run()
    assert outcome.status == 2 and "other settings" in outcome.err
    options["output"] += "-20"
    assert run().status == 0
    assert len(list((fresh_cache / "mend").glob("*.safetensors"))) == 2


def test_training_facts_that_lack_something_are_refused_before_anything_is_loaded(
    xkeb_cli: Callable[..., Any], options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with questions and answers alone is enough for in-context editing, and not for MEND."""
    source = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini"
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    (folder / "bizsre_test.json").write_bytes((source / "bizsre_mini_test.json").read_bytes())
    facts = json.loads((source / "bizsre_mini_train.json").read_text(encoding="utf-8"))
    bare = [{key: fact[key] for key in ("subject", "src", "alt")} for fact in facts]
    (folder / "zsre_mend_train_10000.json").write_text(json.dumps(bare), encoding="utf-8")
    options |= {"tasks": "bizsre_en2zh", "methods": "mend", "data-dir": str(tmp_path / "data")}
    monkeypatch.setattr(
        "xkeb.evaluation.executors.shared_model.load_backbone", lambda *_, **__: pytest.fail("it is loaded")
    )
    outcome = xkeb_cli("run", *(part for key, value in options.items() for part in (f"--{key}", value)))
    assert outcome.status == 2
    assert "'mend' learns from facts with a rephrase and an unrelated question; none of the" in outcome.err
    assert "zsre_mend_train_10000.json has that" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "mned"), "did you mean 'mend'"),
        (("--method", "mend", "--train-size", "0"), "--train-size must be at least 1, not 0."),
        (("--method", "mend", "--train-size", "9"), "9 training facts are too few"),
        (("--method", "mend", "--method-args", "mend.rnak=3"), "did you mean 'rank'"),
    ],
)
def test_a_training_that_is_asked_for_wrongly(
    train: Callable[..., Any], arguments: tuple[str, ...], message: str
) -> None:
    outcome = train(*arguments)
    assert outcome.status == 2
    assert message in outcome.err


def test_a_method_that_learns_nothing_is_refused_before_anything_is_loaded(
    train: Callable[..., Any], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "xkeb.evaluation.executors.shared_model.load_backbone", lambda *_, **__: pytest.fail("it is loaded")
    )
    outcome = train("--methods", "mend,ft", "--method-args", SMALL)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "xkeb: Method 'ft' learns nothing on 'llama' with these options.\n"
    assert not fresh_cache.exists()


def test_training_needs_no_test_file(
    xkeb_cli: Callable[..., Any],
    tiny_folders: dict[str, Path],
    fresh_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    source = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_train.json"
    folder = tmp_path / "data" / "bizsre"
    folder.mkdir(parents=True)
    (folder / "zsre_mend_train_10000.json").write_bytes(source.read_bytes())
    outcome = xkeb_cli(
        "train", "--tasks", "bizsre_en2zh", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "mend", "--method-args", SMALL, "--train-size", "30", "--data-dir", tmp_path / "data",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert "bizsre_en2zh / llama / mend: 30 facts" in outcome.out
    assert len(list((fresh_cache / "mend").glob("*.safetensors"))) == 1


def test_one_training_that_fails_costs_no_other(
    train: Callable[..., Any], fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object) -> None:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(Rome, "fit", fit)
    outcome = train("--methods", "rome,mend", "--method-args", f"rome.mom2_adjustment=true,{SMALL}")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == "xkeb: bizsre_mini_en2zh / llama / rome: the loss is nan"
    assert len(list((fresh_cache / "mend").glob("*.safetensors"))) == 1
    assert "bizsre_mini_en2zh / llama / mend: 30 facts" in outcome.out
