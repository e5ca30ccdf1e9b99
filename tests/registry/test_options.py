"""`xkeb.registry.options`: names and values of options, as they are typed and as they are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from xkeb.errors import RequestError
from xkeb.registry.options import build_with_options, parse_grid, parse_options


@dataclass(frozen=True)
class Sample:
    layer: int | None = None
    lr: float = 0.5
    name: str = "x"
    on: bool = False
    objective: Literal["last", "all"] = "last"
    pairs: tuple[tuple[int, int], ...] = ()
    _hidden: int = 0
    _state: list[int] = field(default_factory=list, init=False)


class Plain:
    """Not a dataclass."""

    def __init__(self, layer: int = 1, needed: str = "") -> None:
        if layer > 90:
            raise ValueError("layer is too deep")
        self.layer = layer


class Needy:
    def __init__(self, path: str) -> None:
        self.path = path


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (None, {}),
        ("", {}),
        ("a=1", {"a": 1}),
        ("a=1,b=0.5,c=true,d=null,e=word", {"a": 1, "b": 0.5, "c": True, "d": None, "e": "word"}),
        (" a = 1 , b=2,", {"a": 1, "b": 2}),
        ("rome.pairs=[[5, 10],[10, 10]],x=1", {"rome.pairs": [[5, 10], [10, 10]], "x": 1}),
        ('t=["In short. ", "So, "]', {"t": ["In short. ", "So, "]}),
        ("m={a: 1, b: 2},c=3", {"m": {"a": 1, "b": 2}, "c": 3}),
        ("path=/a/b=c", {"path": "/a/b=c"}),
        ("path=C: x: y", {"path": "C: x: y"}),
        ('path="/data/a,b"', {"path": "/data/a,b"}),
        ("path='/data/a,b',x=1", {"path": "/data/a,b", "x": 1}),
        ('kn.answer="x, y"', {"kn.answer": "x, y"}),
        ('kn.answer="x, y",kn.steps=2', {"kn.answer": "x, y", "kn.steps": 2}),
        (r'kn.answer="say \"a, b\"",x=1', {"kn.answer": 'say "a, b"', "x": 1}),
        ("kn.answer=a]b,kn.steps=2", {"kn.answer": "a]b", "kn.steps": 2}),
        ("kn.answer=a[b,kn.steps=2", {"kn.answer": "a[b", "kn.steps": 2}),
        ("kn.answer=l'eau,kn.steps=2", {"kn.answer": "l'eau", "kn.steps": 2}),
        ("a=Ada's,b=Bo's", {"a": "Ada's", "b": "Bo's"}),
        ('t=["a, b", "c]"],x=1', {"t": ["a, b", "c]"], "x": 1}),
        ("x.language=no,y=yes,z=on", {"x.language": "no", "y": "yes", "z": "on"}),
        ("x.since=2024-01-01", {"x.since": "2024-01-01"}),
        ("x.on=true,x.off=False", {"x.on": True, "x.off": False}),
        ("a=", {"a": None}),
    ],
)
def test_pairs_are_read_as_yaml_and_split_outside_brackets(text: str | None, values: dict[str, Any]) -> None:
    assert parse_options(text, "--method-args") == values


@pytest.mark.parametrize("text", ["layer", "=3", " =3", "a=1,b"])
def test_what_is_no_pair_is_refused_by_the_flag_s_name(text: str) -> None:
    with pytest.raises(RequestError, match=r"^--model-args takes key=value pairs separated by commas, not "):
        parse_options(text, "--model-args")


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match=r"--method-args names 'a' twice"):
        parse_options("a=1,a=2", "--method-args")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("layer=8,10,12;lr=0.1,0.5", {"layer": [8, 10, 12], "lr": [0.1, 0.5]}),
        (" layer = 8 , 10 ; ", {"layer": [8, 10]}),
        ("contexts=[[10,5]],[[3,2],[1,1]]", {"contexts": [[[10, 5]], [[3, 2], [1, 1]]]}),
        ('name="a;b","c,d";x=1', {"name": ["a;b", "c,d"], "x": [1]}),
        ("answer=l'eau,d'or;x=1", {"answer": ["l'eau", "d'or"], "x": [1]}),
        ("on=true,false;off=null", {"on": [True, False], "off": [None]}),
    ],
)
def test_a_grid_has_its_values_as_options_have_theirs(text: str, values: dict[str, list[Any]]) -> None:
    assert parse_grid(text, "--grid") == values


def test_a_comma_between_options_of_a_grid_is_told() -> None:
    with pytest.raises(
        RequestError, match=r"^--grid has a semicolon before each further option: layer=\.\.;lr=0\.1\.$"
    ):
        parse_grid("layer=9,lr=0.1", "--grid")


@pytest.mark.parametrize("text", ["", " ; ", "layer", "layer=", "layer= , ", "=3", "a=1;a=2", "a=1;2"])
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"^--grid "):
        parse_grid(text, "--grid")


def test_values_take_the_type_of_their_field() -> None:
    made = build_with_options(
        "method", "sample", Sample, {"layer": 3, "lr": "1e-5", "pairs": [[5, 10]], "objective": "all"}
    )
    assert made == Sample(layer=3, lr=1e-5, pairs=((5, 10),), objective="all")
    assert isinstance(made.pairs[0], tuple)


def test_a_class_that_is_no_dataclass_is_checked_the_same_way() -> None:
    assert build_with_options("model", "plain", Plain, {"layer": "3"}).layer == 3
    with pytest.raises(RequestError, match="Unknown option of model 'plain': 'layr': did you mean 'layer'"):
        build_with_options("model", "plain", Plain, {"layr": 3})


@pytest.mark.parametrize("option", ["layr", "_hidden", "_state", "pears"])
def test_an_option_that_is_not_there_is_named_with_the_nearest(option: str) -> None:
    with pytest.raises(RequestError) as caught:
        build_with_options("method", "sample", Sample, {option: 3})
    message = str(caught.value)
    assert message.startswith(f"Unknown option of method 'sample': {option!r}: ")
    near = {"layr": "did you mean 'layer'?", "pears": "did you mean 'pairs'?"}
    assert near.get(option, "known: ") in message or "did you mean" in message
    assert "_hidden" not in message.replace(repr(option), "")


@pytest.mark.parametrize(
    ("option", "value"),
    [("layer", "deep"), ("layer", 1.5), ("on", "perhaps"), ("objective", "first"), ("pairs", [[1]]), ("name", None)],
)
def test_a_value_of_another_type_is_refused_with_the_option_and_the_value(option: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^Option '{option}' of method 'sample' can't be ") as caught:
        build_with_options("method", "sample", Sample, {option: value})
    assert repr(value) in str(caught.value)


def test_what_the_class_itself_refuses_is_a_request_error() -> None:
    with pytest.raises(RequestError, match="Method 'plain': layer is too deep"):
        build_with_options("method", "plain", Plain, {"layer": 91})


def test_an_option_without_default_that_is_left_out_is_named() -> None:
    with pytest.raises(RequestError, match=r"Model 'needy': .*'path'"):
        build_with_options("model", "needy", Needy, {})


@pytest.mark.parametrize("folder", ["7", "1234567", "1.5"])
def test_a_text_option_takes_a_number(folder: str) -> None:
    """A folder may be called 7, and a revision 1234567: YAML reads both as numbers."""
    assert build_with_options("model", "needy", Needy, parse_options(f"path={folder}", "--model-args")).path == folder
