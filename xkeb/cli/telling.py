"""Errors as sentences: what a request lacks is told in one, without a traceback."""

from __future__ import annotations

import errno
from typing import Any

import click

from xkeb.cli.echo import complain
from xkeb.cli.options import DEBUG
from xkeb.errors import RequestError, XkebError, one_line
from xkeb.utils.files import UNWRITABLE


def is_told(error: BaseException) -> bool:
    """Whether an error's sentence says what to do, so that nobody needs the place in the code: an error of ours, or a disk that
    is full or can't be written."""
    return isinstance(error, XkebError) or (isinstance(error, OSError) and error.errno in UNWRITABLE)


class Telling(click.Command):
    """A command that ends with 2 where the request is wrong and with 1 where something failed, and says what in a sentence.

    With ``--debug``, where it has that, the error goes on as it is.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except XkebError as error:
            if ctx.meta.get(DEBUG):
                raise
            complain(error)
            ctx.exit(2 if isinstance(error, RequestError) else 1)
        except OSError as error:  # a full disk, a name that is too long, a folder that is locked
            named = error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)
            if ctx.meta.get(DEBUG) or not named:
                raise
            complain(f"{one_line(error)}.")
            ctx.exit(1)
