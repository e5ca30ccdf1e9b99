"""Every family of causal language models that transformers knows: edited by FT and ROME, or refused with the reason."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import transformers
from family_walk import EDITED, walk
from tiny_families import FAMILIES, NOT_MADE
from transformers import PreTrainedTokenizerFast

from xkeb.testing.small import small_tokenizer

TABLE = json.loads((Path(__file__).parents[2] / "docs" / "site" / "families.json").read_text(encoding="utf-8"))
"""What docs/backbones.md says, written by `make families`."""
same_version = TABLE["transformers"] == transformers.__version__


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return small_tokenizer()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_edited_or_refused_with_the_reason(family: str, tokenizer: PreTrainedTokenizerFast) -> None:
    with warnings.catch_warnings(
        action="ignore"
    ):  # of what random weights, or a kernel that isn't here, make slow or odd
        outcome = walk(family, tokenizer)
    assert outcome == EDITED or ("\n" not in outcome and len(outcome) < 300)
    if same_version:
        assert outcome == TABLE["families"][family], "make families writes the table anew"


@pytest.mark.skipif(not same_version, reason="the table is of another version of transformers")
def test_the_table_has_the_families_of_this_version() -> None:
    assert set(TABLE["families"]) == set(FAMILIES)
    assert NOT_MADE.keys() <= set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("bert", "is an encoder"),
        ("xlnet", "lets a token see those after it"),
        ("mamba", "has no MLP in layer 0"),
        ("falcon_mamba", "has no MLP in layer 0"),
        ("mixtral", "is a mixture of experts"),
        ("gpt_oss", "is a mixture of experts"),
        ("llama4_text", "is a mixture of experts"),
        ("modernbert-decoder", "more than its head"),
        ("gemma3n_text", "more than hand hidden states"),
        ("mllama", "doesn't run each of its layers"),
        ("opt", EDITED),
        ("mpt", EDITED),
        ("cohere", EDITED),
        ("bart", EDITED),
        ("lfm2", EDITED),
        ("qwen3_5_text", EDITED),
        ("openai-gpt", EDITED),
    ],
)
@pytest.mark.skipif(not same_version, reason="the table is of another version of transformers")
def test_the_reason_is_the_right_one(family: str, words: str) -> None:
    assert words in TABLE["families"][family]
