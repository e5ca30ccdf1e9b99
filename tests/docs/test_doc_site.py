"""The documentation site: it builds without a warning, asks nothing of another host, and says all that there is."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from doc_blocks import read_blocks
from doc_running import reader
from made_results import case, result

import xkeb
import xkeb.testing
from xkeb.cli import cli
from xkeb.registry import hookspecs
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Registry

ROOT = Path(__file__).parents[2]
HOOKS = sorted(name for name, thing in vars(hookspecs).items() if hasattr(thing, f"{hookspecs.PROJECT}_spec"))
HOOKS_PAGE = ROOT / "docs" / "hooks.md"
LEAVES = re.compile(r"^(?:[a-z][\w+.-]*:)?//")


class Fetched(HTMLParser):
    """What a browser fetches to show a page: not what it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.addresses.append(values.get("href") or "")
        self.addresses += [value for name in ("src", "srcset", "data", "poster") if (value := values.get(name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` does it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    options = ["--strict", "--config-file", str(ROOT / "mkdocs.yml"), "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *options], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html"))}


def test_no_page_fetches_anything_from_another_host(site: Path, pages: dict[str, str]) -> None:
    fetched = [(page, address) for page, text in pages.items() for address in Fetched(text).addresses]
    assert len(fetched) > len(pages)
    assert [found for found in fetched if LEAVES.match(found[1])] == []
    for style in site.rglob("*.css"):
        assert not re.findall(
            r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']+""", style.read_text(encoding="utf-8")
        ), style


def test_a_page_that_fetches_would_be_noticed() -> None:
    page = '<script src="//cdn.example/x.js"></script><a href="https://b.example">b</a><img src="here.png">'
    assert [address for address in Fetched(page).addresses if LEAVES.match(address)] == ["//cdn.example/x.js"]


def test_every_formula_is_mathml(pages: dict[str, str]) -> None:
    written = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
    formulae = sum(len(re.findall(r"^\$\$$|\\\(", text, re.MULTILINE)) for text in written.values())
    blocks = sum(len(re.findall(r"^\$\$$", text, re.MULTILINE)) for text in written.values()) // 2
    assert blocks > 10
    assert sum(text.count("<math ") for text in pages.values()) == formulae - blocks
    assert not [page for page, text in pages.items() if "arithmatex" in text or "merror" in text]
    shown = [formula for text in pages.values() for formula in re.findall(r"<math .*?</math>", text, re.DOTALL)]
    assert [
        formula for formula in shown if "\\" in formula
    ] == []  # a command that the converter doesn't know stays as it is


@pytest.fixture(scope="module")
def followed(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.ModuleType]:
    """What the page of hooks has defined when it was followed."""
    places = {name: str(folder) for name, folder in tiny_folders.items()}
    with reader(tmp_path_factory.mktemp("hooks"), places) as somebody:
        for block in read_blocks(HOOKS_PAGE, "docs/hooks.md"):
            somebody.follow(block)
        yield somebody.names


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_implemented_by_its_example(hook: str, followed: types.ModuleType) -> None:
    """Each hook that the page implements is called as the suite calls it."""
    assert inspect.getdoc(getattr(hookspecs, hook))
    _, heading, section = HOOKS_PAGE.read_text(encoding="utf-8").partition(f"\n## {hook}\n")
    assert heading, f"docs/hooks.md has no section about {hook}"
    section = section.partition("\n## ")[0]
    assert f"<!-- generated: hook {hook} -->" in section
    assert f"@xkeb.hookimpl\ndef {hook}(register):" in section
    (real,) = (registry for registry in get_plugins().registries if registry.hook == hook)
    registry: Registry[Any] = Registry(real.kind, hook, real.expected)
    getattr(followed, hook)(lambda name, thing: registry.register("page", name, thing))
    assert [registry.get(name) is not None for name in registry] == [True]


def test_every_registry_and_event_is_on_the_page_of_hooks(pages: dict[str, str]) -> None:
    text = pages["hooks.html"]
    for registry in get_plugins().registries:
        assert f'<a href="#{registry.hook}"><code>{registry.hook}</code></a>' in text
        assert not [name for name in registry if f"<code>{name}</code>" not in text]
    events = [name for name in vars(xkeb.RunObserver) if not name.startswith("_")]
    assert len(events) > 10
    assert not [name for name in events if f"<code>{name}(" not in text]


def test_every_sight_is_on_the_page_of_methods(pages: dict[str, str]) -> None:
    assert not [one for one in xkeb.Sight if f"<code>Sight.{one.name}</code>" not in pages["tutorials/method.html"]]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_implemented_by_a_real_package_in_the_tests(hook: str) -> None:
    modules = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "third_party").rglob("*.py")]
    assert any(f"def {hook}(" in text for text in modules), f"nothing in tests/third_party has the hook {hook}"


def options(command: click.Command, name: str) -> Iterator[tuple[str, set[str]]]:
    """Every command below, with its options."""
    context = click.Context(command)
    yield name, {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found
            yield from options(found, f"{name} {below}")


def test_every_command_and_option_is_on_the_page_of_commands(pages: dict[str, str]) -> None:
    page = pages["command-line.html"]
    sections = re.split(r"<h[234] id=", page)
    for name, flags in options(cli, "xkeb"):
        own = (text for text in sections if re.match(rf'"[\w-]+">{name}<', text))
        section = page if name == "xkeb" else next(own, "")  # what holds for all commands has no heading of its own
        assert not [flag for flag in flags if f"<code>{flag}" not in section], name


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Every key of a file, dotted."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield f"{path}{key}"
            yield from keys(below, f"{path}{key}.")
    elif isinstance(value, list):
        for below in value:
            yield from keys(below, f"{path[:-1]}[].")


def test_every_key_of_a_result_is_on_the_page_of_its_files(pages: dict[str, str]) -> None:
    text = pages["result-schema.html"]
    said = [re.escape(key).replace(r"\*", r"[^.]+") for key in re.findall(r"<td><code>([^<]+)</code></td>", text)]
    free = r"(environment|method\.params)\..*|(scores|scores_before|probes\[\]\.scores(_before)?)\..*"
    written = [*keys(result()), *keys(case(0))]
    assert len(written) > 40
    assert [key for key in written if not any(re.fullmatch(pattern, key) for pattern in [*said, free])] == []


def test_everything_that_xkeb_exports_is_on_the_page_of_python(pages: dict[str, str]) -> None:
    written = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in xkeb.__all__ if not re.search(rf"\b{name}\b", written)]
    missing += [name for name in xkeb.testing.__all__ if f"::: xkeb.testing.{name}\n" not in written]
    assert missing == []
