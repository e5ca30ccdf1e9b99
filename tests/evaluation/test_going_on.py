"""A run goes on where it was, and never mixes cases of other settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import FT, TASK, make_config, run_jobs

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_running_again_edits_nothing_and_a_higher_limit_only_what_is_new(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=2, method_args=FT)
    ((first,), phases) = run_jobs(llama, asked)
    assert phases.counts == {"before": 2, "edit": 2}
    journal = tmp_path / TASK / "llama" / "ft" / "cases.jsonl"
    content = journal.read_bytes()
    ((second,), phases) = run_jobs(llama, asked)
    assert phases.counts == {"edit": 0} and journal.read_bytes() == content
    assert second.scores == first.scores
    more = make_config(tiny_folders, tmp_path, ["ft"], limit=3, method_args=FT)
    ((third,), phases) = run_jobs(llama, more)
    assert phases.counts == {"before": 1, "edit": 1} and journal.read_bytes().startswith(content)
    assert list(third.case_ids) == ["0", "1", "2"]


def test_cases_of_other_settings_are_never_mixed(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    asked = make_config(tiny_folders, tmp_path, ["ft"], limit=1, method_args=FT)
    run_jobs(llama, asked)
    journal = tmp_path / TASK / "llama" / "ft" / "cases.jsonl"
    content = journal.read_bytes()
    other = make_config(tiny_folders, tmp_path, ["ft"], limit=2, method_args={**FT, "ft.steps": 4})
    with pytest.raises(RequestError, match="other settings"):
        run_jobs(llama, other)
    assert journal.read_bytes() == content
