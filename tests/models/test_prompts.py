"""Prompt styles: what stands around a question, and where the subject and the answer are then."""

from __future__ import annotations

import pytest
from chats import chatting

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.prompts import make_frame
from xkeb.models.tokenization import last_token
from xkeb.registry.manager import get_plugins
from xkeb.types import PROMPT_STYLES, Edit, Language, PromptStyle, Query

TURNS = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A template that begins with the token which the tokenizer puts before any text by itself."""
EDIT = Edit("Who wrote Faust?", "Schiller", "en", "Faust")


def text_of(backbone: Backbone, ids: tuple[int, ...]) -> str:
    return str(backbone.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize(
    ("language", "style", "context", "expected"),
    [
        ("en", "plain", "", "Who wrote Faust? Schiller"),
        ("en", "plain", "So. ", "So. Who wrote Faust? Schiller"),
        ("en", "qa", "", "Question: Who wrote Faust?\nAnswer: Schiller"),
        ("en", "qa", "So. ", "So. Question: Who wrote Faust?\nAnswer: Schiller"),
        ("zh", "qa", "", "问题：Who wrote Faust?\n答案：Schiller"),
        ("fr", "qa", "", "Question : Who wrote Faust?\nRéponse : Schiller"),
        ("zh", "plain", "", "Who wrote Faust?Schiller"),
    ],
)
def test_a_question_as_each_style_puts_it(
    llama: Backbone, language: str, style: PromptStyle, context: str, expected: str
) -> None:
    frame = make_frame(style, get_plugins().languages.get(language), llama.tokenizer)
    assert frame.text(EDIT.prompt, context) + frame.separator + EDIT.target == expected
    assert expected[frame.start(context) :].startswith(EDIT.prompt)
    encoded = llama.asked_in(style).encode(EDIT.prompt, EDIT.target, language, context=context)
    assert encoded.ids == tuple(llama.tokenizer(expected)["input_ids"])


def test_a_turn_of_the_template_with_one_token_before_any_text(llama: Backbone) -> None:
    """By the template itself: what it renders of a conversation is what is passed, up to the end of the answer."""
    asked = chatting(llama, TURNS).asked_in("chat")
    tokenizer = asked.tokenizer
    talk = [{"role": "user", "content": "So. " + EDIT.prompt}, {"role": "assistant", "content": EDIT.target}]
    rendered = str(tokenizer.apply_chat_template(talk, tokenize=False))
    expected = tokenizer(rendered.removesuffix(tokenizer.eos_token), add_special_tokens=False)["input_ids"]
    encoded = asked.encode(EDIT.prompt, EDIT.target, "en", context="So. ")
    assert encoded.ids == tuple(expected)
    assert encoded.ids.count(tokenizer.bos_token_id) == 1
    assert text_of(asked, encoded.target_ids).strip() == EDIT.target


@pytest.mark.parametrize("style", PROMPT_STYLES)
@pytest.mark.parametrize("context", ["", "The man said. "])
def test_subject_and_answer_stand_where_they_do(llama: Backbone, style: PromptStyle, context: str) -> None:
    asked = chatting(llama, TURNS).asked_in(style)
    encoded = asked.encode(EDIT.prompt, EDIT.target, EDIT.language, context=context)
    text = asked.frame("en").text(EDIT.prompt, context) + asked.frame("en").separator + EDIT.target
    end = text.index(EDIT.subject) + len(EDIT.subject)
    assert asked.subject_last(EDIT, context) == last_token(encoded, end)
    start, stop = encoded.offsets[asked.subject_last(EDIT, context)]
    assert text[start:stop].strip() and EDIT.subject.endswith(text[start:stop].strip())
    assert text[encoded.offsets[encoded.target][0] :].strip() == EDIT.target
    assert encoded.offsets[encoded.prompt_end][0] >= len(text) - len(EDIT.target) - 1


def test_a_text_that_is_no_question_has_no_frame(llama: Backbone) -> None:
    assert llama.asked_in("qa").encode("Faust is a").ids == llama.encode("Faust is a").ids


def test_another_style_is_the_same_model_and_leaves_it_as_it_was(llama: Backbone) -> None:
    other = llama.asked_in("qa")
    assert other.model is llama.model and (other.prompt, llama.prompt) == ("qa", "plain")
    assert other.encode("Who?", "He", "en").ids != llama.encode("Who?", "He", "en").ids
    assert other.asked_in("plain").encode("Who?", "He", "en") == llama.encode("Who?", "He", "en")


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (None, "can't ask with --prompt chat"),
        ("{{ messages[0].content }}", "doesn't show one question and then its answer"),
        ("{{ messages[1].content }}{{ messages[0].content }}", "doesn't show one question and then its answer"),
        ("{{ raise_exception('no roles here') }}", "can't ask with --prompt chat: no roles here."),
    ],
)
def test_a_tokenizer_that_can_not_chat_is_refused_at_once(llama: Backbone, template: str | None, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        chatting(llama, template).asked_in("chat")


@pytest.mark.parametrize("words", [None, "Question:", "{} or {}"])
def test_a_language_without_words_for_a_question_is_refused(llama: Backbone, words: str | None) -> None:
    language = Language("xx", "Nowhere", str.split, qa=words)
    with pytest.raises(RequestError, match="Language 'xx' can't be asked with --prompt qa"):
        llama.asked_in("qa").encode("Who?", "He", language)


def test_every_language_of_the_suite_has_words_of_its_own(llama: Backbone) -> None:
    languages = [get_plugins().languages.get(code) for code in get_plugins().languages]
    frames = [make_frame("qa", language, llama.tokenizer) for language in languages]
    assert all(frame.before.strip() and frame.after.strip() for frame in frames)
    words: dict[tuple[str, str], set[str]] = {}
    for language, frame in zip(languages, frames, strict=True):
        words.setdefault((frame.before, frame.after), set()).add(language.code)
    shared = sorted(sorted(codes) for codes in words.values() if len(codes) > 1)
    assert shared == [["af", "nl"], ["ca", "gl"], ["hr", "sr"]]  # near ones that have the same words


def test_special_tokens_are_no_part_of_an_answer(llama: Backbone) -> None:
    tokenizer = llama.tokenizer
    said = tokenizer("Schiller", add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    assert end in llama.special_ids
    answer = llama.decode([tokenizer.bos_token_id, *said, end])
    assert answer.text == "Schiller" and answer.tokens == llama.encode_reference("Schiller").tokens
    assert answer.ids == (tokenizer.bos_token_id, *said, end)
    assert llama.decode([end, end]).text == "" and llama.decode([end, end]).tokens == ()


def test_a_context_of_a_question_goes_before_that_of_a_change(llama: Backbone) -> None:
    """A question that is passed on to another model has its context with it."""
    from xkeb.models.prediction import TEACHER_FORCING

    (row,) = TEACHER_FORCING.rows(llama, Query("Who?", "He", "en"), "So. ")
    assert row.ids == llama.encode("Who?", "He", "en", context="So. ").ids[:-1]
