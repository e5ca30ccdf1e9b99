"""The bridge to EasyEdit: its code against ours, on the same tokens; and a model that is left as it was found.

Ours are tested against plain implementations of their own (test_rome.py, test_memit.py, test_ft.py, test_kn.py), so two
independent ones meet here.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import xkeb
from xkeb.editing.editor import prepare
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit
from xkeb_plugins.methods.easyeditor.package import INSTALL, module
from xkeb_plugins.methods.easyeditor.sandbox import sandbox
from xkeb_plugins.methods.easyeditor.tokens import given_tokenizer

METHODS = ("easyeditor-ft", "easyeditor-ike", "easyeditor-kn", "easyeditor-memit", "easyeditor-rome")
installed = pytest.mark.skipif(
    importlib.util.find_spec("easyeditor") is None or importlib.util.find_spec("einops") is None,
    reason=f"EasyEdit's code is not installed: {INSTALL}",
)
PREFIXES = ("The weather is fine. ", "Therefore, on the whole. ", "今天。")
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Is Rome, where Rome's river is, the capital?", "New Delhi", "en", "Rome"),  # the subject stands in it twice
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "ft": {"layer": 2, "steps": 5},
    "ft-bounded": {"layer": 2, "steps": 5, "norm_constraint": 1.2e-3},
    "rome": {"layer": 2, "steps": 6, "context_templates": PREFIXES, "mom2_adjustment": False},
    "rome-covariance": {"layer": 2, "steps": 6, "context_templates": PREFIXES, "mom2_adjustment": True},
    "memit": {"layers": (1, 2, 3), "steps": 6, "context_templates": PREFIXES, "mom2_corpus": "task"},
}
TINY = {
    "easyeditor-ft": {"layer": 2, "steps": 2},
    "easyeditor-rome": {"layer": 2, "steps": 2, "contexts": ((5, 2),)},
    "easyeditor-memit": {"layers": (1, 2), "steps": 2, "contexts": ((5, 2),), "mom2_corpus": "task"},
    "easyeditor-kn": {"steps": 2},
    "easyeditor-ike": {"k": 3},
}


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


def ready(backbone: Backbone, name: str, training: Sequence[Case], **options: Any) -> Any:
    return prepare(xkeb.load_editor(name, **options), backbone, training)


def error(ours: Any, its: Any) -> float:
    """The largest relative Frobenius error of a parameter's change."""
    mine, theirs = ours.deltas(), its.deltas()
    assert mine.keys() == theirs.keys()
    return max(float((mine[name] - delta).norm() / delta.norm()) for name, delta in theirs.items())


def state(backbone: Backbone) -> Callable[[], None]:
    """A check that the model is as it is now: the same tensors with the same bits, modules, hooks and flags."""
    model = backbone.model
    parameters = [(p, p.data_ptr(), p.dtype, p.detach().clone()) for p in model.parameters()]
    modules = [
        (path, id(part), len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in _modules(model)
    ]

    def check() -> None:
        for parameter, pointer, dtype, values in parameters:
            assert (parameter.data_ptr(), parameter.dtype) == (pointer, dtype)
            assert torch.equal(parameter, values)
            assert not parameter.requires_grad and parameter.grad is None
        assert modules == [
            (path, id(part), len(part._forward_hooks), len(part._forward_pre_hooks)) for path, part in _modules(model)
        ]

    return check


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.named_modules(remove_duplicate=False))


# Its code and ours ----------------------------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize("edit", EDITS, ids=["en", "zh", "twice", "first"])
@pytest.mark.parametrize("case", SETTINGS)
def test_the_same_change_on_the_same_tokens(llama: Backbone, training: list[Case], case: str, edit: Edit) -> None:
    method, _, _ = case.partition("-")
    ours = ready(llama, method, training, **SETTINGS[case])
    its = ready(llama, f"easyeditor-{method}", training, tokens="xkeb", **SETTINGS[case])
    check = state(llama)
    (mine,), (theirs,) = ours.edit(llama, [edit]), its.edit(llama, [edit])
    check()
    assert error(mine, theirs) < 1e-3


