"""Settings that were tuned for single models: data beside the methods, a YAML file a method.

A model is found by its family, that is its architecture and sizes, so the same weights get the same settings under whatever
name they are registered.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from xkeb.models.spec import ModelSpec
from xkeb.utils.yaml_files import load_yaml


def tuned_settings(method: str, spec: ModelSpec) -> dict[str, Any]:
    """The options of a method that were tuned for a model; empty where none were."""
    return dict(_read(method).get(spec.family, {}))


@functools.cache
def _read(method: str) -> dict[str, dict[str, Any]]:
    file = resources.files(__name__) / f"{method}.yaml"
    if not file.is_file():
        return {}
    families: dict[str, dict[str, Any]] = _with_tuples(load_yaml(file.read_text(encoding="utf-8")))
    return families


def _with_tuples(value: Any) -> Any:
    """Lists as tuples, as options have them."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
