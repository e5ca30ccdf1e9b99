"""The files around the code say the same as the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import xkeb

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert xkeb.__version__ == project["version"] == read("CITATION.cff")["version"]


def test_the_citation_holds_the_paper() -> None:
    (paper,) = read("CITATION.cff")["references"]
    assert paper["url"].removeprefix("https://aclanthology.org/") == paper["doi"].removeprefix("10.18653/v1/")
    assert len(paper["authors"]) == 6


def test_the_changelog_is_kept_in_its_format() -> None:
    headings = re.findall(r"^##+ (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert headings[0] == "Unreleased"
    assert not [name for name in headings[1:] if name not in kinds and not re.fullmatch(r"\S+ - \d{4}-\d\d-\d\d", name)]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_an_issue_template_has_what_a_form_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= form.keys()
    named = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in named}) == len(named)
    assert all(part["attributes"]["label"] for part in named)


def test_the_checks_before_a_commit_are_those_of_make_check() -> None:
    """Local hooks only, so that nothing is fetched, and each the command that the Makefile has."""
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    made = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()[1:]]
    for hook in local["hooks"]:
        command = hook["entry"].removeprefix("env ").removesuffix(" --force-exclude")
        assert hook["language"] == "system"
        assert any(line.startswith(command) for line in made), hook["id"]
    assert len(local["hooks"]) == len(made)
