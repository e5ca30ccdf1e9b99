"""xkeb doctor --model: one edit of a made-up fact with each method, before a long run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from xkeb.editing.changes import DenseChange
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Edit

pytest_plugins = ("command_line",)


@pytest.fixture
def doctor(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]) -> Callable[..., Any]:
    def doctor(*arguments: object) -> Any:
        folder = f"path={tiny_folders['llama']}"
        return xkeb_cli("doctor", "--model", "hf", "--model-args", folder, "--device", "cpu", *arguments)

    return doctor


def test_each_method_s_edit_is_shown(doctor: Callable[..., Any]) -> None:
    outcome = doctor("--methods", "ft,rome")
    rows = {cells[0]: cells[1:] for line in outcome.out.splitlines() if (cells := line.split())}
    assert outcome.status == 0, outcome.out
    for method in ("ft", "rome"):
        before, after, back, seconds, peak = rows[method]
        assert float(after) > float(before)
        assert back == "yes"
        assert float(seconds) >= 0
        assert float(peak) > 0


def test_without_methods_those_that_learn_nothing_are_tried(doctor: Callable[..., Any]) -> None:
    methods = [line.split()[0] for line in doctor().out.splitlines() if line.strip()]
    assert {"ft", "rome"} <= set(methods)
    assert "mend" not in methods


def test_a_method_that_must_learn_first_is_told(doctor: Callable[..., Any]) -> None:
    outcome = doctor("--methods", "ft,mend")
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1].startswith("mend can't edit llama: it learns from training facts first")


class Harmful:
    """Its changes leave another weight of the model changed."""

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[Any]:
        return [_Stays() for _ in edits]


class _Stays:
    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        name, other = (f"{backbone.layout.down(index)}.weight" for index in (0, 1))
        with torch.no_grad():
            backbone.parameter(other).add_(1.0)
        with DenseChange({name: torch.ones_like(backbone.parameter(name))}).applied(backbone):
            yield


def test_a_change_that_stays_is_told(doctor: Callable[..., Any]) -> None:
    methods = get_plugins().methods
    methods.register("test", "harmful", Harmful)
    try:
        outcome = doctor("--methods", "harmful")
    finally:
        del methods.entries["harmful"]
    assert outcome.status == 1
    assert " NO " in outcome.out
    assert "harmful leaves llama changed after its edit is taken back: " in outcome.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--methods", "ft"), "--model-args and --methods need --model."),
        (("--model", "no-such-model"), "no-such-model"),
        (("--model", "gemma3-270m", "--methods", ","), "--methods names nothing"),
        (("--model", "gemma3-270m", "--methods", "FT"), "'ft'"),
    ],
)
def test_a_wrong_request_is_one_sentence(xkeb_cli: Callable[..., Any], args: tuple[str, ...], words: str) -> None:
    outcome = xkeb_cli("doctor", *args)
    assert outcome.status == 2
    assert words in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
