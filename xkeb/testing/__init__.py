"""What a plugin's author tests it with: one call checks all that the suite relies on.

``check_method(NAME, small_backbone)``, ``check_backbone(NAME, **model_args)``, ``check_language(CODE, TEXT)``,
``check_pair(NAME)`` and ``check_task(NAME)`` each raise one AssertionError that says, a sentence a failed check, what was
expected. With this package installed, pytest has the fixtures `small_backbone` and `small_folder`: a real model made at random
on the spot.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xkeb.testing.backbones import check_backbone
    from xkeb.testing.languages import check_language, check_pair
    from xkeb.testing.methods import check_method
    from xkeb.testing.small import small_backbone
    from xkeb.testing.tasks import check_task

_LAZY = {
    "check_backbone": "backbones",
    "check_language": "languages",
    "check_method": "methods",
    "check_pair": "languages",
    "check_task": "tasks",
    "small_backbone": "small",
}

__all__ = ["check_backbone", "check_language", "check_method", "check_pair", "check_task", "small_backbone"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"xkeb.testing.{_LAZY[name]}"), name)
