"""Prompt styles: what stands around a question when a model is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from xkeb.errors import RequestError
from xkeb.types import Language, PromptStyle

QUESTION, ANSWER = "\ue000", "\ue001"
"""Stand for question and answer while a template is rendered: characters for private use, which no template has."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The text around a question."""

    before: str
    after: str
    separator: str
    """What stands between the framed question and its answer."""
    holds_context: bool = False
    """Whether a context, which stands before a question, is inside."""

    def text(self, prompt: str, context: str = "") -> str:
        """Everything up to the separator."""
        if self.holds_context:
            return f"{self.before}{context}{prompt}{self.after}"
        return f"{context}{self.before}{prompt}{self.after}"

    def start(self, context: str = "") -> int:
        """Characters before the question."""
        return len(context) + len(self.before)


def make_frame(style: PromptStyle, language: Language, tokenizer: PreTrainedTokenizerBase) -> Frame:
    """What stands around a question that is asked, and answered, in a language.

    Raises:
        RequestError: the language has no words for it, or the tokenizer no chat template that can be used.
    """
    if style == "chat":
        return _chat_frame(tokenizer)
    if style == "qa":
        before, after = qa_words(language)
        return Frame(before, after, language.separator)
    return Frame("", "", language.separator)


def qa_words(language: Language) -> tuple[str, str]:
    """What stands before and after a question in the style ``qa``.

    Raises:
        RequestError: the language doesn't say it.
    """
    parts = (language.qa or "").split("{}")
    if len(parts) != 2:
        raise RequestError(
            f"Language {language.code!r} can't be asked with --prompt qa: its `qa` should be a text with one {{}} for the "
            f"question, not {language.qa!r}."
        )
    return parts[0], parts[1]


def _chat_frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """From a conversation of one question and its answer, as the template renders it."""
    conversation = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
    name = type(tokenizer).__name__
    try:
        text = str(tokenizer.apply_chat_template(conversation, tokenize=False))
    except (ValueError, TemplateError) as error:  # ValueError: there is none
        raise RequestError(f"The model's tokenizer ({name}) can't ask with --prompt chat: {_first(error)}") from error
    if text.count(QUESTION) != 1 or text.count(ANSWER) != 1 or text.index(QUESTION) > text.index(ANSWER):
        raise RequestError(
            f"The chat template of the model's tokenizer ({name}) doesn't show one question and then its answer, so "
            "--prompt chat can't ask with it."
        )
    before, rest = text.split(QUESTION)
    bos = tokenizer.bos_token
    if bos and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:
        before = before.removeprefix(str(bos))  # the tokenizer puts it there itself
    return Frame(before, rest.split(ANSWER)[0], "", holds_context=True)


def _first(error: Exception) -> str:
    """The first sentence of an error's text."""
    return re.split(r"(?<=[.!?]) ", " ".join(str(error).split()))[0].rstrip(".!") + "."
