"""`xkeb.utils.secrets`: what is stored of a command and of options holds no value that is secret by its name."""

from __future__ import annotations

import shlex

import pytest

from xkeb.utils.secrets import HIDDEN, command_line, is_secret, without_secrets


@pytest.mark.parametrize(
    "name", ["token", "api_key", "hub.token", "wandb.api-key", "apiKey", "PASSWORD", "client_secret", "--token"]
)
def test_a_name_that_says_so_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "monkey", "keyword", "keys", "path", "layer", "secretary"])
def test_a_name_that_only_looks_like_one_is_none(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["--model-args", "path=/x,token=hf_abc,revision=1"], ["--model-args", "path=/x,token=***,revision=1"]),
        (["--model-args=token=hf_abc"], ["--model-args=token=***"]),
        (["--method-args", 'm.api_key="a,b",m.layer=5'], ["--method-args", "m.api_key=***,m.layer=5"]),
        (
            ["--observer-args", "wandb.password=[a,b],wandb.mode=x"],
            ["--observer-args", "wandb.password=***,wandb.mode=x"],
        ),
        (["--token", "hf_abc", "--limit", "5"], ["--token", "***", "--limit", "5"]),
        (["--api-key=hf_abc", "x"], ["--api-key=***", "x"]),
        (["--protocol-args", "tokenizer=plus"], ["--protocol-args", "tokenizer=plus"]),
    ],
)
def test_a_command_is_kept_without_them(given: list[str], kept: list[str]) -> None:
    assert shlex.split(command_line(["xkeb", "run", *given])) == ["xkeb", "run", *kept]


def test_a_command_of_any_bytes_can_be_written() -> None:
    assert "\\udcff" in command_line(["xkeb", "--output", "/x\udcff"])
    command_line(["xkeb", "--output", "/x\udcff"]).encode()


def test_options_are_kept_without_them() -> None:
    options = {"path": "x", "token": "hf_abc", "inner": {"key": 1, "layer": 5}, "secret": None}
    assert without_secrets(options) == {
        "path": "x",
        "token": HIDDEN,
        "inner": {"key": HIDDEN, "layer": 5},
        "secret": None,
    }
