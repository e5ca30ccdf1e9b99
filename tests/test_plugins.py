"""`xkeb.plugins`: catalogues, and what a plugin may not do."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
import pytest

import xkeb
from xkeb import hookspecs
from xkeb.errors import PluginError, RequestError
from xkeb.plugins import BUILTINS, KINDS, Catalogue, Plugins, plugins

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Plugins]]:
    """The catalogues as they would be with one more plugin module, whose functions are given."""

    def build(**functions: Any) -> Plugins:
        module = types.ModuleType("my_plugin")
        for name, function in functions.items():
            function.__module__ = module.__name__
            setattr(module, name, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(
            pluggy.PluginManager,
            "load_setuptools_entrypoints",
            lambda self, group: self.register(module, "mine") and 1,
        )
        return Plugins()

    yield build


def test_a_plugin_s_names_stand_beside_the_built_in_ones(install: Callable[..., Plugins]) -> None:
    @xkeb.hookimpl
    def register_metrics(register: Callable[[str, Any], None]) -> None:
        register("mine", max)

    made = install(register_metrics=register_metrics)
    assert made.metrics.get("mine") is max
    assert made.metrics.entries["mine"].plugin == "mine"
    assert "f1" in made.metrics
    assert made.names() == sorted([*BUILTINS, "mine"])


def test_a_name_registered_twice_names_both_plugins(install: Callable[..., Plugins]) -> None:
    @xkeb.hookimpl
    def register_metrics(register: Callable[[str, Any], None]) -> None:
        register("f1", max)

    with pytest.raises(PluginError, match="Two plugins register the metric 'f1'") as caught:
        install(register_metrics=register_metrics)
    assert "'mine'" in str(caught.value)
    assert "'xkeb.metrics'" in str(caught.value)


def test_a_misspelt_hook_with_the_marker_is_an_error(install: Callable[..., Plugins]) -> None:
    @xkeb.hookimpl
    def register_metrix(register: Callable[[str, Any], None]) -> None:
        """Never called."""

    with pytest.raises(PluginError, match="register_metrix"):
        install(register_metrix=register_metrix)


def test_a_misspelt_hook_of_a_plugin_that_is_no_module_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point may name an object."""

    class Mine:
        @xkeb.hookimpl
        def register_metrix(self, register: Callable[[str, Any], None]) -> None:
            """Never called."""

    def load(manager: pluggy.PluginManager, group: str) -> int:
        return int(manager.register(Mine(), "mine") is not None)

    monkeypatch.setattr(pluggy.PluginManager, "load_setuptools_entrypoints", load)
    with pytest.raises(PluginError, match="register_metrix"):
        Plugins()


def test_a_misspelt_hook_without_the_marker_is_an_error_that_lists_the_hooks(install: Callable[..., Plugins]) -> None:
    def register_metrix(register: Callable[[str, Any], None]) -> None:
        """Never called."""

    with pytest.raises(PluginError, match="'mine' has 'register_metrix', which is no hook") as caught:
        install(register_metrix=register_metrix)
    assert all(hook in str(caught.value) for hook in HOOKS)


def test_a_hook_without_the_marker_is_an_error(install: Callable[..., Plugins]) -> None:
    def register_metrics(register: Callable[[str, Any], None]) -> None:
        """Never called."""

    with pytest.raises(PluginError, match=r"'mine' has 'register_metrics' without @xkeb\.hookimpl"):
        install(register_metrics=register_metrics)


def test_a_catalogue_iterates_sorted_whatever_the_order_of_registration() -> None:
    catalogue = Catalogue("metric")
    for name in ("b", "c", "a"):
        catalogue.register("p", name, name.upper)
    assert list(catalogue) == ["a", "b", "c"]
    assert len(catalogue) == 3


def test_every_built_in_catalogue_is_sorted_and_full() -> None:
    for attribute in KINDS:
        names = list(getattr(plugins(), attribute))
        assert names == sorted(names) != []


def test_a_thing_registered_by_its_place_is_imported_when_it_is_asked_for() -> None:
    """Listing must not import torch, which every method's module does."""
    script = (
        "import sys; from xkeb.plugins import plugins; names = list(plugins().methods); "
        "assert names and 'torch' not in sys.modules; plugins().methods.get(names[0]); assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("place", ["no_such_module:Thing", "xkeb.metrics:no_such_thing"])
def test_a_place_that_holds_nothing_names_the_plugin_and_the_place(place: str) -> None:
    catalogue = Catalogue("method")
    catalogue.register("mine", "lost", place)
    with pytest.raises(PluginError, match=f"Plugin 'mine' registered '{place}', which can't be imported"):
        catalogue.get("lost")


@pytest.mark.parametrize("attribute", KINDS)
def test_an_unknown_name_says_what_it_is_and_the_nearest(attribute: str) -> None:
    catalogue: Catalogue = getattr(plugins(), attribute)
    known = next(iter(catalogue))
    with pytest.raises(RequestError, match=f"^Unknown {catalogue.kind} '{known}x': did you mean ") as caught:
        catalogue.get(f"{known}x")
    nearest = str(caught.value).split("did you mean ")[1].strip("'?")
    assert nearest in catalogue


def test_a_name_near_to_none_lists_them_all() -> None:
    catalogue = plugins().languages
    with pytest.raises(RequestError, match="Unknown language 'qqqqqq': known: en, zh"):
        catalogue.get("qqqqqq")
    with pytest.raises(RequestError, match="there are none"):
        Catalogue("metric").get("f1")


def test_the_hooks_are_those_of_the_contract() -> None:
    assert set(HOOKS) == {hook for _, hook in KINDS.values()}
    assert set(HOOKS) == {
        "register_editors",
        "register_backbones",
        "register_languages",
        "register_language_pairs",
        "register_metrics",
        "register_datasets",
        "register_tasks",
    }


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_typed_and_used_by_a_built_in(hook: str) -> None:
    assert inspect.getdoc(HOOKS[hook])
    parameters = inspect.signature(HOOKS[hook]).parameters
    assert list(parameters) == ["register"]
    assert parameters["register"].annotation is not inspect.Parameter.empty
    users = {implementation.plugin_name for implementation in getattr(plugins().manager.hook, hook).get_hookimpls()}
    assert users & set(BUILTINS)


def test_every_registered_name_loads() -> None:
    for attribute in KINDS:
        catalogue: Catalogue = getattr(plugins(), attribute)
        for name in catalogue:
            assert catalogue.get(name) is not None
