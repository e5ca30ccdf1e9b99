"""`xkeb.utils.names`: a name from outside is the name of a folder, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xkeb.utils.names import folder_below, is_folder_name

LEADING_OUT = [
    "..",
    ".",
    "",
    " ",
    "../x",
    "/x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "\u202ea",
    "\ud800",
    "w" * 201,
    "語" * 67,
]


@pytest.mark.parametrize("name", LEADING_OUT, ids=ascii)
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        folder_below(tmp_path, "task", name)


@pytest.mark.parametrize("name", ["bizsre_en2zh", "Llama 3.1", "中文", "..x", "x.", "w" * 200])
def test_a_name_that_is_one_is_taken(tmp_path: Path, name: str) -> None:
    folder = folder_below(tmp_path, "task", name)
    folder.mkdir(parents=True)
    assert [path.name for path in (tmp_path / "task").iterdir()] == [name]


@given(st.lists(st.text(max_size=12) | st.sampled_from(LEADING_OUT), min_size=1, max_size=3))
def test_whatever_is_taken_stays_below_the_root(names: list[str]) -> None:
    root = Path("/root of all")
    if all(map(is_folder_name, names)):
        below = folder_below(root, *names).resolve().relative_to(root)
        assert below.parts == tuple(names)
    else:
        with pytest.raises(ValueError, match="expected a name"):
            folder_below(root, *names)
