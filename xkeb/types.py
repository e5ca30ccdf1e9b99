"""The nouns of the suite. Everything here is data: frozen, slotted, and free of torch."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, get_args

Property = Literal["reliability", "generality", "locality", "portability"]
"""What is measured of an edit (Section 3.3 of the paper)."""

PROPERTIES: tuple[Property, ...] = ("reliability", "generality", "locality", "portability")


class Sight(StrEnum):
    """What an editor may look at. The suite hands it what it declares (`sees`), and nothing else."""

    SOURCE_EDIT = "source_edit"
    """The edit's question, subject and new answer in its own language."""
    TARGET_QUESTION = "target_question"
    """The edit's question in the case's other languages."""
    TARGET_ANSWER = "target_answer"
    """The new answer in the case's other languages."""
    SUBJECT_ALIASES = "subject_aliases"
    """How the record's other languages write the subject."""
    SOURCE_TRAINING = "source_training"
    """Training facts in the language of the edits."""
    PARALLEL_TRAINING = "parallel_training"
    """Training facts with their question and answer in the other languages beside them, and with what is asked there."""
    EXTERNAL_TRANSLATION = "external_translation"
    """A translation that the method makes or fetches by itself."""


Scorer = Literal["growing", "growing_without_bos", "in_context"]
"""How the paper's released code asks a method: from growing prompts, from these without the first token of a target (SERAC), or
once, in a context (IKE)."""

REPLACEMENT = "\ufffd"
"""What a piece of a multi-byte character decodes to."""

PromptStyle = Literal["plain", "qa", "chat"]
"""How a question is put to a model: as it stands, between the words for question and answer, or as a user's turn in the chat
template of the model's tokenizer."""

PROMPT_STYLES: tuple[PromptStyle, ...] = get_args(PromptStyle)


@dataclass(frozen=True, slots=True)
class Language:
    """A language, as far as prompts and scores need to know it."""

    code: str
    """ISO 639-1 code, e.g. ``en``."""
    name: str
    """English name, as tables print it."""
    segment: Callable[[str], list[str]]
    """Cuts a text into the units that ``f1_units`` counts: words, or characters."""
    separator: str = " "
    """What stands between a prompt and its answer: a space, or nothing where the language writes none."""
    script: str = "Latin"
    """Unicode's name of the script that it is written in; of the several together that Japanese is written in, ``Japanese``."""
    abbreviations: frozenset[str] = frozenset()
    """Words with a full stop that don't end a sentence, casefolded, beyond those that the library `sentencex` knows."""
    qa: str | None = None
    """How the prompt style ``qa`` puts a question, in this language's words: ``"Question: {}\\nAnswer:"``, with ``{}`` for
    the question. None: it can't be asked so."""
    family: str = ""
    """The family of languages that it belongs to; of the Indo-European ones, the branch. Empty where nobody says."""
    passages: tuple[str, ...] = ()
    """A text, in parts of two or three sentences that are read apart: its perplexity is a measure of damage (``--damage``). The
    texts of the languages that come with the suite say the same. Empty: the language has no perplexity."""

    @property
    def scripts(self) -> tuple[str, ...]:
        """Unicode's names of the scripts whose letters it is written with."""
        return ("Han", "Hiragana", "Katakana") if self.script == "Japanese" else (self.script,)


@dataclass(frozen=True, slots=True)
class Direction:
    """Edits are made in `source`, and the questions asked in it and in each of `targets`; without targets, in it alone."""

    source: str
    targets: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.source}-{'+'.join(self.targets)}" if self.targets else self.source

    @property
    def languages(self) -> tuple[str, ...]:
        """The source, then the targets."""
        return (self.source, *self.targets)


class LanguagePair(Direction):
    """A direction with one target."""

    __slots__ = ()

    def __init__(self, source: str, target: str) -> None:
        super().__init__(source, (target,))

    @property
    def target(self) -> str:
        return self.targets[0]


