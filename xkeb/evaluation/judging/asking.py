"""Many questions to a judge at once, and what to do when it doesn't answer."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xkeb.errors import RequestError
from xkeb.evaluation.judging.cache import VerdictCache
from xkeb.evaluation.judging.endpoint import Endpoint, NoReplyError
from xkeb.evaluation.judging.judge import JudgedAnswer, Verdict, read_verdict

LOG = logging.getLogger(__name__)
ENOUGH = 8
"""Failures one after the other, of an endpoint that isn't asked any more then."""
LONGEST = 300
"""Characters of what an endpoint says that a sentence quotes."""
NO_VERDICT = "a reply without a verdict"


Replies = queue.Queue[tuple[JudgedAnswer, str | BaseException]]


@dataclass(slots=True)
class Asked:
    """What came of the questions."""

    verdicts: dict[JudgedAnswer, Verdict] = field(default_factory=dict)
    reasons: dict[JudgedAnswer, str] = field(default_factory=dict)
    """Why there is no verdict."""
    failures: int = 0
    """Questions that the endpoint gave no reply to, or was not asked any more."""


def ask_all(
    endpoint: Endpoint,
    cache: VerdictCache,
    answers: Sequence[JudgedAnswer],
    *,
    concurrency: int = 4,
    progress: Callable[[], None] = lambda: None,
) -> Asked:
    """Asks about each answer, and keeps each verdict as it comes.

    Args:
        concurrency: questions at once.
        progress: called after each.

    Raises:
        RequestError: the endpoint fails from the first question on.
    """
    asked = Asked()
    waiting = deque(answers)
    replies: Replies = queue.Queue()
    in_flight = in_a_row = 0
    last: NoReplyError | None = None
    try:
        while waiting or in_flight:
            while waiting and in_flight < concurrency:
                # A daemon, so that a process that is stopped doesn't wait for what is under way.
                threading.Thread(target=_ask, args=(endpoint, waiting.popleft(), replies), daemon=True).start()
                in_flight += 1
            answer, reply = replies.get()
            in_flight -= 1
            if isinstance(reply, NoReplyError):
                last, in_a_row = reply, in_a_row + 1
                asked.reasons[answer] = reply.reason
                asked.failures += 1
                LOG.info("No reply to a question: %s %s", reply.reason, reply.detail)
                if reply.hopeless or in_a_row >= ENOUGH:
                    endpoint.stop()
                    asked.failures += len(waiting)
                    asked.reasons |= dict.fromkeys(waiting, f"not asked any more: {reply.reason}")
                    waiting.clear()
            elif isinstance(reply, BaseException):
                raise reply
            else:
                in_a_row = 0
                _keep(endpoint, cache, answer, reply, asked)
            progress()
    finally:
        endpoint.stop()
    if last is not None and asked.failures == len(answers):
        said = f" ({last.detail[:LONGEST]})" if last.detail else ""
        raise RequestError(f"{endpoint.url} gave no reply to any question: {last.reason}{said}.")
    return asked


def _keep(endpoint: Endpoint, cache: VerdictCache, answer: JudgedAnswer, reply: str, asked: Asked) -> None:
    verdict = read_verdict(reply)
    if verdict is None:
        asked.reasons[answer] = NO_VERDICT
    else:
        asked.verdicts[answer] = verdict
        cache.add(endpoint.judge, answer, reply, verdict)


def _ask(endpoint: Endpoint, answer: JudgedAnswer, replies: Replies) -> None:
    try:
        replies.put((answer, endpoint.reply(answer.prompt)))
    except BaseException as error:  # noqa: BLE001 - it is raised, or counted, where the replies are read
        replies.put((answer, error))
