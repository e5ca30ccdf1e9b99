"""Prompt styles: what stands around a question when a model is asked."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from xkeb.errors import RequestError
from xkeb.types import Language, PromptStyle
from xkeb.utils.hashing import digest_texts

QUESTION, ANSWER, SECOND_QUESTION, SECOND_ANSWER = "\ue000", "\ue001", "\ue002", "\ue003"
"""Stand for questions and answers while a template is rendered: characters for private use, which no template has."""


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


@dataclass(frozen=True, slots=True)
class Conversation:
    """The text around a question, its answer, and a second question."""

    before: str
    reply: str
    """Between the first question and its answer."""
    turn: str
    """Between that answer and the second question."""
    after: str
    holds_context: bool = False
    """As of a `Frame`. A context stands at the start of the conversation, once."""

    def text(self, prompt: str, earlier: tuple[str, str], context: str = "") -> str:
        """Everything up to the second answer.

        Args:
            earlier: the first question and its answer.
        """
        question, answer = earlier
        start = f"{self.before}{context}" if self.holds_context else f"{context}{self.before}"
        return f"{start}{question}{self.reply}{answer}{self.turn}{prompt}{self.after}"


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


def make_conversation(style: PromptStyle, language: Language, tokenizer: PreTrainedTokenizerBase) -> Conversation:
    """What stands around two questions of one conversation: each as alone, and in ``plain`` and ``qa`` a line break before the
    second.

    Raises:
        RequestError: as `make_frame`, or the template shows no second question.
    """
    if style == "chat":
        return _chat_conversation(tokenizer)
    frame = make_frame(style, language, tokenizer)
    return Conversation(frame.before, frame.after + frame.separator, f"\n{frame.before}", frame.after)


def template_hash(style: PromptStyle, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """sha256 of the chat template, where the style puts questions by it. A model's own hash has none of it where it stands in a
    file of its own."""
    return digest_texts([str(tokenizer.get_chat_template())]) if style == "chat" else None


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
    before, after, _ = _rendered(tokenizer, (QUESTION, ANSWER), "one question and then its answer")
    return Frame(before, after, "", holds_context=True)


def _chat_conversation(tokenizer: PreTrainedTokenizerBase) -> Conversation:
    """Likewise, of two questions and their answers."""
    before, reply, turn, after, _ = _rendered(
        tokenizer, (QUESTION, ANSWER, SECOND_QUESTION, SECOND_ANSWER), "a second question after an answer"
    )
    return Conversation(before, reply, turn, after, holds_context=True)


def _rendered(tokenizer: PreTrainedTokenizerBase, contents: Sequence[str], what: str) -> list[str]:
    """What the template puts around the contents of a conversation, in which the user begins.

    Args:
        what: it should show, for a message.
    """
    roles = itertools.cycle(("user", "assistant"))
    conversation = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    name = type(tokenizer).__name__
    try:
        text = str(tokenizer.apply_chat_template(conversation, tokenize=False))
    except (ValueError, TemplateError) as error:  # ValueError: there is none
        raise RequestError(f"The model's tokenizer ({name}) can't ask with --prompt chat: {_first(error)}") from error
    if [character for character in text if character in contents] != list(contents):
        raise RequestError(
            f"The chat template of the model's tokenizer ({name}) doesn't show {what}, so --prompt chat can't ask with it."
        )
    before, *rest = re.split("|".join(contents), text)
    bos = tokenizer.bos_token
    if bos and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]:
        before = before.removeprefix(str(bos))  # the tokenizer puts it there itself
    return [before, *rest]


def _first(error: Exception) -> str:
    """The first sentence of an error's text."""
    return re.split(r"(?<=[.!?]) ", " ".join(str(error).split()))[0].rstrip(".!") + "."