@installed
@pytest.mark.parametrize("case", ["ft", "rome-covariance", "memit"])
def test_a_transposed_weight_and_a_tied_head(tiny_folders: dict[str, Path], training: list[Case], case: str) -> None:
    gpt2 = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    assert gpt2.module(gpt2.layout.head).weight is gpt2.model.get_input_embeddings().weight
    method, _, _ = case.partition("-")
    # Not the last layer, whose value at the subject no later position sees: its gradient is noise.
    options = SETTINGS[case] | ({"layers": (1, 2)} if method == "memit" else {})
    (mine,) = ready(gpt2, method, training, **options).edit(gpt2, EDITS[:1])
    (theirs,) = ready(gpt2, f"easyeditor-{method}", training, tokens="xkeb", **options).edit(gpt2, EDITS[:1])
    if method == "ft":  # which tunes the bias as well, and so gives the weight another gradient from the second step on
        assert theirs.deltas().keys() - mine.deltas().keys() == {f"{gpt2.layout.down(2)}.bias"}
        with theirs.applied(gpt2):  # in the orientation of a Change
            pass
    else:
        assert error(mine, theirs) < 1e-3


@installed
def test_many_facts_in_one_change(llama: Backbone, training: list[Case]) -> None:
    ours = ready(llama, "memit", training, **SETTINGS["memit"])
    its = ready(llama, "easyeditor-memit", training, tokens="xkeb", **SETTINGS["memit"])
    check = state(llama)
    assert error(ours.edit_together(llama, EDITS), its.edit_together(llama, EDITS)) < 1e-3
    check()
    with pytest.raises(RequestError, match="in one go"):
        its.find_values(llama, EDITS)


@installed
@pytest.mark.parametrize("edit", EDITS[:2], ids=["en", "zh"])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("given", [True, False], ids=["our tokens", "its tokens"])
def test_the_same_neurons(llama: Backbone, edit: Edit, steps: int, given: bool) -> None:
    options = {"answer": "Tokyo", "steps": steps}
    ours = xkeb.load_editor("kn", joined=given, **options)
    its = xkeb.load_editor("easyeditor-kn", tokens="xkeb" if given else "easyeditor", **options)
    check = state(llama)
    (mine,), (theirs,) = ours.edit(llama, [edit]), its.edit(llama, [edit])
    check()
    assert error(mine, theirs) < 1e-5
    columns = {name: delta.any(0) for name, delta in theirs.deltas().items()}
    assert all(0 < int(found.sum()) < found.numel() for found in columns.values())
    assert all(torch.equal(mine.deltas()[name].any(0), found) for name, found in columns.items())


@installed
def test_the_neurons_of_what_the_model_says_now(llama: Backbone) -> None:
    (mine,) = xkeb.load_editor("kn").edit(llama, EDITS[:1])
    (theirs,) = xkeb.load_editor("easyeditor-kn", tokens="xkeb", answer=None).edit(llama, EDITS[:1])
    assert error(mine, theirs) < 1e-5


@installed
def test_the_same_demonstrations(llama: Backbone, training: list[Case]) -> None:
    edits = [case.edit for case in list(xkeb.load_task("bizsre_mini_en2zh"))[:5]]
    ours, its = ready(llama, "ike", training, k=4), ready(llama, "easyeditor-ike", training, k=4)
    for edit, mine, theirs in zip(edits, ours.edit(llama, edits), its.edit(llama, edits), strict=True):
        fact = f"New Fact: {edit.prompt} {edit.target}\nPrompt: "
        shown = mine.context("en").removesuffix(fact)
        assert shown.count("New Fact: ") == 4
        assert theirs.context("en") == f"{shown}{fact}{edit.prompt} {edit.target}\n\n{fact}"


@installed
def test_left_to_itself_it_makes_other_tokens(llama: Backbone, training: list[Case]) -> None:
    """A space before a Chinese answer; and a BOS token in what FT learns. Else the option would be for nothing."""
    for name, edit in (("rome", EDITS[1]), ("memit", EDITS[1]), ("ft", EDITS[0])):
        changes = [
            ready(llama, f"easyeditor-{name}", training, tokens=tokens, **SETTINGS[name]).edit(llama, [edit])[0]
            for tokens in ("easyeditor", "xkeb")
        ]
        assert error(*changes) > 0.05, name


