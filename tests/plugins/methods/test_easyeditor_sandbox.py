"""What EasyEdit's code is run in: a model that is left as it was found, and nothing that is kept from one to the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from easyeditor_runs import EDITS, METHODS, SETTINGS, TINY, error, installed, ready, state
from torch import nn

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.types import Case
from xkeb_plugins.methods.easyeditor.package import module
from xkeb_plugins.methods.easyeditor.sandbox import sandbox


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


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
def test_the_sandbox_undoes_what_is_done_in_it(llama: Backbone) -> None:
    name = f"{llama.layout.down(1)}.weight"
    check = state(llama)

    def fail_inside() -> None:
        with sandbox(llama, [name]):
            parameter = llama.parameter(name)
            with torch.no_grad():
                parameter.add_(1.0)
            parameter.requires_grad_(True)
            parameter.sum().backward()
            llama.module(llama.layout.layer(1)).mlp = nn.Identity()
            llama.module(llama.layout.norm or "").register_forward_hook(lambda *_: None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
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
