"""Second moments without weights, for what they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xkeb.editing.dry_run import DryRunSession
from xkeb.types import Case
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance
from xkeb_plugins.methods.locate.wikipedia import CHARACTERS


def dry_run_moments(
    session: DryRunSession,
    layers: Sequence[int],
    corpus: str,
    samples: int,
    task_texts: Callable[[Sequence[Case]], list[str]] | None = None,
) -> Sequence[Case]:
    """Takes the second moments of keys over some questions of the task, as the work that all of the corpus is: as much more as
    it has more characters. Texts of other lengths go into batches of the same size.

    Args:
        corpus, samples: as for `corpus_texts`. Wikipedia isn't fetched.
        task_texts: the texts of some facts. None: those of `corpus_texts`.

    Returns:
        The facts whose questions these are: the longest to learn from or, where the corpus is something else, those edited.
    """
    task_texts = task_texts or (lambda facts: corpus_texts("task", facts, samples, ()))
    facts = session.longest() or session.batch
    texts = task_texts(facts)
    if corpus == "wikipedia":
        characters = samples * CHARACTERS
    elif corpus == "task":
        characters = sum(map(len, task_texts(session.training or session.batch)))
    else:
        characters = sum(map(len, corpus_texts(corpus, None, samples, ())))
    with session.times(characters / sum(map(len, texts))):
        key_covariance(session.backbone, layers, texts)
    return facts
