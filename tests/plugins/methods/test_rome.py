"""ROME against a plain one written here: the whole model, one text a pass, one edit at a time, formulae of the paper
(Meng et al., 2022: Equations 2 to 4, Appendix E.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import xkeb
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.registry.manager import get_plugins
from xkeb.types import Case, Edit
from xkeb.utils.paths import cache_root
from xkeb_plugins.methods.locate.context_templates import context_prefixes
from xkeb_plugins.methods.locate.covariance import key_covariance, questions
from xkeb_plugins.methods.locate.optimize_value import KeyValue, ValueOptions, group_edits, optimize_values

pytestmark = pytest.mark.usefixtures("fresh_cache")

LAYER = 1
PREFIXES = ("", "The weather is fine. ", "Therefore, on the whole. ", "今天。")
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)
SETTINGS = {
    "paper": ValueOptions(steps=25, lr=0.5, kl_factor=0.0625, weight_decay=1e-3, clamp=4.0, stop_loss=5e-2),
    # So that the projection is at work, the divergence and the decay weigh, and the last step is the last.
    "tight": ValueOptions(steps=6, lr=0.5, kl_factor=1.0, weight_decay=0.01, clamp=0.75, stop_loss=5e-2),
    "decaying": ValueOptions(steps=6, lr=0.05, kl_factor=0.0, weight_decay=0.5, clamp=4.0, stop_loss=5e-2),
}
ALL = (*SETTINGS, "early")


# A plain ROME --------------------------------------------------------------------------------------------------------


def tokens(backbone: Backbone, text: str, subject_end: int, answer_start: int) -> tuple[torch.Tensor, int, list[int]]:
    """Ids [1, T], index of the token that completes the subject, and those that hold a character of the answer."""
    batch = backbone.tokenizer(text, return_offsets_mapping=True)
    offsets = batch["offset_mapping"]
    site = max(i for i, (start, end) in enumerate(offsets) if start < subject_end <= end)
    answer = [i for i, (start, end) in enumerate(offsets) if end > max(start, answer_start)]
    return torch.tensor([batch["input_ids"]]), site, answer


@contextmanager
def added(module: torch.nn.Module, site: int, delta: torch.Tensor) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Adds `delta` to what leaves a module at one position; yields what entered and left it there, before that."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        seen.append((inputs[0][0, site].detach().clone(), output[0, site].detach().clone()))
        changed = output.clone()
        changed[0, site] = changed[0, site] + delta
        return changed

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def naive_value(backbone: Backbone, edit: Edit, layer: int, prefixes: Sequence[str], options: ValueOptions) -> KeyValue:
    """Key and optimised value."""
    model, module = backbone.model, backbone.module(backbone.layout.down(layer))
    joiner = {"en": " ", "zh": ""}[edit.language]
    texts = []
    for prefix in prefixes:
        end = len(prefix) + edit.prompt.index(edit.subject) + len(edit.subject)
        question = prefix + edit.prompt + joiner
        texts.append(tokens(backbone, question + edit.target, end, len(question)))
    essence, essence_site, _ = tokens(backbone, f"{edit.subject} is a", len(edit.subject), 0)
    nothing = torch.zeros(backbone.layout.hidden_size)
    entered = []
    with torch.no_grad():
        for ids, site, _ in texts:
            with added(module, site, nothing) as seen:
                model(ids)
            entered.append(seen[0])
        before = model(essence).logits[0, essence_site].log_softmax(-1)
    key = torch.stack([k for k, _ in entered]).mean(0)
    bare_key, old = entered[0]

    delta = torch.zeros_like(old, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=options.lr)
    losses: list[float] = []
    for step in range(options.steps):
        optimizer.zero_grad()
        nll = []
        for ids, site, answer in texts:
            with added(module, site, delta):
                log_probs = model(ids).logits[0].log_softmax(-1)
            nll.append(-torch.stack([log_probs[i - 1, ids[0, i]] for i in answer]).mean())
        with added(module, essence_site, delta):
            now = model(essence).logits[0, essence_site].log_softmax(-1)
        # Equation 4: KL(edited model || model), as in the authors' code.
        divergence = (now.exp() * (now - before)).sum()
        decay = delta.norm() / old.norm() ** 2
        loss = torch.stack(nll).mean() + options.kl_factor * divergence + options.weight_decay * decay
        losses.append(float(loss.detach()))
        if losses[-1] < options.stop_loss or step == options.steps - 1:
            break
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            limit = options.clamp * old.norm()
            if delta.norm() > limit:
                delta *= limit / delta.norm()
    return KeyValue(key, bare_key, old, old + delta.detach(), tuple(losses))


def naive_factors(fact: KeyValue, moment: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Equation 2, with u of length 1: left [d_out, 1], right [1, d_in]."""
    key = fact.key.double()
    u = key if moment is None else torch.linalg.inv(moment) @ key
    u = u / u.norm()
    left = (fact.new_value - fact.old_value).double() / (u @ fact.bare_key.double())
    return left[:, None].float(), u[None].float()


