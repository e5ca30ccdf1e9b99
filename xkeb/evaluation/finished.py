"""Runs that are finished: what a command found, known again without planning it, which would need torch.

When a run is over, a note of it goes to the cache: the files that it was made of, and those that it left, each with its size
and time. As long as all of them are as they were, the same command has nothing to do. Whatever the note can't speak for (a
model whose files aren't known, data of the hub) is planned as ever.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.results.lines import CASES
from xkeb.results.result import RESULT, Result
from xkeb.utils.files import write_atomically
from xkeb.utils.hashing import digest, digest_file
from xkeb.utils.paths import cache_root

if TYPE_CHECKING:
    from xkeb.evaluation.job import Job

VERSION = 1
"""Of a note."""
PACKAGES = ("xkeb", "xkeb_plugins", "xkeb_tasks")
CODE = (".py", ".yaml", ".json")
NOT_ASKED = ("command", "observers", "overwrite", "output")
"""What of a configuration says nothing of what is to be found, or is looked at by itself."""
Stamp = tuple[int, int] | None
"""Size and time of writing, in nanoseconds; None of a file that isn't there."""


def finished_results(config: RunConfig) -> list[Result] | None:
    """The results of a run that is finished; None where something of it is to be done, or that can't be told."""
    if config.overwrite or config.observers:
        return None
    try:
        note = json.loads(_note(config).read_text(encoding="utf-8"))
        files = {Path(path): tuple(stamp) if stamp else None for path, stamp in note["files"].items()}
        if note["version"] != VERSION or any(_stamp(path) != stamp for path, stamp in files.items()):
            return None
        return [Result.load(Path(path)) for path in note["results"]]
    except (OSError, ValueError, KeyError, TypeError):  # there is no note, or it can't be read
        return None
    except RequestError:  # a result can't be read
        return None


def note_finished(config: RunConfig, jobs: Sequence[Job]) -> None:
    """Keeps a note of a run all of whose jobs are done."""
    files: dict[str, Stamp] = {}
    for job in jobs:
        made_of = _made_of(job)
        if made_of is None:
            return
        left = [one.folder / name for one in job.measurements for name in (RESULT, CASES)]
        for path in [*made_of, *left]:
            files.setdefault(str(path.absolute()), _stamp(path))
    for folder in config.include:
        files |= {str(path.absolute()): _stamp(path) for path in [Path(folder), *Path(folder).glob("*.yaml")]}
    files |= {str(Path(path).absolute()): _stamp(Path(path)) for path in config.settings}
    results = [str((one.folder / RESULT).absolute()) for job in jobs for one in job.measurements]
    note = {"version": VERSION, "files": files, "results": results}
    try:
        path = _note(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(note))
    except OSError:  # a cache that can't be written costs time, and no result
        return


def _note(config: RunConfig) -> Path:
    """Where the note of a run is: under a hash of all that was asked for, where, and by which code."""
    fields = dataclasses.fields(config)
    asked: dict[str, Any] = {one.name: getattr(config, one.name) for one in fields if one.name not in NOT_ASKED}
    asked |= {"folder": str(Path.cwd()), "output": str(config.output.absolute()), "code": code_hash()}
    asked |= {name: os.environ.get(name) for name in ("XKEB_DATA_DIR", "CUDA_VISIBLE_DEVICES")}
    asked["devices"] = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    return cache_root() / "finished" / f"{digest(asked)}.json"


def code_hash() -> str:
    """A hash of what the code is: the suite's files, and those of every package that brings a plugin."""
    points = sorted(metadata.entry_points(group="xkeb"), key=lambda point: (point.name, point.value))
    named = [(point.name, point.value, point.dist.version if point.dist else "") for point in points]
    packages = dict.fromkeys([*PACKAGES, *(point.module.partition(".")[0] for point in points)])
    files = [(str(path), _stamp(path)) for name in packages for path in sorted(_files_of(name))]
    return digest([named, files])


def code_contents() -> str:
    """A hash of the same files by what is in them, which is equal on two machines that have the same code."""
    points = metadata.entry_points(group="xkeb")
    packages = sorted({*PACKAGES, *(point.module.partition(".")[0] for point in points)})
    return digest([[name, sorted(digest_file(path) for path in _files_of(name))] for name in packages])


def _files_of(package: str) -> Iterator[Path]:
    """The files of a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.origin and Path(spec.origin).name != "__init__.py":
        yield Path(spec.origin)
    for place in (spec.submodule_search_locations if spec else None) or ():
        for folder, _, names in os.walk(place):
            yield from (Path(folder) / name for name in names if name.endswith(CODE))


def _made_of(job: Job) -> list[Path] | None:
    """The files of data, method and model behind a job, and those that would come before them; None where they aren't all
    known."""
    splits = [job.task.test, *([job.training_split] if job.needs_training else [])]
    paths = [split.path for split in splits]
    if not all(path.is_file() for path in paths):
        return None
    paths += job.task.dataset.paths(job.task.data_dir)
    if job.task.trained_answers is not None:  # which slices tell
        paths.append(job.task.training.path)
    weights = list(model_files(job))
    return [*paths, *job.editor.reads(), *weights] if weights else None


def model_files(job: Job) -> Iterable[Path]:
    """The files in each folder that a model's options name, or that its configuration was read from."""
    if job.skeleton is None:
        return []
    named = [str(value) for value in job.model_args.values() if isinstance(value, str | Path)]
    read = str(job.skeleton.model.config._name_or_path)
    places = [Path(name).expanduser() for name in [*named, read] if name]
    files = [place for place in places if place.is_file()]
    return files + [path for place in places if place.is_dir() for path in sorted(place.iterdir()) if path.is_file()]


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns)
