"""Openings of Wikipedia articles, the text of MEMIT's second moments in its authors' settings (Meng et al., 2023, App. B.4)."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from huggingface_hub import HfApi, constants

from xkeb.errors import RequestError, one_line, optional_import
from xkeb.utils.artifacts import cached_tensors

HUB_ID = "wikimedia/wikipedia"
DUMP = "20231101"
CHARACTERS = 1000
"""Of each article: enough for every word of its opening, and some 200 to 700 tokens."""
PATIENCE = 3.0
"""Seconds that the hub has to answer."""


def wikipedia(language: str, samples: int) -> list[str]:
    """The openings of the first articles of a language's dump, streamed from the hub once and kept.

    Raises:
        RequestError: the hub can't be reached, or has no such dump.
    """
    key = _key(language, samples)
    # As bytes in a tensor: texts are kept like every other artifact, whole, and under all they depend on.
    tensors = cached_tensors("corpora", key, lambda: {"texts": _as_bytes(_stream(language, samples))})
    return list(json.loads(bytes(tensors["texts"].tolist())))


def _key(language: str, samples: int) -> dict[str, Any]:
    return {"corpus": HUB_ID, "config": f"{DUMP}.{language}", "samples": samples, "characters": CHARACTERS}


def _as_bytes(texts: list[str]) -> torch.Tensor:
    return torch.tensor(list(json.dumps(texts, ensure_ascii=False).encode()), dtype=torch.uint8)


def _stream(language: str, samples: int) -> list[str]:
    config = f"{DUMP}.{language}"
    advice = "name another mom2_corpus: `task`, a data set, or a text file"
    if not _hub_answers():
        raise RequestError(
            f"Wikipedia ({HUB_ID}, {config}) is streamed from {constants.ENDPOINT}, which can't be reached: {advice}."
        )
    datasets = optional_import("datasets", "hub", "Wikipedia as mom2_corpus")
    try:
        articles = datasets.load_dataset(HUB_ID, config, split="train", streaming=True)
        return [article["text"][:CHARACTERS] for article in articles.take(samples)]
    except Exception as error:  # of whatever the hub is spoken to through: it has changed with its releases
        raise RequestError(f"Wikipedia ({HUB_ID}, {config}) can't be read ({one_line(error)}): {advice}.") from error


def _hub_answers() -> bool:
    if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES:
        return False
    try:
        HfApi().dataset_info(HUB_ID, timeout=PATIENCE)
    except Exception:  # noqa: BLE001 - of whatever library the hub's client speaks through
        return False
    return True
