"""Checkpoints on disk: which tensors stand in which file, read one file at a time and never as code."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from xkeb.errors import RequestError, one_line
from xkeb.models.memory import drop_pages
from xkeb.utils.files import write_atomically
from xkeb.utils.hashing import digest, digest_file
from xkeb.utils.paths import cache_root

WEIGHT_PATTERNS = ("*.safetensors", "*.bin")
"""Files of weights; where a folder has both kinds, the first is read."""
INDEXED = ("model.safetensors", "pytorch_model.bin")
"""Names of a whole checkpoint; ``NAME.index.json`` says which shard holds what. Where both are there, the first is read."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weight files of a folder."""

    folder: Path
    files: tuple[Path, ...]
    """In the order in which they are read."""

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(name, tensor) of every tensor, on the CPU, mapped into memory where the format allows it, so that one file is
        held at a time, and of that only what is looked at. Of a pickled file, what was given out is let go when the next
        is asked for.

        Raises:
            RequestError: a file that can't be read as tensors alone.
        """
        for file in self.files:
            try:
                yield from _safetensors(file) if file.suffix == ".safetensors" else _pickled(file)
            except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
                raise RequestError(f"{file} can't be read as a file of tensors: {one_line(error)}.") from error


def no_folder(folder: Path) -> RequestError:
    """The error for a model folder that isn't there."""
    hint = ""
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(folder)):
        hint = f" If {str(folder)!r} is a repository of the hub, name the model that loads from there (xkeb ls models)."
    return RequestError(f"There is no model folder {folder}.{hint}")


def find_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint of a folder in the Hugging Face format.

    Raises:
        RequestError: there is none, or shards of it are missing.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    for name in INDEXED:
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(read_json(index)["weight_map"].values()))
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing:
                raise RequestError(
                    f"{folder} lacks {len(missing)} of the {len(shards)} shards that {index.name} names: {', '.join(missing)}."
                )
            return Checkpoint(folder, tuple(folder / shard for shard in shards))
        if (folder / name).is_file():
            return Checkpoint(folder, (folder / name,))
    listing = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise RequestError(f"Model folder {folder} holds no weights: expected {' or '.join(INDEXED)}; found {listing}.")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a checkpoint, which must hold an object.

    Raises:
        RequestError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} should hold a JSON object.")
    return content


def _safetensors(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    with safe_open(file, framework="pt", device="cpu") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a mapping
            yield name, tensors.get_tensor(name)


def _pickled(file: Path) -> Iterator[tuple[str, torch.Tensor]]:
    mapped = True
    try:
        tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
        mapped = False
        tensors = torch.load(file, map_location="cpu", weights_only=True)  # written before torch 1.6
    if not isinstance(tensors, dict):
        raise ValueError("it holds no tensors by name")
    while tensors:
        name, tensor = tensors.popitem()
        yield name, tensor
        if mapped and isinstance(tensor, torch.Tensor):
            drop_pages(tensor)


SETTINGS = "config.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""Files that a tokenizer is made of."""
WRITER = ("transformers_version", "_name_or_path")
"""What a configuration says of who wrote it, which changes nothing of the model."""


def model_hash(checkpoint: Checkpoint) -> str:
    """sha256 over a model's weights, configuration and tokenizer."""
    return digest({"weights": weights_hash(checkpoint.files), "settings": settings_hash(checkpoint.folder)})


def settings_hash(folder: Path) -> str:
    """sha256 over a folder's configuration and tokenizer."""
    settings = {key: value for key, value in read_json(folder / SETTINGS).items() if key not in WRITER}
    return digest({SETTINGS: settings, "tokenizer": tokenizer_hash(folder)})


def tokenizer_hash(folder: Path) -> str:
    """sha256 over the files of a folder's tokenizer."""
    return digest({name: digest_file(folder / name) for name in TOKENIZER if (folder / name).is_file()})


def weights_hash(weights: Sequence[Path], *, remember: bool = True) -> str:
    """sha256 over the weight files' own; those of large files are remembered by path, size and time."""
    return digest([[path.name, _digest_once(path) if remember else digest_file(path)] for path in weights])


def _digest_once(path: Path) -> str:
    stat = path.stat()
    note = cache_root() / "hashes" / digest([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    if note.is_file():
        return note.read_text()
    sha256 = digest_file(path)
    with contextlib.suppress(OSError):  # a cache that can't be written costs the time to read the file again
        write_atomically(note, sha256)
    return sha256
