"""Settings tuned for single models: for the same weights under any name, and for no others."""

from __future__ import annotations

import dataclasses
from importlib import resources
from typing import Any

import pytest

import xkeb
from xkeb.editing.editor import editor_class, options_of
from xkeb.models.loader import find_skeleton, make_loader
from xkeb.models.spec import ModelSpec
from xkeb.registry.manager import get_plugins
from xkeb.utils.yaml_files import load_yaml
from xkeb_plugins.methods import tuned
from xkeb_plugins.methods.tuned import tuned_settings

FILES = {
    file.name.removesuffix(".yaml"): load_yaml(file.read_text(encoding="utf-8"))
    for file in resources.files(tuned).iterdir()
    if file.name.endswith(".yaml")
}
"""By method and family."""
GIVEN: dict[str, dict[str, Any]] = {
    "alphaedit": {"l2": 3.0},
    "emmet": {"layers": (8,)},
    "ft": {"lr": 0.003},
    "ft-m": {"lr": 0.003},
    "grace": {"radius": 3.0},
    "lora": {"lr": 0.003},
    "memit": {"mom2_update_weight": 7.0},
    "mend": {"rank": 3},
    "r-rome": {"mom2_adjustment": False},
    "rome": {"mom2_adjustment": False},
    "serac": {"accumulate": 2},
    "ultraedit": {"lr": 0.003},
    "wise": {"lr": 0.5},
}
"""By method that has a file, an option of it that a user gives."""
EMBEDDED = ("gemma3-270m", "smollm2-135m")
TUNED = [(method, family) for method, families in FILES.items() for family in families]


def spec(name: str, **model_args: Any) -> ModelSpec:
    """Of a model whose weights are not loaded."""
    skeleton = find_skeleton(make_loader(name, **model_args))
    assert skeleton is not None
    return skeleton.spec(name)


@pytest.fixture(scope="module")
def embedded() -> dict[str, ModelSpec]:
    return {name: spec(name) for name in EMBEDDED}


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_same_weights_have_the_same_options_under_another_name(embedded: dict[str, ModelSpec], name: str) -> None:
    folder = make_loader(name)._folder()  # type: ignore[attr-defined]
    mine, theirs = embedded[name], spec("hf", path=str(folder))
    assert (mine.name, theirs.name) == (name, "hf") and mine.family == theirs.family
    for method, families in FILES.items():
        found = options_of(xkeb.load_editor(method).configure(theirs))
        assert found == options_of(xkeb.load_editor(method).configure(mine))
        wanted = tuned_settings(method, theirs)
        assert wanted.keys() == families.get(theirs.family, {}).keys()
        assert {option: found[option] for option in wanted} == wanted


def test_it_is_the_family_that_counts_and_not_the_name(embedded: dict[str, ModelSpec]) -> None:
    gemma = embedded["gemma3-270m"]
    other = dataclasses.replace(gemma, family=gemma.family.replace("18x640", "18x641"))
    for method in FILES:
        assert tuned_settings(method, gemma) and not tuned_settings(method, other)
        assert xkeb.load_editor(method).configure(other) != xkeb.load_editor(method).configure(gemma)


def test_there_are_files_of_registered_methods_for_embedded_models(embedded: dict[str, ModelSpec]) -> None:
    assert set(FILES) == set(GIVEN)
    assert set(FILES) <= set(get_plugins().methods)
    assert {family for _, family in TUNED} <= {each.family for each in embedded.values()}


@pytest.mark.parametrize(("method", "family"), TUNED)
def test_each_tuned_option_is_one_of_the_method_s_that_may_be_left_open(method: str, family: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(editor_class(method)) if field.init}  # type: ignore[arg-type]
    for option, value in FILES[method][family].items():
        assert option in fields, f"{method} has no option {option}"
        assert fields[option].default is None, f"{method}.{option} has a default, which the tuned value never replaces"
        assert value is not None
    xkeb.load_editor(method, **FILES[method][family])  # each of a kind that the option takes


def test_no_model_is_its_own_counterfactual_model(embedded: dict[str, ModelSpec]) -> None:
    chosen = {name: tuned_settings("serac", each)["counterfactual"] for name, each in embedded.items()}
    assert set(chosen.values()) <= set(EMBEDDED)
    assert not [name for name, other in chosen.items() if name == other]


@pytest.mark.parametrize("method", FILES)
def test_what_is_given_goes_before_what_was_tuned(embedded: dict[str, ModelSpec], method: str) -> None:
    gemma = embedded["gemma3-270m"]
    given = GIVEN[method]
    found = options_of(xkeb.load_editor(method, **given).configure(gemma))
    assert {option: found[option] for option in given} == given
    others = {option: value for option, value in tuned_settings(method, gemma).items() if option not in given}
    assert {option: found[option] for option in others} == others


@pytest.mark.parametrize("method", [name for name in get_plugins().methods if not name.startswith("easyeditor-")])
def test_configured_again_it_stays_as_it_is(embedded: dict[str, ModelSpec], method: str) -> None:
    for each in embedded.values():
        plain = xkeb.load_editor(method)
        before = options_of(plain)
        once = plain.configure(each)
        assert options_of(plain) == before  # a copy is configured
        assert options_of(once.configure(each)) == options_of(once)


# Whether training is needed ---------------------------------------------------------------------------------------------


def test_rome_needs_training_where_its_moments_are_tuned_and_nowhere_else(embedded: dict[str, ModelSpec]) -> None:
    gemma = embedded["gemma3-270m"]
    rome = xkeb.load_editor("rome")
    assert rome.configure(gemma).needs_training()
    llama = embedded["smollm2-135m"]
    assert llama.family.startswith("llama-") and not rome.configure(llama).needs_training()
    assert not xkeb.load_editor("rome", mom2_adjustment=False).configure(gemma).needs_training()
    assert xkeb.load_editor("rome", mom2_adjustment=True).configure(llama).needs_training()
    assert not xkeb.load_editor("rome", mom2_corpus="bizsre_mini").configure(gemma).needs_training()
