"""The pytest plugin: there for whoever has installed the suite, and light until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.testing import small_backbone as make_small_backbone


def test_pytest_finds_it() -> None:
    (point,) = metadata.entry_points(group="pytest11", name="xkeb")
    assert point.value == "xkeb.testing.plugin"


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    script = "import sys, xkeb.testing.plugin, xkeb.testing; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_each_test_has_a_small_backbone_of_its_own(small_backbone: Backbone, small_folder: Path) -> None:
    other = make_small_backbone()
    assert other.model is not small_backbone.model
    assert other.sha256 == small_backbone.sha256
    loaded = xkeb.load_backbone("hf", path=str(small_folder), device="cpu")
    for name, parameter in small_backbone.model.named_parameters():
        assert torch.equal(parameter, other.parameter(name))
        assert torch.equal(parameter, loaded.parameter(name))


def test_making_one_leaves_the_shared_generator_alone() -> None:
    before = torch.get_rng_state()
    make_small_backbone()
    assert torch.equal(torch.get_rng_state(), before)
