"""`xkeb.registry.manager`: registries, and what a plugin may not do."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from installed_packages import MAX, Install, command, metric

from xkeb.errors import PluginError, PluginWarning
from xkeb.registry.manager import BUILTINS, PluginManager, get_plugins
from xkeb_plugins.metrics.overlap import f1

pytest_plugins = ("installed_packages",)


def test_a_plugin_s_names_stand_beside_the_built_in_ones(install: Install) -> None:
    made = install(("my-plugin", "1.0", metric("mine")))
    assert made.metrics.get("mine") is MAX
    assert made.metrics.entries["mine"].plugin == "mine"
    assert "f1" in made.metrics
    assert made.names() == sorted([*BUILTINS, "mine"])
    assert made.problems == []


def test_a_name_that_the_suite_has_itself_stays_its_own(install: Install) -> None:
    made = install(("my-plugin", "1.0", metric("f1") + metric("mine", "dict").replace("metrics", "editors")))
    assert made.problems == [
        "Plugin 'mine' of package my-plugin 1.0 registers the metric 'f1', which xkeb has itself; its own is used."
    ]
    assert made.metrics.get("f1") is f1
    assert made.methods.get("mine") is dict


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
        "register_executors, register_language_pairs, register_languages, register_metrics, register_observers, "
        "register_tasks."
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
    metric("../../x"): (
        "registers '../../x' for a name; expected a name of at most 200 characters, all printable, without / or \\."
    ),
    metric("x", "3"): "registers the metric 'x' of type int; a function was expected.",
    metric("x").replace("metrics", "editors"): (
        "registers the method 'x' of type builtin_function_or_method; a class was expected."
    ),
    "@xkeb.hookimpl\ndef register_metrics():\n    return {'x': max}\n": (
        "returns something from its hook 'register_metrics', which is not read: `register(name, thing)` was expected."
    ),
    metric("x", "1 / 0"): "can't register what it brings: ZeroDivisionError: division by zero.",
}
"""A module, and what is said of it."""


@pytest.mark.parametrize("source", BROKEN, ids=range(len(BROKEN)))
def test_a_plugin_that_breaks_the_rules_is_left_out_whole_and_the_rest_goes_on(install: Install, source: str) -> None:
    early = metric("half", "dict").replace("metrics", "editors")  # registered before the one that fails
    whole = source if "def f(:" in source or not source.startswith(("@", "def")) else early + source
    made = install(("broken-one", "0.9", whole), ("sound", "1.0", metric("sound")))
    (problem,) = made.problems
    name = "'broken-one:mine' of package broken-one 0.9"
    assert problem == f"Plugin {name} {BROKEN[source]} It is left out."
    assert "half" not in made.methods
    assert made.metrics.get("sound") is MAX
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
    with pytest.raises(PluginError, match=r"^Two plugins register the metric 'f1': 'xkeb_plugins\.metrics' and 'own'"):
        PluginManager()
