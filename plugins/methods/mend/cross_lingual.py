"""xmend: MEND trained across languages. An edit in one language is scored by the same fact in the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xkeb.types import Case, Sight
from xkeb_plugins.methods.memory.facts import parallel_facts
from xkeb_plugins.methods.mend.editor import Mend


@dataclass
class CrossLingualMend(Mend):
    """MEND whose networks are trained in every language of a fact: edited in one, it must hold in all."""

    in_paper: ClassVar[bool] = False
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.PARALLEL_TRAINING})
    across: ClassVar[bool] = True

    def lessons(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The facts that are in more than one language.

        Raises:
            RequestError: they are too few.
        """
        return parallel_facts(cases, "xmend")
