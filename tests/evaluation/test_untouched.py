"""What a run leaves as it was: the model, whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_jobs import FT, TASK, hooks, lines, make_config, run_jobs

from xkeb.errors import PluginError
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import installed_intervention
from xkeb.testing.state import model_state

pytest_plugins = ("small_jobs",)
pytestmark = pytest.mark.usefixtures("cache_of_this_module")


def test_after_a_run_every_parameter_is_the_original_to_the_bit(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path
) -> None:
    before = model_state(llama)
    asked = make_config(
        tiny_folders,
        tmp_path,
        ["ft", "ike", "ike-published", "rome"],
        method_args={**FT, "ike.k": 0, "ike-published.k": 0},
    )
    run_jobs(llama, asked)
    assert model_state(llama) == before
    assert not hooks(llama) and installed_intervention(llama) is None


@pytest.mark.parametrize(
    ("where", "error"), [("edit", ZeroDivisionError), ("change", ZeroDivisionError), ("count", PluginError)]
)
def test_after_an_exception_in_the_middle_every_parameter_is_the_original_to_the_bit(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, failing: str, where: str, error: type[Exception]
) -> None:
    before = model_state(llama)
    asked = make_config(tiny_folders, tmp_path, [failing], batch_size=2, method_args={"failing.where": where})
    with pytest.raises(error):
        run_jobs(llama, asked)
    assert model_state(llama) == before
    assert not hooks(llama)
    # What was done before is kept, and the next run goes on from there.
    folder = tmp_path / TASK / "llama" / failing
    assert [entry["case_id"] for entry in lines(folder / "cases.jsonl")] == ["0", "1"]
    assert not (folder / "result.json").exists()
    ((result,), phases) = run_jobs(llama, asked)
    assert phases.counts == {"edit": 2} and list(result.case_ids) == ["0", "1", "2", "3"]
    assert model_state(llama) == before
