"""A plugin package that somebody else wrote, installed from its wheel beside ours: what it registers is listed, runs and is
scored, and what is wrong with a third one is told without spoiling either."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from built_wheel import Clean, build

PACKAGE = Path(__file__).parent / "third_party"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel. It is built from a copy: pip leaves files beside a source."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    return build(source, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def clean(clean_environment: Callable[[], Clean], package: Path) -> Clean:
    """An environment with two wheels, xkeb's and the package's, away from any checkout."""
    made = clean_environment()
    made.install(package)
    return made


@pytest.fixture(scope="module")
def xkeb_with_it(clean: Clean) -> Run:
    """``xkeb`` as it is installed there."""

    def run(*arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        return clean.run("xkeb", *arguments, path=path)

    return run


def test_nothing_of_it_comes_from_the_checkout(clean: Clean) -> None:
    script = (
        "import sys, xkeb, xkeb_plugins, xkeb_tasks, xkeb_third_party\n"
        "print(*(module.__file__ for module in (xkeb, xkeb_plugins, xkeb_tasks, xkeb_third_party)))\n"
        "print(*sys.path)"
    )
    files, path = clean.run("python", "-c", script).stdout.splitlines()
    assert all(Path(file).is_relative_to(clean.bin.parent) for file in files.split())
    assert str(PACKAGE.parent.parent) not in path.split()


def test_a_whole_method_fits_in_25_lines() -> None:
    lines = (PACKAGE / "xkeb_third_party" / "tune.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 25


def test_what_it_registers_is_listed_under_its_name(xkeb_with_it: Run) -> None:
    listed = json.loads(xkeb_with_it("ls", "--json").stdout)
    rows = {(kind, row["name"]): row for kind, found in listed.items() for row in found}
    for kind, name, plugin in (
        ("methods", "tune", "tune"),
        ("methods", "mute", "mute"),
        ("models", "ears", "ears"),
        ("languages", "eo", "esperanto"),
        ("pairs", "en-eo", "esperanto"),
        ("metrics", "shouted", "esperanto"),
        ("datasets", "capitals", "esperanto"),
        ("executors", "backwards", "watch"),
        ("observers", "count", "watch"),
    ):
        assert rows[kind, name]["plugin"] == plugin
    assert rows["tasks", "capitals_en2eo"] == {
        "name": "capitals_en2eo",
        "dataset": "capitals",
        "pair": "en-eo",
        "version": 3,
        "description": "Edit in English, ask in English and Esperanto",
    }
    assert rows["methods", "tune"]["description"].startswith("Tune: a few steps of gradient descent")
    assert {name for kind, name in rows if kind == "plugins"} >= {
        "tune",
        "mute",
        "ears",
        "esperanto",
        "xkeb_plugins.methods",
    }
    assert ("methods", "rome") in rows


@pytest.fixture(scope="module")
def finished(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One run of its methods beside a built-in one, on its own task, with its own metric."""
    output = tmp_path_factory.mktemp("results")
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2eo", "--model", "hf,ears", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "tune,mute,ft", "--method-args", "tune.steps=2", "--metrics", "f1,shouted", "--output", output,
    )  # fmt: skip
    return done, output / "capitals_en2eo" / "llama"


def result(folder: Path, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / method / "result.json").read_text(encoding="utf-8"))
    return found


