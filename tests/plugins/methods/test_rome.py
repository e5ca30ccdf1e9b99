"""ROME against a plain one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from cache_files import kept_in
from plain_rome import (
    ALL,
    EDITS,
    LAYER,
    PREFIXES,
    SETTINGS,
    added,
    error,
    naive_factors,
    naive_moment,
    naive_values,
    rome,
    settings,
    tokens,
)

import xkeb
from xkeb.errors import RequestError
from xkeb.estimation.estimator import Estimator
from xkeb.models.backbone import Backbone
from xkeb.models.loader import find_skeleton, make_loader
from xkeb.registry.manager import get_plugins
from xkeb.types import Case
from xkeb.utils.paths import cache_root
from xkeb_plugins.methods.locate.covariance import key_covariance, questions
from xkeb_plugins.methods.locate.optimize_value import group_edits, optimize_values
from xkeb_plugins.methods.rome import Rome

pytestmark = pytest.mark.usefixtures("fresh_cache")


def test_values_are_the_same_however_little_a_batch_may_keep(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    together = optimize_values(tiny, EDITS, LAYER, PREFIXES, SETTINGS["paper"])
    monkeypatch.setattr(tiny, "activation_budget", 1)
    assert all(len(group) == 1 for group in group_edits(tiny, EDITS, LAYER, len(PREFIXES) + 1))
    for one, among_others in zip(
        optimize_values(tiny, EDITS, LAYER, PREFIXES, SETTINGS["paper"]), together, strict=True
    ):
        assert error(one.new_value - one.old_value, among_others.new_value - among_others.old_value) < 1e-3


@pytest.mark.parametrize("setting", ALL)
def test_key_and_value_are_those_of_a_plain_rome(tiny: Backbone, setting: str) -> None:
    found = optimize_values(tiny, EDITS, LAYER, PREFIXES, settings(tiny, setting))
    expected = naive_values(tiny, setting)
    for mine, theirs in zip(found, expected, strict=True):
        assert len(mine.losses) == len(theirs.losses)
        assert mine.losses == pytest.approx(theirs.losses, rel=1e-3)
        for name in ("key", "bare_key", "mean_value", "old_value", "new_value"):
            assert error(getattr(mine, name), getattr(theirs, name)) < 1e-3, name
        assert error(mine.new_value - mine.old_value, theirs.new_value - theirs.old_value) < 1e-3
    steps = [len(fact.losses) for fact in found]
    ratios = [float((fact.new_value - fact.old_value).norm() / fact.old_value.norm()) for fact in found]
    if setting == "paper":
        assert steps == [25, 25, 25]
        assert all(fact.losses[-1] < fact.losses[0] for fact in found)
    elif setting == "tight":
        assert steps == [6, 6, 6]
        assert ratios == pytest.approx([0.75] * 3, rel=1e-4)  # projected back
    elif setting == "decaying":
        assert max(ratios) < 1
    else:
        assert min(steps) == 4 and max(steps) > 4
        assert all((fact.losses[-1] < settings(tiny, "early").stop_loss) == (len(fact.losses) < 25) for fact in found)


@pytest.mark.parametrize("moments", [False, True], ids=["identity", "second-moments"])
def test_factors_are_those_of_a_plain_rome(tiny: Backbone, training: list[Case], moments: bool) -> None:
    editor = rome(mom2_adjustment=moments)
    moment = None
    if moments:
        editor.fit(tiny, training)
        moment = naive_moment(tiny, LAYER, questions(training))
    changes = editor.edit(tiny, EDITS)
    for change, fact in zip(changes, naive_values(tiny, "paper"), strict=True):
        ((path, (left, right)),) = change.factors.items()
        assert path == tiny.layout.down(LAYER)
        their_left, their_right = naive_factors(fact, moment)
        assert error(left @ right, their_left @ their_right) < 1e-3
        assert error(left, their_left) < 1e-3
        assert error(right, their_right) < 1e-3


def test_second_moments_are_those_of_every_token_and_of_no_padding(tiny: Backbone, training: list[Case]) -> None:
    texts = [*questions(training), "A", "今天天气很好。" * 20]
    moments = key_covariance(tiny, [0, 2], texts)
    assert set(moments) == {0, 2}
    for layer, moment in moments.items():
        assert moment.dtype == torch.float64
        assert error(moment, naive_moment(tiny, layer, texts)) < 1e-5


def test_second_moments_are_kept_for_their_own_weights_and_corpus(
    llama: Backbone, training: list[Case], tiny_folders: dict[str, Path]
) -> None:
    texts = questions(training)[:20]
    first = key_covariance(llama, [1], texts)[1]
    folder = cache_root() / "second-moments"
    (kept,) = folder.glob("*.safetensors")
    written = kept.stat().st_mtime_ns
    assert torch.equal(key_covariance(llama, [1], texts)[1], first)
    assert kept.stat().st_mtime_ns == written and len(kept_in(folder)) == 1
    key_covariance(llama, [1], texts[:10])
    key_covariance(xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu"), [1], texts)
    key_covariance(llama, [2], texts)
    assert len(kept_in(folder)) == 4


def test_a_batch_of_edits_is_each_of_them_alone(tiny: Backbone, training: list[Case]) -> None:
    for setting in ("paper", "early"):
        editor = rome(settings(tiny, setting), mom2_adjustment=True)
        editor.fit(tiny, training)
        batch = editor.edit(tiny, EDITS)
        for edit, change in zip(EDITS, batch, strict=True):
            (alone,) = editor.edit(tiny, [edit])
            ((name, delta),) = change.deltas().items()
            assert error(delta, alone.deltas()[name]) < 1e-3


@pytest.mark.parametrize("moments", [False, True], ids=["identity", "second-moments"])
def test_after_the_edit_the_bare_key_gives_the_new_value(tiny: Backbone, training: list[Case], moments: bool) -> None:
    editor = rome(mom2_adjustment=moments)
    if moments:
        editor.fit(tiny, training)
    module = tiny.module(tiny.layout.down(LAYER))
    for edit, change, fact in zip(EDITS, editor.edit(tiny, EDITS), naive_values(tiny, "paper"), strict=True):
        ids, site, _ = tokens(tiny, edit.prompt, edit.prompt.index(edit.subject) + len(edit.subject), 0, 0)
        nothing = torch.zeros(tiny.layout.hidden_size)
        with torch.no_grad(), change.applied(tiny), added(module, site, nothing) as seen:
            tiny.model(ids)
        key, value = seen[0]
        assert error(key, fact.bare_key) < 1e-5
        assert error(value, fact.new_value) < 1e-3
        # And the wanted value itself is met exactly: what is left is rounding.
        wanted = optimize_values(tiny, [edit], LAYER, PREFIXES, SETTINGS["paper"])[0].new_value
        assert error(value, wanted) < 1e-5


# Options and refusals ---------------------------------------------------------------------------------------------------


def test_the_paper_samples_twenty_prefixes(llama: Backbone) -> None:
    editor = xkeb.load_editor("rome").configure(llama.spec)
    assert isinstance(editor, Rome)
    assert editor.contexts == ((5, 10), (10, 10))
    assert editor.layer == 1  # as deep among 6 as layer 5 among 32
    assert editor.mom2_adjustment is False and not editor.needs_training()


@pytest.mark.parametrize("subject", ["", "France", "japan"])
def test_an_edit_whose_subject_is_not_in_its_prompt_is_refused(llama: Backbone, subject: str) -> None:
    edit = dataclasses.replace(EDITS[0], subject=subject)
    reason = rome().unsupported(llama, edit)
    assert reason and (repr(subject) if subject else "it has no subject") in reason
    assert rome().unsupported(llama, EDITS[0]) is None
    with pytest.raises(RequestError, match=r"does not stand in the prompt|it has no subject"):
        rome().edit(llama, [EDITS[0], edit])


@pytest.mark.parametrize("layer", [-1, 6, 99])
def test_a_layer_that_is_not_there_is_refused(llama: Backbone, layer: int) -> None:
    with pytest.raises(RequestError, match=rf"rome\.layer is {layer}; .* layers 0 to 5"):
        rome(layer=layer).edit(llama, EDITS[:1])


def test_second_moments_without_text_are_refused(llama: Backbone, training: list[Case]) -> None:
    editor = rome(mom2_adjustment=True)
    assert editor.needs_training()
    with pytest.raises(RequestError, match="fit"):
        editor.edit(llama, EDITS[:1])
    with pytest.raises(RequestError, match="singular"):
        rome(mom2_adjustment=True, mom2_samples=2).fit(llama, training)
    with pytest.raises(RequestError, match="neither"):
        rome(mom2_adjustment=True, mom2_corpus="no-such-file.txt").edit(llama, EDITS[:1])


def test_second_moments_can_come_from_a_data_set_or_a_file(llama: Backbone, tmp_path: Path) -> None:
    texts = questions(get_plugins().datasets.get("bizsre_mini").training("en").cases)[:100]
    file = tmp_path / "corpus.txt"
    file.write_text("\n\n".join(texts), encoding="utf-8")
    editor = rome(mom2_adjustment=True, mom2_corpus=str(file))
    assert not editor.needs_training()
    (change,) = editor.edit(llama, EDITS[:1])
    ((left, right),) = change.factors.values()
    their_left, their_right = naive_factors(naive_values(llama, "paper")[0], naive_moment(llama, LAYER, texts))
    assert error(left @ right, their_left @ their_right) < 1e-3
    (other,) = rome(mom2_adjustment=True, mom2_corpus="bizsre_mini").edit(llama, EDITS[:1])
    assert error(other.deltas()[f"{llama.layout.down(LAYER)}.weight"], left @ right) > 1e-3


@pytest.mark.parametrize("moments", [True, False])
def test_a_dry_run_needs_no_text_file(
    tiny_folders: dict[str, Path], training: list[Case], tmp_path: Path, moments: bool
) -> None:
    """It takes the task's questions for the file's texts, whose hash stands in the record."""
    skeleton = find_skeleton(make_loader("hf", path=str(tiny_folders["llama"])))
    assert skeleton is not None
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(questions(training)), encoding="utf-8")
    cases = list(xkeb.load_task("bizsre_mini_en2zh"))[:2]
    for method, options in (("rome", {"layer": LAYER, "mom2_adjustment": moments}), ("memit", {"layers": (0, LAYER)})):
        editor = xkeb.load_editor(method, mom2_corpus=str(file), **options)
        assert Estimator(skeleton, name="llama").cost(editor, cases, training).unknown is None, method
