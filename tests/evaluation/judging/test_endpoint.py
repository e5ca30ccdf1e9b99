"""`xkeb.evaluation.judging.endpoint`: one reply over real HTTP on loopback, and everything that may come instead."""

from __future__ import annotations

import email.utils
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from judge_server import JudgeServer, Reply, completion

from xkeb.errors import RequestError
from xkeb.evaluation.judging import Endpoint, Judge
from xkeb.evaluation.judging.endpoint import NoReplyError, checked_url
from xkeb.evaluation.judging.judge import JudgedAnswer

pytest_plugins = ("judge_server",)

KEY = "sk-verySecret123"
PROMPT = JudgedAnswer("Where?", "里昂", "里昂市").prompt


def endpoint(server: JudgeServer, **options: Any) -> Endpoint:
    judge = Judge.with_args("some/model", options.pop("args", {}))
    return Endpoint(server.url, judge, **{"timeout": 5.0, "retries": 2, "pause": 0.01, **options})


def failure(server: JudgeServer, **options: Any) -> NoReplyError:
    with endpoint(server, **options) as asked, pytest.raises(NoReplyError) as caught:
        asked.reply(PROMPT)
    return caught.value


def test_a_request_says_what_it_should(judge_server: JudgeServer) -> None:
    with endpoint(judge_server, key=KEY, args={"max_tokens": 9}) as asked:
        assert asked.reply(PROMPT) == '{"verdict": "correct"}'
    (body,) = judge_server.bodies
    assert body == {
        "model": "some/model",
        "temperature": 0,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": PROMPT}],
    }
    assert judge_server.paths == ["/v1/chat/completions"]
    assert judge_server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(judge_server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with endpoint(judge_server) as asked:
        asked.reply(PROMPT)
    assert "Authorization" not in judge_server.headers[0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_another_try_is_made_where_it_may_help(judge_server: JudgeServer, status: int) -> None:
    replies: list[Reply] = [(status, {}, b"busy"), (200, {}, completion("correct"))]
    judge_server.answer = lambda _: replies.pop(0)
    with endpoint(judge_server) as asked:
        assert asked.reply(PROMPT) == "correct"
    judge_server.answer = lambda _: (status, {}, b"busy")
    judge_server.bodies.clear()
    assert failure(judge_server).reason == f"HTTP {status}"
    assert len(judge_server.bodies) == 3


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 422])
def test_none_is_made_where_it_can_t_help(judge_server: JudgeServer, status: int) -> None:
    """And nothing is sent where a redirection points to."""
    judge_server.answer = lambda _: (
        status,
        {"Location": "http://127.0.0.1:1/"},
        b'{"error": {"message": "no such\\nmodel"}}',
    )
    failed = failure(judge_server)
    assert failed.reason == f"HTTP {status}"
    assert failed.hopeless == (status in (401, 403, 404, 405))
    assert failed.detail == ("" if status in (401, 403) else "no such model")
    assert len(judge_server.bodies) == 1


@pytest.mark.parametrize("date", [False, True])
def test_it_waits_as_long_as_it_is_asked_to(judge_server: JudgeServer, date: bool) -> None:
    """A date has whole seconds."""
    asked_at: list[float] = []

    def answer(_: object) -> tuple[int, dict[str, str], bytes]:
        asked_at.append(time.time())
        later = email.utils.formatdate(time.time() + 2, usegmt=True) if date else "1"
        return (429, {"Retry-After": later}, b"") if len(asked_at) == 1 else (200, {}, completion("correct"))

    judge_server.answer = answer
    with endpoint(judge_server) as asked:
        assert asked.reply(PROMPT) == "correct"
    assert 0.9 < asked_at[1] - asked_at[0] < 30


def test_it_doesn_t_wait_for_hours_and_reads_no_nonsense(judge_server: JudgeServer) -> None:
    judge_server.answer = lambda _: (429, {"Retry-After": "7200"}, b"")
    assert failure(judge_server).reason == "HTTP 429"
    assert len(judge_server.bodies) == 1
    for value in ("soon", "-1", "NaN", "Thu, 99 Nov 2026 00:00:00 GMT", "²"):
        replies: list[Any] = [
            (503, {"Retry-After": value.encode().decode("latin-1")}, b""),
            (200, {}, completion("correct")),
        ]
        judge_server.answer = lambda _, replies=replies: replies.pop(0)  # type: ignore[misc]
        with endpoint(judge_server) as asked:
            assert asked.reply(PROMPT) == "correct"


