"""How long a table takes on many cards: measured costs of a case in, wall time, idle share and what lost workers cost out.

    python benchmarks/cluster_simulation.py --workers 1,8,64
    python benchmarks/cluster_simulation.py --costs my.yaml --workers 64,1000 --languages 53 --losses-per-hour 0.05

Two ways of dividing the work are simulated. ``ray``: all workers share the cases of one job after another, in the chunks that
the Ray executor makes; a lost worker's chunk goes to the others. ``array``: each worker takes a whole job at a time, as an
array of Slurm does; a lost one goes on, from the last case, when it is back. The costs below stand for one H100; a file has the
same keys.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import yaml

from xkeb.cli.telling import Telling

COSTS = {
    "methods": {  # seconds a case: edit, evaluate in two languages
        "ft": [0.04, 0.01],  # measured, docs/performance.md
        "kn": [0.06, 0.01],  # measured
        "rome": [0.47, 0.01],  # measured
        "memit": [0.47, 0.01],  # as ROME's: a target is optimized in the same way
        "ike": [0.0, 0.18],  # measured with batches of eight
        "mend": [0.06, 0.01],  # as KN's: a gradient
        "serac": [0.0, 0.18],  # as IKE's: a second model answers
    },
    "learning": {
        "mend": 14400,
        "serac": 14400,
        "memit": 3600,
        "ike": 60,
    },  # seconds, assumed; once for a model and direction
    "load": 60,  # seconds, of the model
    "before": 0.01,  # seconds a case, in two languages
    "spread": 0.3,  # standard deviation of a case's seconds, as a part of their mean
}
BATCH, ROUNDS = 32, 2
"""Cases that are edited together on a large card; chunks of a worker, at least (`plugins/executors/ray/team.py`)."""


@dataclass(frozen=True)
class Cell:
    """A job: the cost of a case, what must be learned first, and whether the answers before any edit are still to be made."""

    model: str
    cases: int
    seconds: float
    learning: float


@dataclass
class Outcome:
    """Of a simulated table."""

    wall: float = 0.0
    busy: float = 0.0
    """Seconds of all workers that they spent on cases, learning and loading that count."""
    lost: float = 0.0
    """Seconds that were spent in vain: what a lost worker had in hand, and loading again."""


def paper_cells(costs: Mapping[str, object], cases: int, languages: int) -> list[Cell]:
    """The paper's 48 cells: four models, both directions, seven methods on the LLaMAs and five on the Baichuans. Of more
    languages, each is a source once, and every case is asked in all of them."""
    methods, learning = costs["methods"], costs["learning"]
    assert isinstance(methods, Mapping) and isinstance(learning, Mapping)
    fewer = [name for name in methods if name not in ("mend", "serac")]
    cells = []
    for model in ("chinese-llama-plus-7b", "chinese-llama-2-7b", "baichuan-7b", "baichuan2-7b"):
        for _ in range(languages):
            for name in methods if "llama" in model else fewer:
                edit, evaluate = methods[name]
                before = float(str(costs["before"]))
                seconds = edit + (evaluate + before) * languages / 2
                cells.append(Cell(model, cases, seconds, float(learning.get(name, 0))))
    return cells


def by_ray(
    cells: Sequence[Cell], workers: int, costs: Mapping[str, object], hourly: float, rng: random.Random
) -> Outcome:
    """One job after another, its cases divided among all workers."""
    done, model = Outcome(), ""
    load = float(str(costs["load"]))
    for cell in cells:
        start = done.wall
        if cell.model != model:
            start += load
            done.busy += load * workers
            model = cell.model
        start += cell.learning  # by one worker; the others wait
        done.busy += cell.learning
        size = max(1, min(BATCH, -(-cell.cases // (ROUNDS * workers))))
        chunks = [min(size, cell.cases - first) for first in range(0, cell.cases, size)][::-1]
        free = [start] * workers
        heapq.heapify(free)
        end = start
        while chunks:
            now, chunk = heapq.heappop(free), chunks.pop()
            seconds = _seconds(cell, chunk, costs, rng)
            dies = rng.expovariate(hourly / 3600) if hourly else float("inf")
            if dies < seconds:
                done.lost += dies + load
                heapq.heappush(free, now + dies + load)
                chunks += [chunk] if chunk == 1 else [chunk // 2, chunk - chunk // 2]
            else:
                done.busy += seconds
                end = max(end, now + seconds)
                heapq.heappush(free, now + seconds)
        done.wall = end
    return done


def by_array(
    cells: Sequence[Cell], workers: int, costs: Mapping[str, object], hourly: float, rng: random.Random
) -> Outcome:
    """Each worker a whole job at a time, the longest first."""
    done = Outcome()
    load = float(str(costs["load"]))
    free = [0.0] * workers
    for cell in sorted(cells, key=lambda cell: -cell.learning - cell.cases * cell.seconds):
        now = heapq.heappop(free)
        seconds = load + cell.learning + _seconds(cell, cell.cases, costs, rng)
        done.busy += seconds
        alive = rng.expovariate(hourly / 3600) if hourly else float("inf")
        left = seconds
        while alive < left:  # a case in hand and loading again; what is on disk counts, and learning has checkpoints
            left += load + cell.seconds - alive
            now += alive
            done.lost += load + cell.seconds
            alive = rng.expovariate(hourly / 3600)
        heapq.heappush(free, now + left)
        done.wall = max(done.wall, now + left)
    return done


def _seconds(cell: Cell, cases: int, costs: Mapping[str, object], rng: random.Random) -> float:
    """Of so many cases; that of one varies, and their sum less."""
    mean = cases * cell.seconds
    return max(0.1 * mean, rng.gauss(mean, float(str(costs["spread"])) * cell.seconds * cases**0.5))


def _told(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


@click.command(cls=Telling)
@click.option("--costs", "file", type=click.Path(path_type=Path, exists=True), help="YAML with the keys of COSTS.")
@click.option("--workers", default="1,8,64,1000", show_default=True)
@click.option("--cases", default=1037, show_default=True)
@click.option("--languages", default=2, show_default=True)
@click.option("--losses-per-hour", default=0.0, show_default=True, help="Of one worker.")
@click.option("--learned", is_flag=True, help="What methods learn is in the cache already.")
@click.option("--seed", default=0, show_default=True)
def main(
    file: Path | None, workers: str, cases: int, languages: int, losses_per_hour: float, learned: bool, seed: int
) -> None:
    costs: dict[str, object] = COSTS | (yaml.safe_load(file.read_text()) if file else {})
    if learned:
        costs["learning"] = {}
    cells = paper_cells(costs, cases, languages)
    print(f"{len(cells)} jobs of {cases:,} cases, {languages} languages, {losses_per_hour:g} losses an hour")
    print("| cards | way | wall time | idle | lost |\n|---|---|---|---|---|")
    for cards in map(int, workers.split(",")):
        for way, simulate in (("ray", by_ray), ("array", by_array)):
            one = simulate(cells, cards, costs, losses_per_hour, random.Random(seed))
            whole = one.wall * cards
            idle = max(0.0, 1 - (one.busy + one.lost) / whole)
            print(f"| {cards:,} | {way} | {_told(one.wall)} | {100 * idle:.0f}% | {100 * one.lost / whole:.1f}% |")


if __name__ == "__main__":
    main()
