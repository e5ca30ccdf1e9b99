"""``xkeb leaderboard build`` and ``serve`` at the command line: bad input, where the site goes, what is never deleted."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_results import put, result, score
from site_pages import Page

from xkeb.leaderboard.site.build import build_site

pytest_plugins = ("command_line",)

# Bad input -------------------------------------------------------------------------------------------------------------


def test_nothing_to_show_is_one_sentence(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    outcome = xkeb_cli(
        "leaderboard", "build", "--no-published", "--results", tmp_path / "none", "--output", tmp_path / "site"
    )
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "There is no result.json in " in outcome.err
    assert not (tmp_path / "site").exists()


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "not json": ("{", "is not JSON"),
    "empty": ("", "is not JSON"),
    "bytes": (b"\xff\xfe", "is not UTF-8"),
    "a list": ("[]", "has no schema_version"),
    "older": (json.dumps(result(schema_version=5)), "is of schema version 5, older than the 6"),
    "newer": (json.dumps(result(schema_version=7)), "is of schema version 7, newer than the 6"),
    "no version": (json.dumps({}), "has no schema_version"),
    "no task": (json.dumps({k: v for k, v in result().items() if k != "task"}), "task is missing"),
    "a name that is none": (json.dumps(result(method=7)), "method.name"),  # type: ignore[arg-type]
    "no number": (json.dumps(result(f1={("locality", "en"): {**score(1), "mean": "<b>"}})), "locality.en.f1.mean"),
    "impossible": (json.dumps(result(f1={("locality", "en"): score(101)})), "locality.en.f1.mean"),
    "NaN": (json.dumps(result(timing={"edit_seconds": float("nan"), "evaluate_seconds": 1})), "holds NaN"),
    "no phases": (json.dumps(result(timing={"edit_seconds": 1, "evaluate_seconds": 1})), "timing.phases is missing"),
    "metrics": (json.dumps(result(metrics="f1")), "metrics"),
    "seed": (json.dumps(result(seed="<b>")), "seed"),
    "times": (json.dumps(result(timing=[])), "timing"),
    "ids": (json.dumps(result(case_ids=[1])), "case_ids.0"),
    "half a character": (json.dumps(result(command="\ud800")), "half a character"),
    "deep": ("[" * 5000, "nested"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_result_is_skipped_named_and_counted(
    xkeb_cli: Callable[..., Any], tmp_path: Path, content: str | bytes, reason: str
) -> None:
    put(tmp_path / "results" / "good", result())
    bad = tmp_path / "results" / "bad" / "result.json"
    bad.parent.mkdir()
    bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = xkeb_cli("leaderboard", "build", "--results", tmp_path / "results", "--output", tmp_path / "site")
    assert outcome.status == 1
    assert "48 published and 1 own rows" in outcome.out
    assert outcome.err.count("\n") == 1
    assert str(bad) in outcome.err
    assert reason in outcome.err
    text = Page(tmp_path / "site" / "index.html").text
    assert "1 result can't be read and is not shown: bad/result.json" in text
    assert reason in text
    assert str(tmp_path) not in text


# Where the site goes ---------------------------------------------------------------------------------------------------


def refused(xkeb_cli: Callable[..., Any], output: Path, *results: Path) -> str:
    flags = [part for folder in results for part in ("--results", folder)]
    outcome = xkeb_cli("leaderboard", "build", *flags, "--output", output)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    return str(outcome.err)


def test_results_are_never_deleted(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    """Where a site stands, a new one replaces everything."""
    build_site([], tmp_path / "site")
    kept = put(tmp_path / "site" / "mine" / "a", result())
    for folder in (kept, tmp_path / "site", tmp_path, tmp_path / "site" / "mine"):
        assert "holds the results in" in refused(xkeb_cli, tmp_path / "site", folder)
    (tmp_path / "link").symlink_to(tmp_path / "site")
    assert "holds the results in" in refused(xkeb_cli, tmp_path / "link", kept)
    assert (kept / "cases.jsonl").is_file()


def test_a_folder_with_something_else_is_left_alone(xkeb_cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    assert "is no leaderboard" in refused(xkeb_cli, tmp_path / "photos")
    assert "is a file" in refused(xkeb_cli, tmp_path / "photos" / "cat.jpg")
    assert "Can't write to" in refused(xkeb_cli, tmp_path / "photos" / "cat.jpg" / "site")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    assert "There is no file or folder " in refused(xkeb_cli, tmp_path / "site", tmp_path / "nowhere")


# Serving ---------------------------------------------------------------------------------------------------------------


def test_a_site_is_served_on_loopback_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import ThreadingHTTPServer

    from click.testing import CliRunner

    from xkeb.cli.commands.leaderboard_serve import command

    build_site([], tmp_path / "site")
    started = threading.Event()
    servers: list[ThreadingHTTPServer] = []
    forever = ThreadingHTTPServer.serve_forever

    def serve(self: ThreadingHTTPServer, poll_interval: float = 0.05) -> None:
        servers.append(self)
        started.set()
        forever(self, poll_interval)

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", serve)
    runner = threading.Thread(target=CliRunner().invoke, args=(command, [str(tmp_path / "site"), "--port", "0"]))
    runner.start()
    assert started.wait(10)
    host, port = servers[0].server_address[:2]
    assert host == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/about.html", timeout=10) as answer:
        assert answer.read() == (tmp_path / "site" / "about.html").read_bytes()
    servers[0].shutdown()
    runner.join(10)
    assert not runner.is_alive()