@installed
def test_given_ids_come_back(llama: Backbone) -> None:
    edit = EDITS[1]
    tokenizer = given_tokenizer(llama, [edit], ["", PREFIXES[0]], located=True)
    encoded = llama.encode(PREFIXES[0] + edit.prompt, edit.target, edit.language)
    answer = tokenizer.decode(torch.tensor(encoded.target_ids[:-1]))
    assert tokenizer.encode(PREFIXES[0] + edit.prompt + answer) == list(encoded.ids[:-1])
    assert tokenizer.encode(f" {edit.target}") == list(encoded.target_ids)
    large = [0, 6399, 6400, 262143]
    assert tokenizer.encode(PREFIXES[0] + edit.prompt + tokenizer.decode(large))[-4:] == large
    batch = tokenizer([edit.prompt, edit.subject], return_tensors="pt", padding=True)
    rows = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert rows == [tokenizer.encode(edit.prompt), tokenizer.encode(edit.subject)]
    assert batch["attention_mask"][1].tolist() == sorted(batch["attention_mask"][1].tolist(), reverse=True)


# What it is run in ----------------------------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_failure_in_its_code_leaves_the_model_as_it_was(
    tiny_folders: dict[str, Path], training: list[Case], method: str, dtype: str
) -> None:
    """At one pass through the model or another, so wherever it was: with parts exchanged, hooked, or written to."""
    llama = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu", dtype=dtype)
    editor = ready(llama, method, training, **TINY[method])
    editor.edit(llama, EDITS[:1])  # whatever is sampled and kept on disk is there from now on
    failures = 0
    for nth in (1, 2, 3, 5, 16, 30):
        calls: list[int] = []

        def fail(*_: Any, calls: list[int] = calls, nth: int = nth) -> None:
            calls.append(1)
            if len(calls) == nth:
                raise ZeroDivisionError

        handle = llama.module(llama.layout.layer(llama.n_layers - 1)).register_forward_pre_hook(fail)
        check = state(llama)
        try:
            editor.edit(llama, EDITS[:1])
        except ZeroDivisionError:
            failures += 1
        check()
        handle.remove()
        if len(calls) < nth:
            break
    assert failures or method == "easyeditor-ike"  # which never runs the model


@installed
def test_the_stage_undoes_what_is_done_on_it(llama: Backbone) -> None:
    name = f"{llama.layout.down(1)}.weight"
    check = state(llama)
    with pytest.raises(ZeroDivisionError), sandbox(llama, [name]):
        parameter = llama.parameter(name)
        with torch.no_grad():
            parameter.add_(1.0)
        parameter.requires_grad_(True)
        parameter.sum().backward()
        llama.module(llama.layout.layer(1)).mlp = nn.Identity()
        llama.module(llama.layout.norm).register_forward_hook(lambda *_: None)
        raise ZeroDivisionError
    check()


@installed
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a cuda device, so nothing shows that it isn't used")
def test_cuda_means_the_model_s_device(llama: Backbone) -> None:
    with sandbox(llama):
        assert torch.zeros(2, device="cuda:0").device == llama.device
        assert torch.zeros(2).to(torch.device("cuda")).device == llama.device
    with pytest.raises((RuntimeError, AssertionError)):
        torch.zeros(2, device="cuda:0")


