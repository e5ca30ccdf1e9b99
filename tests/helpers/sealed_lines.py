"""Lines of a journal with the checksums that they should have, for tests that change what stands in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from xkeb.results.chain import CHAIN, START, checksum


def seal(lines: Iterable[Any]) -> list[Any]:
    """The lines as a journal would have written them one after the other; what is no object stays."""
    before, sealed = START, []
    for line in lines:
        if isinstance(line, dict):
            as_read = json.loads(json.dumps(line))
            line = {**{key: value for key, value in line.items() if key != CHAIN}, CHAIN: checksum(as_read, before)}
            before = line[CHAIN]
        sealed.append(line)
    return sealed


def sealed_text(lines: Iterable[Any]) -> str:
    """The same as a file has them."""
    return "".join(json.dumps(line) + "\n" for line in seal(lines))
