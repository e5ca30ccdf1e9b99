"""Faults put into real runs, and what is lost, repeated, wrong or silent after them.

    python benchmarks/faults.py --short
    python benchmarks/faults.py --data-dir DIR --tasks bizsre_en2zh --model gemma3-270m --kills 200

A run is made once without faults. Then processes are killed, disks fill up, journals are cut and flipped, others are at
work in the same place, and data, code and clock change; each time the same command goes on, and every line and result is
compared with those of the first run, less times. Exit status 1 if anything is lost, repeated, wrong or silent.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from fault_kinds import disks, files, kills, others
from fault_kinds.campaign import Campaign, Row

from xkeb.cli.telling import Telling
from xkeb.testing.small import save_small

SMALL = "ft.steps=3,memit.steps=3,memit.contexts=[[3, 2]],mend.rank=6,mend.steps=2,mend.batch_size=4,mend.validation=3"


@dataclass(frozen=True)
class Size:
    """How many faults of each kind."""

    kills: int
    builds: int
    saves: int
    workers: int
    every: float
    """Seconds between two kills of workers."""
    output: tuple[int, ...]
    """Sizes of disks in kB."""
    cache: tuple[int, ...]
    step: int
    """Bytes between two cuts of a journal."""
    bits: int
    whole_runs: int
    """Of the journals that are cut, and of those that are flipped."""
    times: int
    """Two processes at once."""


SHORT = Size(6, 2, 1, 0, 5, (12, 60), (40,), 97, 200, 1, 1)
LONG = Size(200, 10, 10, 12, 10, (8, 16, 40, 100), (100, 300_000, 1_090_000), 1, 2000, 5, 3)


def kinds(campaign: Campaign, size: Size, model: list[str]) -> dict[str, Callable[[], Row]]:
    """Each kind of fault by its name."""
    found: dict[str, Callable[[], Row]] = {
        "kills": lambda: kills.killed_runs(campaign, size.kills),
        "builds": lambda: kills.killed_builds(campaign, size.builds),
        "saves": lambda: kills.killed_saves(campaign, model, size.saves),
        "cuts": lambda: files.cut_journals(campaign, size.step, size.whole_runs),
        "flips": lambda: files.flipped_journals(campaign, size.bits, size.whole_runs),
        "two": lambda: others.two_on_one(campaign, size.times),
        "learners": lambda: others.two_learners(campaign, size.times),
        "data": lambda: others.changed_data(campaign),
        "code": lambda: others.changed_code(campaign),
        "clock": lambda: others.changed_clock(campaign),
    }
    if disks.may_mount():
        found["output"] = lambda: disks.full_outputs(campaign, list(size.output))
        found["cache"] = lambda: disks.full_caches(campaign, list(size.cache))
        found["read-only"] = lambda: disks.read_only(campaign)
    if size.workers:
        found["workers"] = lambda: kills.killed_workers(campaign, size.workers, size.every)
    return found


@click.command(cls=Telling)
@click.option("--short", is_flag=True, help="A small model of random weights, shipped data, few faults.")
@click.option("--tasks", default="bizsre_mini_en2zh", show_default=True)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--methods", default="ft,ike,kn,memit,mend,rome,serac", show_default=True)
@click.option("--method-args", help="Options of the methods, to learn less.")
@click.option("--limit", default=4, show_default=True)
@click.option("--data-dir", type=Path)
@click.option("--kills", "n_kills", type=int, help="Of runs; 200 in the long form.")
@click.option("--reach", default=25.0, show_default=True, help="Most seconds before a kill, as a rule.")
@click.option("--longest", default=3600.0, show_default=True, help="Seconds after which a process counts as hanging.")
@click.option("--only", multiple=True, help="Kinds of faults; by default all that this machine allows.")
@click.option("--folder", type=Path, help="Keep everything here; the run without faults goes on from last time.")
@click.option("--seed", default=0, show_default=True)
def main(
    short: bool,
    tasks: str,
    model: str,
    methods: str,
    method_args: str | None,
    limit: int,
    data_dir: Path | None,
    n_kills: int | None,
    reach: float,
    longest: float,
    only: tuple[str, ...],
    folder: Path | None,
    seed: int,
) -> None:
    """Put faults into runs, and print a row for each kind."""
    with tempfile.TemporaryDirectory() as name:
        place = folder or Path(name)
        place.mkdir(parents=True, exist_ok=True)
        backbone = ["--model", model]
        if short:
            save_small(place / "model")
            backbone = ["--model", "hf", "--model-args", f"path={place / 'model'}"]
            methods, method_args, limit, reach = "ft,memit,mend", SMALL, 6, 8.0
        options = ["--tasks", tasks, *backbone, "--limit", str(limit), "--device", "cpu", "--batch-size", "1"]
        options += ["--method-args", method_args] if method_args else []
        options += ["--data-dir", str(data_dir)] if data_dir else []
        campaign = Campaign(place, options, methods.split(","), random.Random(seed), longest, reach)
        seconds = campaign.rehearse()
        print(f"without faults: {seconds:.0f} s", file=sys.stderr)
        size = SHORT if short else LONG
        size = Size(**{**vars(size), "kills": n_kills}) if n_kills else size
        print("| fault | injected | lost | repeated | wrong | silent | seconds | |\n|---|---|---|---|---|---|---|---|")
        clean = True
        for kind, inject in kinds(campaign, size, backbone).items():
            if only and kind not in only:
                continue
            started = time.monotonic()
            row = inject()
            clean &= row.clean
            counts = f"{row.injected} | {row.lost} | {row.repeated} | {row.wrong} | {row.silent}"
            notes = "; ".join(row.notes).replace("\n", " ").replace("|", "/")
            print(f"| {row.kind} | {counts} | {time.monotonic() - started:.0f} | {notes} |", flush=True)
    if not disks.may_mount():
        print("Full and read-only disks were left out: only root may mount them.", file=sys.stderr)
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
