"""Every page is followed: its commands and its Python run, in order, or say why not."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest
from doc_blocks import read_blocks
from doc_running import check_options, reader

from xkeb.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]

FOLLOWED = [page for page in PAGES if page != "docs/ten-minutes.md"]
"""That one is followed by test_ten_minutes.py, with nothing but the wheel installed."""


@pytest.mark.parametrize("page", FOLLOWED)
def test_whoever_does_what_the_page_says_gets_through(page: str, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    """Real models are replaced by tiny ones of the same kind where a mark says so: ``{llama}``, ``{gemma3}``, ``{gpt2}``."""
    places = {name: str(folder) for name, folder in tiny_folders.items()} | {"root": str(ROOT)}
    blocks = read_blocks(ROOT / page, page)
    with reader(tmp_path, places) as somebody:
        for block in blocks:
            somebody.follow(block)


def test_most_of_what_the_pages_tell_to_do_is_done() -> None:
    """Marks are for what can't be had here; a page that only excuses itself is not tested."""
    blocks = [block for page in PAGES for block in read_blocks(ROOT / page, page)]
    told = [block for block in blocks if block.runs or block.reasons]
    assert sum(block.runs for block in told) > len(told) / 2


@pytest.mark.parametrize("page", PAGES)
def test_a_script_that_a_page_writes_is_run_by_it(page: str) -> None:
    blocks = read_blocks(ROOT / page, page)
    run = [command for block in blocks if block.runs for command in block.text.splitlines()]
    scripts = [block.file for block in blocks if block.language == "sh" and block.file]
    assert not [file for file in scripts if not any(file in command.split() for command in run)]


def named(page: str) -> list[str]:
    """The commands of ours that a page names in its sentences and tables."""
    text = re.sub(r"^ *(`{3,}).*?^ *\1", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`((?:xkeb |python benchmarks/)[^`]+)`", text)]


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist_with_their_options(page: str) -> None:
    for code in named(page):
        if code.startswith("python "):
            check_options(code)
            continue
        context = click.Context(cli)
        found: click.Command = cli
        words = code.split()[1:]
        while isinstance(found, click.Group) and words and not words[0].startswith("-"):
            below = found.get_command(context, words.pop(0))
            assert below, code
            found = below
        flags = {flag for parameter in found.get_params(context) for flag in parameter.opts}
        assert not [word for word in words if word.startswith("-") and word.partition("=")[0] not in flags], code


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_that_a_page_names_exist(page: str) -> None:
    """Also where a sentence names them; folders end with a slash or have no suffix."""
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:xkeb|plugins|tasks|tests|benchmarks|docs|leaderboard)/[a-z0-9_./-]*)`", text)
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_names_of_the_python_interface_that_a_page_writes_exist() -> None:
    """``xkeb.Name`` and ``xkeb.module.name``, in sentences and in blocks."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for dotted in sorted(set(re.findall(r"\bxkeb(?!\.json\b)(?:\.[A-Za-z_]\w*)+", text))):
            assert resolves(dotted), f"{page}: {dotted}"


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


def test_there_are_commands_to_look_for() -> None:
    assert {"xkeb compare A B", "xkeb doctor"} <= set(named("README.md"))
    assert "python benchmarks/truth/beside.py OUT --slice answers=differ" in named("docs/results.md")