@dataclass(frozen=True, slots=True)
class Edit:
    """What is asked of an editor: from now on, `prompt` is answered by `target`."""

    prompt: str
    target: str
    language: str
    """Code of the language of `prompt` and `target`."""
    subject: str = ""
    """What the fact is about, as it is written in `prompt`; empty where a data set doesn't say."""
    translations: Mapping[str, str] = field(default_factory=dict)
    """The same target in each language of the case."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """The same question in each language of the case."""
    aliases: tuple[str, ...] = ()
    """How the record's other languages write the subject."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A question and its gold answer, letter for letter as a data set's file has them."""

    prompt: str
    reference: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to the model before and after the edit."""

    property: Property
    language: str
    prompt: str
    reference: str
    """The gold answer: it gives the number of tokens to predict and the prefixes they are predicted from."""
    raw: Texts | None = None
    """What the file has, where reading it changed something: a prefix was taken off, or white space. Of no concern to any
    protocol but the paper's."""
    aliases: tuple[str, ...] = ()
    """Other texts in its language that are as right as `reference`, where the data has them. Metrics of free answers accept
    any."""

    @builtins.property  # `property` is a field here
    def judged_by(self) -> Literal["reference", "before"]:
        """What the prediction after the edit is compared with: locality asks for no change, not for the truth."""
        return "before" if self.property == "locality" else "reference"


@dataclass(frozen=True, slots=True)
class Case:
    """One edit and its probes, in its own language and in others."""

    id: str
    """Its own in the data set: at most 200 characters, all printable, without / or \\."""
    edit: Edit
    probes: tuple[Probe, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the data tells of the fact, such as its ``relation``: cases with one value are a slice of the result. Each is a line
    of at most 200 characters."""

    def probe(self, name: Property) -> Probe:
        """The first probe of that property.

        Raises:
            KeyError: it has none.
        """
        for probe in self.probes:
            if probe.property == name:
                return probe
        raise KeyError(name)

    def has(self, properties: Iterable[Property]) -> bool:
        """Whether it has a probe of each of these properties."""
        return set(properties) <= {probe.property for probe in self.probes}

    @builtins.property
    def text_lengths(self) -> list[int]:
        """Bytes of each question with its answer, the edit's first: about as tokens go, in any script."""
        texts = [(self.edit.prompt, self.edit.target), *((probe.prompt, probe.reference) for probe in self.probes)]
        return [len((question + answer).encode()) for question, answer in texts]


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt and the answer whose tokens are to be predicted, each from the gold ones before it."""

    prompt: str
    target: str
    language: str
    row: int = 0
    """Which change it is asked under, where several are at work at once."""
    property: Property = "reliability"
    """What it measures: the paper's protocol asks for portability in another way."""
    context: str = ""
    """What a change puts before the question."""
    earlier: tuple[str, str] | None = None
    """A question and its answer, which stand before this one in the same conversation."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record that can't be run, and why. Counted in the results, never dropped silently."""

    case_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A target language in which a case can't be asked, and why. The case is asked in the others."""

    case_id: str
    language: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to a probe."""

    text: str
    """The answer, decoded and stripped."""
    tokens: tuple[int, ...]
    """`text` as a bag of the backbone's tokens, without special ones: what `f1` counts. Where `text` can't be encoded
    back (a piece of a multi-byte character decodes to U+FFFD), the predicted ids themselves, so that two different
    undecodable answers never count as equal."""
    ids: tuple[int, ...] = ()
    """The ids as predicted, one for each token of the reference under teacher forcing. Empty for a gold answer."""
    raw: str | None = None
    """All that the model said, where `text` is cut from it: a free answer."""
    aliases: tuple[str, ...] = ()
    """Of a gold answer: other texts that are as right."""
    second: SecondTurn | None = None
    """What the question was answered when it was asked again, if it was."""


@dataclass(frozen=True, slots=True)
class SecondTurn:
    """A question asked again, after an unrelated one and its answer."""

    question: str
    """The unrelated one."""
    reply: str
    """The model's answer to that, as it stands before the question."""
    answer: Prediction


class Metric(Protocol):
    """Compares two answers given in `language`: 0 where they have nothing in common, 1 where they are the same."""

    def __call__(self, prediction: Prediction, reference: Prediction, language: Language) -> float: ...


@dataclass(frozen=True, slots=True)
class Around:
    """What else is known of a question whose answer is scored."""

    before: Prediction
    """The answer before the edit."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """The gold answers of the same question in the case's other languages, by code."""


class AroundMetric(Protocol):
    """A metric that looks at what is around an answer, too. None where it can't tell: then the answer has no score."""

    def __call__(
        self, prediction: Prediction, reference: Prediction, language: Language, *, around: Around
    ) -> float | None: ...


DEFAULT_METRICS = ("f1", "em", "f1_pr", "f1_units")
"""Names of the metrics that a run scores unless told otherwise."""
FREE_METRICS = ("f1_units", "exact", "contains", "contains_not_old", "wrong_language", "repetition", "em")
"""The same of free answers."""
WILD_METRICS = ("f1_units", "exact_wild", "exact", "contains", "repetition")
"""The same of free answers by the rule of WILD."""
