"""Texts, tokens and answers as the released code makes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from xkeb.errors import RequestError
from xkeb.evaluation.protocols.published_tokenizer import load_tokenizer
from xkeb.evaluation.protocols.released_rules import ReleasedRules
from xkeb.models.backbone import Backbone
from xkeb.models.passes import TokenRow
from xkeb.models.prediction import AnswerStyle
from xkeb.models.tokenization import encode, token_bag
from xkeb.registry.manager import get_plugins
from xkeb.types import Prediction, Query


class ReleasedStyle(AnswerStyle):
    """The style of answers of the paper's protocol. Line numbers are those of the released code at commit 254f830."""

    def __init__(self, rules: ReleasedRules) -> None:
        self.rules = rules

    def rows(self, backbone: Backbone, query: Query, context: str) -> list[TokenRow]:
        tokenizer = backbone.tokenizer
        if query.context:  # of a question that is passed on: to this protocol a part of it
            query, context = dataclasses.replace(query, prompt=query.context + query.prompt, context=""), ""
        if self.rules.scorer == "in_context":
            return [self._row_in_context(tokenizer, query, context)]
        if context:
            raise RequestError(
                "The paper's protocol asks a method that puts a context before a question in a way of its own: the editor "
                'should set released_scorer = "in_context".'
            )
        if self.rules.texts == "whole":
            encoded = encode(tokenizer, query.prompt, query.target, self._joiner(query))
            positions = tuple(range(encoded.target - 1, len(encoded.ids) - 1))
            return [TokenRow(encoded.ids[:-1], positions, query.row)]
        ids = [self._ids(tokenizer, text) for text in self._growing(tokenizer, query)]
        return [TokenRow(chain[-1], tuple(len(one) - 1 for one in chain), query.row) for chain in _chains(ids)]

    def answer(self, backbone: Backbone, query: Query, predicted: Sequence[Sequence[int]]) -> Prediction:
        ids = [token for row in predicted for token in row]
        text = str(backbone.tokenizer.decode(ids, skip_special_tokens=True))
        return self._prediction(backbone, self._compared(query, text), ids)

    def passed_on(self, backbone: Backbone, reply: Prediction) -> Prediction:
        return self._prediction(backbone, reply.text, reply.ids)

    def reference(self, backbone: Backbone, query: Query) -> Prediction:
        """The target, decoded as predictions are."""
        tokenizer = backbone.tokenizer
        if self.rules.scorer == "in_context":
            ids = self._in_context_ids(tokenizer, query)
        elif self.rules.texts == "whole":
            ids = list(encode(tokenizer, query.prompt, query.target, self._joiner(query)).target_ids)
        else:
            ids = self._target_ids(tokenizer, query)
        if query.property == "portability" and self.rules.scorer != "in_context" and self.rules.texts == "growing":
            # portability_evaluate.py:106: the pieces, decoded one by one, make a text that is encoded and decoded again
            ids = tokenizer("".join(str(tokenizer.decode([token])) for token in ids))["input_ids"]
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
        return self._prediction(backbone, self._compared(query, text), ())

    # Tokens ----------------------------------------------------------------------------------------------------------

    def _ids(self, tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool = True) -> tuple[int, ...]:
        """Of a text, cut off on the right."""
        length = self.rules.max_length
        cut = {"truncation": True, "max_length": length} if length else {}
        return tuple(tokenizer(text, add_special_tokens=special, **cut)["input_ids"])

    def _target_ids(self, tokenizer: PreTrainedTokenizerBase, query: Query) -> list[int]:
        """Of a target that is predicted from growing prompts: by `evaluate.py:277` with the token before any text, unless that
        is the unknown one, or the method is SERAC; of portability by `portability_evaluate.py:47`."""
        special = self.rules.bos == "kept"
        if query.property == "portability":
            return list(self._ids(tokenizer, self._joiner(query) + query.target, special=special))
        ids = list(self._ids(tokenizer, query.target, special=special))
        unknown = tokenizer.unk_token_id is not None and ids[:1] == [tokenizer.unk_token_id]
        return ids[1:] if unknown or (special and self.rules.scorer == "growing_without_bos") else ids

    def _growing(self, tokenizer: PreTrainedTokenizerBase, query: Query) -> Iterator[str]:
        """The prompt with more and more of the target, a text for each of its tokens."""
        ids = self._target_ids(tokenizer, query)
        # Decoding skips nothing here, so that a BOS in the target is a text in the prompt.
        if query.property == "portability":
            yield from (query.prompt + str(tokenizer.decode(ids[:i])) for i in range(len(ids)))
            return
        yield query.prompt
        yield from (query.prompt + self._joiner(query) + str(tokenizer.decode(ids[:i])) for i in range(1, len(ids)))

    def _row_in_context(self, tokenizer: PreTrainedTokenizerBase, query: Query, context: str) -> TokenRow:
        """`evaluate.py:190`: as many tokens at the end of the whole as the target has alone, the first left out."""
        ids = tuple(tokenizer(context + query.prompt + self._joiner(query) + query.target)["input_ids"])
        last, count = len(ids) - 1, len(self._in_context_ids(tokenizer, query))
        return TokenRow(ids[:-1], tuple(range(last - count, last)), query.row, context)

    def _in_context_ids(self, tokenizer: PreTrainedTokenizerBase, query: Query) -> list[int]:
        """The target's own tokens without the first, which is the BOS where a tokenizer adds one, and else a part of the
        answer: one of a single token is empty then."""
        if self.rules.bos == "dropped":
            return list(tokenizer(query.target, add_special_tokens=False)["input_ids"])
        return list(tokenizer(query.target)["input_ids"])[1:]

    def _joiner(self, query: Query) -> str:
        return " " if self.rules.joiner == "space" else get_plugins().languages.get(query.language).separator

    # Answers ---------------------------------------------------------------------------------------------------------

    def _compared(self, query: Query, text: str) -> str:
        if self.rules.case == "kept":
            return text.strip()
        own = query.property == "portability" and self.rules.scorer != "in_context"
        return text.lower().strip() if own else text

    def _prediction(self, backbone: Backbone, text: str, ids: Sequence[int]) -> Prediction:
        counter = load_tokenizer(self.rules.tokenizer) if self.rules.tokenizer else backbone.tokenizer
        if self.rules.bags == "without_space":
            bag = token_bag(counter, text)
        else:
            bag = tuple(counter(text, add_special_tokens=False)["input_ids"])
        return Prediction(text if bag else "", bag, tuple(ids))  # two that have no token are the same


def _chains(ids: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    """Texts in their order, in runs of which each begins the next: one pass of the last gives what each would give alone."""
    chain: list[tuple[int, ...]] = []
    for one in ids:
        if chain and one[: len(chain[-1])] != chain[-1]:
            yield chain
            chain = []
        chain.append(one)
    yield chain
