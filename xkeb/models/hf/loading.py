"""From files to a `Backbone`: folders in the Hugging Face format, and GGUF files, which are converted once."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from xkeb.errors import RequestError, one_line, optional_import
from xkeb.models.backbone import Backbone
from xkeb.models.hf.checkpoint import (
    WEIGHT_PATTERNS,
    find_checkpoint,
    model_hash,
    no_folder,
    read_json,
    settings_hash,
    weights_hash,
)
from xkeb.models.hf.converted_tokenizer import check_converted_tokenizer, load_converted_tokenizer
from xkeb.models.hf.hub import snapshot_commit
from xkeb.models.hf.placement import DeviceMap, Placement
from xkeb.models.hf.sentencepiece import FILE, load_sentencepiece
from xkeb.models.skeleton import Skeleton
from xkeb.utils.artifacts import locked
from xkeb.utils.files import naming
from xkeb.utils.folders import replacing_folder
from xkeb.utils.hashing import digest, digest_file
from xkeb.utils.paths import cache_root
from xkeb.utils.progress_bars import show_progress_bars

CONVERTED = "xkeb.json"
"""In the folder that a GGUF file was converted to: the hashes of the file, and of the weights and settings made of it."""
VERSION = 4
"""Of the converted form: a higher one is converted anew."""
MARKERS = ("<start_of_image>", "<end_of_image>")
"""Tokens that stand for no text, and that a GGUF file calls user-defined like `<table>`; released tokenizers say special."""


def load_folder(
    name: str,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    *,
    device_map: DeviceMap | None = None,
) -> Backbone:
    """A backbone from a local folder with a config, a tokenizer and weights, or with a GGUF file that holds all three.

    Raises:
        RequestError: there is no such folder, it holds no weights or not all of them, or not a causal language model; or
            there is no room for it.
    """
    folder = resolve_folder(name, folder)
    skeleton = folder_skeleton(folder)
    devices = Placement(device, device_map).devices(skeleton.model, dtype)
    model: Any
    try:
        with show_progress_bars(False):
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, local_files_only=True, device_map=dict(devices.map)
            )
            tokenizer = _tokenizer(folder)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RequestError(f"{folder} can't be loaded as a causal language model: {one_line(error)}.") from error
    return Backbone(name, model, tokenizer, folder_hash(folder), revision=snapshot_commit(folder))


def folder_hash(folder: Path) -> str:
    """Identifies the model in a folder: its weights, configuration and tokenizer.

    What a GGUF file was converted to is identified by its weights and by the `MARKERS` among its tokens, as long as the
    configuration and the tokenizer that came out of the same file are as they were written: their text depends on the versions
    of the libraries that wrote them.
    """
    checkpoint = find_checkpoint(folder)
    note = folder / CONVERTED
    if note.is_file():
        converted = read_json(note)
        if converted.get("settings") == settings_hash(folder):
            return str(converted["sha256"])
    return model_hash(checkpoint)


def folder_skeleton(folder: Path) -> Skeleton:
    """The model of a folder that `resolve_folder` gave.

    Raises:
        RequestError: it holds no weights or not all of them, or not a causal language model.
    """
    find_checkpoint(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise RequestError(f"{folder} can't be loaded as a causal language model: {one_line(error)}.") from error
    return Skeleton(model)


def resolve_folder(name: str, folder: Path, gguf_file: str | None = None) -> Path:
    """The folder itself, or what its GGUF file was converted to."""
    if folder.is_file() and folder.suffix == ".gguf":
        folder, gguf_file = folder.parent, folder.name
    if not folder.is_dir():
        raise no_folder(folder)
    ggufs = sorted(folder.glob("*.gguf"))
    if gguf_file is None and (not ggufs or any(path for pattern in WEIGHT_PATTERNS for path in folder.glob(pattern))):
        return folder
    if gguf_file is None and len(ggufs) > 1:
        raise RequestError(f"{folder} holds several GGUF files; choose one with --model-args gguf_file=NAME.")
    gguf = folder / gguf_file if gguf_file else ggufs[0]
    if not gguf.is_file():
        raise RequestError(f"There is no {gguf.name} in {folder}.")
    return converted(name, digest_file(gguf), lambda path: path.symlink_to(gguf.resolve()))


def converted(name: str, sha256: str, place: Callable[[Path], None]) -> Path:
    """The folder of float32 safetensors that a GGUF file becomes on first use, in the cache.

    Args:
        sha256: of the GGUF file, which is checked.
        place: puts the file at a path.

    Raises:
        OSError: there is no room for it, or the cache can't be written; names the folder.
    """
    folder = cache_root() / "models" / f"{name}-{sha256[:16]}-v{VERSION}"
    if not (folder / CONVERTED).is_file():
        with locked(folder):
            if not (folder / CONVERTED).is_file():  # another process may have made it in the meantime
                with replacing_folder(folder) as output, naming(folder):
                    _convert(name, sha256, place, output)
    return folder


def _convert(name: str, sha256: str, place: Callable[[Path], None], output: Path) -> None:
    """Fills a folder. transformers marks what it read from GGUF as quantised and refuses to save it, so the weights go into a
    plain model of the same config."""
    hf_logging.get_logger("transformers").warning(f"Converting {name} once, to {cache_root() / 'models'}.")
    with tempfile.TemporaryDirectory(dir=output) as temporary:
        gguf = Path(temporary) / "model.gguf"
        place(gguf)
        if (gguf_hash := digest_file(gguf)) != sha256:
            raise RequestError(f"The GGUF file of {name!r} has sha256 {gguf_hash}; expected {sha256}.")
        optional_import("gguf", "embedded", f"Reading the GGUF file of {name!r}")
        try:
            with show_progress_bars(True):
                model = AutoModelForCausalLM.from_pretrained(temporary, gguf_file=gguf.name, dtype=torch.float32)
                tokenizer = AutoTokenizer.from_pretrained(temporary, gguf_file=gguf.name)
            markers = [token for token in MARKERS if token in tokenizer.get_vocab()]
            tokenizer.add_special_tokens({"extra_special_tokens": markers})
        except Exception as error:  # the reader trusts its file, and fails as it happens to
            raise RequestError(f"{gguf.resolve()} can't be read as a GGUF file: {one_line(error)}.") from error
        config = model.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        with torch.device("meta"):
            plain = type(model)(config)
        plain.load_state_dict(model.state_dict(), assign=True)
        plain.tie_weights()
        plain.save_pretrained(output)
        tokenizer.save_pretrained(output)
        check_converted_tokenizer(load_converted_tokenizer(output), gguf)
    weights = sorted(output.glob("*.safetensors"))
    identity = weights_hash(weights, remember=False)
    if markers:
        identity = digest({"weights": identity, "markers": markers})
    hashes = {"sha256": identity, "settings": settings_hash(output)}
    (output / CONVERTED).write_text(json.dumps({"gguf_sha256": sha256, **hashes}))


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Where there is nothing but a SentencePiece model, SentencePiece cuts the text, not a conversion of the model."""
    if (folder / FILE).is_file() and not (folder / "tokenizer.json").is_file():
        return load_sentencepiece(folder)
    if (folder / CONVERTED).is_file():
        return load_converted_tokenizer(folder)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer


def package_folder(package: str) -> Path | None:
    """Where an installed package stands; it is not imported."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
