"""The journal of a job's cases, in the slices that the data at hand tells."""

from __future__ import annotations

import logging
from pathlib import Path

from xkeb.evaluation.job import Job
from xkeb.results.journal import Journal
from xkeb.results.lines import CaseRecord
from xkeb.tasks.slices import TRAINING, training_slice

LOG = logging.getLogger(__name__)


def open_cases(job: Job, path: Path, settings: str, *, overwrite: bool) -> Journal[CaseRecord]:
    """Opens a file of a job's cases, as `Journal` does.

    Which answers occur among the training facts, a line says by the file that was there when it was written. Its settings name
    that file only where the method learns from it, so lines of an earlier run may say it by another one, or not at all: they
    are told anew.
    """
    journal = Journal(path, CaseRecord, settings, overwrite=overwrite)
    try:
        _tell_slices_anew(journal, job)
    except BaseException:
        journal.close()
        raise
    return journal


def _tell_slices_anew(journal: Journal[CaseRecord], job: Job) -> None:
    trained = job.task.trained_answers
    if trained is None:  # what is said stays; new lines say nothing, so that the result doesn't tell this kind
        return

    def anew(line: CaseRecord) -> CaseRecord:
        if line.status == "skipped":
            return line
        told = {**line.slices, TRAINING: training_slice(line.edit.target, trained)}
        return line.model_copy(update={"slices": dict(sorted(told.items()))})

    other = sum(anew(line).slices != line.slices for line in journal)
    if other:
        LOG.warning(
            "%s: slices of %s cases are told anew, by the training facts that are here now.", journal.path, other
        )
        journal.rewrite(anew)