@torch.no_grad()
def naive_moment(backbone: Backbone, layer: int, texts: Sequence[str]) -> torch.Tensor:
    """E[k k^T] over every token, BOS among them, one text a pass, in float64."""
    module = backbone.module(backbone.layout.down(layer))
    keys: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: keys.append(inputs[0][0]))
    counted = []
    try:
        for text in texts:
            ids = backbone.tokenizer(text)["input_ids"]
            backbone.model(torch.tensor([ids]))
            counted.append(keys[-1])
    finally:
        handle.remove()
    every = torch.cat(counted).double()
    return every.T @ every / len(every)


def kept_in(folder: Path) -> list[Path]:
    """What is in a folder of the cache, locks aside."""
    return [path for path in folder.iterdir() if path.suffix != ".lock"]


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


_NAIVE: dict[tuple[str, str], list[KeyValue]] = {}


def settings(backbone: Backbone, setting: str) -> ValueOptions:
    """Those of `SETTINGS`, or the paper's with a bound that one edit passes after its third step, and not every one."""
    if setting != "early":
        return SETTINGS[setting]
    losses = min((fact.losses for fact in naive_values(backbone, "paper")), key=min)
    return dataclasses.replace(SETTINGS["paper"], stop_loss=(losses[2] + losses[3]) / 2)


def naive_values(backbone: Backbone, setting: str) -> list[KeyValue]:
    """Made once a backbone and setting; it takes a while."""
    key = (backbone.sha256, setting)
    if key not in _NAIVE:
        options = settings(backbone, setting)
        _NAIVE[key] = [naive_value(backbone, edit, LAYER, PREFIXES, options) for edit in EDITS]
    return _NAIVE[key]


def rome(options: ValueOptions = SETTINGS["paper"], **more: Any) -> Any:
    fields = {"layer": LAYER, "context_templates": PREFIXES[1:], **dataclasses.asdict(options), **more}
    return xkeb.load_editor("rome", **fields)


# Against it ----------------------------------------------------------------------------------------------------------


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
        for name in ("key", "bare_key", "old_value", "new_value"):
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
        ids, site, _ = tokens(tiny, edit.prompt, edit.prompt.index(edit.subject) + len(edit.subject), 0)
        nothing = torch.zeros(tiny.layout.hidden_size)
        with torch.no_grad(), change.applied(tiny), added(module, site, nothing) as seen:
            tiny.model(ids)
        key, value = seen[0]
        assert error(key, fact.bare_key) < 1e-5
        assert error(value, fact.new_value) < 1e-3
        # And the wanted value itself is met exactly: what is left is rounding.
        wanted = optimize_values(tiny, [edit], LAYER, PREFIXES, SETTINGS["paper"])[0].new_value
        assert error(value, wanted) < 1e-5


# Prefixes ------------------------------------------------------------------------------------------------------------


