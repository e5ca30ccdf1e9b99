"""Tokenizers of the paper's backbones: SentencePiece's own cuts, the characters of each token, and where subjects end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from releases import Release
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, LlamaTokenizerFast

from xkeb.errors import RequestError
from xkeb.models import tokenization
from xkeb.models.hf.sentencepiece import SentencePieceTokenizer, load_sentencepiece
from xkeb.registry.manager import get_plugins

AWKWARD = (
    "",
    " ",
    "  two  spaces ",
    "a\tb\nc",
    "京都🦊。",
    "𠮷野家",
    "<s> is not </s> special",
    "é e\u0301",
    "3.14159",
    "▁",
)


@pytest.fixture(scope="session", params=["chinese-llama-2-7b", "baichuan-7b", "baichuan2-7b"])
def tokenizer(request: pytest.FixtureRequest, releases: dict[str, Release]) -> SentencePieceTokenizer:
    return load_sentencepiece(Path(releases[request.param].options["path"]))


@pytest.fixture(scope="session")
def plain(tokenizer: SentencePieceTokenizer) -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=tokenizer.vocab_file)


@pytest.fixture(scope="session")
def records(data_dir: Path) -> list[dict[str, dict[str, str]]]:
    found = json.loads((data_dir / "bizsre" / "bizsre_test.json").read_text(encoding="utf-8"))
    return found[:200]


def whole(text: str, language: str, answer: str) -> str:
    return text + get_plugins().languages.get(language).separator + answer


def check_spans(tokenizer: SentencePieceTokenizer, text: str) -> None:
    """Every character is in a token, tokens are in order, and one that isn't cut from bytes says what it holds."""
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    assert len(spans) == len(encoded["input_ids"])
    assert sorted({i for start, end in spans for i in range(start, end)}) == list(range(len(text)))
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    for piece, (start, end) in zip(tokenizer.convert_ids_to_tokens(encoded["input_ids"]), spans, strict=True):
        if end > start and not piece.startswith("<0x"):
            surface = text[start:end].replace(" ", "▁")
            assert piece in (surface, "▁" + surface) if start == 0 else piece == surface


def test_real_records_are_cut_as_sentencepiece_does_and_come_back(
    tokenizer: SentencePieceTokenizer, plain: SentencePieceProcessor, records: list[dict[str, dict[str, str]]]
) -> None:
    for record in records:
        for language in ("en", "zh"):
            side = record[language]
            for text in (whole(side["src"], language, side["alt"]), side["rephrase"], side["alt"]):
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                assert ids == plain.encode(text)
                assert tokenizer.decode(ids) == text
                check_spans(tokenizer, text)


def test_awkward_texts(tokenizer: SentencePieceTokenizer, plain: SentencePieceProcessor) -> None:
    for text in AWKWARD:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == plain.encode(text)
        check_spans(tokenizer, text)


def test_subjects_of_real_records_end_where_they_end(
    tokenizer: SentencePieceTokenizer, records: list[dict[str, dict[str, str]]]
) -> None:
    """By the text that the tokens up to there spell: it must hold the whole subject, and one token less must not."""
    found = 0
    for record in records:
        for language in ("en", "zh"):
            side = record[language]
            start = side["src"].find(side["subject"])
            if start < 0:
                continue
            found += 1
            check_subject(tokenizer, side["src"], start + len(side["subject"]))
    assert found > 300


