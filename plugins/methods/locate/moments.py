"""Second moments of the keys: ``C = E[k k^T]`` at a layer's down-projection, over a corpus (Meng et al., 2022, Eq. 2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from xkeb.backbone import Backbone
from xkeb.cache import cached_tensors
from xkeb.errors import RequestError
from xkeb.hashing import digest_texts
from xkeb.plugins import plugins
from xkeb.predict import BATCH_TOKENS, pad
from xkeb.types import Case


def second_moment(backbone: Backbone, layers: Sequence[int], texts: Sequence[str]) -> dict[int, torch.Tensor]:
    """``E[k k^T]`` for each layer, over every token of `texts`: [d_in, d_in] in float64.

    One streaming pass for all layers. Padding is excluded; a special token before the text is not, since it stands
    before every prompt as well: an update that its key is not protected from changes every answer. Kept under the
    hashes of the weights and of the corpus.
    """
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
            keys = inputs[0][counted].float()  # (tokens, d_in)
            sums[layer] += keys.T @ keys

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
            backbone.hidden(ids)
    finally:
        for handle in handles:
            handle.remove()
    return {str(layer): total / count for layer, total in sums.items()}


def questions(cases: Iterable[Case]) -> list[str]:
    """The questions of training cases, without their answers: a corpus where there is no other."""
    texts = dict.fromkeys(
        text for case in cases for text in (case.edit.prompt, *(probe.prompt for probe in case.probes))
    )
    return list(texts)


def corpus(name: str, cases: Sequence[Case] | None, samples: int) -> list[str]:
    """The texts that statistics are taken over.

    Args:
        name: ``task`` for the training questions that `fit` was given, a data set's name for its training questions in
            all its languages, or a text file with one text a line.
        cases: what `fit` was given, if it was.
        samples: the first so many texts.
    """
    if name == "task":
        if cases is None:
            raise RequestError("Second moments need text: call fit() with training cases, or name a mom2_corpus.")
        texts = questions(cases)
    elif name in plugins().datasets:
        dataset = plugins().datasets.get(name)
        by_language = [questions(dataset.training(language).cases) for language in sorted(dataset.training_files)]
        texts = [text for row in zip(*by_language, strict=False) for text in row]
    else:
        path = Path(name).expanduser()
        if not path.is_file():
            raise RequestError(f"mom2_corpus {name!r} is neither `task`, nor a data set, nor a text file.")
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return texts[:samples]
