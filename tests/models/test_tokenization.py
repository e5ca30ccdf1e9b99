"""Which tokens are an answer, and which token a subject ends in, for three kinds of tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_models import byte_level, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.tokenization import decode, encode, encode_reference, last_token
from xkeb.registry.manager import get_plugins
from xkeb.testing.small import small_tokenizer
from xkeb.types import Edit
from xkeb_plugins.metrics.overlap import em, f1

KINDS = ("sentencepiece", "byte-level", "gemma")
ANSWERS = (
    ("Who wrote it?", "Jane Austen", " "),
    ("Who wrote it?", "鑫😀", " "),
    ("谁写了它？", "简·奥斯汀", ""),
    ("它？", "龘靐", ""),
    ("In which year did the Beatles split up", "1970", " "),
    ("“红楼梦”的作者是", "曹雪芹", ""),
)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    if request.param == "gemma":
        return request.getfixturevalue("gemma").tokenizer
    return small_tokenizer() if request.param == "sentencepiece" else byte_level()


def merging(*merges: tuple[str, str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with just these merges: real ones join bytes across the borders of characters."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in merges]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def spelt(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of some ids, without the beginning and end of text. (Bytes are special in the tests' own tokenizer.)"""
    return str(tokenizer.decode([i for i in ids if i not in tokenizer.all_special_ids]))


def completes(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str) -> int:
    """Index of the first token at which the decoded ids begin with `text`: found without offsets."""
    for i in range(len(ids)):
        if spelt(tokenizer, ids[: i + 1]).lstrip(" ").startswith(text.lstrip(" ")):
            return i
    raise AssertionError(f"{text!r} is not in the ids")


@pytest.mark.parametrize(("prompt", "answer", "separator"), ANSWERS)
def test_target_ids_are_exactly_the_tokens_that_hold_answer_characters(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, separator: str
) -> None:
    encoded = encode(tokenizer, prompt, answer, separator)
    whole = tokenizer(prompt + separator + answer)["input_ids"]
    assert list(encoded.ids) == whole
    # No token of these texts straddles the border, so each side decodes to its own text.
    assert str(tokenizer.decode(list(encoded.target_ids))).strip() == answer
    given = spelt(tokenizer, encoded.ids[: encoded.target])
    assert given.strip() == prompt
    assert len(encoded.offsets) == len(encoded.ids)


@pytest.mark.parametrize(("prompt", "answer", "separator"), ANSWERS)
def test_the_beginning_of_text_token_is_never_predicted(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, separator: str
) -> None:
    encoded = encode(tokenizer, prompt, answer, separator)
    assert not set(encoded.target_ids) & set(tokenizer.all_special_ids)
    if tokenizer.bos_token_id is not None:
        assert encoded.ids[0] == tokenizer.bos_token_id


