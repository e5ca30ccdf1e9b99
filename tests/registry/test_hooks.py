"""Hooks are called by pluggy: what it lets an implementation do, a plugin may do."""

from __future__ import annotations

import sys

import pytest
from installed_packages import MAX, Install, metric

pytest_plugins = ("installed_packages",)


def test_a_hook_may_do_without_its_argument(install: Install) -> None:
    bare = "called = []\n@xkeb.hookimpl\ndef register_metrics():\n    called.append(True)\n"
    made = install(("bare", "1.0", bare + metric("mine", "dict").replace("metrics", "editors")))
    assert made.problems == []
    assert sys.modules["bare"].called == [True]
    assert made.methods.get("mine") is dict


WRAPPERS = {
    "wrapper": "    result = yield\n    seen.append('after')\n    return result\n",
    "hookwrapper": "    yield\n    seen.append('after')\n",
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_plugin_may_wrap_the_hooks_of_those_after_it(install: Install, kind: str) -> None:
    source = (
        f"seen = []\n@xkeb.hookimpl({kind}=True)\ndef register_metrics(register):\n    seen.append('before')\n"
        f"{WRAPPERS[kind]}"
    )
    made = install(("a-wrapper", "1.0", source), ("later", "1.0", metric("mine")))
    assert made.problems == []
    assert made.metrics.get("mine") is MAX
    assert made.metrics.entries["mine"].plugin == "later:mine"
    assert sys.modules["a_wrapper"].seen == ["before", "after"] * 2  # around its own call, and around the later one's


def test_each_hook_is_called_once_for_each_plugin(install: Install) -> None:
    counting = "calls = []\n" + metric("{}").replace("    register", "    calls.append(True)\n    register")
    made = install(("first", "1.0", counting.format("a")), ("second", "1.0", counting.format("b")))
    assert made.problems == []
    assert {"a", "b"} <= set(made.metrics)
    assert sys.modules["first"].calls == sys.modules["second"].calls == [True]


def test_executors_and_observers_are_registered_like_the_rest(install: Install) -> None:
    made = install(
        (
            "mine",
            "1.0",
            metric("here").replace("metrics", "executors") + metric("eye", "dict").replace("metrics", "observers"),
        )
    )
    assert made.problems == []
    assert made.executors.get("here") is max and made.observers.get("eye") is dict
    assert {"local", "here"} <= set(made.executors) and {"event-log", "wandb", "eye"} <= set(made.observers)
