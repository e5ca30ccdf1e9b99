"""`xkeb.registry.registry`: names of one kind, and those that come with the suite."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import xkeb
from xkeb.errors import LISTED, PluginError, RequestError, unknown
from xkeb.registry import hookspecs
from xkeb.registry.manager import BUILTINS, get_plugins
from xkeb.registry.registry import CLASS, FUNCTION, Expected, Registry
from xkeb.types import Language

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}


def test_a_registry_iterates_sorted_whatever_the_order_of_registration() -> None:
    registry: Registry[Any] = Registry("metric", "register_metrics", FUNCTION)
    for name in ("b", "c", "a"):
        registry.register("p", name, name.upper)
    assert list(registry) == ["a", "b", "c"]
    assert len(registry) == 3


def test_every_built_in_registry_is_sorted_and_full() -> None:
    for registry in get_plugins().registries:
        names = list(registry)
        assert names == sorted(names) != []


def test_a_thing_registered_by_its_place_is_imported_when_it_is_asked_for() -> None:
    """Listing must not import torch, which every method's module does."""
    script = (
        "import sys; from xkeb.registry.manager import get_plugins; names = list(get_plugins().methods); "
        "assert names and 'torch' not in sys.modules; get_plugins().methods.get(names[0]); assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_nothing_is_imported_before_it_is_got(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_lazy_module.py").write_text("def thing(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[Any] = Registry("metric", "register_metrics", FUNCTION)
    registry.register("mine", "lazy", "a_lazy_module:thing")
    assert list(registry) == ["lazy"] and "lazy" in registry and len(registry) == 1
    assert registry.entry("lazy").thing == "a_lazy_module:thing"
    assert "a_lazy_module" not in sys.modules
    assert registry.get("lazy") is sys.modules.pop("a_lazy_module").thing


@pytest.mark.parametrize("thing", [len, "builtins:len"], ids=["itself", "its place"])
def test_a_thing_of_another_class_than_expected_is_refused_when_it_is_got(thing: Any) -> None:
    registry: Registry[Language] = Registry("language", "register_languages", Expected.instance_of(Language))
    registry.register("mine", "xx", thing)
    with pytest.raises(PluginError) as caught:
        registry.get("xx")
    assert str(caught.value) == (
        "Plugin 'mine' registers the language 'xx' of type builtin_function_or_method; a xkeb.types.Language was expected."
    )
    registry.register("mine", "xy", Language("xy", "Mine", str.split))
    assert registry.get("xy").name == "Mine"


@pytest.mark.parametrize("place", ["no_such_module:Thing", "xkeb.types:no_such_thing"])
def test_a_place_that_holds_nothing_names_the_plugin_and_the_place(place: str) -> None:
    registry: Registry[Any] = Registry("method", "register_editors", CLASS)
    registry.register("mine", "lost", place)
    with pytest.raises(PluginError, match=f"Plugin 'mine' registered '{place}', which can't be imported"):
        registry.get("lost")


@pytest.mark.parametrize("registry", get_plugins().registries, ids=lambda registry: registry.kind)
def test_an_unknown_name_says_what_it_is_and_the_nearest(registry: Registry[Any]) -> None:
    known = next(iter(registry))
    with pytest.raises(RequestError, match=f"^Unknown {registry.kind} '{known}x': did you mean ") as caught:
        registry.get(f"{known}x")
    nearest = str(caught.value).split("did you mean ")[1].strip("'?")
    assert nearest in registry


@pytest.mark.parametrize(("name", "code"), [("German", "de"), ("chinese", "zh")])
def test_a_language_called_by_its_name_is_told_by_its_code(name: str, code: str) -> None:
    with pytest.raises(RequestError, match=rf"^Unknown language '{name}': did you mean '{code}'\?$"):
        get_plugins().languages.get(name)


def test_a_name_near_to_none_lists_them_all() -> None:
    registry = get_plugins().languages
    with pytest.raises(RequestError, match=f"Unknown language 'qqqqqq': known: {', '.join(sorted(registry))}"):
        registry.get("qqqqqq")
    with pytest.raises(RequestError, match="there are none"):
        Registry("metric", "register_metrics", FUNCTION).get("f1")


def test_of_very_many_names_a_few_are_named() -> None:
    names = [f"name{number:03}" for number in range(LISTED + 1)]
    told = str(unknown("task", "qqqqqq", names, "xkeb ls tasks"))
    assert told.startswith(f"Unknown task 'qqqqqq': known are {LISTED + 1}, such as name000, name001, ")
    assert told.endswith(", name004; see `xkeb ls tasks`.")
    assert "name030" in str(unknown("task", "qqqqqq", names[:-1]))
    with pytest.raises(RequestError) as caught:
        xkeb.load_task("qqqqqq")
    assert len(str(caught.value)) < 200


def test_the_hooks_are_those_of_the_contract() -> None:
    assert set(HOOKS) == {registry.hook for registry in get_plugins().registries}
    assert set(HOOKS) == {
        "register_editors",
        "register_backbones",
        "register_languages",
        "register_language_pairs",
        "register_metrics",
        "register_datasets",
        "register_tasks",
        "register_executors",
        "register_observers",
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_typed_and_used_by_a_built_in(hook: str) -> None:
    assert inspect.getdoc(HOOKS[hook])
    parameters = inspect.signature(HOOKS[hook]).parameters
    assert list(parameters) == ["register"]
    assert parameters["register"].annotation is not inspect.Parameter.empty
    users = {implementation.plugin_name for implementation in getattr(get_plugins().pluggy.hook, hook).get_hookimpls()}
    assert users & set(BUILTINS)


def test_every_registered_name_loads() -> None:
    for registry in get_plugins().registries:
        for name in registry:
            assert registry.get(name) is not None
