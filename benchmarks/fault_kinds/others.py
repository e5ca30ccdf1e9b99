"""Other processes, and what changes between a start and the next."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import xkeb
from fault_kinds.campaign import CASES, Campaign, Row, journals, kill, told_in_a_sentence

CLOCK = """
import time
_real, _shift = time.time, float({shift})
time.time = lambda: _real() + _shift
"""


def two_on_one(campaign: Campaign, times: int) -> Row:
    """Two processes on the same cells: each line is written by one of them, and one that must not write says so."""
    row = Row("two processes on one output")
    for _ in range(times):
        row.injected += 1
        output = campaign.new("two")
        logs = [output.with_name(f"{output.name}.{i}") for i in range(2)]
        processes = []
        for log in logs:
            processes.append(campaign.start(output, campaign.learned, log=log))
            time.sleep(campaign.chance.uniform(0, 1))
        for process, log in zip(processes, logs, strict=True):
            ended = campaign.end(process, log)
            if ended.status and "Another process" not in ended.told:
                row.silent += 1
                row.note(ended.last)
        campaign.finish(output, campaign.learned, row, journals(output))
    return row


def two_learners(campaign: Campaign, times: int) -> Row:
    """Two runs with one empty cache."""
    row = Row("two learners with one cache")
    for _ in range(times):
        row.injected += 1
        cache = campaign.new("cache")
        outputs = []
        processes = []
        for _ in range(2):
            outputs.append(campaign.new("learner"))
            processes.append(campaign.start(outputs[-1], cache))
        for process, output in zip(processes, outputs, strict=True):
            ended = campaign.end(process, output)
            if ended.status:
                row.silent += 1
                row.note(ended.last)
            campaign.judge(output, row, {})
        shutil.rmtree(cache)
    return row


def interrupted(campaign: Campaign, output: Path, *more: str) -> None:
    """Kills a run when its first case is on disk.

    Raises:
        RuntimeError: it ended without one, or before it could be killed.
    """
    process = campaign.start(output, campaign.learned, *more)
    deadline = time.monotonic() + campaign.longest
    while process.poll() is None and time.monotonic() < deadline and not any(journals(output).values()):
        time.sleep(0.02)
    over = process.poll() is not None
    kill(process)
    if over or not any(journals(output).values()):
        raise RuntimeError(f"no run was interrupted: {campaign.end(process, output).last}")


def changed_clock(campaign: Campaign) -> Row:
    """The clock goes a year forward or back between a start and the next."""
    row = Row("the clock a year off")
    for shift in (-365 * 86400, 365 * 86400):
        row.injected += 1
        output, site = campaign.new("clock"), campaign.new("site")
        site.mkdir()
        (site / "sitecustomize.py").write_text(CLOCK.format(shift=shift))
        interrupted(campaign, output)
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        campaign.finish(output, campaign.learned, row, journals(output), env={"PYTHONPATH": path})
    return row


def changed_code(campaign: Campaign) -> Row:
    """The package is another between a start and the next, by a comment: the cases stay, and no note of a finished run is
    believed."""
    row = Row("the code changed")
    row.injected += 1
    output, place = campaign.new("code"), campaign.new("package")
    shutil.copytree(Path(xkeb.__file__).parent, place / "xkeb", ignore=shutil.ignore_patterns("__pycache__"))
    with (place / "xkeb" / "types.py").open("a") as file:
        file.write("# changed\n")
    interrupted(campaign, output)
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    campaign.finish(output, campaign.learned, row, journals(output), env={"PYTHONPATH": path})
    return row


def changed_data(campaign: Campaign) -> Row:
    """A record of the data is another between a start and the next: refused, since lines of other data are never mixed."""
    row = Row("the data changed")
    row.injected += 1
    place = campaign.new("data")
    place.mkdir()
    facts = [{"q": f"Where is {name} from?", "s": name, "a": "Lyon", "o": "Where is nobody from?"} for name in NAMES]
    table = place / "rows.jsonl"
    table.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    shutil.copy(table, place / "learnt.jsonl")
    (place / "mine.yaml").write_text(TASK)
    output = campaign.new("changed")
    options = list(campaign.options)
    options[options.index("--tasks") + 1] = "mine"
    here = dataclasses.replace(campaign, options=options)
    more = ("--include-path", str(place), "--batch-size", "1")
    interrupted(here, output, *more)
    before = journals(output)
    table.write_text(table.read_text().replace("Lyon", "Nice", 1))
    ended = here.run(output, campaign.learned, *more)
    if told_in_a_sentence(ended, row):
        row.note(next(line for line in ended.told.splitlines() if line.startswith("xkeb: ")).rpartition("/")[2])
    after = journals(output)
    if any(after[name] != lines for name, lines in before.items()):
        row.wrong += 1
        row.note(f"{CASES} isn't as it was")
    return row


NAMES = (
    "Ada",
    "Blaise",
    "Carl",
    "Diophantus",
    "Emmy",
    "Felix",
    "Gottfried",
    "Hypatia",
    "Ida",
    "Julia",
    "Kurt",
    "Leonhard",
)
TASK = """
task: mine
version: 1
description: Where someone is from
source: en
targets: []
dataset:
  format: jsonl
  path: rows.jsonl
  training: learnt.jsonl
  columns:
    en: {question: q, subject: s, answer: a, rephrase: q, locality_question: o, locality_answer: a}
"""
