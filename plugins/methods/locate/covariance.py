"""Second moments of the keys: ``C = E[k k^T]`` at a layer's down-projection, over a corpus (C of Meng et al., 2022, Eq. 2)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from xkeb.data.dataset import Dataset
from xkeb.errors import NotHereError, RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.batching import pad
from xkeb.models.passes import BATCH_TOKENS
from xkeb.registry.manager import get_plugins
from xkeb.types import Case
from xkeb.utils.artifacts import cached_tensors
from xkeb.utils.hashing import digest_file, digest_texts
from xkeb_plugins.methods.locate.partial_forward import run_up_to
from xkeb_plugins.methods.locate.wikipedia import wikipedia

_LOG = logging.getLogger(__name__)


def key_covariance(backbone: Backbone, layers: Sequence[int], texts: Sequence[str]) -> dict[int, torch.Tensor]:
    """``E[k k^T]`` for each layer, over every token of `texts`: [d_in, d_in] in float64.

    One streaming pass for all layers. Padding is excluded; a special token before the text is not, since it stands
    before every prompt as well: an update that its key is not protected from changes every answer. Kept under the
    hashes of the weights and of the corpus.
    """
    if not texts:
        raise RequestError("Second moments need text, and the corpus holds none: name another mom2_corpus.")
    key = {
        "backbone": backbone.sha256,
        "dtype": str(backbone.dtype),
        "layers": list(layers),
        "corpus": digest_texts(texts),
        "tokens": "all but padding",
    }
    tensors = cached_tensors("second-moments", key, lambda: _measure(backbone, layers, texts))
    return {layer: tensors[str(layer)] for layer in layers}


@torch.inference_mode()
def _measure(backbone: Backbone, layers: Sequence[int], texts: Sequence[str]) -> dict[str, torch.Tensor]:
    encoded = sorted((backbone.encode(text) for text in texts), key=lambda text: -len(text.ids))
    width = backbone.layout.intermediate_size
    sums = {layer: torch.zeros(width, width, dtype=torch.float64, device=backbone.device) for layer in layers}
    count, counted = 0, torch.empty(0)

    def collect(layer: int) -> Any:
        def add(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            keys = inputs[0][counted.to(inputs[0].device)].float()  # (tokens, d_in)
            sums[layer] += (keys.T @ keys).to(sums[layer].device)

        return add

    handles = [
        backbone.module(backbone.layout.down(layer)).register_forward_pre_hook(collect(layer)) for layer in layers
    ]
    try:
        while encoded:
            size = max(1, BATCH_TOKENS // len(encoded[0].ids))
            batch, encoded = encoded[:size], encoded[size:]
            ids = pad([text.ids for text in batch], backbone.pad_id, backbone.device)
            counted = pad([[1] * len(text.ids) for text in batch], 0, backbone.device).bool()
            count += int(counted.sum())
            run_up_to(backbone, max(layers), ids)
    finally:
        for handle in handles:
            handle.remove()
    return {str(layer): total.div_(count) for layer, total in sums.items()}


def questions(cases: Iterable[Case]) -> list[str]:
    """The questions of training cases, without their answers: a corpus where there is no other."""
    texts = dict.fromkeys(
        text for case in cases for text in (case.edit.prompt, *(probe.prompt for probe in case.probes))
    )
    return list(texts)


def corpus_texts(name: str, cases: Sequence[Case] | None, samples: int, languages: Sequence[str]) -> list[str]:
    """The texts that statistics are taken over.

    Args:
        name: ``task`` for the training questions that `fit` was given, ``wikipedia``, a data set's name for its training
            questions in all its languages, or a text file with one text a line.
        cases: what `fit` was given, if it was.
        samples: the first so many texts.
        languages: those that Wikipedia is taken in, in turn.
    """
    if name == "task":
        if cases is None:
            raise RequestError("Second moments need text: call fit() with training cases, or name a mom2_corpus.")
        texts = questions(cases)
    elif name == "wikipedia":
        texts = in_turn([wikipedia(language, samples) for language in languages])
    elif name in get_plugins().datasets:
        dataset = get_plugins().datasets.get(name)
        texts = in_turn(_training_questions(dataset))
    else:
        path = corpus_file(name)
        if path is None:
            raise RequestError(
                f"mom2_corpus {name!r} is neither `task`, nor `wikipedia`, nor a data set, nor a text file."
            )
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    _LOG.info("Second moments over the first %d of %d texts of %s %s", samples, len(texts), name, " ".join(languages))
    return texts[:samples]


def _training_questions(dataset: Dataset) -> list[list[str]]:
    """Of each language that a data set has training facts in, in the order of their codes."""
    by_language = []
    for language in sorted(dataset.languages):
        try:
            by_language.append(questions(dataset.training(language).cases))
        except NotHereError:
            raise
        except RequestError:  # there are none in this language
            continue
    return by_language


def corpus_file(name: str) -> Path | None:
    """The text file that a corpus is, where it is one."""
    path = Path(name).expanduser()
    return path if name not in ("task", "wikipedia", *get_plugins().datasets) and path.is_file() else None


def corpus_files(name: str) -> list[Path]:
    """The files that a corpus of its own stands in, those that are not there among them."""
    if (path := corpus_file(name)) is not None:
        return [path.resolve()]
    if name not in get_plugins().datasets:
        return []
    return list(get_plugins().datasets.get(name).paths())


def in_turn(by_language: Sequence[Sequence[str]]) -> list[str]:
    """One text of each language after the other; where one has no more, the others go on."""
    return [text for row in itertools.zip_longest(*by_language) for text in row if text is not None]


def cholesky_factor(moment: torch.Tensor, samples: int) -> torch.Tensor:
    """The Cholesky factor of a second moment, [d_in, d_in] float64.

    Raises:
        RequestError: it is singular: too few of `samples` texts.
    """
    lower, failed = torch.linalg.cholesky_ex(moment)
    if int(failed):
        raise RequestError(
            f"The second moment of {len(moment)} keys over {samples} texts is singular: give mom2_corpus more text."
        )
    return lower


def check_corpus_hash(name: str, expected: str | None) -> str | None:
    """The hash of a corpus that is a text file."""
    path = corpus_file(name)
    sha256 = digest_file(path) if path else None
    if expected is not None and sha256 != expected:
        raise RequestError(f"mom2_corpus {name!r} should have the sha256 {expected}, and has {sha256 or 'none'}.")
    return sha256
