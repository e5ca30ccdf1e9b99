"""From files to a `Backbone`: folders in the Hugging Face format, and GGUF files, which are converted once."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from xkeb.backbone import Backbone
from xkeb.bars import progress_bars
from xkeb.errors import RequestError
from xkeb.hashing import digest, digest_file
from xkeb.paths import cache_root

WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
CONVERTED = 1
"""Version of the converted form: a higher one is converted anew."""


def load_folder(
    name: str, folder: Path, device: torch.device, dtype: torch.dtype, *, gguf_file: str | None = None
) -> Backbone:
    """A backbone from a local folder with a config, a tokenizer and weights, or with a GGUF file that holds all three.

    Raises:
        RequestError: there is no such folder, it holds no weights, or not a causal language model.
    """
    if folder.is_file() and folder.suffix == ".gguf":
        folder, gguf_file = folder.parent, folder.name
    if not folder.is_dir():
        raise RequestError(f"There is no model folder {folder}.")
    weights = sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)})
    if not weights:
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise RequestError(f"Model folder {folder} holds no weights: expected {', '.join(WEIGHTS)}; found {found}.")
    if gguf_file is None and all(path.suffix == ".gguf" for path in weights):
        if len(weights) > 1:
            raise RequestError(f"{folder} holds several GGUF files; choose one with --model-args gguf_file=NAME.")
        gguf_file = weights[0].name
    if gguf_file is not None:
        gguf = folder / gguf_file
        if not gguf.is_file():
            raise RequestError(f"There is no {gguf_file} in {folder}.")
        return load_gguf(name, digest_file(gguf), lambda path: path.symlink_to(gguf.resolve()), device, dtype)
    weights = [path for path in weights if path.suffix != ".gguf"]
    return _read(name, folder, device, dtype, _fingerprint(weights))


def load_gguf(
    name: str, sha256: str, place: Callable[[Path], None], device: torch.device, dtype: torch.dtype
) -> Backbone:
    """A backbone from a GGUF file, converted on first use to float32 safetensors in the cache.

    Args:
        sha256: of the GGUF file, which is checked.
        place: puts the file at a path.
    """
    folder = cache_root() / "models" / f"{name}-{sha256[:16]}-v{CONVERTED}"
    if not (folder / "xkeb.json").is_file():
        _convert(name, sha256, place, folder)
    return _read(name, folder, device, dtype, json.loads((folder / "xkeb.json").read_text())["sha256"])


def _convert(name: str, sha256: str, place: Callable[[Path], None], folder: Path) -> None:
    """Writes the folder whole or not at all. transformers marks what it read from GGUF as quantised and refuses to save
    it, so the weights go into a plain model of the same config."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    hf_logging.get_logger("transformers").warning(f"Converting {name} once, to {folder}.")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        gguf = Path(temporary) / "model.gguf"
        place(gguf)
        if (found := digest_file(gguf)) != sha256:
            raise RequestError(f"The GGUF file of {name!r} has sha256 {found}; expected {sha256}.")
        try:
            with progress_bars(True):
                model = AutoModelForCausalLM.from_pretrained(temporary, gguf_file=gguf.name, dtype=torch.float32)
                tokenizer = AutoTokenizer.from_pretrained(temporary, gguf_file=gguf.name)
        except Exception as error:  # the reader trusts its file, and fails as it happens to
            raise RequestError(
                f"{gguf.resolve()} can't be read as a GGUF file: {str(error) or type(error).__name__}"
            ) from error
        config = model.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        with torch.device("meta"):
            plain = type(model)(config)
        plain.load_state_dict(model.state_dict(), assign=True)
        plain.tie_weights()
        done = Path(temporary) / "done"
        plain.save_pretrained(done)
        tokenizer.save_pretrained(done)
        weights = sorted(done.glob("*.safetensors"))
        (done / "xkeb.json").write_text(
            json.dumps({"gguf_sha256": sha256, "sha256": _fingerprint(weights, remember=False)})
        )
        shutil.rmtree(folder, ignore_errors=True)
        done.replace(folder)


def _read(name: str, folder: Path, device: torch.device, dtype: torch.dtype, sha256: str) -> Backbone:
    model: Any
    try:
        with progress_bars(False):
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RequestError(f"{folder} can't be loaded as a causal language model: {reason}") from error
    return Backbone(name, model.to(device), tokenizer, sha256)


def _fingerprint(weights: Sequence[Path], *, remember: bool = True) -> str:
    """sha256 over the weight files' own; those of large files are remembered by path, size and time."""
    return digest([[path.name, _digest_once(path) if remember else digest_file(path)] for path in weights])


def _digest_once(path: Path) -> str:
    stat = path.stat()
    note = cache_root() / "hashes" / digest([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
    if note.is_file():
        return note.read_text()
    sha256 = digest_file(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(sha256)
    return sha256


def package_folder(package: str) -> Path | None:
    """Where an installed package stands; it is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
