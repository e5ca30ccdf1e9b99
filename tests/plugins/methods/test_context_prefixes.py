"""Context prefixes: what is sampled, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cache_files import kept_in

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.utils.paths import cache_root
from xkeb_plugins.methods.locate.context_templates import context_prefixes

pytestmark = pytest.mark.usefixtures("fresh_cache")


def test_sampled_prefixes_depend_on_the_seed_alone(llama: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = ((3, 5), (6, 2))
    first = context_prefixes(llama, lengths, 0)
    assert len(first) == 8 and first[0] == "" and len(set(first)) > 4
    assert all(text.endswith(". ") for text in first[1:])
    torch.manual_seed(123)
    assert context_prefixes(llama, lengths, 0) == first
    monkeypatch.setenv("XKEB_CACHE", f"{cache_root()}-again")
    assert context_prefixes(llama, lengths, 0) == first  # sampled anew
    assert context_prefixes(llama, lengths, 1) != first


def test_sampling_prefixes_leaves_the_global_generator_alone(llama: Backbone) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    context_prefixes(llama, ((3, 5),), 0)
    assert torch.equal(torch.rand(3), expected)


def test_each_backbone_has_prefixes_of_its_own(tiny_folders: dict[str, Path]) -> None:
    lengths = ((8, 5),)
    backbones = {
        family: xkeb.load_backbone("hf", path=str(tiny_folders[family]), device="cpu") for family in ("llama", "gemma3")
    }
    first = {family: context_prefixes(backbone, lengths, 0) for family, backbone in backbones.items()}
    assert first["llama"] != first["gemma3"]
    folder = cache_root() / "contexts"
    assert len(kept_in(folder)) == 2
    # What the second one is given doesn't depend on who was there first.
    for path in kept_in(folder):
        path.unlink()
    for family in ("gemma3", "llama"):
        assert context_prefixes(backbones[family], lengths, 0) == first[family]
    assert len(kept_in(folder)) == 2


def test_each_dtype_has_prefixes_of_its_own(tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding changes what is sampled. What an edit is must not hang on which of them was there first."""
    lengths = ((8, 10),)
    path = str(tiny_folders["llama"])
    whole, half = (xkeb.load_backbone("hf", path=path, device="cpu", dtype=d) for d in ("float32", "bfloat16"))
    assert whole.sha256 == half.sha256
    first = context_prefixes(whole, lengths, 0)
    monkeypatch.setenv("XKEB_CACHE", f"{cache_root()}-again")
    other = context_prefixes(half, lengths, 0)
    assert other != first
    assert context_prefixes(whole, lengths, 0) == first


def test_prefixes_are_taken_from_the_cache_and_from_no_global(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    """What is in the cache is used, and what isn't there any more is forgotten."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    lengths = ((4, 2),)
    context_prefixes(llama, lengths, 0)
    (path,) = (cache_root() / "contexts").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    ids = torch.tensor(llama.tokenizer("Kept elsewhere")["input_ids"])
    save_file({"000": ids, "001": ids.clone()}, path, metadata)
    assert context_prefixes(llama, lengths, 0) == ("", "Kept elsewhere. ", "Kept elsewhere. ")
    assert context_prefixes(llama, lengths, 1) != context_prefixes(llama, lengths, 0)
    path.unlink()
    assert "Kept elsewhere. " not in context_prefixes(llama, lengths, 0)


def test_sampled_prefixes_have_the_lengths_asked_for(gemma: Backbone) -> None:
    from safetensors.torch import load_file

    context_prefixes(gemma, ((4, 2), (6, 1)), 0)
    (path,) = (cache_root() / "contexts").glob("*.safetensors")
    rows = load_file(path)
    special = set(gemma.tokenizer.all_special_ids)
    # To this tokenizer, as to those of the paper's backbones, each opening is one token.
    assert [len([i for i in rows[name].tolist() if i not in special]) for name in sorted(rows)] == [4, 4, 6]
    assert [gemma.tokenizer.decode(rows[name][1]) for name in sorted(rows)] == ["The", "Therefore", "The"]
