"""An edited model as a checkpoint of its own, with a note of where it comes from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from xkeb.editing.changes import Change, Exportable
from xkeb.editing.editor import Editor, options_of
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.results.environment import today
from xkeb.types import Edit
from xkeb.utils.folders import replacing_folder
from xkeb.utils.secrets import without_secrets

NOTE = "xkeb.json"
"""The file that says where a checkpoint comes from. `transformers` doesn't read it."""


def export_checkpoint(
    change: Change | None,
    backbone: Backbone,
    folder: Path | str,
    *,
    method: str | None = None,
    editor: Editor | None = None,
    edits: Sequence[Edit] = (),
) -> None:
    """Writes the model as it is under a change: weights, configuration and tokenizer, as
    ``AutoModelForCausalLM.from_pretrained`` loads them, and `NOTE`. The folder is written whole or not at all.

    Args:
        change: of weights; of a session, that of all its edits.
        method, editor, edits: what made it, for the note.

    Raises:
        RequestError: the change is none of weights, the folder holds something, or it can't be written.
    """
    folder = Path(folder)
    if not isinstance(change, Exportable):
        made = "There was no edit yet" if change is None else f"{method or 'This method'} changes no weights"
        raise RequestError(f"{made}, so there is no checkpoint to write.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} is no empty folder; choose another for the checkpoint.")
    try:
        with replacing_folder(folder) as part:
            change.export(backbone, part)
            note = json.dumps(_note(change, backbone, method, editor, edits), ensure_ascii=False, indent=2)
            (part / NOTE).write_text(note + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"Can't write {folder}: {error.strerror}.") from error


def _note(
    change: Change, backbone: Backbone, method: str | None, editor: Editor | None, edits: Sequence[Edit]
) -> dict[str, Any]:
    return {
        "made": {"by": f"xkeb {metadata.version('xkeb')}", "date": today()},
        "model": {
            "name": backbone.name,
            "sha256": backbone.sha256,
            "revision": backbone.revision,
            "dtype": str(backbone.dtype).removeprefix("torch."),
        },
        "method": {"name": method, "params": None if editor is None else without_secrets(options_of(editor))},
        "change": type(change).__name__,
        "edits": [
            {name: getattr(edit, name) for name in ("prompt", "subject", "target", "language")} for edit in edits
        ],
    }
