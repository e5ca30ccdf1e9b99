"""Processes that die at any moment: a run, a site that is built, an edit that is saved, workers of Ray."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from fault_kinds.campaign import Campaign, Lines, Row, journals, kill, vanished


def killed_runs(campaign: Campaign, kills: int) -> Row:
    """Kills a run again and again until it ends by itself, begins another, and so on. Every third begins with an empty cache,
    so that conversion and learning are hit, too."""
    row, phases, world = Row("`kill -9` of a run"), Counter[str](), 0
    while row.injected < kills:
        world += 1
        output, cache = campaign.new("killed"), campaign.learned
        if world % 3 == 0:
            cache = campaign.new("cache")
        before: Lines = {}
        while row.injected < kills:
            log = output.with_name(f"{output.name}.events")
            log.unlink(missing_ok=True)
            process = campaign.start(output, cache, "--log-events", str(log))
            if not alive_at_a_moment(campaign, process, log):
                break
            kill(process)
            row.injected += 1
            phases[phase(log)] += 1
            after = journals(output)
            row.lost += vanished(before, after, row)
            before = after
            print(f"{row.injected} kills, {row.lost} lost; {dict(phases)}", file=sys.stderr, flush=True)
        campaign.finish(output, cache, row, before)
        if cache != campaign.learned:
            shutil.rmtree(cache)
    row.note(", ".join(f"{count} {name}" for name, count in sorted(phases.items())))
    return row


def alive_at_a_moment(campaign: Campaign, process: subprocess.Popen[str], log: Path) -> bool:
    """Waits for a moment by the clock or, as often, by what the run has told; whether it is still alive then."""
    chance = campaign.chance
    # Now and then much later, or what takes longer than all other waits would never be reached.
    reach = campaign.reach * (4 if chance.random() < 0.2 else 1)
    deadline, events = time.monotonic() + chance.uniform(0.2, reach), 0
    if chance.random() < 0.5:
        deadline, events = time.monotonic() + campaign.longest, chance.randrange(1, 20)
    while time.monotonic() < deadline and process.poll() is None:
        if events and log.exists() and log.read_bytes().count(b"\n") >= events:
            time.sleep(chance.uniform(0, 0.3))
            break
        time.sleep(0.01)
    return process.poll() is None


def phase(log: Path) -> str:
    """What a run was at, by the last of its events."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    events = []
    for line in lines:
        try:
            events.append(json.loads(line))
        except ValueError:  # the last one, cut short
            continue
    at = "at its start"
    for event in events:
        if event["event"] == "model_loading":
            at = "converting or loading"
        elif event["event"] == "phase_started":
            at = {"before": "asking before the edits", "fit": "learning", "edit": "editing"}[event["phase"]]
        elif event["event"] == "job_done":
            at = "between jobs"
    return at


def killed_builds(campaign: Campaign, kills: int) -> Row:
    """Kills `leaderboard build` over a site that is there: it must stay, or be the new one, whole."""
    row = Row("`kill -9` of `leaderboard build`")
    site = campaign.folder / "site"
    build = ["leaderboard", "build", "--results", str(campaign.folder / "rehearsed"), "--output", str(site)]
    started = time.monotonic()
    old = campaign.end(campaign.process(build, campaign.learned, site), site)
    seconds = time.monotonic() - started
    if old.status:
        row.silent += 1
        row.note(old.last)
        return row
    whole = [page for page in tree(site) if page != "."]
    for _ in range(kills):
        mark = site / "of-the-old-one"
        mark.touch()
        process = campaign.process(build, campaign.learned, site)
        time.sleep(campaign.chance.uniform(0.4, 1) * seconds)
        if process.poll() is None:
            row.injected += 1
        kill(process)
        there = [page for page in tree(site) if page != mark.name]
        if there != whole:
            row.wrong += 1
            row.note(f"of {len(whole)} files, {len(there)} are there")
    return row


def tree(folder: Path) -> list[str]:
    """The files of a folder, by their paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def killed_saves(campaign: Campaign, model: list[str], kills: int) -> Row:
    """Kills `edit --save` of a checkpoint: what is there then is whole, or says that it isn't."""
    row = Row("`kill -9` of `edit --save`")
    said = ["--prompt", "The capital of France is", "--subject", "France", "--target", "Lyon"]
    edit = ["edit", *model, "--method", "ft", *said, "--save-as", "checkpoint", "--device", "cpu"]
    first = campaign.new("saved")
    started = time.monotonic()
    ended = campaign.end(campaign.process([*edit, "--save", str(first)], campaign.learned, first), first)
    seconds = time.monotonic() - started
    if ended.status:
        row.silent += 1
        row.note(ended.last)
        return row
    right = hashes(first)
    for _ in range(kills):
        target = campaign.new("saved")
        process = campaign.process([*edit, "--save", str(target)], campaign.learned, target)
        time.sleep(campaign.chance.uniform(0.7, 1) * seconds)
        if process.poll() is None:
            row.injected += 1
        kill(process)
        if target.exists() and hashes(target) != right:
            row.wrong += 1
            row.note(f"{len(hashes(target))} of {len(right)} files are as they should be")
        shutil.rmtree(target, ignore_errors=True)
    return row


def hashes(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in tree(folder)}


def killed_workers(campaign: Campaign, kills: int, every: float) -> Row:
    """Kills a worker of Ray every few seconds; the driver goes on."""
    row = Row(f"a worker of Ray killed every {every:g} s")
    while row.injected < kills:
        output, count = campaign.new("ray"), 0
        process = campaign.start(output, campaign.learned, "--executor", "ray", "--workers", "2")
        due, deadline = time.monotonic() + every, time.monotonic() + campaign.longest
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            if time.monotonic() < due or row.injected >= kills:
                continue
            due = time.monotonic() + every
            workers = [one for one in psutil.Process(process.pid).children(recursive=True) if is_worker(one)]
            if workers:
                campaign.chance.choice(workers).kill()
                row.injected += 1
                count += 1
        ended = campaign.end(process, output)
        if ended.status:
            row.silent += 1
            row.note(f"status {ended.status}: {ended.last[:300]}")
        campaign.judge(output, row, {})
        if not count:
            row.note("a run ended before the first kill")
            break
    return row


def is_worker(process: psutil.Process) -> bool:
    """Whether it holds a model, and is no part of Ray itself."""
    try:
        return "ray::RemoteWorker" in " ".join(process.cmdline()[:1])
    except psutil.Error:  # it has just ended
        return False