def test_a_token_that_holds_only_the_joiner_is_given(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode(tokenizer, "Who wrote it?", "鑫", " ")
    separator = tokenizer.convert_ids_to_tokens(encoded.ids[encoded.target - 1])
    assert separator in ("▁", "Ġ")
    assert tokenizer.decode(list(encoded.target_ids)) == "鑫"


@pytest.mark.parametrize("answer", ["2006", "鑫"])
def test_a_joiner_that_is_a_token_of_its_own_is_to_be_said(tokenizer: PreTrainedTokenizerBase, answer: str) -> None:
    encoded = encode(tokenizer, "Who wrote it?", answer, " ")
    assert encoded.prompt_end == encoded.target - 1
    assert list(encoded.ids[: encoded.prompt_end]) == tokenizer("Who wrote it?")["input_ids"]
    assert encoded.continuation_ids == (encoded.ids[encoded.prompt_end], *encoded.target_ids)
    assert tokenizer.convert_ids_to_tokens(encoded.continuation_ids[0]) in ("▁", "Ġ")


def test_elsewhere_what_is_to_be_said_is_the_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    for prompt, answer in (("谁写了它？", "简·奥斯汀"), ("它？", "2006"), ("The name is Au", "sten")):
        encoded = encode(tokenizer, prompt, answer)
        assert encoded.prompt_end == encoded.target, answer
    assert encode(tokenizer, "Who wrote it?").continuation_ids == ()


def test_a_space_within_the_answers_first_token_is_no_token_of_its_own(gemma: Backbone) -> None:
    encoded = gemma.encode("Who wrote it?", "Jane Austen", "en")
    assert gemma.tokenizer.convert_ids_to_tokens(encoded.target_ids[0]) == "▁Jane"
    assert encoded.prompt_end == encoded.target == len(gemma.encode("Who wrote it?").ids)


def test_a_token_that_merges_prompt_and_answer_is_predicted_whole(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt, answer = "The name is Au", "sten"
    encoded = encode(tokenizer, prompt, answer)
    whole = tokenizer(prompt + answer)["input_ids"]
    assert list(encoded.ids) == whole
    held = spelt(tokenizer, encoded.ids[: encoded.target])
    predicted = str(tokenizer.decode(list(encoded.target_ids)))
    assert (held + predicted).strip() == prompt + answer
    assert prompt.startswith(held.strip()) and predicted.strip().endswith(answer)
    # The token before the first predicted one holds no letter of the answer; the first one does.
    assert len(held.strip()) <= len(prompt)
    first = str(tokenizer.decode([encoded.target_ids[0]])).strip()
    assert len((held + first).strip()) > len(prompt)


def test_a_merge_over_the_border_moves_the_border_to_the_left() -> None:
    tokenizer = merging(("b", "c"), ("Ġ", "æ"))
    encoded = encode(tokenizer, "ab", "cd")
    assert tokenizer.convert_ids_to_tokens(list(encoded.target_ids)) == ["bc", "d"]
    # A space merged with the first byte of the answer belongs to the answer.
    encoded = encode(tokenizer, "a?", "法", " ")
    assert tokenizer.convert_ids_to_tokens(list(encoded.target_ids)) == ["Ġæ", "³", "ķ"]


def test_a_joiner_merged_with_the_end_of_the_prompt_is_given() -> None:
    """Nobody could say it after that prompt."""
    tokenizer = merging(("?", "Ġ"))
    encoded = encode(tokenizer, "a?", "b", " ")
    assert tokenizer.convert_ids_to_tokens(list(encoded.ids)) == ["a", "?Ġ", "b"]
    assert encoded.prompt_end == encoded.target == 2


def test_a_joiner_is_found_where_a_tokenizer_trims_spaces_off_its_offsets() -> None:
    tokenizer = merging(("a", "?"))
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    encoded = encode(tokenizer, "a?", "b", " ")
    assert tokenizer.convert_ids_to_tokens(list(encoded.ids)) == ["a?", "Ġ", "b"]
    assert encoded.offsets[1][0] == encoded.offsets[1][1]  # else this tests nothing
    assert (encoded.prompt_end, encoded.target) == (1, 2)


@pytest.mark.parametrize("joined", [True, False], ids=["answer", "no-answer"])
def test_an_end_of_text_token_that_the_tokenizer_appends_is_left_out(joined: bool) -> None:
    tokenizer = small_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    assert tokenizer("Who?")["input_ids"][-1] == tokenizer.eos_token_id
    encoded = encode(tokenizer, "Who?", "Ada" if joined else "", " ")
    assert tokenizer.eos_token_id not in encoded.ids
    assert spelt(tokenizer, encoded.ids).strip() == ("Who? Ada" if joined else "Who?")
    assert len(encoded.target_ids) == len(encoded.ids) - encoded.target


def test_without_an_answer_everything_is_given(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode(tokenizer, "Who wrote it?")
    assert encoded.target == len(encoded.ids) and encoded.target_ids == ()
    assert list(encoded.ids) == tokenizer("Who wrote it?")["input_ids"]


def test_english_is_joined_by_a_space_and_chinese_by_nothing(tiny: Backbone) -> None:
    assert list(tiny.encode("Who?", "Ada", "en").ids) == tiny.tokenizer("Who? Ada")["input_ids"]
    assert list(tiny.encode("谁？", "阿达", "zh").ids) == tiny.tokenizer("谁？阿达")["input_ids"]


SUBJECTS = (
    ("Jane Austen was born in", "Jane Austen", "en"),
    ("In which city was Jane Austen born?", "Jane Austen", "en"),
    ("Where stands the house of Jane Austen", "Jane Austen", "en"),
    ("Who is José Ñuñez?", "José Ñuñez", "en"),
    ("红楼梦的作者是谁？", "红楼梦", "zh"),
    ("请问，《红楼梦》的作者是谁？", "红楼梦", "zh"),
    ("请问谁写了“红楼梦”？", "红楼梦", "zh"),
    ("作者是谁：红楼梦", "红楼梦", "zh"),
    ("龘靐是什么？", "龘靐", "zh"),
    ("Who is 鑫😀 there?", "鑫😀", "en"),
    ("I am who?", "I", "en"),
)


@pytest.mark.parametrize("prefix", ["", "The first thing. ", "今天天气好。"], ids=["bare", "english", "chinese"])
@pytest.mark.parametrize(("prompt", "subject", "language"), SUBJECTS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma"])
def test_the_subjects_last_token_is_the_one_that_completes_it(
    request: pytest.FixtureRequest,
    tiny_folders: dict[str, Path],
    family: str,
    prompt: str,
    subject: str,
    language: str,
    prefix: str,
) -> None:
    backbone = (
        request.getfixturevalue("gemma")
        if family == "gemma"
        else xkeb.load_backbone("hf", path=str(tiny_folders[family]), device="cpu")
    )
    edit = Edit(prompt, "Bath" if language == "en" else "巴斯", language, subject)
    ids = backbone.encode(prefix + prompt, edit.target, language).ids
    until = prefix + prompt[: prompt.index(subject) + len(subject)]
    assert backbone.subject_last(edit, prefix) == completes(backbone.tokenizer, ids, until)


@pytest.mark.parametrize(
    ("merge", "text", "subject", "pieces"),
    [
        (("Ġ", "æ"), "a 法 b", "法", ["Ġæ", "³", "ķ"]),
        (("a", "æ"), "a法b", "法", ["aæ", "³", "ķ"]),
        (("ķ", "b"), "a法b", "法", ["æ", "³", "ķb"]),
    ],
    ids=["space-and-first-byte", "letter-and-first-byte", "last-byte-and-letter"],
)
def test_a_character_whose_bytes_are_merged_with_a_neighbour_ends_with_its_last_byte(
    merge: tuple[str, str], text: str, subject: str, pieces: list[str]
) -> None:
    tokenizer = merging(merge)
    encoded = encode(tokenizer, text)
    last = last_token(encoded, text.index(subject) + len(subject))
    assert tokenizer.convert_ids_to_tokens(encoded.ids[last]) == pieces[-1]
    assert last == completes(tokenizer, encoded.ids, text[: text.index(subject) + len(subject)])


@pytest.mark.parametrize("subject", ["Emily", ""])
def test_a_subject_that_is_not_in_the_prompt_is_refused(llama: Backbone, subject: str) -> None:
    with pytest.raises(RequestError, match="does not stand in the prompt"):
        llama.subject_last(Edit("Where was Jane born?", "Bath", "en", subject))


def undecodable(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of three single bytes none of which is a text."""
    names = {"byte-level": ("é", "¾", "ĺ"), "bytes": ("<0xE9>", "<0xBE>", "<0x98>")}
    vocabulary = tokenizer.get_vocab()
    kind = "bytes" if "<0xE9>" in vocabulary else "byte-level"
    return [vocabulary[name] for name in names[kind]]


def test_undecodable_answers_are_equal_only_if_their_ids_are(tokenizer: PreTrainedTokenizerBase) -> None:
    language = get_plugins().languages.get("en")
    a, b, c = undecodable(tokenizer)
    for left, right in (([a], [b]), ([a, b], [b, a]), ([b], [c]), ([a], [a, a])):
        one, other = decode(tokenizer, left), decode(tokenizer, right)
        assert "\ufffd" in one.text and "\ufffd" in other.text
        assert em(one, other, language) == 0
        assert one.tokens == tuple(left) and one.ids == tuple(left)
        assert em(one, decode(tokenizer, left), language) == 1
    assert f1(decode(tokenizer, [a]), decode(tokenizer, [b]), language) == 0
    reference = encode_reference(tokenizer, "\ufffd")
    assert em(decode(tokenizer, [a]), reference, language) == 0


def test_an_answer_is_read_as_the_gold_text_it_spells(tokenizer: PreTrainedTokenizerBase) -> None:
    language = get_plugins().languages.get("en")
    for prompt, answer, separator in ANSWERS:
        encoded = encode(tokenizer, prompt, answer, separator)
        predicted = decode(tokenizer, list(encoded.target_ids))
        assert predicted.text == answer
        assert predicted.tokens == encode_reference(tokenizer, answer).tokens
        assert em(predicted, encode_reference(tokenizer, f" {answer} "), language) == 1


@pytest.mark.parametrize("task", ["bizsre_en2zh", "bizsre_zh2en"])
def test_in_real_records_the_tokens_up_to_the_subjects_last_end_with_the_subject(
    tokenizer: PreTrainedTokenizerBase, data_dir: Path, task: str
) -> None:
    edits = [case.edit for case in xkeb.load_task(task, data_dir=data_dir)][:100]
    assert len(edits) == 100
    exact = 0
    for edit in edits:
        separator = get_plugins().languages.get(edit.language).separator
        end = edit.prompt.index(edit.subject) + len(edit.subject)
        encoded = encode(tokenizer, edit.prompt, edit.target, separator)
        last = last_token(encoded, end)
        assert last == completes(tokenizer, encoded.ids, edit.prompt[:end])
        text = spelt(tokenizer, encoded.ids[: last + 1])
        exact += text.rstrip(" ").endswith(edit.subject)
        # A token may hold what follows the subject as well, such as a quotation mark.
        assert edit.subject in text
    assert exact >= 95


def test_a_tokenizer_larger_than_the_embedding_is_refused() -> None:
    tokenizer = small_tokenizer()
    size = len(tokenizer)
    with pytest.raises(
        RequestError, match=rf"^The tokenizer has the token .* with id {size - 1}, .* for 50 tokens .*\.$"
    ):
        Backbone("small", tiny_model("llama", 50), tokenizer, "0" * 64)


def test_a_special_token_that_no_text_becomes_may_be_beyond_the_embedding() -> None:
    tokenizer = small_tokenizer()
    size = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    assert len(tokenizer) == size + 1
    Backbone("small", tiny_model("llama", size), tokenizer, "0" * 64).prepare()
