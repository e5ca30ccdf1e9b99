"""The paper's 7B backbones: tiny checkpoints in the published formats, against the forward pass written from its formulae."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import upstream
from releases import Release

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins

TEXTS = ("The capital of France is Paris", "法国的首都是巴黎。", "K2 乔戈里峰, 8,611 m")


@pytest.fixture(scope="session")
def backbone(release: Release) -> Backbone:
    return xkeb.load_backbone(release.name, device="cpu", size="any", **release.options)


# The model -------------------------------------------------------------------------------------------------------------------


def test_logits_are_those_of_the_published_forward_pass(release: Release, backbone: Backbone) -> None:
    for text in TEXTS:
        ids = backbone.encode(text).ids
        ours = backbone.model(torch.tensor([ids])).logits[0]
        reference = upstream.forward(release.tensors, ids, release.eps, unit_rows=release.unit_rows)
        assert reference.std() > 0.1
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


def test_it_is_a_plain_llama(backbone: Backbone) -> None:
    assert type(backbone.model).__module__ == "transformers.models.llama.modeling_llama"
    assert type(backbone.model).__name__ == "LlamaForCausalLM"
    assert not any("lora" in name for name, _ in backbone.model.named_modules())


def test_in_bfloat16_every_weight_is_rounded_once(release: Release, backbone: Backbone) -> None:
    half = xkeb.load_backbone(release.name, device="cpu", dtype="bfloat16", size="any", **release.options)
    for name, parameter in half.model.named_parameters():
        assert parameter.dtype == torch.bfloat16
        exact = backbone.parameter(name)
        tolerance = 2**-7 if "lora" in release.options else 2**-8  # a LoRA is added to weights rounded already
        torch.testing.assert_close(parameter.float(), exact, rtol=tolerance, atol=2e-3)
    if "lora" not in release.options:
        name = backbone.layout.down(1) + ".weight"
        assert torch.equal(half.parameter(name), backbone.parameter(name).to(torch.bfloat16))


def test_a_skeleton_has_the_shapes_and_no_weights(release: Release, backbone: Backbone) -> None:
    loader = get_plugins().models.get(release.name)(size="any", **release.options)
    skeleton = loader.skeleton()
    assert skeleton.missing is None and skeleton.download == 0
    assert skeleton.n_parameters == backbone.n_parameters and skeleton.spec(release.name) == backbone.spec
    assert all(parameter.is_meta for parameter in skeleton.model.parameters())


@pytest.mark.parametrize(
    ("name", "vocabulary"),
    [("chinese-llama-plus-7b", 49953), ("chinese-llama-2-7b", 55296), ("baichuan-7b", 64000), ("baichuan2-7b", 125696)],
)
def test_the_release_s_shape_is_known_where_it_is_not_at_hand(name: str, vocabulary: int) -> None:
    skeleton = get_plugins().models.get(name)().skeleton()
    attention, mlp, norms = 4 * 4096**2, 3 * 4096 * 11008, 2 * 4096
    assert skeleton.n_parameters == 32 * (attention + mlp + norms) + 4096 + 2 * 4096 * vocabulary
    assert skeleton.missing and skeleton.spec(name).n_layers == 32


# Bad input -------------------------------------------------------------------------------------------------------------------


def refused(name: str, **options: Any) -> str:
    with pytest.raises(RequestError) as error:
        xkeb.load_backbone(name, device="cpu", **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_another_model_is_named(releases: dict[str, Release]) -> None:
    plus, two = (releases[kind].options["path"] for kind in ("merged", "chinese-llama-2-7b"))
    one, other = (releases[kind].options["path"] for kind in ("baichuan-7b", "baichuan2-7b"))
    assert "expected vocab_size 55296, found 49953" in refused("chinese-llama-2-7b", path=plus, size="any")
    assert "expected architectures ['BaichuanForCausalLM'], found ['BaiChuanForCausalLM']" in refused(
        "baichuan2-7b", path=one, size="any"
    )
    assert "found ['BaichuanForCausalLM']" in refused("baichuan-7b", path=other, size="any")
    assert "expected hidden_size 4096, found 32 (--model-args size=any" in refused("chinese-llama-2-7b", path=two)


def test_positions_that_are_not_rotary_are_refused(releases: dict[str, Release], tmp_path: Path) -> None:
    """The 13B Baichuans have the same architecture's name, and biases instead of rotations."""
    folder = copied(releases["baichuan2-7b"], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    del config["max_position_embeddings"]
    upstream.write_json(folder / "config.json", config)
    assert "no max_position_embeddings" in refused("baichuan2-7b", path=str(folder), size="any")


def copied(release: Release, target: Path) -> Path:
    shutil.copytree(release.options["path"], target / "copy")
    return target / "copy"


def test_a_missing_shard_is_named(releases: dict[str, Release], tmp_path: Path) -> None:
    folder = copied(releases["chinese-llama-2-7b"], tmp_path)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    message = refused("chinese-llama-2-7b", path=str(folder), size="any")
    assert "lacks 1 of the 2 shards" in message and "pytorch_model-00002-of-00002.bin" in message


def test_a_shard_cut_short_is_named(releases: dict[str, Release], tmp_path: Path) -> None:
    for kind, shard in (
        ("chinese-llama-2-7b", "pytorch_model-00002-of-00002.bin"),
        ("merged", "model-00002-of-00003.safetensors"),
    ):
        folder = copied(releases[kind], tmp_path / kind)
        content = (folder / shard).read_bytes()
        (folder / shard).write_bytes(content[: len(content) // 2])
        assert shard in refused(releases[kind].name, path=str(folder), size="any")


def test_weights_that_are_code_are_not_run(releases: dict[str, Release], tmp_path: Path) -> None:
    folder = copied(releases["baichuan-7b"], tmp_path)
    torch.save({"model.norm.weight": Ran(tmp_path / "ran")}, folder / "pytorch_model.bin")
    assert "can't be read as a file of tensors" in refused("baichuan-7b", path=str(folder), size="any")
    assert not (tmp_path / "ran").exists()


class Ran:
    """Unpickled as code would be, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(releases: dict[str, Release], tmp_path: Path) -> None:
    folder = copied(releases["baichuan-7b"], tmp_path)
    tensors = dict(releases["baichuan-7b"].tensors)
    name = "model.layers.2.self_attn.W_pack.weight"
    torch.save({key: tensor for key, tensor in tensors.items() if key != name}, folder / "pytorch_model.bin")
    message = refused("baichuan-7b", path=str(folder), size="any")
    assert "lacks 3 of" in message and "model.layers.2.self_attn.k_proj.weight" in message
    torch.save({**tensors, name: tensors[name][:48]}, folder / "pytorch_model.bin")
    assert f"'{name}'" in refused("baichuan-7b", path=str(folder), size="any")
    torch.save({**tensors, "model.layers.2.extra": torch.ones(1)}, folder / "pytorch_model.bin")
    assert "no part of a LLaMA model" in refused("baichuan-7b", path=str(folder), size="any")


def test_a_vocabulary_that_does_not_fit_the_tokenizer_is_refused(releases: dict[str, Release], tmp_path: Path) -> None:
    folder = copied(releases["chinese-llama-2-7b"], tmp_path)
    shutil.copy(Path(releases["lora"].options["base"]) / "tokenizer.model", folder)
    message = refused("chinese-llama-2-7b", path=str(folder), size="any")
    assert "32,000 pieces" in message and "55,296 rows" in message
    (folder / "tokenizer.model").write_bytes(b"not a model")
    assert "SentencePiece model" in refused("chinese-llama-2-7b", path=str(folder), size="any")
    (folder / "tokenizer.model").unlink()
    assert "tokenizer.model" in refused("chinese-llama-2-7b", path=str(folder), size="any")


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(
    releases: dict[str, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xkeb.models.memory.free_memory", lambda device: 8_000_000)
    message = refused("chinese-llama-2-7b", path=releases["chinese-llama-2-7b"].options["path"], size="any")
    assert "0.0 GB" in message and "--dtype bfloat16 takes" in message


def test_a_lora_needs_its_base(releases: dict[str, Release], tmp_path: Path) -> None:
    options = releases["lora"].options
    assert "together" in refused("chinese-llama-plus-7b", lora=options["lora"])
    assert "hfl/chinese-llama-plus-lora-7b" in refused("chinese-llama-plus-7b")
    swapped = refused("chinese-llama-plus-7b", base=options["base"], lora=options["base"], size="any")
    assert "adapter_config.json" in swapped
    wrong = refused("chinese-llama-plus-7b", base=releases["merged"].options["path"], lora=options["lora"], size="any")
    assert "is not LLaMA 7B: expected vocab_size 32000, found 49953" in wrong