@installed
@pytest.mark.parametrize("method", METHODS)
def test_what_it_prints_is_not_seen(
    llama: Backbone, training: list[Case], method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    editor = ready(llama, method, training, **TINY[method])
    capfd.readouterr()
    editor.edit(llama, EDITS[:1])
    assert capfd.readouterr() == ("", "")


@installed
def test_a_second_model_never_sees_what_the_first_one_left(
    tiny: Backbone, llama: Backbone, training: list[Case]
) -> None:
    for case in ("rome-covariance", "memit"):
        method, _, _ = case.partition("-")
        options = {**SETTINGS[case], "context_templates": None, "contexts": ((5, 2),)}
        ready(tiny, f"easyeditor-{method}", training, tokens="xkeb", **options).edit(tiny, EDITS[:1])
        its = ready(llama, f"easyeditor-{method}", training, tokens="xkeb", **options)
        (mine,) = ready(llama, method, training, **options).edit(llama, EDITS[:1])
        assert error(mine, its.edit(llama, EDITS[:1])[0]) < 1e-3
    rome, u, memit = (module(f"models.{name}") for name in ("rome.rome_main", "rome.compute_u", "memit.memit_main"))
    assert (rome.CONTEXT_TEMPLATES_CACHE, u.inv_mom2_cache) == (None, {})
    assert (memit.CONTEXT_TEMPLATES_CACHE, memit.COV_CACHE) == (None, {})


@installed
def test_only_what_is_used_is_imported() -> None:
    script = """
import sys
from xkeb_plugins.methods.easyeditor.package import module
for name in ("rome.rome_main", "memit.memit_main", "ft.ft_main", "kn.kn_main", "ike.ike_main"):
    module(f"models.{name}")
assert not {"easyeditor", "matplotlib", "torchvision", "higher", "hydra"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


# What can't be asked of it ----------------------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize(
    ("method", "options", "match"),
    [
        ("easyeditor-rome", {"stop_loss": 0.1}, "stop_loss is 0.05"),
        ("easyeditor-memit", {"stop_loss": 0.1}, "stop_loss is 0.05"),
        ("easyeditor-ft", {"stop_loss": 0.1}, "stop_loss is 0.01"),
        ("easyeditor-ft", {"objective": "target_new"}, "objective is prompt_last"),
        ("easyeditor-ike", {"k": 0}, "at least 1"),
        ("easyeditor-rome", {"tokens": "ours"}, "'easyeditor' or 'xkeb'"),
    ],
)
def test_options_that_its_code_has_not(method: str, options: dict[str, Any], match: str) -> None:
    with pytest.raises(RequestError, match=match):
        xkeb.load_editor(method, **options)


@installed
def test_edits_that_it_can_t_make(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    rome = xkeb.load_editor("easyeditor-rome")
    assert rome.unsupported(llama, EDITS[0]) is None
    assert "brace" in (rome.unsupported(llama, Edit("What is {Japan}?", "Peru", "en", "Japan")) or "")
    assert "subject" in (rome.unsupported(llama, Edit("What is it?", "Peru", "en", "Japan")) or "")
    with pytest.raises(RequestError, match=r"call fit\(\) first"):
        xkeb.load_editor("easyeditor-ike").edit(llama, EDITS[:1])


def test_they_are_listed_but_no_default() -> None:
    rows = {row["name"]: row for row in json.loads(cli("ls", "methods", "--json").stdout)}
    assert {name for name in rows if name.startswith("easyeditor-")} == set(METHODS)
    assert all(INSTALL in rows[name]["description"] for name in METHODS)
    assert not any(get_plugins().methods.get(name).in_paper for name in METHODS)


def cli(*arguments: object, without: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as if the package `without` were not installed."""
    hidden = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    script = f"{hidden}from xkeb.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("package", ["easyeditor", "einops"])
def test_without_the_package(package: str, tmp_path: Path) -> None:
    listed = cli("ls", "methods", "--json", without=package)
    assert set(METHODS) <= {row["name"] for row in json.loads(listed.stdout)}
    options = ["--tasks", "bizsre_mini_en2zh", "--model", "gemma3-270m", "--methods", "easyeditor-rome"]
    done = cli("run", *options, "--output", tmp_path, without=package)
    assert done.returncode == 2
    assert f"{package} can't be found: `{INSTALL}`." in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_each_of_them_says_what_is_missing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "easyeditor", None)  # Python's own way to say that there is no such module
    with pytest.raises(RequestError, match=re.escape(f"easyeditor can't be found: `{INSTALL}`.")):
        xkeb.load_editor(method)
