"""Options with which a test tries every method: few steps, and networks made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xkeb.editing.editor import editor_class
from xkeb.registry.manager import get_plugins

ONE_PREFIX = {"steps": 3, "context_templates": ("In short. ",)}
FEW_PREFIXES = {"contexts": ((3, 2),)}
SHORT: dict[str, dict[str, Any]] = {
    "alphaedit": FEW_PREFIXES,
    "easyeditor-ft": {"steps": 3},
    "easyeditor-memit": ONE_PREFIX,
    "easyeditor-rome": ONE_PREFIX,
    "emmet": FEW_PREFIXES,
    "langedit": FEW_PREFIXES,
    "memit": {**FEW_PREFIXES, "mom2_update_weight": 1500},  # by its own, no answer of so small a model changes
    "memoir": FEW_PREFIXES,
    "mend": {"rank": 6, "steps": 2, "batch_size": 4, "validate_every": 1, "validation": 3},
    "r-rome": FEW_PREFIXES,
    "remake": {"steps": 4, "batch_size": 8, "validate_every": 2, "threshold": 0.001, "demonstrations": 2},
    "rome": FEW_PREFIXES,
    "scr": {"threshold": 0.001},  # a model of random weights confirms what it likes
    "serac": {"steps": 2, "batch_size": 4, "accumulate": 1, "validate_every": 1, "validation": 3},
    "wise": {"steps": 10, **FEW_PREFIXES},
    "xmem": {"steps": 4, "batch_size": 8, "validate_every": 2},
    "xmemit": {"translated_tokens": 8, **FEW_PREFIXES},
    "xmemit-given": FEW_PREFIXES,
    "xmend": {"rank": 6, "steps": 2, "batch_size": 4, "validate_every": 1, "validation": 3},
}
"""Few steps, for methods that train networks or sample, and for EasyEdit's code, which takes its time."""
WITHOUT_MORE = [name for name in get_plugins().methods if not editor_class(name).required_options]
"""Methods that need nothing that isn't here, as the bridges to a checkout of EasyEdit do."""
PAPER = [name for name in get_plugins().methods if getattr(get_plugins().methods.get(name), "in_paper", False)]


def short_options(method: str, encoder: Path, model: Path) -> dict[str, Any]:
    """
    Args:
        encoder: a folder with a BERT, SERAC's classifier.
        model: a folder with a language model, SERAC's counterfactual one.
    """
    networks = {"classifier": str(encoder), "counterfactual": str(model)} if method == "serac" else {}
    return {**SHORT.get(method, {}), **networks}
