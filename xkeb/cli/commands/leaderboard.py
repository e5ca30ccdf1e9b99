"""xkeb leaderboard: what is done with results."""

from __future__ import annotations

import click

from xkeb.cli import LazyGroup


@click.group(
    "leaderboard",
    cls=LazyGroup,
    modules={name: f"xkeb.cli.commands.leaderboard_{name}" for name in ("build", "check", "export", "serve", "submit")},
)
def command() -> None:
    """Publish results: build the site, look at it, check and submit results, export them."""
