"""remake with a classifier of a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xkeb
from xkeb.editing.editor import prepare
from xkeb.models.backbone import Backbone
from xkeb.types import Case

SHORT: dict[str, Any] = {
    "steps": 40, "batch_size": 16, "validate_every": 20, "width": 16, "lr": 1e-2, "demonstrations": 2,
}  # fmt: skip


def fitted(backbone: Backbone, training: Sequence[Case], encoder: Any, **options: Any) -> Any:
    return prepare(xkeb.load_editor("remake", **{**SHORT, "encoder": str(encoder), **options}), backbone, training)
