"""What an executor costs and brings: the same run by this process and by workers of Ray, in turn, from start to end.

    python benchmarks/speed/executors.py --task bizsre_en2zh --methods rome --limit 50 [--workers 0,1,2] [--threads N]

`0` workers is ``xkeb run`` by itself. Each round makes each run once; a first one, which isn't counted, learns what is to be
learnt. *Wall* is the whole command's seconds and *cases* those in which cases were edited and asked, both
medians over the rounds; *beside the first* is the ratio of the whole seconds; *tokens* are those that differ from the first's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import click

from xkeb.cli.telling import Telling


def run(options: list[str], output: Path, workers: int, threads: int) -> float:
    """Seconds of a whole command.

    Raises:
        RuntimeError: it failed.
    """
    own = ["--executor", "ray", "--executor-args", f"workers={workers},threads={threads}"] if workers else []
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "xkeb.cli", "run", *options, "--output", str(output), *own],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return time.perf_counter() - started


def seconds_of_cases(output: Path) -> float:
    return sum(
        sum(json.loads(path.read_text())["timing"]["phases"][phase] for phase in ("before", "edit", "evaluate"))
        for path in output.rglob("result.json")
    )


def tokens(output: Path) -> dict[tuple[str, str], list[Any]]:
    """What was answered after the edit, by cell and case."""
    return {
        (str(path.parent.relative_to(output)), case["case_id"]): [probe["tokens"]["after"] for probe in case["probes"]]
        for path in sorted(output.rglob("cases.jsonl"))
        for case in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        if case["status"] == "ok"
    }


def differing(one: dict[tuple[str, str], list[Any]], two: dict[tuple[str, str], list[Any]]) -> str:
    """How many tokens differ, of how many."""
    if one.keys() != two.keys():
        return "other cases"
    pairs = [
        (a, b) for name in one for x, y in zip(one[name], two[name], strict=True) for a, b in zip(x, y, strict=True)
    ]
    return f"{sum(a != b for a, b in pairs)} of {len(pairs)}"


@click.command(cls=Telling)
@click.option("--task", default="bizsre_mini_en2zh", show_default=True)
@click.option("--model", default="gemma3-270m", show_default=True)
@click.option("--model-args", default="", help="K=V,..")
@click.option("--methods", default="ft", show_default=True)
@click.option("--method-args", default="", help="m.key=value,..")
@click.option("--limit", default=50, show_default=True)
@click.option("--workers", default="0,1", show_default=True, help="Of each run; the others stand beside the first.")
@click.option("--threads", default=2, show_default=True, help="Of each worker.")
@click.option("--rounds", default=2, show_default=True)
@click.option("--data-dir", type=Path)
def main(**given: Any) -> None:
    """Compare executors on whole runs."""
    options = ["--tasks", given["task"], "--model", given["model"], "--methods", given["methods"], "--device", "cpu"]
    for name in ("model_args", "method_args", "data_dir"):
        options += [f"--{name.replace('_', '-')}", str(given[name])] if given[name] else []
    counts = [int(count) for count in given["workers"].split(",")]
    wall, cases = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    found: dict[int, dict[tuple[str, str], list[Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        run([*options, "--limit", "2"], Path(name) / "first", 0, given["threads"])
        for number in range(given["rounds"]):
            for workers in counts:
                output = Path(name) / f"{number}-{workers}"
                wall[workers].append(run([*options, "--limit", str(given["limit"])], output, workers, given["threads"]))
                cases[workers].append(seconds_of_cases(output))
                found[workers] = tokens(output)
                print(
                    f"{workers} workers: {wall[workers][-1]:.1f} s, cases {cases[workers][-1]:.1f}",
                    file=sys.stderr,
                    flush=True,
                )
    first = counts[0]
    print("workers\twall\tcases\tbeside the first\ttokens")
    for workers in counts:
        ratio = statistics.median(own / other for own, other in zip(wall[workers], wall[first], strict=True))
        seconds = f"{statistics.median(wall[workers]):.1f}\t{statistics.median(cases[workers]):.1f}"
        print(f"{workers}\t{seconds}\t{ratio:.3f}\t{differing(found[first], found[workers])}")


if __name__ == "__main__":
    main()
