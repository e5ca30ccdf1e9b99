"""Second moments without weights, for what they need."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.editing.dry_run import DryRunSession
from xkeb.types import Case
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance
from xkeb_plugins.methods.locate.wikipedia import CHARACTERS


def dry_run_moments(session: DryRunSession, layers: Sequence[int], corpus: str, samples: int) -> Sequence[Case]:
    """Takes the second moments of keys over some questions of the task, as the work that all of the corpus is: as much more as
    it has more characters. Texts of other lengths go into batches of the same size.

    Args:
        corpus, samples: as for `corpus_texts`. Wikipedia isn't fetched.

    Returns:
        The facts whose questions these are: the longest to learn from or, where the corpus is something else, those edited.
    """
    facts = session.longest() or session.batch
    texts = corpus_texts("task", facts, samples, ())
    if corpus == "wikipedia":
        characters = samples * CHARACTERS
    else:
        characters = sum(map(len, corpus_texts(corpus, session.training or session.batch, samples, ())))
    with session.times(characters / sum(map(len, texts))):
        key_covariance(session.backbone, layers, texts)
    return facts
