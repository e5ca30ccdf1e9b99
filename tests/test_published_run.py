"""The paper's table on its four backbones: all seven methods, both directions, real records; the models are tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from releases import Release

import xkeb

METHODS = ("ft", "serac", "ike", "mend", "kn", "rome", "memit")
EACH = {"en", "zh"}


@pytest.fixture(scope="module", autouse=True)
def own_cache_for_these(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XKEB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("kind", ["lora", "chinese-llama-2-7b", "baichuan-7b", "baichuan2-7b"])
def test_all_seven_methods_run_in_both_directions(
    kind: str,
    releases: dict[str, Release],
    tiny_folders: dict[str, Path],
    tiny_bert: Path,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    release = releases[kind]
    training = {"steps": 2, "batch_size": 4, "validate_every": 1, "validation": 3}
    networks = {"classifier": str(tiny_bert), "counterfactual": str(tiny_folders["gpt2"]), "accumulate": 1}
    chosen: dict[str, dict[str, Any]] = {"mend": {"rank": 6, **training}, "serac": {**networks, **training}}
    results = xkeb.evaluate(
        tasks=["bizsre"],
        model=release.name,
        methods=METHODS,
        model_args={**release.options, "size": "any"},
        method_args={
            f"{method}.{option}": value for method, options in chosen.items() for option, value in options.items()
        },
        limit=2,
        train_size=30,
        device="cpu",
        data_dir=data_dir,
        output=tmp_path,
    )
    assert len(results) == 2 * len(METHODS)
    for result in results:
        assert len(result.case_ids) == 2 and not result.skipped
        assert result.model.name == release.name and result.model.sha256 == results[0].model.sha256
        languages = {name: set(scores) for name, scores in result.scores.items()}
        assert languages == {
            "reliability": {result.task.source},
            "generality": EACH,
            "locality": EACH,
            "portability": EACH,
        }
