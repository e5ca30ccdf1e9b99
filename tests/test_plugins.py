"""`xkeb.registry.manager`: registries, and what a plugin may not do."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xkeb.errors import PluginError, PluginWarning, RequestError
from xkeb.registry import hookspecs
from xkeb.registry.manager import BUILTINS, KINDS, PluginManager, get_plugins
from xkeb.registry.registry import Registry
from xkeb_plugins.metrics.overlap import f1

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}


Install = Callable[..., PluginManager]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """The registries as they are once more packages are installed: modules on the path, with the files that pip writes
    beside them. Each package is given as (name, version, source of its one module)."""
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def build(*packages: tuple[str, str, str]) -> PluginManager:
        for name, version, source in packages:
            module = name.replace("-", "_")
            made.append(module)
            (tmp_path / f"{module}.py").write_text("import xkeb\n" + source, encoding="utf-8")
            about = tmp_path / f"{module}-{version}.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (about / "entry_points.txt").write_text(f"[xkeb]\nmine = {module}\n")
        importlib.invalidate_caches()
        return PluginManager()

    yield build
    for module in made:
        sys.modules.pop(module, None)


def metric(name: str, thing: str = "max") -> str:
    return f'@xkeb.hookimpl\ndef register_metrics(register):\n    register("{name}", {thing})\n'


def command(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``xkeb ARGUMENTS`` with the packages that were installed there."""
    return subprocess.run(
        [sys.executable, "-m", "xkeb.cli", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_plugin_s_names_stand_beside_the_built_in_ones(install: Install) -> None:
    made = install(("my-plugin", "1.0", metric("mine")))
    assert made.metrics.get("mine") is max
    assert made.metrics.entries["mine"].plugin == "mine"
    assert "f1" in made.metrics
    assert made.names() == sorted([*BUILTINS, "mine"])
    assert made.problems == []


def test_a_name_that_the_suite_has_itself_stays_its_own(install: Install) -> None:
    made = install(("my-plugin", "1.0", metric("f1") + metric("mine").replace("metrics", "datasets")))
    assert made.problems == [
        "Plugin 'mine' of package my-plugin 1.0 registers the metric 'f1', which xkeb has itself; its own is used."
    ]
    assert made.metrics.get("f1") is f1
    assert made.datasets.get("mine") is max


def test_a_name_that_two_packages_claim_is_neither_s(install: Install) -> None:
    made = install(("first", "1.0", metric("shared")), ("second", "2.0", metric("shared")))
    sentence = (
        "Two plugins register the metric 'shared': 'first:mine' of package first 1.0 and 'second:mine' of package "
        "second 2.0. Neither is used; uninstall one of them."
    )
    assert made.problems == [sentence]
    assert "shared" not in made.metrics
    with pytest.raises(PluginError) as caught:
        made.metrics.get("shared")
    assert str(caught.value) == sentence
    assert set(made.names()) == {*BUILTINS, "first:mine", "second:mine"}
    made = install(("third", "3.0", metric("shared")))
    third = "Plugin 'third:mine' of package third 3.0 registers"
    assert made.problems == [sentence, f"{third} the metric 'shared', too. It is not used."]
    with pytest.raises(PluginError) as caught:
        made.metrics.get("shared")
    assert str(caught.value) == f"{sentence} {third} it, too."


BROKEN = {
    "def register_metrics(register):\n    pass\n": (
        "has 'register_metrics' without @xkeb.hookimpl, so it would never be called."
    ),
    "def register_metrix(register):\n    pass\n": "has 'register_metrix', which is no hook; did you mean 'register_metrics'?",
    "@xkeb.hookimpl\ndef register_metrix(register):\n    pass\n": (
        "has the hook 'register_metrix', which this version of xkeb does not know: the name is misspelt, or the plugin "
        "was written for a newer version; did you mean 'register_metrics'?"
    ),
    "@xkeb.hookimpl\ndef on_result(result):\n    pass\n": (
        "has the hook 'on_result', which this version of xkeb does not know: the name is misspelt, or the plugin was "
        "written for a newer version; the hooks are register_backbones, register_datasets, register_editors, "
        "register_language_pairs, register_languages, register_metrics, register_tasks."
    ),
    "@xkeb.hookimpl\ndef register_metrics(register, colour):\n    pass\n": (
        "wants colour in its hook 'register_metrics', which this version of xkeb does not give: it may have been "
        "written for a newer version; the only argument is 'register'."
    ),
    "import no_such_module\n": "can't be imported: ModuleNotFoundError: No module named 'no_such_module'.",
    "raise SystemExit(3)\n": "can't be imported: SystemExit: 3.",
    "def f(:\n": "can't be imported: SyntaxError: invalid syntax (broken_one.py, line 2).",
    metric("x").replace('"x", max', 'max, "x"'): (
        "registers <built-in function max> for a name; `register(name, thing)` was expected."
    ),
    metric("x", "1 / 0"): "can't register what it brings: ZeroDivisionError: division by zero.",
}
"""A module, and what is said of it."""


@pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
def test_a_plugin_that_breaks_the_rules_is_left_out_whole_and_the_rest_goes_on(install: Install, source: str) -> None:
    early = metric("half").replace("metrics", "editors")  # registered before the one that fails
    whole = source if "def f(:" in source or not source.startswith(("@", "def")) else early + source
    made = install(("broken-one", "0.9", whole), ("sound", "1.0", metric("sound")))
    (problem,) = made.problems
    name = "'broken-one:mine' of package broken-one 0.9"
    assert problem == f"Plugin {name} {BROKEN[source]} It is left out."
    assert "half" not in made.methods
    assert made.metrics.get("sound") is max
    assert made.names() == sorted([*BUILTINS, "sound:mine"])


def test_a_plugin_that_can_do_without_a_newer_hook_says_so(install: Install) -> None:
    newer = "@xkeb.hookimpl(optionalhook=True)\ndef register_probes(register):\n    pass\n"
    made = install(("my-plugin", "1.0", newer + metric("mine")))
    assert made.problems == []
    assert "mine" in made.metrics


def test_a_misspelt_hook_of_a_plugin_that_is_no_module_is_told(install: Install, tmp_path: Path) -> None:
    """An entry point may name an object."""
    install(
        (
            "my-plugin",
            "1.0",
            "class Mine:\n    @xkeb.hookimpl\n    def register_metrix(self, register): ...\nit = Mine()\n",
        )
    )
    (tmp_path / "my_plugin-1.0.dist-info" / "entry_points.txt").write_text("[xkeb]\nmine = my_plugin:it\n")
    (problem,) = PluginManager().problems
    assert "'mine' of package my-plugin 1.0 has the hook 'register_metrix'" in problem


def test_what_is_left_out_is_a_warning_in_python(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install(("broken", "0.9", "import no_such_module\n"))
    with pytest.warns(
        PluginWarning, match="^Plugin 'mine' of package broken 0.9 can't be imported: .* It is left out.$"
    ):
        get_plugins.__wrapped__()


def test_what_is_left_out_is_one_line_on_the_command_line(install: Install, tmp_path: Path) -> None:
    """And the command does what it would do without: a folder of tasks that are wrong, and a place that holds nothing, hide
    no others."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.yaml").write_text("task: a\nversion: 1\ndataset: bizsre_mini\npair: en-zh\n")
    (tmp_path / "tasks" / "b.yaml").write_text("task: bizsre_mini\nversion: 1\ndataset: bizsre_mini\npair: en-zh\n")
    folder = f"pathlib.Path({str(tmp_path / 'tasks')!r})"
    tasks = "import pathlib\n" + metric("own", folder).replace("metrics", "tasks")
    install(
        ("broken", "0.9", "import no_such_module\n"),
        ("tasks-of-mine", "1.0", tasks),
        ("vague", "1.0", metric("lost", "'nowhere:Thing'").replace("metrics", "languages")),
    )
    done = command(tmp_path, "ls", "--json")
    assert done.returncode == 0
    broken, wrong = done.stderr.splitlines()
    assert broken == (
        "xkeb: Plugin 'broken:mine' of package broken 0.9 can't be imported: ModuleNotFoundError: No module named "
        "'no_such_module'. It is left out."
    )
    assert wrong.startswith(
        "xkeb: Plugin 'tasks-of-mine:mine' of package tasks-of-mine 1.0 registers the task folder 'own': "
    )
    assert wrong.endswith(" both define 'bizsre_mini'. It is left out.")
    listed = json.loads(done.stdout)
    assert "f1" in {row["name"] for row in listed["metrics"]}
    names = {row["name"] for row in listed["tasks"]}
    assert "bizsre_mini" in names and "a" not in names
    (lost,) = (row for row in listed["languages"] if row["name"] == "lost")
    assert "can't be read: " in lost["description"] and "'nowhere:Thing'" in lost["description"]


def test_a_broken_data_set_and_a_broken_task_folder_are_told_and_hide_no_others(
    install: Install, tmp_path: Path
) -> None:
    folder = f"pathlib.Path({str(tmp_path / 'tasks')!r})"
    install(
        ("tasks-of-mine", "1.0", "import pathlib\n" + metric("own", folder).replace("metrics", "tasks")),
        ("vague", "1.0", metric("lost", "'nowhere_mod:D'").replace("metrics", "datasets")),
    )
    lost = (
        "Plugin 'vague:mine' of package vague 1.0 registered 'nowhere_mod:D', which can't be imported: "
        "ModuleNotFoundError: No module named 'nowhere_mod'"
    )
    listed = command(tmp_path, "data", "ls", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["lost"]["problem"] == f"can't be read: PluginError: {lost}"
    assert rows["bizsre_mini"]["files"] and rows["bizsre_mini"]["problem"] == ""
    doctor = command(tmp_path, "doctor")
    assert doctor.returncode == 1, doctor.stderr
    assert {line for line in doctor.stdout.splitlines() if line.startswith("WRONG")} == {
        f"WRONG  plugins: {lost}.",
        "WRONG  tasks: Plugin 'tasks-of-mine:mine' of package tasks-of-mine 1.0 registers the task folder 'own': There is no "
        f"task folder {tmp_path / 'tasks'}. It is left out.",
    }
    assert "ok     bizsre_mini: " in doctor.stdout  # data sets after it, and tasks, are looked at
    assert "ok     tasks: " in doctor.stdout


def test_a_built_in_that_breaks_the_rules_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own")
    exec(metric("f1").replace("@xkeb", "import xkeb\n@xkeb"), vars(module))
    monkeypatch.setitem(sys.modules, "own", module)
    monkeypatch.setattr("xkeb.registry.manager.BUILTINS", (*BUILTINS, "own"))
    with pytest.raises(PluginError, match=r"^Two plugins register the metric 'f1': 'xkeb\.metrics' and 'own'"):
        PluginManager()


def test_a_catalogue_iterates_sorted_whatever_the_order_of_registration() -> None:
    registry = Registry("metric")
    for name in ("b", "c", "a"):
        registry.register("p", name, name.upper)
    assert list(registry) == ["a", "b", "c"]
    assert len(registry) == 3


def test_every_built_in_catalogue_is_sorted_and_full() -> None:
    for attribute in KINDS:
        names = list(getattr(get_plugins(), attribute))
        assert names == sorted(names) != []


def test_a_thing_registered_by_its_place_is_imported_when_it_is_asked_for() -> None:
    """Listing must not import torch, which every method's module does."""
    script = (
        "import sys; from xkeb.registry.manager import plugins; names = list(plugins().methods); "
        "assert names and 'torch' not in sys.modules; plugins().methods.get(names[0]); assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("place", ["no_such_module:Thing", "xkeb.types:no_such_thing"])
def test_a_place_that_holds_nothing_names_the_plugin_and_the_place(place: str) -> None:
    registry = Registry("method")
    registry.register("mine", "lost", place)
    with pytest.raises(PluginError, match=f"Plugin 'mine' registered '{place}', which can't be imported"):
        registry.get("lost")


@pytest.mark.parametrize("attribute", KINDS)
def test_an_unknown_name_says_what_it_is_and_the_nearest(attribute: str) -> None:
    registry: Registry = getattr(get_plugins(), attribute)
    known = next(iter(registry))
    with pytest.raises(RequestError, match=f"^Unknown {registry.kind} '{known}x': did you mean ") as caught:
        registry.get(f"{known}x")
    nearest = str(caught.value).split("did you mean ")[1].strip("'?")
    assert nearest in registry


def test_a_name_near_to_none_lists_them_all() -> None:
    registry = get_plugins().languages
    with pytest.raises(RequestError, match=f"Unknown language 'qqqqqq': known: {', '.join(sorted(registry))}"):
        registry.get("qqqqqq")
    with pytest.raises(RequestError, match="there are none"):
        Registry("metric").get("f1")


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
    users = {implementation.plugin_name for implementation in getattr(get_plugins().manager.hook, hook).get_hookimpls()}
    assert users & set(BUILTINS)


def test_every_registered_name_loads() -> None:
    for attribute in KINDS:
        registry: Registry = getattr(get_plugins(), attribute)
        for name in registry:
            assert registry.get(name) is not None
