"""xkeb doctor: is everything here that a run needs?"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import click

from xkeb.cli.completion import complete_registered
from xkeb.cli.echo import say
from xkeb.cli.options import device_options, model_args_option, split_names
from xkeb.errors import NotHereError, PluginError, PluginWarning, RequestError, XkebError
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.data.dataset import Dataset

LIBRARIES = (
    "torch",
    "transformers",
    "datasets",
    "sentence-transformers",
    "pluggy",
    "pydantic",
    "scipy",
    "pooch",
    "gdown",
)
Finding = tuple[str, str, str]
"""(ok | note | wrong, what, what was found)"""


@click.command("doctor")
@click.option(
    "--model",
    metavar="M",
    shell_complete=complete_registered("models"),
    help="Edit a made-up fact on this model instead.",
)
@model_args_option
@click.option(
    "--methods",
    metavar="M[,M]",
    shell_complete=complete_registered("methods"),
    help="Methods that edit it.  [default: the paper's that learn nothing first]",
)
@device_options
def command(model: str | None, model_args: str | None, methods: str | None, device: str, dtype: str) -> None:
    """Look over the installation: versions, devices, plugins, folders, data. Exit status 1 if something is wrong.

    With --model, load that model and make one edit with each method, before a long run does: whether the new answer becomes
    likelier, whether the model comes back to the bit, seconds and peak memory.
    """
    if model is not None:
        sys.exit(_try_edits(model, model_args, methods, device, dtype))
    if model_args is not None or methods is not None:
        raise RequestError("--model-args and --methods need --model.")
    marks = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}
    wrong = 0
    for kind, what, detail in findings():
        wrong += kind == "wrong"
        say(f"{marks[kind]}  {what}: {detail}")
    sys.exit(1 if wrong else 0)


def _try_edits(model: str, model_args: str | None, methods: str | None, device: str, dtype: str) -> int:
    """Prints what became of the edits; the exit status."""
    with importing():
        from xkeb.cli.output import make_console, make_table
        from xkeb.cli.smoke_edit import FACT, smoke_edits, untrained_methods
        from xkeb.editing.editor import editor_class
        from xkeb.models.loader import load_backbone
        from xkeb.registry.options import parse_options

    names = None if methods is None else split_names(methods)
    if names == []:
        raise RequestError("--methods names nothing; without it, the paper's that learn nothing first are tried.")
    for name in names or []:
        editor_class(name)
    backbone = load_backbone(model, device=device, dtype=dtype, **parse_options(model_args, "--model-args"))
    say(f"{FACT.prompt} {FACT.target}: made up, so that no model knows it.")
    out = make_console()
    table = make_table(None, ["Method", "Before", "After", "Back", "Seconds", "Peak GiB"], out)
    wrong = []
    for edit in smoke_edits(backbone, names or untrained_methods(backbone)):
        if edit.wrong is not None:
            wrong.append(edit.wrong)
        if edit.made:
            back = "yes" if edit.came_back else "NO"
            numbers = [
                f"{edit.before:.2f}",
                f"{edit.after:.2f}",
                back,
                f"{edit.seconds:.1f}",
                f"{edit.peak / 2**30:.1f}",
            ]
        else:
            numbers = ["-"] * 5
        table.add_row(edit.method, *numbers)
    out.print(table)
    say(
        "Before, after: mean log-likelihood of a token of the answer. Back: taken back, the model is the same to the bit."
    )
    for sentence in wrong:
        say(sentence)
    return 1 if wrong else 0


def findings() -> Iterator[Finding]:
    """Everything that was looked at, in order."""
    yield "ok" if sys.version_info >= (3, 11) else "wrong", "Python", platform.python_version()
    for library in LIBRARIES:
        try:
            yield "ok", library, metadata.version(library)
        except metadata.PackageNotFoundError:
            yield "wrong", library, "not installed"
    yield from _devices()
    yield from _plugins()
    yield from _folders()
    yield from _data()


def _devices() -> Iterator[Finding]:
    import torch

    yield "ok", "CPU", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in use"
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        yield "ok", f"cuda:{i}", f"{torch.cuda.get_device_name(i)}, {memory:.0f} GiB"
    if not torch.cuda.is_available():
        yield "note", "GPU", "none that PyTorch can use"


def _plugins() -> Iterator[Finding]:
    from xkeb.registry.manager import get_plugins
    from xkeb.tasks.task import load_definitions

    try:
        with warnings.catch_warnings(action="ignore", category=PluginWarning):  # they are told below
            plugins = get_plugins()
        yield "ok", "plugins", ", ".join(plugins.names())
        for problem in plugins.problems:
            yield "wrong", "plugins", problem
        for kind in plugins.registries:
            for name in kind:
                try:
                    kind.get(name)
                except XkebError as error:
                    yield "wrong", "plugins", str(error)
        with warnings.catch_warnings(record=True, action="always", category=PluginWarning) as caught:
            tasks = load_definitions()
        for warning in caught:
            yield "wrong", "tasks", str(warning.message)
        yield "ok", "tasks", f"{len(tasks)} tasks and groups"
    except XkebError as error:
        yield "wrong", "plugins", str(error)


def _folders() -> Iterator[Finding]:
    from xkeb.utils.paths import cache_root

    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free / 2**30
        writable = os.access(root, os.W_OK)
        yield (
            "ok" if writable else "wrong",
            "cache",
            f"{root}, {free:.0f} GiB free{'' if writable else ', not writable'}",
        )
    except OSError as error:
        yield "wrong", "cache", f"{root}: {error.strerror}"


def _data() -> Iterator[Finding]:
    from xkeb.registry.manager import get_plugins

    for name in get_plugins().datasets:
        with contextlib.suppress(PluginError):  # it is told among the plugins
            dataset = get_plugins().datasets.get(name)
            if dataset.files():
                yield _files(name, dataset)


def _files(name: str, dataset: Dataset) -> Finding:
    """How many of a data set's files are here, and where; or how to get the first that isn't."""
    files = list(dataset.files())
    folders, lacks = [], []
    for file in files:
        try:
            folders.append(str(dataset.find(file).parent))
        except NotHereError as error:
            lacks.append(str(error))
    share = f"{len(folders)} of {len(files)} files"
    if lacks:
        return "note", name, f"{share}. {lacks[0]}"
    return "ok", name, f"{share} in {', '.join(dict.fromkeys(folders))}"
