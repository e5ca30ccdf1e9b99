"""What an editor is shown: what it declares, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from xkeb.types import Case, Edit, Sight

TRAINING = frozenset({Sight.SOURCE_TRAINING, Sight.PARALLEL_TRAINING})


def show_edit(edit: Edit, sees: Collection[Sight]) -> Edit:
    """The edit without what isn't to be seen."""
    return dataclasses.replace(
        edit,
        translations=edit.translations if Sight.TARGET_ANSWER in sees else {},
        questions=edit.questions if Sight.TARGET_QUESTION in sees else {},
        aliases=edit.aliases if Sight.SUBJECT_ALIASES in sees else (),
    )


def show_training(cases: Sequence[Case], sees: Collection[Sight]) -> list[Case]:
    """The training facts without what isn't to be seen: none, or those of the source language with what is asked
    about them in it, or those with their parallels in the other languages."""
    if not TRAINING & set(sees):
        return []
    if Sight.PARALLEL_TRAINING in sees:
        return list(cases)
    return [
        dataclasses.replace(
            case,
            edit=dataclasses.replace(case.edit, translations={}, questions={}, aliases=()),
            probes=tuple(probe for probe in case.probes if probe.language == case.edit.language),
        )
        for case in cases
    ]
