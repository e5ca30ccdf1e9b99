"""Slurm in three small commands, for a PATH: jobs run here, in the background, one task of an array after another.

They keep each script as it was submitted, with the options that count, and wait for what a job depends on. While there is a
file ``hold`` in the state's folder, nothing runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMON = """#!{python}
import json, os, re, shlex, subprocess, sys, time
from pathlib import Path

STATE = Path({state!r})
"""
SBATCH = (
    COMMON
    + '''
def given(words):
    """Long options among words, and what else there is."""
    options, rest = {{}}, []
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            options[name] = value
        else:
            rest.append(word)
    return options, rest


def outcome(job, how):
    """Whether what a job waits for has come true; None as long as it isn't over."""
    done = STATE / f"{{job}}.done"
    return (how == "afterany" or done.read_text() == "0") if done.exists() else None


asked, rest = given(sys.argv[1:])
script = Path(rest[0]).read_text() if rest else sys.stdin.read()
options, _ = given(shlex.split(" ".join(line[8:] for line in script.splitlines() if line.startswith("#SBATCH "))))
options |= asked
job = 100 + len(list(STATE.glob("*.sh")))
(STATE / f"{{job}}.sh").write_text(script)
span = options.get("array", "").partition("%")[0]
tasks = list(range(int(span.split("-")[0]), int(span.split("-")[1]) + 1)) if span else [None]
(STATE / f"{{job}}.json").write_text(json.dumps({{**options, "tasks": tasks}}))
print(job if "parsable" in options else f"Submitted batch job {{job}}", flush=True)
if os.fork():
    os._exit(0)
os.setsid()
quiet = os.open(os.devnull, os.O_RDWR)
for stream in (0, 1, 2):
    os.dup2(quiet, stream)
for how, other in re.findall(r"(\\w+):(\\d+)", options.get("dependency", "")):
    while (came := outcome(other, how)) is None:
        time.sleep(0.05)
    if not came:
        (STATE / f"{{job}}.done").write_text("never")
        os._exit(0)
failed = 0
for task in tasks:
    while (STATE / "hold").exists():
        time.sleep(0.05)
    environment = dict(os.environ, SLURM_JOB_ID=str(job))
    output = options.get("output", f"{{STATE}}/%j.out").replace("%x", options.get("job-name", "job")).replace("%j", str(job))
    if task is not None:
        environment |= {{"SLURM_ARRAY_JOB_ID": str(job), "SLURM_ARRAY_TASK_ID": str(task)}}
        output = output.replace("%A", str(job)).replace("%a", str(task))
    with open(output, "a") as log:
        run = subprocess.run(["bash", STATE / f"{{job}}.sh"], env=environment, stdout=log, stderr=log)
    failed += run.returncode != 0
(STATE / f"{{job}}.done").write_text(str(failed))
'''
)
SRUN = (
    COMMON
    + """
words = iter(sys.argv[1:])
streams = {{}}
for word in words:
    if word in ("--output", "--error"):
        name = next(words).replace("%j", os.environ["SLURM_JOB_ID"]).replace("%t", "0")
        name = name.replace("%A", os.environ.get("SLURM_ARRAY_JOB_ID", ""))
        name = name.replace("%a", os.environ.get("SLURM_ARRAY_TASK_ID", ""))
        streams[word] = open(name, "a")
    elif not word.startswith("--"):
        command = [word, *words]
sys.exit(subprocess.run(command, stdout=streams["--output"], stderr=streams["--error"]).returncode)
"""
)
SQUEUE = (
    COMMON
    + """
for path in sorted(STATE.glob("*.json")):
    if not path.with_suffix(".done").exists():
        for task in json.loads(path.read_text())["tasks"]:
            print(path.stem if task is None else f"{{path.stem}}_{{task}}")
"""
)


@dataclass(frozen=True)
class FakeSlurm:
    state: Path

    def jobs(self) -> dict[str, dict[str, Any]]:
        """What was submitted, by the jobs' names."""
        found = sorted(self.state.glob("*.json"))
        return {(job := json.loads(path.read_text()))["job-name"]: {"id": path.stem, **job} for path in found}

    def scripts(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.state.glob("*.sh")))

    def hold(self) -> None:
        (self.state / "hold").touch()

    def wait(self) -> dict[str, str]:
        """Until all is over: how many tasks failed, by job; "never" where one waited for what didn't come true."""
        (self.state / "hold").unlink(missing_ok=True)
        end = time.monotonic() + 300
        while time.monotonic() < end:
            jobs = list(self.state.glob("*.json"))
            done = {path.stem: path.with_suffix(".done") for path in jobs}
            if all(path.exists() for path in done.values()):
                return {job: path.read_text() for job, path in done.items()}
            time.sleep(0.1)
        raise TimeoutError("a job of the fake Slurm didn't end")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Also the command ``xkeb`` of these tests."""
    programs, state = tmp_path / "bin", tmp_path / "slurm"
    programs.mkdir()
    state.mkdir()
    xkeb = f'#!/bin/sh\nexec {sys.executable} -m xkeb.cli "$@"\n'
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("squeue", SQUEUE), ("xkeb", xkeb)):
        path = programs / name
        path.write_text(text if name == "xkeb" else text.format(python=sys.executable, state=str(state)))
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return FakeSlurm(state)


def bash(script: str) -> str:
    """What a script prints."""
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
