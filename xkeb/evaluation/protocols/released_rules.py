"""What the released code does otherwise than the suite's own protocol, rule by rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from xkeb.evaluation.protocols.published_tokenizer import load_tokenizer
from xkeb.types import Scorer


@dataclass(frozen=True)
class ReleasedRules:
    """The first value of each is the released rule; the other one is the suite's own."""

    reliability: Literal["own", "english"] = "own"
    """Which target the reliability of an edit is scored against: the one of its language, as the code at hand does it, or
    the English one, as in the published columns of Chinese edits."""
    tokenizer: str = ""
    """Folder of the tokenizer that cuts answers into bags: the paper's is Chinese-LLaMA-Plus's. Empty: the backbone's own."""
    max_length: int = 30
    """Tokens after which prompts and targets are cut off; 0 for no end."""
    texts: Literal["growing", "whole"] = "growing"
    """Whether each token is predicted from a text of its own, the prompt and the decoded target so far, or from the ids of
    prompt and target, tokenised once."""
    joiner: Literal["space", "language"] = "space"
    """What stands between prompt and target: a space in every language, or the language's own."""
    bos: Literal["kept", "dropped"] = "kept"
    """Whether the tokens of a target begin with the one that the tokenizer puts before any text."""
    bags: Literal["released", "without_space"] = "released"
    """Whether a space that is a token of its own, before a text, counts."""
    case: Literal["released", "kept"] = "released"
    """Whether portability is compared in lower case and stripped, and everything else as it is decoded; or all stripped."""
    questions: Literal["raw", "read"] = "raw"
    """Questions and targets letter for letter as the file has them ("nq question: " is a part of English locality questions),
    or as every other protocol asks them."""

    scorer: Scorer = field(default="growing", init=False)
    """How a method is asked; set for each."""

    def __post_init__(self) -> None:
        if self.max_length < 0:
            raise ValueError(f"max_length is a number of tokens, or 0 for no end, not {self.max_length}")
        if self.tokenizer:
            load_tokenizer(self.tokenizer)
