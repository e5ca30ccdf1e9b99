"""A small server on loopback with OpenAI's interface for chats, and results with free answers for a judge."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from result_files import read_cases, read_result, write
from small_jobs import FT, TASK, make_config, run_jobs

from xkeb.evaluation.rescoring import rescore
from xkeb.models.backbone import Backbone

Json = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""

OTHER_WORDS = "the same, in other words"
"""An answer that the server takes for right, as it does every one that holds the reference."""


def completion(text: str | None, ended: str = "stop") -> bytes:
    """A response as the interface has it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": ended}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


def record_in(prompt: str) -> Json:
    """What stands between the two lines of dashes."""
    lines = prompt.split("\n")
    first, second = (i for i, line in enumerate(lines) if line == "--------")
    (line,) = lines[first + 1 : second]
    found: Json = json.loads(line)
    return found


def judge(record: Json) -> Reply:
    same = record["reference"] in record["answer"] or record["answer"] == OTHER_WORDS
    return 200, {}, completion(json.dumps({"verdict": "correct" if same else "incorrect"}))


@dataclass
class JudgeServer:
    """Replies as `answer` says, and remembers what it was asked."""

    url: str = ""
    answer: Callable[[Json], Reply] = judge
    """The reply to a record."""
    bodies: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def records(self) -> list[Json]:
        return [record_in(body["messages"][0]["content"]) for body in self.bodies]


@contextmanager
def serving() -> Iterator[JudgeServer]:
    served = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.paths.append(self.path)
            served.bodies.append(body)
            served.headers.append(dict(self.headers))
            status, headers, content = served.answer(record_in(body["messages"][0]["content"]))
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the other side waited long enough
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def judge_server() -> Iterator[JudgeServer]:
    with serving() as served:
        yield served


ANSWERS = {
    ("reliability", "en"): ("Paris", "I think it is {}."),
    ("generality", "en"): ("Paris", "{}"),
    ("generality", "zh"): ("巴黎", "{}市"),
    ("locality", "en"): ("Rome", "Rome"),
    ("locality", "zh"): ("", "罗马"),
    ("portability", "en"): ("Paris", "..."),
    ("portability", "zh"): ("巴黎", OTHER_WORDS),
}
"""Before and after the edit, with ``{}`` for the reference."""


@pytest.fixture(scope="session")
def free_answers(tiny_folders: dict[str, Path], llama: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three cases of free answers. What the tiny model said is exchanged for `ANSWERS`, and scored anew.
    Read-only."""
    root = tmp_path_factory.mktemp("judged")
    options: Json = {"protocols": ["generate"], "protocol_args": {"max_tokens": 4}, "command": "xkeb run"}
    run_jobs(llama, make_config(tiny_folders, root / "run", ["ft"], limit=3, method_args=FT, **options))
    folder = root / "run" / TASK / "llama" / "ft-generate"
    result, cases = read_result(folder), read_cases(folder)
    numbers: dict[str, int] = {}
    for probe in (probe for case in cases for probe in case["probes"]):
        before, after = (text.format(probe["reference"]) for text in ANSWERS[probe["property"], probe["language"]])
        texts = {"reference": probe["reference"], "before": before, "after": after}
        probe |= {
            "compared": None, "before": before, "after": after, "raw": {"before": before, "after": after},
            "blank": probe["property"] == "locality" and not before,
            "tokens": {name: [numbers.setdefault(text, len(numbers))] for name, text in texts.items()},
        }  # fmt: skip
    write(folder, result, cases)
    rescore(folder, root / "scored", None, {}, "xkeb rescore")
    shutil.rmtree(root / "run")
    return root / "scored"
