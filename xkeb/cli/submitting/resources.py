"""What each job of a cluster asks Slurm for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xkeb.errors import RequestError

_TIME = re.compile(r"(?:(?P<days>\d{1,4})-)?(?P<rest>\d{1,6}(?::\d{1,2}){0,2})")
MOST_TASKS = 1000
"""Of one array: Slurm's MaxArraySize is 1001 unless its administrator says otherwise."""


@dataclass(frozen=True)
class Resources:
    """Of one part. Learning takes the same; joining takes no GPU."""

    minutes: int
    partition: str | None = None
    account: str | None = None
    gpus: str | None = None
    cpus: int | None = None
    memory: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    """Any other option of sbatch."""

    def flags(self, *, gpu: bool = True) -> dict[str, Any]:
        """Options of sbatch by their long names, without the time."""
        chosen = {
            "partition": self.partition,
            "account": self.account,
            "gpus-per-node": self.gpus if gpu else None,
            "cpus-per-task": self.cpus,
            "mem": self.memory,
        }
        return {name: value for name, value in chosen.items() if value is not None} | dict(self.more)


def minutes(text: str) -> int:
    """A time as Slurm writes it (``90``, ``12:00:00``, ``2-12``), in minutes, rounded up.

    Raises:
        RequestError: it is none.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise RequestError(f"--time takes minutes, hours:minutes:seconds or days-hours, not {text!r}.")
    numbers = [int(number) for number in match["rest"].split(":")]
    if match["days"] is not None:
        hours, mins, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, (mins, seconds) = 0, [*numbers, 0][:2]
    total = int(match["days"] or 0) * 1440 + hours * 60 + mins + (seconds > 0)
    if total < 1:
        raise RequestError(f"--time must be at least a minute, not {text!r}.")
    return total
