"""xmem, a cross-lingual memory: the model stays as it is, and an edit made in one language is answered in another.

An edit goes into a memory. A gate, trained on questions that are the same in two languages, says whether a question is about
an edit there. If it is, the untouched model answers with a context: some training facts, each in the edit's language and then
in the language of the question, and the edit. If not, the untouched model answers without one, so that out of scope nothing
changes. The facts that are shown are those with the most similar answers: they show how such a name is written in the other
language, which is what a model lacks most.

Of an edit it sees the question, the subject and the answer in the edit's own language; of the training facts both languages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from xkeb.editing.changes import ContextChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.editing.training import hold_out
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Case, Edit
from xkeb_plugins.methods.memory.change import Entry, MemoryChange
from xkeb_plugins.methods.memory.dry_run import dry_run_gate
from xkeb_plugins.methods.memory.editor import GatedMemory
from xkeb_plugins.methods.memory.facts import Question, parallel_facts
from xkeb_plugins.methods.xmem.demonstrations import FRAMES, Choice, Demonstrations, Nearest
from xkeb_plugins.methods.xmem.gate import Gate
from xkeb_plugins.methods.xmem.gate_training import GateTraining
from xkeb_plugins.methods.xmem.lexicon import Gloss, Lexicon


@dataclass
class CrossLingualMemory(GatedMemory):
    """xmem: a memory of edits, a gate that reads the model's own states, and parallel facts that show how an answer crosses."""

    name: ClassVar[str] = "xmem"

    scope: Literal["gate", "all"] = "gate"
    """Which questions are answered with the edit's context: those that the gate lets through, or ``all``. For all, no gate is
    trained."""
    threshold: float | None = None
    """Least cosine of a question in scope. None: the gate's own, which grows with the memory."""
    temperature: float = 0.1
    """Of InfoNCE."""
    unrelated: float = 0.002
    """Share of unrelated questions that a memory of any size may accept. Where the training facts have none, a single edit may
    accept 3.5 times this share of the questions about other facts."""
    others: float = 0.07
    """Share of questions about other facts that a memory of any size may accept."""
    demonstrations: int = 4
    """Parallel facts that are shown, the nearest last; 0 shows the edit alone."""
    nearest: Nearest = "target"
    """Which facts are shown: those with the most similar answer and, where there are too few, the most similar question; by the
    question alone; by the sum of both similarities; or any."""
    least: float = 0.3
    """Least similarity of an answer, for `nearest` by target."""
    lexicon: int = 16
    """Answers of training facts that show the model what the edit's answer is in another language, before it is stored: those
    that are most similar, each in both. Not needed for an answer that is among them. 0: the edit's answer stands in its own
    language alone."""
    companions: int = 0
    """Training facts in each memory beside the edit, as edits of their own that the gate did not learn from. For measuring what
    a memory of many edits answers."""
    frame: str = "en"
    """Language of the words before a fact and a question (New Fact, Prompt), or ``none``."""

    _gate: Gate | None = field(default=None, init=False, repr=False, compare=False)
    _shown: Demonstrations | None = field(default=None, init=False, repr=False, compare=False)
    _lexicon: Lexicon | None = field(default=None, init=False, repr=False, compare=False)
    _companions: tuple[Entry, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("demonstrations", "lexicon", "companions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a number of facts, at least 0, not {getattr(self, name)}")
        if self.companions and self.scope == "all":
            raise ValueError("companions are told from the edit by the gate, so scope can't be all")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        for name in ("unrelated", "others", "least"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1, not {getattr(self, name)}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold is a cosine, from -1 to 1, not {self.threshold}")
        if self.frame not in FRAMES:
            raise ValueError(f"frame is one of {', '.join(FRAMES)}, not {self.frame!r}")

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Trains the gate, or takes it from the cache, and indexes the facts that can be shown.

        Raises:
            RequestError: there are too few facts in more than one language.
        """
        me = self.configure(backbone.spec)
        facts = parallel_facts(cases, "xmem")
        gate = me.training(facts).learn(backbone) if me.scope == "gate" else None
        self._gate = dataclasses.replace(gate, threshold=me.threshold) if gate else None
        self._shown = me.shown(facts)
        self._lexicon = Lexicon(facts, me.lexicon) if me.lexicon else None
        self._companions = tuple(self._entries(backbone, me.others_of(facts)))

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[MemoryChange]:
        """A memory of one edit for each."""
        return [self._memory(entry) for entry in self._checked(backbone, edits)]

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> MemoryChange:
        """One memory of all the edits."""
        return MemoryChange("xmem", self._checked(backbone, edits), self._gate)

    def why_single(self) -> str | None:
        if self.scope == "all":
            return "xmem.scope=all answers every question with one edit, so a memory holds no second one"
        if self.companions:
            return "xmem.companions fills each edit's memory with other facts, which are no edits of the sequence"
        return None

    def _checked(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Entry]:
        """Edits as entries of a memory, where they are in languages that can be answered."""
        if self._shown is None:
            raise RequestError("xmem answers with training facts: call fit() first.")
        self.check_languages(edits, self._shown.languages)
        return self._entries(backbone, edits)

    def _entries(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Entry]:
        """Edits as entries of a memory; of a fitted editor."""
        vectors: Sequence[torch.Tensor | None] = [None] * len(edits)
        if self._gate is not None and edits:
            with torch.no_grad():
                vectors = list(self._gate.embed(backbone, [Question(edit.language, edit.prompt) for edit in edits]))
        contexts = known(self._shown).contexts
        glosses = self._lexicon.glosses(backbone, edits) if self._lexicon else [{} for _ in edits]
        return [
            Entry.of(edit, contexts(edit, told), vector)
            for edit, told, vector in zip(edits, glosses, vectors, strict=True)
        ]

    def _memory(self, entry: Entry) -> MemoryChange:
        """An edit, and its companions: none that asks the same."""
        others = [other for other in self._companions if other.fact.prompt != entry.fact.prompt]
        return MemoryChange("xmem", [entry, *others[: self.companions]], self._gate)

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[ContextChange]:
        """Contexts for all questions, as if every one were in scope, and no answer known: the most that can be needed."""
        me = self.configure(session.backbone.spec)
        facts = parallel_facts(session.training, "xmem")
        if me.scope == "gate":
            dry_run_gate(session, me.training(facts), edits)
        shown = me.shown(facts)
        lexicon = Lexicon(facts, me.lexicon) if me.lexicon else None
        if lexicon:
            with session.phase("edit"):
                lexicon.go_on_with(session.backbone, [(edit, code) for edit in edits for code in lexicon.others(edit)])
        return [
            ContextChange(
                shown.contexts(edit, dict.fromkeys(lexicon.others(edit) if lexicon else (), Gloss(edit.target, False)))
            )
            for edit in edits
        ]

    def training(self, facts: Sequence[Case]) -> GateTraining:
        """How the gate is trained on some facts; of a configured editor."""
        return GateTraining(
            **self.map_training(facts), temperature=self.temperature, unrelated=self.unrelated, others=self.others
        )

    def others_of(self, facts: Sequence[Case]) -> list[Edit]:
        """The companions of any edit, and one in reserve for an edit that asks what one of them asks.

        Raises:
            RequestError: too few facts are left.
        """
        if not self.companions:
            return []
        left = hold_out(facts, self.validation)[0][self.facts :]
        different = list({case.edit.prompt: case.edit for case in left}.values())
        if len(different) <= self.companions:
            raise RequestError(
                f"xmem.companions is {self.companions}, and there are {len(different)} facts that the gate doesn't learn "
                f"from; it must be fewer than that."
            )
        return different[: self.companions + 1]

    def shown(self, facts: Sequence[Case]) -> Demonstrations:
        """The facts that can be shown."""
        return Demonstrations(facts, Choice(self.demonstrations, self.nearest, self.least, self.seed), self.frame)

    @classmethod
    def restore(cls, tensors: Mapping[str, torch.Tensor], data: Mapping[str, Any]) -> MemoryChange:
        """A saved change; it needs nothing beside itself."""
        return MemoryChange.from_saved("xmem", Gate.recorded, tensors, data)