def test_sampled_prefixes_depend_on_the_seed_alone(llama: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = ((3, 5), (6, 2))
    first = context_prefixes(llama, lengths, 0)
    assert len(first) == 8 and first[0] == "" and len(set(first)) > 4
    assert all(text.endswith(". ") for text in first[1:])
    torch.manual_seed(123)
    assert context_prefixes(llama, lengths, 0) == first
    monkeypatch.setenv("XKEB_CACHE", f"{cache_root()}-again")
    assert context_prefixes(llama, lengths, 0) == first  # sampled anew
    assert context_prefixes(llama, lengths, 1) != first


def test_sampling_prefixes_leaves_the_global_generator_alone(llama: Backbone) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    context_prefixes(llama, ((3, 5),), 0)
    assert torch.equal(torch.rand(3), expected)


def test_each_backbone_has_prefixes_of_its_own(tiny_folders: dict[str, Path]) -> None:
    lengths = ((8, 5),)
    backbones = {
        family: xkeb.load_backbone("hf", path=str(tiny_folders[family]), device="cpu") for family in ("llama", "gemma3")
    }
    first = {family: context_prefixes(backbone, lengths, 0) for family, backbone in backbones.items()}
    assert first["llama"] != first["gemma3"]
    folder = cache_root() / "contexts"
    assert len(kept_in(folder)) == 2
    # What the second one is given doesn't depend on who was there first.
    for path in kept_in(folder):
        path.unlink()
    for family in ("gemma3", "llama"):
        assert context_prefixes(backbones[family], lengths, 0) == first[family]
    assert len(kept_in(folder)) == 2


def test_each_dtype_has_prefixes_of_its_own(tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding changes what is sampled. What an edit is must not hang on which of them was there first."""
    lengths = ((8, 10),)
    path = str(tiny_folders["llama"])
    whole, half = (xkeb.load_backbone("hf", path=path, device="cpu", dtype=d) for d in ("float32", "bfloat16"))
    assert whole.sha256 == half.sha256
    first = context_prefixes(whole, lengths, 0)
    monkeypatch.setenv("XKEB_CACHE", f"{cache_root()}-again")
    other = context_prefixes(half, lengths, 0)
    assert other != first
    assert context_prefixes(whole, lengths, 0) == first


def test_prefixes_are_taken_from_the_cache_and_from_no_global(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    """What is in the cache is used, and what isn't there any more is forgotten."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    lengths = ((4, 2),)
    context_prefixes(llama, lengths, 0)
    (path,) = (cache_root() / "contexts").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    ids = torch.tensor(llama.tokenizer("Kept elsewhere")["input_ids"])
    save_file({"000": ids, "001": ids.clone()}, path, metadata)
    assert context_prefixes(llama, lengths, 0) == ("", "Kept elsewhere. ", "Kept elsewhere. ")
    assert context_prefixes(llama, lengths, 1) != context_prefixes(llama, lengths, 0)
    path.unlink()
    assert "Kept elsewhere. " not in context_prefixes(llama, lengths, 0)


def test_sampled_prefixes_have_the_lengths_asked_for(gemma: Backbone) -> None:
    from safetensors.torch import load_file

    context_prefixes(gemma, ((4, 2), (6, 1)), 0)
    (path,) = (cache_root() / "contexts").glob("*.safetensors")
    rows = load_file(path)
    special = set(gemma.tokenizer.all_special_ids)
    # To this tokenizer, as to those of the paper's backbones, each opening is one token.
    assert [len([i for i in rows[name].tolist() if i not in special]) for name in sorted(rows)] == [4, 4, 6]
    assert [gemma.tokenizer.decode(rows[name][1]) for name in sorted(rows)] == ["The", "Therefore", "The"]


def test_the_paper_samples_twenty_prefixes(llama: Backbone) -> None:
    editor = xkeb.load_editor("rome").configure(llama.spec)
    assert editor.contexts == ((5, 10), (10, 10))
    assert editor.layer == 1  # as deep among 6 as layer 5 among 32
    assert editor.mom2_adjustment is False and not editor.needs_training()


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["", "France", "japan"])
def test_an_edit_whose_subject_is_not_in_its_prompt_is_refused(llama: Backbone, subject: str) -> None:
    edit = dataclasses.replace(EDITS[0], subject=subject)
    reason = rome().unsupported(llama, edit)
    assert reason and repr(subject) in reason
    assert rome().unsupported(llama, EDITS[0]) is None
    with pytest.raises(RequestError, match="does not stand in the prompt"):
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
