"""Text to tokens and back: which ids a prompt and its answer are, and which token a subject ends in.

Everything comes from the offsets of one tokenisation of the whole text. Pieces tokenised apart disagree with it about
leading spaces and merges, in different ways for each tokenizer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from xkeb.errors import RequestError
from xkeb.types import REPLACEMENT, Prediction


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised text."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    """Characters [start, end) of each token; (0, 0) for a special one."""
    prompt_end: int
    """Index of the first token that a model has to say after the prompt; ``len(ids)`` where there is no answer. It is not
    `target` where the separator is a token of its own: an editor must teach that one as well, since no user types it."""
    target: int
    """Index of the first token of the answer, from which on a prediction is scored; ``len(ids)`` where there is none."""

    @property
    def continuation_ids(self) -> tuple[int, ...]:
        """All that a model has to say after the prompt: the answer's tokens, and before them any of the separator alone."""
        return self.ids[self.prompt_end :]

    @property
    def target_ids(self) -> tuple[int, ...]:
        return self.ids[self.target :]


def reports_offsets(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer says which characters each token holds."""
    try:
        return "offset_mapping" in tokenizer("a", return_offsets_mapping=True)
    except NotImplementedError:
        return False


def encode(tokenizer: PreTrainedTokenizerBase, prompt: str, target: str = "", separator: str = "") -> Encoded:
    """Tokenises ``prompt + separator + target`` once, with the special tokens that the tokenizer puts before a text.

    A token belongs to the answer if it holds a character of `target`. So one that merges the end of the prompt with the
    start of the answer is predicted whole, and one that holds only the separator is given: a score is of the answer, and
    the separator is the same whatever the answer. Nothing follows the answer.
    """
    text = prompt + separator + target if target else prompt
    batch = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = batch["input_ids"], [(int(a), int(b)) for a, b in batch["offset_mapping"]]
    if target:
        boundary = len(prompt) + len(separator)
        inside = [i for i, (start, end) in enumerate(offsets) if end > boundary and end > start]
        # Byte pieces of one character share its offsets, so the tokens of the answer are a run.
        first, stop = inside[0], inside[-1] + 1
        # A tokenizer that trims spaces off its offsets leaves the separator's token empty, but not at (0, 0).
        prompt_end = next((i for i, (start, end) in enumerate(offsets[:first]) if end > len(prompt) <= start), first)
    else:
        while ids and ids[-1] in tokenizer.all_special_ids and len(ids) > 1 and offsets[-1] == (0, 0):
            ids, offsets = ids[:-1], offsets[:-1]  # an end-of-text token that the tokenizer appends
        prompt_end = first = stop = len(ids)
    return Encoded(tuple(ids[:stop]), tuple(offsets[:stop]), prompt_end, first)


def last_token(encoded: Encoded, end: int) -> int:
    """Index of the token that completes character `end` - 1: the last one that holds any of it, where it is cut into
    bytes, or bytes of it are merged with a neighbour's."""
    holding = [i for i, (start, stop) in enumerate(encoded.offsets) if start < end <= stop]
    if not holding:
        raise RequestError(f"No token holds character {end - 1}; does this tokenizer report offsets?")
    return holding[-1]


def decode(tokenizer: PreTrainedTokenizerBase, ids: list[int], special: Collection[int] = ()) -> Prediction:
    """Predicted ids as an answer.

    Args:
        special: ids that are no part of an answer.
    """
    said = [token for token in ids if token not in special]
    text = str(tokenizer.decode(said, clean_up_tokenization_spaces=False)).strip()
    if REPLACEMENT in text:
        return Prediction(text, tuple(said), tuple(ids))
    return Prediction(text, token_bag(tokenizer, text), tuple(ids))


def encode_reference(tokenizer: PreTrainedTokenizerBase, text: str) -> Prediction:
    """A given text as an answer."""
    return Prediction(text.strip(), token_bag(tokenizer, text.strip()))


def token_bag(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """The tokens of a text standing alone, without special ones, and without the space that LLaMA's tokenizers put before it
    where that is a token of its own: every two Chinese answers would share it."""
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    return ids[1:] if len(ids) > 1 and not str(tokenizer.decode([ids[0]])).strip() else ids


def check_size(tokenizer: PreTrainedTokenizerBase, embeddings: int) -> None:
    """Refuses a tokenizer that gives ids which the model has no embedding for. Special tokens that text doesn't become, such as
    the place for an image, may be beyond.

    Raises:
        RequestError: says which id.
    """
    if len(tokenizer) <= embeddings:
        return
    added = tokenizer.added_tokens_decoder
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id}
    ids = {
        token: i for token, i in tokenizer.get_vocab().items() if i in ends or i not in added or not added[i].special
    }
    token = max(ids, key=ids.__getitem__)
    if ids[token] >= embeddings:
        raise RequestError(
            f"The tokenizer has the token {token!r} with id {ids[token]}, and the model embeddings for {embeddings} tokens "
            "only: they are not of one model."
        )
