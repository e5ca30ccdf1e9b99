"""An endpoint with OpenAI's interface for chats: one text in, one reply out."""

from __future__ import annotations

import contextlib
import email.utils
import json
import re
import threading
import time
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from xkeb.errors import RequestError, one_line, optional_import
from xkeb.evaluation.judging.judge import Judge
from xkeb.results.untrusted import printable, quoted
from xkeb.utils.secrets import HIDDEN

PATH = "/chat/completions"
HOPELESS = frozenset({401, 403, 404, 405})
"""Status of a refusal that every other question would meet, too: no right to ask, or nobody there to be asked."""
AGAIN = frozenset({408, 409, 425, 429})
"""Status of a refusal that another try may not meet; so is every one from 500."""
LONGEST_WAIT = 120
"""Seconds that an endpoint may ask to wait before the next try; if it asks for more, there is none."""
LARGEST_REPLY = 2**20
"""Bytes."""


class NoReplyError(Exception):
    """An endpoint gave no reply to a question."""

    def __init__(self, reason: str, detail: str = "", *, hopeless: bool = False) -> None:
        """
        Args:
            reason: the same words for the same kind of failure, without anything that the endpoint said.
            detail: what else is known, for whoever has to mend it.
            hopeless: whether no other question can fare better.
        """
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.hopeless = hopeless


class Endpoint:
    """Asks a judge. Safe for several threads; to be entered as a context."""

    def __init__(
        self,
        url: str,
        judge: Judge,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        pause: float = 1.0,
    ) -> None:
        """
        Args:
            url: what stands before ``/chat/completions``.
            key: sent as a bearer token, and kept in this object only.
            timeout: seconds that one try may take.
            retries: tries after the first one.
            pause: seconds before the second try; it doubles with each.

        Raises:
            RequestError: the address is none, the key can't be one, or the library for requests isn't installed.
        """
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise RequestError("The key of the endpoint is empty, or has characters that no key can have.")
        self.url = checked_url(url)
        self.judge = judge
        self.timeout, self.retries, self.pause = timeout, retries, pause
        self._key = key
        self._stopped = threading.Event()
        self._http = optional_import("httpx2", "judge", "xkeb judge")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = self._http.Client(headers=headers, timeout=timeout)
        except ValueError as error:  # of a proxy that the environment names
            raise RequestError(f"The proxy that the environment names can't be used: {one_line(error)}.") from error

    def reply(self, prompt: str) -> str:
        """What the judge replies.

        Raises:
            NoReplyError: it doesn't, after all tries.
        """
        tries = 0
        while True:
            try:
                return self._safe(_content(self._post(prompt)))
            except _TryAgainError as failure:
                wait = self.pause * 2**tries if failure.wait is None else failure.wait
                if tries == self.retries or wait > LONGEST_WAIT or self._stopped.wait(wait):
                    raise NoReplyError(failure.reason, failure.detail) from failure
                tries += 1

    def stop(self) -> None:
        """Makes no further try of any question."""
        self._stopped.set()

    def _post(self, prompt: str) -> bytes:
        """The body of a good response.

        Raises:
            NoReplyError, _TryAgainError: there is none.
        """
        body = {**self.judge.args, "model": self.judge.model, "messages": [{"role": "user", "content": prompt}]}
        late = f"no reply within {self.timeout:g} s"
        end = time.monotonic() + self.timeout
        content = b""
        try:
            with self._client.stream("POST", self.url + PATH, json=body) as response:
                for part in response.iter_bytes():
                    content += part
                    if len(content) > LARGEST_REPLY:
                        raise NoReplyError(f"a reply of more than {LARGEST_REPLY:,} bytes")
                    if time.monotonic() > end:  # each part came in time, and all of them don't
                        raise _TryAgainError(late)
        except self._http.TimeoutException as error:
            raise _TryAgainError(late) from error
        except self._http.TransportError as error:
            raise _TryAgainError("the endpoint can't be reached", self._safe(one_line(error))) from error
        except self._http.HTTPError as error:
            raise NoReplyError("a response that is no HTTP", self._safe(one_line(error))) from error
        if response.status_code == 200:
            return content
        raise self._refused(response.status_code, response.headers, content)

    def _refused(self, status: int, headers: Mapping[str, str], content: bytes) -> NoReplyError:
        # What is said of a wrong key may hold a part of it.
        said = "" if status in (401, 403) else self._safe(_said(content))
        if status in AGAIN or status >= 500:
            return _TryAgainError(f"HTTP {status}", said, wait=_retry_after(headers.get("Retry-After")))
        return NoReplyError(f"HTTP {status}", said, hopeless=status in HOPELESS)

    def _safe(self, text: str) -> str:
        return text.replace(self._key, HIDDEN) if self._key else text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._client.close()


class _TryAgainError(NoReplyError):
    """A failure that another try may not meet."""

    def __init__(self, reason: str, detail: str = "", *, wait: float | None = None) -> None:
        """
        Args:
            wait: seconds that the endpoint asks to wait.
        """
        super().__init__(reason, detail)
        self.wait = wait


def _content(body: bytes) -> str:
    """The text of a response.

    Raises:
        NoReplyError: it has none.
    """
    try:
        choice = json.loads(body)["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoReplyError("a response that is no chat completion") from error
    if ended == "length":
        raise NoReplyError("a reply that was cut off")
    if not isinstance(text, str):  # a refusal, or a call of a tool
        raise NoReplyError("a reply without a text")
    return text


def _said(content: bytes) -> str:
    """What an endpoint says of a failure, on one line."""
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
        text = str(json.loads(text)["error"]["message"])
    return printable(" ".join(text.split()))


def _retry_after(value: str | None) -> float | None:
    """Seconds that a header asks to wait: a number, or a date (RFC 9110, 10.2.3); None where it says nothing."""
    if value is None:
        return None
    try:
        return max(float(value), 0.0) if value.strip().isdigit() else _until(value)
    except ValueError:
        return None


def _until(date: str) -> float:
    return max(email.utils.parsedate_to_datetime(date).timestamp() - time.time(), 0.0)


def checked_url(url: str) -> str:
    """An endpoint's address without a slash at its end.

    Raises:
        RequestError: it is none, or holds what may be a secret.
    """
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, right = urlsplit(""), False
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise RequestError(
            "--endpoint takes an address without a user, a query or a fragment, since it stands in the result: "
            "a key is read from the variable that --api-key-env names."
        )
    if not right or not url.isprintable() or " " in url:
        raise RequestError(f"--endpoint takes an address such as http://localhost:8000/v1, not {quoted(url)}.")
    return url.rstrip("/").removesuffix(PATH).rstrip("/")
