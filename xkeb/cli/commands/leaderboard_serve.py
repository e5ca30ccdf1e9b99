"""xkeb leaderboard serve: look at a site that was built."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from xkeb.cli.echo import say
from xkeb.errors import RequestError


@click.command("serve")
@click.argument("site", type=click.Path(path_type=Path), default=Path("site"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
def command(site: Path, port: int) -> None:
    """Serve the site in folder SITE to this machine's own browser, until stopped."""
    if not (site / "index.html").is_file():
        raise RequestError(f"{site} holds no site: `xkeb leaderboard build --output {site}` makes one.")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise RequestError(f"Port {port} can't be used: {error.strerror}; choose another with --port.") from error
    with server:
        say(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C stops it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
