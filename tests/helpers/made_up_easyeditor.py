"""A small package in the layout of a checkout of EasyEdit, written for tests: its ROME adds the numbers that it is told."""

from __future__ import annotations

from pathlib import Path

NEVER = "raise RuntimeError('a package of everything is imported')\n"
HYPER_PARAMETERS = """
class ROMEHyperParams:
    def __init__(self, **values):
        self.__dict__.update(values)
"""
COMPUTE_U = """
import hydra  # which it never uses
from matplotlib.style import context
from ...util.numbers import ADDED

inv_mom2_cache = {}


def layer_stats(*_, **__):
    raise AssertionError("it must not look for a corpus")
"""
MAIN = """
import torch
from .compute_u import ADDED
from .rome_hparams import ROMEHyperParams

CONTEXT_TEMPLATES_CACHE = None


def execute_rome(model, tokenizer, request, hparams):
    assert hparams.device == "cpu" and hparams.model_name == "llama"
    assert request["prompt"].count("{}") == 1
    name = hparams.rewrite_module_tmp.format(hparams.layers[0]) + ".weight"
    d_out, d_in = model.get_parameter(name).shape
    print("made up")
    return {name: (torch.full((d_in,), ADDED), torch.ones(d_out))}
"""


def make(folder: Path, added: float = 1.0) -> Path:
    """A checkout in a new folder.

    Args:
        added: what its ROME adds to every weight.
    """
    package = folder / "easyeditor"
    files = {
        "__init__.py": NEVER,
        "models/__init__.py": NEVER,
        "models/rome/__init__.py": "from .rome_main import execute_rome\n",
        "models/rome/rome_hparams.py": HYPER_PARAMETERS,
        "models/rome/compute_u.py": COMPUTE_U,
        "models/rome/rome_main.py": MAIN,
        "util/__init__.py": NEVER,
        "util/numbers.py": f"ADDED = {added}\n",
    }
    for name, text in files.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