def check_subject(tokenizer: SentencePieceTokenizer, prompt: str, end: int) -> None:
    encoded = tokenization.encode(tokenizer, prompt)
    last = tokenization.last_token(encoded, end)
    held = str(tokenizer.decode(list(encoded.ids[: last + 1]), skip_special_tokens=True))
    before = str(tokenizer.decode(list(encoded.ids[:last]), skip_special_tokens=True))
    assert held.startswith(prompt[:end])
    assert not before.startswith(prompt[:end])


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("Paris is the capital of", "Paris"),
        ("The mayor of Paris", "Paris"),
        ("In Paris, who is the mayor?", "Paris"),
        ("Who wrote 'Faust'?", "Faust"),
        ("巴黎的市长是谁？", "巴黎"),
        ("谁是市长：巴黎", "巴黎"),
        ("法国首都巴黎，市长是谁？", "巴黎"),
        ("《浮士德》的作者是谁？", "浮士德"),
        ("歌曲 Hey Jude 的作者是谁", "Hey Jude"),
        ("歌曲Hey Jude的作者是谁", "Hey Jude"),
        ("𠮷野家的总部在哪里", "𠮷野家"),
        ("Was ist 🦊? 🦊", "🦊"),
    ],
)
def test_subjects_at_either_end_in_the_middle_and_beside_punctuation(
    tokenizer: SentencePieceTokenizer, prompt: str, subject: str
) -> None:
    check_subject(tokenizer, prompt, prompt.find(subject) + len(subject))


def test_an_answer_takes_the_space_of_its_language_only(tokenizer: SentencePieceTokenizer) -> None:
    for language, prompt, answer in (("en", "The capital of France is", "Paris"), ("zh", "法国的首都是", "巴黎")):
        separator = get_plugins().languages.get(language).separator
        encoded = tokenization.encode(tokenizer, prompt, answer, separator)
        assert str(tokenizer.decode(list(encoded.target_ids))).strip() == answer
        pieces = tokenizer.convert_ids_to_tokens(list(encoded.target_ids))
        assert pieces[0].startswith("▁") == (language == "en")


def test_two_chinese_answers_share_no_token_for_the_space_before_a_text(tokenizer: SentencePieceTokenizer) -> None:
    """LLaMA's tokenizer begins each text with one; it is counted in no answer's tokens."""
    assert not set(tokenization.token_bag(tokenizer, "北京")) & set(tokenization.token_bag(tokenizer, "上海"))
    assert tokenization.token_bag(tokenizer, "Paris")


def test_special_tokens_are_the_releases_own(releases: dict[str, Release]) -> None:
    def load(kind: str) -> SentencePieceTokenizer:
        return load_sentencepiece(Path(releases[kind].options["path"]))

    llama, one, two = load("chinese-llama-2-7b"), load("baichuan-7b"), load("baichuan2-7b")
    assert llama("Paris")["input_ids"][0] == llama.bos_token_id == 1
    assert one("Paris")["input_ids"][0] != one.bos_token_id and two("Paris")["input_ids"][0] != two.bos_token_id
    assert (llama.pad_token, one.pad_token, two.pad_token) == (None, None, "<unk>")
    assert llama.tokenize("Paris")[0].startswith("▁") and not one.tokenize("Paris")[0].startswith("▁")


def test_saved_and_loaded_it_is_the_same(tokenizer: SentencePieceTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = load_sentencepiece(tmp_path)
    for text in ("The capital of France", "法国的首都", *AWKWARD):
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert AutoTokenizer.from_pretrained(tmp_path).vocab_size == tokenizer.vocab_size  # others can load it, too


def test_a_conversion_cuts_an_extended_vocabulary_in_another_way(
    releases: dict[str, Release], records: list[dict[str, dict[str, str]]]
) -> None:
    """Why SentencePiece itself is used: pieces of equal scores can't be ranked."""
    folder = Path(releases["chinese-llama-2-7b"].options["path"])
    ours, fast = load_sentencepiece(folder), LlamaTokenizerFast.from_pretrained(folder)
    texts = [record["zh"]["src"] for record in records]
    apart = [text for text in texts if ours.tokenize(text) != fast.tokenize(text)]
    assert 0 < len(apart) < len(texts) / 2


def test_what_is_no_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"holds no tokenizer\.model"):
        load_sentencepiece(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(b"no")
    with pytest.raises(RequestError, match="SentencePiece"):
        load_sentencepiece(tmp_path)
