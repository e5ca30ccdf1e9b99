"""xkeb leaderboard serve: look at a site that was built."""

from __future__ import annotations

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import click

from xkeb.cli.echo import plain_line, say
from xkeb.cli.stopping import Stopped
from xkeb.errors import RequestError

HOSTS = ("127.0.0.1", "localhost")


class SiteHandler(SimpleHTTPRequestHandler):
    """Files of one folder, to who asks for this machine by its own name.

    A page of another site whose name was made to lead here asks with that name, and is refused.
    """

    server: ThreadingHTTPServer

    def send_head(self) -> BytesIO | BinaryIO | None:
        host = self.headers.get("Host", "")
        if host not in {f"{name}:{self.server.server_address[1]}" for name in HOSTS}:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Another host's name")
            return None
        root = Path(self.directory).resolve()
        if not Path(self.translate_path(self.path)).resolve().is_relative_to(root):
            self.send_error(HTTPStatus.NOT_FOUND)  # a link leads out of the folder
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> BytesIO | None:
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        say(plain_line(f"{self.log_date_time_string()} {format % args}"), err=True)


@click.command("serve")
@click.argument("site", type=click.Path(path_type=Path), default=Path("site"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
def command(site: Path, port: int) -> None:
    """Serve the site in folder SITE to this machine's own browser, until stopped."""
    if not (site / "index.html").is_file():
        raise RequestError(f"{site} holds no site: `xkeb leaderboard build --output {site}` makes one.")
    handler = functools.partial(SiteHandler, directory=str(site))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise RequestError(f"Port {port} can't be used: {error.strerror}; choose another with --port.") from error
    with server:
        say(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except Stopped:
            raise
        except KeyboardInterrupt:
            click.echo("")
