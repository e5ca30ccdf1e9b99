"""``xkeb leaderboard serve``: the files of one folder, to this machine's own browser, and nothing else."""

from __future__ import annotations

import functools
import http.client
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from xkeb.cli.commands.leaderboard_serve import SiteHandler


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "static").mkdir(parents=True)
    (folder / "index.html").write_text("the site")
    (folder / "static" / "x.css").write_text("a style")
    (tmp_path / "secret.txt").write_text("a secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "index.html").write_text("a secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "folder").symlink_to(tmp_path / "elsewhere")
    (folder / "own.txt").symlink_to(folder / "index.html")
    return folder


@pytest.fixture
def server(site: Path) -> Iterator[int]:
    """The port of a server of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SiteHandler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    response = connection.getresponse()
    return response.status, response.read().decode()


@pytest.mark.parametrize(
    ("path", "content"),
    [("/", "the site"), ("/index.html", "the site"), ("/static/x.css", "a style"), ("/own.txt", "the site")],
)
def test_its_files_are_served(server: int, path: str, content: str) -> None:
    assert ask(server, path) == (200, content)
    assert ask(server, path, f"localhost:{server}") == (200, content)


@pytest.mark.parametrize(
    "path",
    ["/link.txt", "/folder/", "/folder/index.html", "/../secret.txt", "/%2e%2e/secret.txt", "/static/", "/no.html"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_else_is(server: int, path: str, method: str) -> None:
    """No link that leads out, no list of a folder."""
    status, text = ask(server, path, method=method)
    assert status == 404
    assert "a secret" not in text and "x.css" not in text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil", ""]
)
def test_who_asks_for_another_host_is_refused(server: int, host: str) -> None:
    """A name that somebody made to lead here: a page of theirs must not read this one."""
    status, text = ask(server, "/index.html", host.format(port=server))
    assert status == 421
    assert "the site" not in text
