"""How long a large leaderboard takes to build, how much memory, and how large its first page gets.

Makes up results in the true format (seeded; the answers are random words, in a journal of a case a line) and builds a site of
them in a process of its own. Its time is reported, and the largest resident size, that of the processes that it starts among
it. Methods are given a few sets of scores, so that the paired tests of the tables have something to do.

    python benchmarks/speed/leaderboard_scale.py [--results 500] [--cases 1037] [--folder DIR]
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import psutil

from xkeb.cli.telling import Telling
from xkeb.results.chain import CHAIN, START, checksum
from xkeb.results.lines import CASES, CaseRecord, CaseSeconds, EditRecord, ProbeRecord, Tokens
from xkeb.results.result import CountedDatasetRecord, ModelRecord, Phases, Result, TaskRecord, Timing
from xkeb.results.scores import Score, Scores
from xkeb.results.settings import MethodRecord
from xkeb.types import DEFAULT_METRICS, Property, Sight

WORDS = (
    *("the", "of", "in", "city", "river", "大", "学", "国", "年", "城市", "company", "album"),
    *("series", "north", "school", "band", "author", "league", "film"),
)
METHODS = tuple(f"method-{i}" for i in range(25))
MODELS = tuple(f"model-{i}-7b" for i in range(10))
TASKS = (("bizsre_en2zh", "en", "zh"), ("bizsre_zh2en", "zh", "en"))
PROBES: tuple[Property, ...] = (
    "reliability",
    "generality",
    "locality",
    "portability",
    "generality",
    "locality",
    "portability",
)
JOURNALS = 8
"""Different sets of scores in a task."""
MOST_SECONDS, MOST_BYTES, MOST_PAGE = 60, 10**9, 10**6


def words(random: random.Random, least: int, most: int) -> str:
    return " ".join(random.choices(WORDS, k=random.randint(least, most)))


def tokens(random: random.Random) -> list[int]:
    return random.choices(range(200_000), k=random.randint(1, 8))


def drawn_scores(random: random.Random) -> dict[str, float]:
    return {metric: round(random.random(), 4) if metric != "em" else random.randint(0, 1) for metric in DEFAULT_METRICS}


def probe(random: random.Random, name: Property, language: str) -> ProbeRecord:
    scores = drawn_scores(random)
    return ProbeRecord(
        property=name,
        language=language,
        prompt=words(random, 8, 20),
        reference=words(random, 1, 6),
        before=words(random, 1, 6),
        after=words(random, 1, 6),
        scores=scores,
        scores_before=scores,
        tokens=Tokens(reference=tokens(random), before=tokens(random), after=tokens(random)),
        blank=False,
    )


def cases(random: random.Random, n: int, source: str, target: str, settings: str) -> Iterator[CaseRecord]:
    for i in range(n):
        languages = [source] * 4 + [target] * 3
        yield CaseRecord(
            case_id=str(i),
            status="ok",
            reason=None,
            edit=EditRecord(
                prompt=words(random, 8, 14),
                subject=words(random, 1, 3),
                target=words(random, 1, 4),
                language=source,
            ),
            probes=[probe(random, name, code) for name, code in zip(PROBES, languages, strict=True)],
            seconds=CaseSeconds(edit=1.0, evaluate=0.5),
            settings=settings,
        )


def rescored(random: random.Random, case: CaseRecord) -> CaseRecord:
    """The same case with the scores of another method."""
    probes = [one.model_copy(update={"scores": drawn_scores(random)}) for one in case.probes]
    return case.model_copy(update={"probes": probes})


def scores(random: random.Random, n: int, source: str, target: str) -> Scores:
    def score() -> Score:
        mean = random.uniform(5, 95)
        return Score(mean=mean, stderr=1.2, ci95=(mean - 2.4, mean + 2.4), n=n, n_clusters=n)

    asked: dict[Property, tuple[str, ...]] = dict.fromkeys(PROBES[1:4], (source, target))
    asked["reliability"] = (source,)
    return {
        name: {code: {metric: score() for metric in DEFAULT_METRICS} for code in codes}
        for name, codes in sorted(asked.items())
    }


def result(
    random: random.Random, name: tuple[str, str, str], model: str, method: str, n_cases: int, number: int
) -> Result:
    """
    Args:
        name: of the task, and its languages.
        number: of the result, which makes its settings its own.
    """
    task, source, target = name
    return Result(
        task=TaskRecord(
            name=task,
            version=1,
            source=source,
            target=target,
            dataset=CountedDatasetRecord(name="bizsre", sha256="1" * 64, n_cases=n_cases),
        ),
        model=ModelRecord(
            name=model,
            dtype="bfloat16",
            n_parameters=7 * 10**9,
            sha256="2" * 64,
            plugin=model,
            args={},
            revision=None,
        ),
        method=MethodRecord(name=method, params={"layer": 5, "lr": 0.5, "steps": 25}, sees=[Sight.SOURCE_EDIT]),
        protocol="teacher_forcing",
        protocol_args={},
        prompt="plain",
        regime="single",
        scorer="f1+em",
        comparable_group=f"{task}/teacher_forcing/plain/single/f1+em",
        metrics=list(DEFAULT_METRICS),
        seed=0,
        selection="all",
        scores=scores(random, n_cases, source, target),
        scores_before=scores(random, n_cases, source, target),
        slices={},
        slices_before={},
        second_turn={},
        blank={},
        skipped=[],
        case_ids=[str(k) for k in range(n_cases)],
        timing=Timing(
            edit_seconds=random.uniform(100, 9000),
            evaluate_seconds=500.0,
            wall_seconds=9999.0,
            peak_memory_bytes=2**34,
            phases=Phases(load=9.0, before=99.0, fit=0.0, edit=9000.0, evaluate=500.0, suite=99.0),
        ),
        environment={"xkeb": "0.1.0", "device": "NVIDIA H100", "date": "2026-11-22", "packages": {"torch": "2.13"}},
        command=f"xkeb run --tasks {task} --model {model} --methods {method}",
        settings=hashlib.sha256(str(number).encode()).hexdigest(),
    )


def make(folder: Path, n_results: int, n_cases: int, seed: int) -> int:
    """Writes results. The journals of a task ask the same and differ in their scores; several results share one, to save
    time. Bytes written."""
    draw = random.Random(seed)
    size = 0
    journals = {}
    for _, source, target in TASKS:
        first = list(cases(draw, n_cases, source, target, hashlib.sha256(source.encode()).hexdigest()))
        for k in range(JOURNALS):
            lines, before = [], START
            for case in first:
                line = rescored(draw, case).model_dump(mode="json")
                before = line[CHAIN] = checksum(line, before)
                lines.append(json.dumps(line, ensure_ascii=False) + "\n")
            journals[source, k] = "".join(lines).encode()
    combinations = [(task, model, method) for method in METHODS for model in MODELS for task in TASKS]
    for i in range(n_results):
        task, model, method = combinations[i % len(combinations)]
        place = folder / str(i // len(combinations)) / task[0] / model / method
        place.mkdir(parents=True)
        result(draw, task, model, method, n_cases, i).save(place)
        journal = journals[task[1], draw.randrange(JOURNALS)]
        (place / CASES).write_bytes(journal)
        size += len(journal)
    return size


def resident(pid: int) -> int:
    """Bytes of memory that a process and those it started have, what they share counted for each."""
    size = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                size += one.memory_info().rss
    return size


@click.command(cls=Telling)
@click.option("--results", default=500, show_default=True)
@click.option("--cases", "n_cases", default=1037, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to put it all; else a temporary one."
)
def main(results: int, n_cases: int, seed: int, folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        size = make(root / "results", results, n_cases, seed)
        click.echo(f"made {results} results of {n_cases:,} cases: {size / 1e9:.2f} GB of cases")
        command = [sys.executable, "-m", "xkeb.cli", "leaderboard", "build"]
        started = time.perf_counter()
        built = subprocess.Popen([*command, "--results", root / "results", "--output", root / "site"])
        peak, ended = 0, 0
        while not ended:
            time.sleep(0.1)
            peak = max(peak, resident(built.pid))
            ended, status, usage = os.wait4(built.pid, os.WNOHANG)
        seconds = time.perf_counter() - started
        page = (root / "site" / "index.html").stat().st_size
        site = sum(path.stat().st_size for path in (root / "site").rglob("*") if path.is_file())
    click.echo(f"{seconds:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of CPU), {peak / 1e6:.0f} MB at most")
    click.echo(f"overview {page / 1e3:.0f} kB, site {site / 1e9:.2f} GB")
    good = status == 0 and seconds < MOST_SECONDS and peak < MOST_BYTES and page < MOST_PAGE
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