BODIES = {
    "HTML": (b"<html>Hello</html>", "a response that is no chat completion"),
    "nothing": (b"", "a response that is no chat completion"),
    "a list": (b"[]", "a response that is no chat completion"),
    "no choice": (b'{"choices": []}', "a response that is no chat completion"),
    "a choice that is a text": (b'{"choices": ["correct"]}', "a response that is no chat completion"),
    "depth": (b"[" * 100_000, "a response that is no chat completion"),
    "no UTF-8": (b"\xff\xfe\x00", "a response that is no chat completion"),
    "a refusal": (completion(None), "a reply without a text"),
    "a cut": (completion("correct", "length"), "a reply that was cut off"),
    "too much": (completion("correct" * 200_000), "a reply of more than 1,048,576 bytes"),
}


@pytest.mark.parametrize("what", BODIES)
def test_what_is_no_reply_is_told_by_its_kind(judge_server: JudgeServer, what: str) -> None:
    content, reason = BODIES[what]
    judge_server.answer = lambda _: (200, {}, content)
    failed = failure(judge_server)
    assert failed.reason == reason and not failed.hopeless


def test_nobody_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    failed = failure(JudgeServer(f"http://127.0.0.1:{port}/v1"))
    assert failed.reason == "the endpoint can't be reached" and "refused" in failed.detail


def test_somebody_is_there_and_says_nothing(judge_server: JudgeServer) -> None:
    def answer(_: object) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.5)
        return 200, {}, completion("correct")

    judge_server.answer = answer
    assert failure(judge_server, timeout=0.1, retries=1).reason == "no reply within 0.1 s"
    assert len(judge_server.bodies) == 2


def dripping(connection: socket.socket) -> None:
    """A response that begins in time, goes on a little at a time, and never ends."""
    with connection:
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            for _ in range(2000):
                connection.sendall(b" ")
                time.sleep(0.02)
        except OSError:  # the other side has gone
            return


def hanging_up(connection: socket.socket) -> None:
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")


def no_http(connection: socket.socket) -> None:
    with connection:
        connection.recv(65536)
        connection.sendall(b"220 mail.example ESMTP\r\n")


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (dripping, "no reply within 0.3 s"),
        (hanging_up, "the endpoint can't be reached"),
        (no_http, "the endpoint can't be reached"),
    ],
)
def test_a_connection_that_is_no_good(behave: Callable[[socket.socket], None], reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            behave(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        began = time.monotonic()
        server = JudgeServer(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        assert failure(server, timeout=0.3, retries=0).reason == reason
        assert time.monotonic() - began < 20
        thread.join()


def test_a_key_is_in_no_message(judge_server: JudgeServer) -> None:
    """Not even where the endpoint says it back."""
    for status in (400, 401, 403, 500):
        judge_server.answer = lambda _, status=status: (status, {}, f"Bad key {KEY}".encode())  # type: ignore[misc]
        failed = failure(judge_server, key=KEY, retries=0)
        assert KEY not in f"{failed!r} {failed} {failed.detail} {failed.reason}"
    judge_server.answer = lambda _: (200, {}, completion(f"correct {KEY}"))
    with endpoint(judge_server, key=KEY) as asked:
        assert asked.reply(PROMPT) == "correct ***"
        assert KEY not in repr(asked)


@pytest.mark.parametrize("key", ["", "a b", "a\nb", "ключ", "a\x00"])
def test_what_can_t_be_a_key_is_refused_without_being_told(judge_server: JudgeServer, key: str) -> None:
    with pytest.raises(RequestError, match="is empty, or has characters that no key can have"):
        endpoint(judge_server, key=key)


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://api.example.org/v1/", "https://api.example.org/v1"),
        ("http://[::1]:8000/v1/chat/completions", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_is_taken_as_people_write_it(url: str, used: str) -> None:
    assert checked_url(url) == used


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://a/v1", "http://", "http:///v1", "http://a:99999/v1", "http://a:b/v1", "http://a b/v1",
     "file:///etc/passwd", "http://[::1/v1", "http://a/v1\n"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="takes an address such as"):
        checked_url(url)


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@a/v1", f"http://{KEY}@a/v1", f"http://a/v1?key={KEY}", f"http://a/#{KEY}"]
)
def test_an_address_with_a_secret_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(RequestError, match="without a user, a query or a fragment") as caught:
        checked_url(url)
    assert KEY not in str(caught.value)
