"""A command in a terminal of its own, of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from dataclasses import dataclass

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    status: int
    text: str
    """All that was written, without colours and movements of the cursor: what a bar drew over is there, too."""

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in re.split(r"\r?\n|\r", self.text)]


def in_terminal(*arguments: object, columns: int = 80, rows: int = 40) -> Shown:
    """``xkeb ARGUMENTS`` where both streams are a terminal."""
    child, end = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color")
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI"):
            os.environ.pop(name, None)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execv(sys.executable, [sys.executable, "-m", "xkeb.cli", *map(str, arguments)])
    read = b""
    while True:
        try:
            part = os.read(end, 2**16)
        except OSError:  # what Linux says where the other side is gone
            break
        if not part:
            break
        read += part
    _, status = os.waitpid(child, 0)
    os.close(end)
    return Shown(os.waitstatus_to_exitcode(status), CONTROL.sub("", read.decode("utf-8", "replace")))
