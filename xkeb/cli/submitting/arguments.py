"""The command of each part of a run, and of what is learned before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xkeb.cli.options import split_names
from xkeb.errors import RequestError
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.job import Job
from xkeb.evaluation.parts import Part
from xkeb.registry.formatting import format_options


def run_arguments(config: RunConfig, part: Part) -> list[str]:
    """Of ``xkeb``, to run one part with everything that the run says of it.

    Raises:
        RequestError: the ids of its cases can't stand in a command.
    """
    observers = {f"{name}.{key}": value for name, own in config.observers.items() for key, value in own.items()}
    return [
        "run",
        *("--tasks", part.job.task.name),
        *_of_method(config, part.job),
        *("--protocol", ",".join(config.protocols)),
        *_options("--protocol-args", config.protocol_args),
        *(() if config.regime is None else ("--regime", config.regime)),
        *(() if config.evaluate is None else ("--evaluate", config.evaluate)),
        *(("--damage",) if config.damage else ()),
        *(() if config.metrics is None else ("--metrics", ",".join(config.metrics))),
        *_cases(config, part),
        *("--batch-size", "auto" if config.batch_size is None else str(config.batch_size)),
        *("--output", str(part.output)),
        *(() if config.executor == "local" else ("--executor", config.executor)),
        *_options("--executor-args", config.executor_args),
        *(("--observe", ",".join(config.observers)) if config.observers else ()),
        *_options("--observer-args", observers),
    ]


def train_arguments(config: RunConfig, jobs: Sequence[Job]) -> list[str]:
    """Of ``xkeb``, to learn what the jobs of one method and model need."""
    tasks = dict.fromkeys(job.task.name for job in jobs)
    return ["train", "--tasks", ",".join(tasks), *_of_method(config, jobs[0])]


def _of_method(config: RunConfig, job: Job) -> list[str]:
    """What ``run`` and ``train`` take alike. The options of a method are all that it has, wherever they were said."""
    own = {
        f"{job.method}.{name}": value for name, value in job.options.items() if (name, value) != ("seed", config.seed)
    }
    return [
        *("--model", str(job.choice)),
        *_options("--model-args", job.model_args),
        *("--methods", job.method),
        *_options("--method-args", own),
        *(() if config.prompt is None else ("--prompt", config.prompt)),
        *(() if config.train_size is None else ("--train-size", str(config.train_size))),
        *("--device", config.device),
        *("--dtype", config.dtype),
        *("--seed", str(config.seed)),
        *(() if config.data_dir is None else ("--data-dir", str(config.data_dir))),
        *(argument for folder in config.include for argument in ("--include-path", str(folder))),
    ]


def _options(flag: str, options: Mapping[str, Any]) -> list[str]:
    return [flag, format_options(options)] if options else []


def _cases(config: RunConfig, part: Part) -> list[str]:
    if not part.whole:
        return ["--cases", _listed(part.case_ids)]
    limit = [] if config.limit is None else ["--limit", str(config.limit)]
    return [*limit, *(["--cases", _listed(config.cases)] if config.cases else [])]


def _listed(case_ids: Sequence[str]) -> str:
    text = ",".join(case_ids)
    if split_names(text) != list(case_ids):
        odd = next(one for one in case_ids if split_names(one) != [one])
        raise RequestError(
            f"Case {odd!r} can't be named by --cases, so its job can't be cut: leave out --cases-per-job."
        )
    return text
