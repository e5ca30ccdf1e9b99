"""Small real models, made on the spot: random weights, but the real classes, files and loading code."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

import xkeb
from xkeb.models.backbone import Backbone
from xkeb.testing.state import own_cache as empty_cache
from xkeb.testing.small import corpus, small_model, small_tokenizer
from xkeb.types import Case
from xkeb.utils.paths import cache_root

pytest_plugins = ["built_wheel", "releases", "some_changes"]
pytest.register_assert_rewrite("command_line", "finished_cells")  # plugins that tests also import from


@pytest.fixture(autouse=True, scope="session")
def own_cache() -> Iterator[None]:
    """Artifacts go to a folder of this run; only the converted embedded models are shared with other runs."""
    (cache_root() / "models").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, empty_cache():
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        yield


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for what must be learnt anew."""
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def byte_level() -> PreTrainedTokenizerFast:
    """GPT-2's way: bytes, no BOS token; a Chinese character may be several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


def tiny_model(family: str, vocabulary: int) -> PreTrainedModel:
    """A random model of a family, in float32. Weights are large enough that answers depend on what was asked."""
    if family == "llama":
        return small_model(vocabulary)
    torch.manual_seed(0)
    if family == "gemma3":
        return Gemma3ForCausalLM(
            Gemma3TextConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=80,
                num_hidden_layers=6,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=16,
                sliding_window=16,
                initializer_range=0.15,
            )
        )
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=4, n_head=4, n_positions=512, initializer_range=0.15)
        )
    raise ValueError(family)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in the Hugging Face format, by family."""
    folders = {}
    for family, tokenizer in (
        ("llama", small_tokenizer()),
        ("gemma3", small_tokenizer()),
        ("gpt2", byte_level()),
    ):
        folder = tmp_path_factory.mktemp("models") / family
        tiny_model(family, len(tokenizer)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders[family] = folder
    return folders


def make_bert(folder: Path, seed: int) -> Path:
    """A random BERT with a WordPiece tokenizer of its own, in a folder that is made. Its pieces are counted, not trained:
    training draws among equals, so that every run had others."""
    texts = corpus()
    characters = sorted(set("".join(texts)) - {" "})
    words = Counter(word for text in texts for word in text.split())
    common = sorted(words.keys() - set(characters), key=lambda word: (-words[word], word))[:200]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters), *common]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=False).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("encoders") / "bert", seed=1)


@pytest.fixture(scope="session", params=["llama", "gemma3", "gpt2"])
def tiny(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> Backbone:
    """A tiny backbone of each family. Shared: a test leaves it as it was."""
    return xkeb.load_backbone("hf", path=str(tiny_folders[request.param]), device="cpu")


@pytest.fixture(scope="session")
def llama(tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")


@pytest.fixture(scope="session")
def gemma() -> Backbone:
    """The embedded default itself."""
    return xkeb.load_backbone("gemma3-270m", device="cpu")


@pytest.fixture(scope="session")
def training() -> list[Case]:
    """Some facts to learn from."""
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real data, where it is at hand."""
    root = os.environ.get("XKEB_DATA_DIR")
    if not root or not (Path(root) / "bizsre" / "bizsre_test.json").is_file():
        pytest.skip("the real data is not here: set XKEB_DATA_DIR")
    return Path(root)