def lines(folder: Path, method: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / method / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


def test_its_methods_run_beside_a_built_in_one(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = finished
    assert done.returncode == 0, done.stderr
    for method in ("tune", "mute", "ft"):
        found = result(folder, method)
        assert found["method"]["name"] == method
        assert found["task"]["version"] == 3
        assert found["case_ids"] == ["0", "1"]
        assert found["skipped"] == [{"case_id": "2", "reason": "en: empty alt"}]
        assert set(found["scores"]["generality"]) == {"en", "eo"}
        assert set(found["scores"]["reliability"]["en"]) == {"f1", "shouted"}
    assert result(folder, "tune")["method"]["params"] == {"layer": 2, "steps": 2, "lr": 0.1}
    assert result(folder, "mute")["method"]["params"] == {"layer": 1, "broken": False}
    assert "generality.eo.f1" in done.stdout


def test_an_opaque_change_is_at_work_in_its_own_case(
    finished: tuple[subprocess.CompletedProcess[str], Path], tiny_folders: dict[str, Path]
) -> None:
    """Both cases are edited in one batch, but a change that has only `applied` is seen by its own case alone."""
    import xkeb
    from xkeb.models.prediction import predict
    from xkeb.types import Query

    _, folder = finished
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    english = xkeb.Language("en", "English", str.split)
    for line in lines(folder, "mute"):
        factor = -len(line["edit"]["target"])
        module = backbone.module(backbone.layout.down(1))
        handle = module.register_forward_hook(lambda _m, _i, output, factor=factor: output * factor)
        asked = [probe for probe in line["probes"] if probe["language"] == english.code]
        expected = predict(backbone, [Query(probe["prompt"], probe["reference"], "en") for probe in asked])
        handle.remove()
        assert [probe["after"] for probe in asked] == [answer.text for answer in expected]
        assert any(probe["after"] != probe["before"] for probe in asked)


def test_its_observer_watches_and_its_executor_runs(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2eo", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "mute,tune", "--output", tmp_path, "--executor", "backwards", "--observe", "count",
        "--observer-args", "count.unit=facts",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "4 facts edited" in done.stdout.splitlines()
    assert re.findall(r"^capitals_en2eo / llama / (\w+): 2 cases in ", done.stderr, re.MULTILINE) == ["tune", "mute"]


def test_a_method_that_raises_costs_its_own_cell(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2eo", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "mute,tune", "--method-args", "mute.broken=true", "--limit", "1", "--output", tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r"^xkeb: capitals_en2eo / llama / mute: .*this plugin is broken$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    folder = tmp_path / "capitals_en2eo" / "llama"
    assert not (folder / "mute" / "result.json").exists()
    assert result(folder, "tune")["case_ids"] == ["0"]


def test_a_misspelt_option_of_its_method_is_named(xkeb_with_it: Run, tiny_folders: dict[str, Path]) -> None:
    done = xkeb_with_it(
        "run", "--tasks", "capitals_en2eo", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--methods", "tune", "--method-args", "tune.stepz=1",
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "xkeb: Unknown option of method 'tune': 'stepz': did you mean 'steps'?\n"


def test_its_backbone_answers_and_is_recorded(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """It reads small letters, so it is asked something else than the model of the same weights."""
    _, folder = finished
    ours, theirs = lines(folder, "ft"), lines(folder.parent / "ears", "ft")
    assert [line["case_id"] for line in theirs] == [line["case_id"] for line in ours] == ["0", "1"]
    answers = [[probe["before"] for line in found for probe in line["probes"]] for found in (ours, theirs)]
    assert answers[0] != answers[1]


HASH = """
import sys, torch, xkeb
print(*(xkeb.load_backbone(name, path=path, device="cpu").sha256 for path in sys.argv[1:] for name in ("ears", "hf")))
"""


def test_its_backbone_is_known_by_all_that_it_answers_with(clean: Clean, tiny_folders: dict[str, Path]) -> None:
    """What is learnt is kept under the hash: other weights have another, and so have the same ones with another tokenizer."""
    done = clean.run("python", "-c", HASH, tiny_folders["llama"], tiny_folders["gemma3"])
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == 4


KIT = """
from xkeb.testing import check_backbone, check_language, check_method, check_pair, check_task

def test_tune(small_backbone): check_method("tune", small_backbone)
def test_ears(small_folder): check_backbone("ears", path=str(small_folder))
def test_esperanto(): check_language("eo", "Ĉu la akvo estas blua ĉi-foje?"); check_pair("en-eo")
def test_capitals(): check_task("capitals_en2eo")
"""


def test_it_passes_the_kit(clean: Clean) -> None:
    (clean.folder / "test_it.py").write_text(KIT, encoding="utf-8")
    done = clean.run("pytest", "-q", "test_it.py")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


SPOILT = {
    "rival 2.0": "@xkeb.hookimpl\ndef register_editors(register):\n    register('mute', dict)\n    register('rome', dict)\n",
    "torn 0.1": "import a_library_that_is_not_here\n",
    "future 9.0": "@xkeb.hookimpl\ndef register_probes(register):\n    register('p', dict)\n",
}


def test_spoilt_plugins_are_told_by_their_package_and_the_rest_goes_on(
    xkeb_with_it: Run, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    for package, source in SPOILT.items():
        name, version = package.split()
        (tmp_path / f"{name}.py").write_text(f"import xkeb\n{source}")
        about = tmp_path / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[xkeb]\n{name} = {name}\n")
    one = "Two plugins register the method 'mute': 'rival' of package rival 2.0 and 'mute' of package xkeb-third-party 0.1.0."
    told = {
        f"xkeb: {one} Neither is used; uninstall one of them.",
        "xkeb: Plugin 'rival' of package rival 2.0 registers the method 'rome', which xkeb has itself; its own is used.",
        "xkeb: Plugin 'torn' of package torn 0.1 can't be imported: ModuleNotFoundError: No module named "
        "'a_library_that_is_not_here'. It is left out.",
        "xkeb: Plugin 'future' of package future 9.0 has the hook 'register_probes', which this version of xkeb does not "
        "know: the name is misspelt, or the plugin was written for a newer version; did you mean 'register_observers'? It is "
        "left out.",
    }
    run = (
        "run", "--tasks", "capitals_en2eo", "--model", "hf", "--model-args", f"path={tiny_folders['llama']}",
        "--limit", "1", "--output", tmp_path / "results",
    )  # fmt: skip
    done = xkeb_with_it(*run, "--methods", "tune,ft", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {line for line in done.stderr.splitlines() if "lugin" in line} == told
    assert result(tmp_path / "results" / "capitals_en2eo" / "llama", "tune")["case_ids"] == ["0"]
    disputed = xkeb_with_it(*run, "--methods", "mute", path=tmp_path)
    assert disputed.returncode == 1  # the packages' fault, not the request's
    assert disputed.stderr.splitlines()[-1] == f"xkeb: {one} Neither is used; uninstall one of them."
    doctor = xkeb_with_it("doctor", path=tmp_path)
    assert doctor.returncode == 1
    assert {line for line in doctor.stdout.splitlines() if line.startswith("WRONG")} == {
        line.replace("xkeb: ", "WRONG  plugins: ", 1) for line in told
    }
