"""How a checkout of EasyEdit is found, told from others and imported: with a made-up one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import EDITS, NEWER_METHODS
from made_up_easyeditor import make

import xkeb
from xkeb.editing.editor import editor_class, options_of
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone
from xkeb_plugins.methods.easyeditor import checkout as checkout_module
from xkeb_plugins.methods.easyeditor.checkout import checkout, hash_code

pytest_plugins = ("command_line",)

MAIN = "models.rome.rome_main"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "all")
    return git(folder, "rev-parse", "HEAD")


def test_two_versions_in_one_process_do_not_mix(tmp_path: Path) -> None:
    before = set(sys.modules)
    one, two = (checkout(str(make(tmp_path / name, number))) for name, number in (("one", 1.0), ("two", 2.0)))
    assert (one.module(MAIN).ADDED, two.module(MAIN).ADDED, one.module(MAIN).ADDED) == (1.0, 2.0, 1.0)
    assert one.module(MAIN) is one.module(MAIN)
    assert one.module(MAIN).ROMEHyperParams is not two.module(MAIN).ROMEHyperParams
    added = set(sys.modules) - before
    assert not added & {"easyeditor", "hydra", "matplotlib", "matplotlib.style"}
    assert all(name.startswith("_xkeb_easyeditor_") for name in added if "rome" in name)


def test_the_code_of_a_folder_without_git_is_hashed(tmp_path: Path) -> None:
    folder = make(tmp_path / "plain")
    hashed = hash_code(folder / "easyeditor")
    assert checkout(str(folder)).version == hashed
    assert hashed.startswith("sha256:") and len(hashed) == 71
    (folder / "easyeditor" / "notes.txt").write_text("no code")
    assert hash_code(folder / "easyeditor") == hashed
    assert hash_code(make(tmp_path / "same") / "easyeditor") == hashed
    (folder / "easyeditor" / "util" / "numbers.py").write_text("ADDED = 1.5\n")
    changed = hash_code(folder / "easyeditor")
    (folder / "easyeditor" / "util" / "numbers.py").rename(folder / "easyeditor" / "util" / "number.py")
    assert len({hashed, changed, hash_code(folder / "easyeditor")}) == 3


def test_a_clean_work_tree_is_named_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "clean")
    made = commit(folder)
    (folder / "README.md").write_text("not code")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert checkout(str(folder)).version == made
    assert checkout(str(folder)).name == f"EasyEdit at {made[:12]}"


@pytest.mark.parametrize("name", ["numbers.py", "new.py"])
def test_changed_or_new_code_is_no_commit_s(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "changed")
    commit(folder)
    (folder / "easyeditor" / "util" / name).write_text("ADDED = 3.0\n")
    assert checkout(str(folder)).version == hash_code(folder / "easyeditor")


def test_files_inside_another_work_tree_are_not_of_its_commit(tmp_path: Path) -> None:
    folder = make(tmp_path / "outer" / "inner")
    commit(tmp_path / "outer")
    assert checkout(str(folder)).version == hash_code(folder / "easyeditor")


def break_main(folder: Path, text: str) -> None:
    (folder / "easyeditor" / "models" / "rome" / "rome_main.py").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (
            lambda folder: break_main(folder, "import no_such_package_xyz\n"),
            "needs 'no_such_package_xyz': `pip install",
        ),
        (
            lambda folder: break_main(folder, "from torch import no_such_name\n"),
            "rome_main can't be imported: .*no_such",
        ),
        (lambda folder: break_main(folder, "from ...util import gone\n"), "can't be imported: .*gone"),
        (lambda folder: break_main(folder, "from ...util.gone import it\n"), "lacks util.gone, which its models.rome"),
        (lambda folder: break_main(folder, "1 +\n"), "rome_main can't be imported: "),
    ],
    ids=["package", "name", "module", "file", "syntax"],
)
def test_code_that_can_t_be_imported(tmp_path: Path, damage: Callable[[Path], None], match: str) -> None:
    folder = make(tmp_path / "broken")
    damage(folder)
    with pytest.raises(RequestError, match=match):
        xkeb.load_editor("easyeditor-rome", path=str(folder))


@pytest.mark.parametrize("method", [*NEWER_METHODS, "easyeditor-memit"])
def test_a_method_that_this_version_has_not(tmp_path: Path, method: str) -> None:
    with pytest.raises(RequestError, match=r"EasyEdit at sha256:.* has no easyeditor/models/\w+/\w+\.py\."):
        xkeb.load_editor(method, path=str(make(tmp_path / "few")))


@pytest.mark.parametrize("method", NEWER_METHODS)
def test_methods_that_need_a_checkout(method: str) -> None:
    with pytest.raises(RequestError, match=rf"give {method}\.path, the folder of a checkout"):
        xkeb.load_editor(method)


def test_all_methods_are_those_that_can_be_made(tmp_path: Path, tiny_folders: dict[str, Path]) -> None:
    assert {name for name in NEWER_METHODS if editor_class(name).required_options != {"path"}} == set()
    args = {"easyeditor-emmet.path": str(tmp_path)}
    model = {"path": str(tiny_folders["llama"])}
    config = RunConfig(tasks=["bizsre_mini_en2zh"], models=["hf"], model_args=model, methods=["all"], limit=1)
    methods = {job.method for job in plan_run(config).jobs}
    assert "rome" in methods and not methods & set(NEWER_METHODS)
    asked = RunConfig(**{**vars_of(config), "method_args": args})
    with pytest.raises(RequestError, match="is no checkout"):
        plan_run(asked)


def vars_of(config: RunConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("tasks", "models", "model_args", "methods", "limit")}


def test_the_change_is_what_that_version_makes(llama: Backbone, tmp_path: Path) -> None:
    folder = make(tmp_path / "own", 0.25)
    options = {"path": str(folder), "context_templates": (), "layer": 1}
    editor = xkeb.load_editor("easyeditor-rome", **options)
    (change,) = editor.edit(llama, EDITS[:1])
    (delta,) = change.deltas().values()  # type: ignore[attr-defined]
    assert torch.equal(delta, torch.full_like(delta, 0.25))
    with pytest.raises(RequestError, match=r"easyeditor-rome\.version is 0123, and .*own is sha256:"):
        xkeb.load_editor("easyeditor-rome", **options, version="0123")


def test_the_settings_have_the_version(llama: Backbone, tmp_path: Path) -> None:
    folders = [make(tmp_path / str(number), number) for number in (1.0, 2.0)]
    hashes = [hash_code(folder / "easyeditor") for folder in folders]
    recorded = [
        options_of(xkeb.load_editor("easyeditor-rome", path=str(folder)).configure(llama.spec))["version"]
        for folder in folders
    ]
    assert recorded == hashes and hashes[0] != hashes[1]


def test_a_run_says_which_version(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it isn't continued with other code."""
    folder = make(tmp_path / "checkout", 0.0)
    args = f"easyeditor-rome.path={folder},easyeditor-rome.layer=1,easyeditor-rome.contexts=[[5,2]]"
    outcome = run(methods="easyeditor-rome", method_args=args)
    assert outcome.status == 0, outcome.err
    result = json.loads((tmp_path / "results/bizsre_mini_en2zh/llama/easyeditor-rome/result.json").read_text())
    assert result["method"]["params"]["version"] == hash_code(folder / "easyeditor")
    (folder / "easyeditor" / "util" / "numbers.py").write_text("ADDED = 0.5\n")
    monkeypatch.setattr(checkout_module, "_checkout", checkout_module._checkout.__wrapped__)  # as in another process
    outcome = run(methods="easyeditor-rome", method_args=args)
    assert outcome.status == 2 and "version" in outcome.err, outcome
