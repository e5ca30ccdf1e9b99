"""What libraries say while progress is shown: held, and told once it is over."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from typing import Any

from rich.console import Console

from xkeb.cli.echo import PlainFormatter
from xkeb.errors import PluginWarning

OWN = ("xkeb", "xkeb_plugins", "py.warnings")
"""Loggers whose messages are told at once, above the bars: they are about the run."""


class HeldNotices(logging.Handler):
    """Takes the place of the handlers that print to a terminal, and of Python's way to show a warning. Each notice of a library
    is told once, however often it came; those of the suite itself are printed as they come."""

    def __init__(self, out: Console) -> None:
        super().__init__()
        self.out = out
        self.held: Counter[str] = Counter()
        self._replaced: list[tuple[logging.Logger, logging.Handler | None]] = []
        self._show = warnings.showwarning
        self._holding = False

    def hold(self) -> None:
        """From here on, notices are held; nothing changes where the console is no terminal."""
        if not self.out.is_terminal:
            return
        self._holding = True
        self._show, warnings.showwarning = warnings.showwarning, self._keep_warning
        root = logging.getLogger()
        named = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
        for logger in [root, *named]:
            for handler in list(logger.handlers):
                if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.__stderr__):
                    self._replace(logger, handler)
        own = [handler.formatter for logger, handler in self._replaced if logger is root and handler is not None]
        self.setFormatter(own[0] if own else PlainFormatter())
        if not root.handlers:  # else the handler of last resort would print them
            root.addHandler(self)
            self.setLevel(logging.WARNING)
            self._replaced.append((root, None))

    def _replace(self, logger: logging.Logger, handler: logging.Handler) -> None:
        logger.removeHandler(handler)
        logger.addHandler(self)
        self._replaced.append((logger, handler))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in OWN:
            self.out.print(self.format(record), soft_wrap=True)
        else:
            self.held[f"{record.name}: {record.getMessage()}"] += 1

    def _keep_warning(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, PluginWarning):
            self._show(message, category, *where, **more)
        else:
            self.held[f"{category.__name__}: {message}"] += 1

    def tell(self) -> None:
        """Puts everything back, and prints what was held."""
        if not self._holding:
            return
        self._holding = False
        warnings.showwarning = self._show
        for logger, handler in self._replaced:
            logger.removeHandler(self)
            if handler is not None:
                logger.addHandler(handler)
        self._replaced.clear()
        if self.held:
            self.out.print("Notices of libraries:", style="dim")
        for text, count in self.held.items():
            times = f" ({count} times)" if count > 1 else ""
            self.out.print(f"  {' '.join(text.split())}{times}", style="dim", soft_wrap=True)
        self.held.clear()
