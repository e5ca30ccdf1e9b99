"""MEMIT against a plain one written here: whole forward passes, one text at a time, weights edited in place, and the normal
equations solved as they stand (Meng et al., 2023: Equations 14 to 20, Algorithm 1)."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import sentencepiece_like
from transformers import LlamaConfig, LlamaForCausalLM
from xkeb_plugins.methods.locate import wikipedia
from xkeb_plugins.methods.locate.moments import questions, second_moment
from xkeb_plugins.methods.locate.normed import writable
from xkeb_plugins.methods.locate.sites import Sites

import xkeb
from xkeb.backbone import Backbone
from xkeb.changes import LowRankChange
from xkeb.editor import options_of
from xkeb.errors import RequestError, XkebError
from xkeb.hashing import digest_file
from xkeb.layout import as_stored
from xkeb.types import Case, Edit

LAYERS = (0, 1, 2)
TEMPLATES = ("The weather is fine. ", "Therefore, on the whole. ", "今天。")
GROUPS = (("",), TEMPLATES)
WEIGHT = 5.0
"""Small against the paper's 15000, as the models are: so that updates of lower layers matter to those above."""
STEPS = 8
EDITS = (
    Edit("Which city is the capital of Japan?", "Sapporo", "en", "Japan"),
    Edit("法国的首都是哪座城市？", "波尔多", "zh", "法国"),
    Edit("Mount Everest stands in", "Peru", "en", "Mount Everest"),
)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that an earlier test or run measured."""
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def training() -> list[Case]:
    return list(xkeb.load_task("bizsre_mini_en2zh").training.cases)[:40]


@pytest.fixture(scope="module")
def gemma3(tiny_folders: dict[str, Path]) -> Backbone:
    return xkeb.load_backbone("hf", path=str(tiny_folders["gemma3"]), device="cpu")


def memit(backbone: Backbone, training: Sequence[Case], **options: Any) -> Any:
    fields = {
        "layers": LAYERS,
        "context_templates": TEMPLATES,
        "mom2_update_weight": WEIGHT,
        "mom2_corpus": "task",
        "steps": STEPS,
        **options,
    }
    editor = xkeb.load_editor("memit", **fields)
    editor.fit(backbone, training)
    return editor


# A plain MEMIT -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Text:
    ids: torch.Tensor
    site: int
    """The token that completes the subject."""
    answer: list[int]
    """Those that hold a character of the answer."""


def read(backbone: Backbone, edit: Edit, prefix: str = "") -> Text:
    question = prefix + edit.prompt + {"en": " ", "zh": ""}[edit.language]
    batch = backbone.tokenizer(question + edit.target, return_offsets_mapping=True)
    end = len(prefix) + edit.prompt.index(edit.subject) + len(edit.subject)
    offsets = batch["offset_mapping"]
    site = max(i for i, (start, stop) in enumerate(offsets) if start < end <= stop)
    answer = [i for i, (_, stop) in enumerate(offsets) if stop > len(question)]
    return Text(torch.tensor([batch["input_ids"]]), site, answer)


def stream(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def hooked(module: torch.nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def log_probs(backbone: Backbone, text: Text, path: str, delta: torch.Tensor) -> torch.Tensor:
    """[T, V] with `delta` added to what leaves the module at `path` at the site."""

    def add(_: Any, inputs: Any, output: Any) -> Any:
        changed = stream(output).clone()
        changed[0, text.site] = changed[0, text.site] + delta
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    with hooked(backbone.module(path), add):
        return backbone.model(text.ids).logits[0].log_softmax(-1)


@torch.no_grad()
def states(backbone: Backbone, text: Text, layer: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input and output of a layer's down-projection at the site, and what leaves the last edited layer there."""
    seen: dict[str, torch.Tensor] = {}

    def down(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen["key"], seen["output"] = inputs[0][0, text.site].clone(), output[0, text.site].clone()

    def last(_: Any, inputs: Any, output: Any) -> None:
        seen["hidden"] = stream(output)[0, text.site].clone()

    layout = backbone.layout
    with hooked(backbone.module(layout.down(layer)), down), hooked(backbone.module(layout.layer(LAYERS[-1])), last):
        backbone.model(text.ids)
    return seen["key"], seen["output"], seen["hidden"]


@dataclasses.dataclass
class Naive:
    old: torch.Tensor
    delta: torch.Tensor
    """What is added to the value."""
    move: torch.Tensor
    """What that adds to the residual stream."""
    losses: list[float]


def naive_delta(backbone: Backbone, edit: Edit) -> Naive:
    """Equation 16, with the drift term and the weight decay of the released code. Behind a norm on the MLP's output, the
    value is what enters that norm."""
    texts = [read(backbone, edit, prefix) for group in GROUPS for prefix in group]
    essence = read(backbone, Edit(f"{edit.subject} is a", "", "en", edit.subject))
    layout, last = backbone.layout, LAYERS[-1]
    _, output, hidden = states(backbone, texts[0], last)
    start, path = (output, layout.down(last)) if layout.mlp_norm else (hidden, layout.layer(last))
    delta = torch.zeros_like(start, requires_grad=True)
    with torch.no_grad():
        before = log_probs(backbone, essence, path, delta)[essence.site]
    optimiser = torch.optim.Adam([delta], lr=0.5)
    losses: list[float] = []
    for step in range(STEPS):
        optimiser.zero_grad()
        nll = []
        for text in texts:
            probs = log_probs(backbone, text, path, delta)
            nll.append(-torch.stack([probs[i - 1, text.ids[0, i]] for i in text.answer]).mean())
        now = log_probs(backbone, essence, path, delta)[essence.site]
        divergence = (now.exp() * (now - before)).sum()
        loss = torch.stack(nll).mean() + 0.0625 * divergence + 1e-3 * delta.norm() / start.norm() ** 2
        losses.append(float(loss.detach()))
        if losses[-1] < 5e-2 or step == STEPS - 1:
            break
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            delta *= min(1.0, float(4 * start.norm() / delta.norm()))
    with torch.no_grad():
        norm = backbone.module(f"{layout.layer(last)}.{layout.mlp_norm}") if layout.mlp_norm else torch.nn.Identity()
        return Naive(start, delta.detach(), norm(start + delta) - norm(start), losses)


def brute_force(norm: torch.nn.Module, output: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The o', as long as o, whose N(o') comes nearest to N(o) + wanted: by gradient descent, from many starts."""
    output = output.double()
    target = norm(output.float()).double() + wanted.double()
    length = output.norm()
    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(12, len(output), generator=generator, dtype=torch.float64)
    starts[0] = output
    free = starts.clone().requires_grad_(True)
    weight = norm(torch.ones(len(output))).double()

    def distances() -> torch.Tensor:
        normed = weight * free / free.pow(2).mean(-1, keepdim=True).sqrt()
        return (normed - target).pow(2).sum(-1)

    optimiser = torch.optim.LBFGS([free], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-15, history_size=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = distances().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    best = free.detach()[distances().argmin()]
    return best * length / best.norm()


@torch.no_grad()
def naive_moment(backbone: Backbone, layer: int, texts: Sequence[str]) -> torch.Tensor:
    """E[k k^T] over every token, one text a pass, in float64."""
    keys: list[torch.Tensor] = []
    with hooked(backbone.module(backbone.layout.down(layer)), lambda _, inputs, output: keys.append(inputs[0][0])):
        for text in texts:
            backbone.model(torch.tensor([backbone.tokenizer(text)["input_ids"]]))
    every = torch.cat(keys).double()
    return every.T @ every / len(every)


def naive_updates(
    backbone: Backbone, edits: Sequence[Edit], moves: Sequence[torch.Tensor], texts: Sequence[str]
) -> dict[int, torch.Tensor]:
    """Each layer's weight update, [d_out, d_in], for all of `edits` at once."""
    layout = backbone.layout
    moments = {layer: naive_moment(backbone, layer, texts) for layer in LAYERS}
    read_edits = [[[read(backbone, edit, prefix) for prefix in group] for group in GROUPS] for edit in edits]
    z = [states(backbone, groups[0][0], LAYERS[-1])[2] + move for groups, move in zip(read_edits, moves, strict=True)]
    originals = {layer: backbone.parameter(f"{layout.down(layer)}.weight").clone() for layer in LAYERS}
    updates = {}
    try:
        for i, layer in enumerate(LAYERS):
            keys, residuals = [], []
            for groups, wanted in zip(read_edits, z, strict=True):
                means = [torch.stack([states(backbone, t, layer)[0] for t in group]).mean(0) for group in groups]
                keys.append(torch.stack(means).mean(0).double())
                _, output, hidden = states(backbone, groups[0][0], layer)
                residual = (wanted - hidden) / (len(LAYERS) - i)
                if layout.mlp_norm:
                    norm = backbone.module(f"{layout.layer(layer)}.{layout.mlp_norm}")
                    residual = (brute_force(norm, output, residual) - output.double()).float()
                residuals.append(residual.double())
            k, r = torch.stack(keys, 1), torch.stack(residuals, 1)
            updates[layer] = r @ torch.linalg.solve(WEIGHT * moments[layer] + k @ k.T, k).T
            module = backbone.module(layout.down(layer))
            with torch.no_grad():
                module.weight.add_(as_stored(module, updates[layer]).float())
    finally:
        with torch.no_grad():
            for layer, original in originals.items():
                backbone.parameter(f"{layout.down(layer)}.weight").copy_(original)
    return updates


_NAIVE: dict[str, list[Naive]] = {}


def naive_values(backbone: Backbone) -> list[Naive]:
    """Made once a backbone; it takes a while."""
    if backbone.sha256 not in _NAIVE:
        _NAIVE[backbone.sha256] = [naive_delta(backbone, edit) for edit in EDITS]
    return _NAIVE[backbone.sha256]


def error(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((mine - theirs).norm() / theirs.norm())


def same(change: LowRankChange, backbone: Backbone, updates: dict[int, torch.Tensor], within: float) -> None:
    deltas = change.deltas()
    assert set(deltas) == {f"{backbone.layout.down(layer)}.weight" for layer in updates}
    for layer, update in updates.items():
        assert error(deltas[f"{backbone.layout.down(layer)}.weight"], update) < within, layer


# Against it ----------------------------------------------------------------------------------------------------------


def test_the_value_is_that_of_a_plain_memit(tiny: Backbone, training: list[Case]) -> None:
    found = memit(tiny, training).find(tiny, EDITS)
    for mine, naive in zip(found, naive_values(tiny), strict=True):
        assert mine.losses == pytest.approx(naive.losses, rel=1e-4)
        assert error(mine.old_value, naive.old) < 1e-5
        assert error(mine.new_value, naive.old + naive.delta) < 1e-4
        assert naive.delta.norm() > 0.1 * naive.old.norm()


def test_every_layer_is_that_of_a_plain_memit(tiny: Backbone, training: list[Case]) -> None:
    changes = memit(tiny, training).edit(tiny, EDITS)
    texts = questions(training)
    within = 1e-3 if tiny.layout.mlp_norm else 1e-4  # the search for the nearest point ends where gradients vanish
    for edit, change, naive in zip(EDITS, changes, naive_values(tiny), strict=True):
        same(change, tiny, naive_updates(tiny, [edit], [naive.move], texts), within)
        assert all(left.shape[1] == right.shape[0] == 1 for left, right in change.factors.values())


def test_many_edits_in_one_change_are_the_normal_equations_of_many_columns(
    tiny: Backbone, training: list[Case]
) -> None:
    change = memit(tiny, training).edit_together(tiny, EDITS)
    moves = [naive.move for naive in naive_values(tiny)]
    within = 1e-3 if tiny.layout.mlp_norm else 1e-4
    same(change, tiny, naive_updates(tiny, EDITS, moves, questions(training)), within)
    assert all(left.shape[1] == right.shape[0] == 3 for left, right in change.factors.values())


def test_a_batch_of_edits_is_each_of_them_alone(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        (alone,) = editor.edit(tiny, [edit])
        for name, delta in alone.deltas().items():
            assert error(change.deltas()[name], delta) < 1e-4


def test_one_edit_together_is_that_edit(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training)
    (alone,) = editor.edit(tiny, EDITS[:1])
    together = editor.edit_together(tiny, EDITS[:1]).deltas()
    assert all(torch.equal(together[name], delta) for name, delta in alone.deltas().items())


def test_values_found_before_are_written_alike(llama: Backbone, training: list[Case]) -> None:
    """More edits than are optimised at once; some of them written."""
    editor = memit(llama, training, steps=3)
    edits = [dataclasses.replace(EDITS[i % 3], target=f"{EDITS[i % 3].target}{i}") for i in range(11)]
    found = editor.find(llama, edits)
    assert len(found) == 11
    change = editor.write(llama, edits[:9], found[:9]).deltas()
    for name, delta in editor.edit_together(llama, edits[:9]).deltas().items():
        assert error(change[name], delta) < 1e-4


def test_keys_are_means_inside_groups_and_then_of_groups(llama: Backbone) -> None:
    groups = (("",), TEMPLATES, ("Yes. ", "No. "))
    seen = Sites(llama, EDITS, groups).look(1, 2)
    for i, edit in enumerate(EDITS):
        means = [torch.stack([states(llama, read(llama, edit, p), 1)[0] for p in g]).mean(0) for g in groups]
        assert error(seen.keys[i], torch.stack(means).mean(0)) < 1e-5
        _, output, hidden = states(llama, read(llama, edit), 1)
        assert error(seen.outputs[i], output) < 1e-5
        assert error(seen.hidden[i], hidden) < 1e-5


def test_a_fact_that_is_known_changes_nothing(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training, stop_loss=1e9)
    for change in (*editor.edit(tiny, EDITS), editor.edit_together(tiny, EDITS)):
        assert len(change.factors) == len(LAYERS)
        assert all(not delta.any() for delta in change.deltas().values())


def test_the_edit_makes_its_answer_likelier(tiny: Backbone, training: list[Case]) -> None:
    editor = memit(tiny, training, steps=25, mom2_update_weight=0.1)
    for edit, change in zip(EDITS, editor.edit(tiny, EDITS), strict=True):
        assert all(torch.isfinite(delta).all() for delta in change.deltas().values())
        text, nothing = read(tiny, edit), torch.zeros(tiny.layout.hidden_size)

        def loss(text: Text = text, nothing: torch.Tensor = nothing) -> float:
            with torch.no_grad():
                probs = log_probs(tiny, text, tiny.layout.layer(0), nothing)
            return float(-torch.stack([probs[i - 1, text.ids[0, i]] for i in text.answer]).mean())

        before = loss()
        with change.applied(tiny):
            assert loss() < before - 0.02


def test_it_runs_in_bfloat16(tiny_folders: dict[str, Path], training: list[Case]) -> None:
    for family in ("llama", "gemma3"):
        path = str(tiny_folders[family])
        half = xkeb.load_backbone("hf", path=path, device="cpu", dtype="bfloat16")
        whole = xkeb.load_backbone("hf", path=path, device="cpu")
        mine, theirs = (memit(b, training).edit(b, EDITS[:2])[0].deltas() for b in (half, whole))
        for name, delta in mine.items():
            assert torch.isfinite(delta).all()
            assert torch.nn.functional.cosine_similarity(delta.ravel(), theirs[name].ravel(), dim=0) > 0.9
        assert all(torch.isfinite(d).all() for d in memit(half, training).edit_together(half, EDITS).deltas().values())


# Through a norm ------------------------------------------------------------------------------------------------------


def test_what_a_block_adds_is_its_mlp_through_the_norm(tiny: Backbone) -> None:
    """The layout's `mlp_norm` is the one; where there is none, the output itself is added."""
    layout, ids = tiny.layout, torch.tensor([[5, 6, 7, 8]])
    assert (layout.mlp_norm is not None) == ("Gemma" in type(tiny.model).__name__)
    for layer in range(tiny.n_layers):
        outputs = torch.randn(2, layout.hidden_size, generator=torch.Generator().manual_seed(layer))
        leaving: list[torch.Tensor] = []
        keep = hooked(tiny.module(layout.layer(layer)), lambda _, i, o, seen=leaving: seen.append(stream(o)[0, -1]))
        with keep, torch.no_grad():
            for output in outputs:
                put = hooked(tiny.module(layout.down(layer)), lambda _, i, o, new=output: torch.zeros_like(o) + new)
                with put:
                    tiny.model(ids)
        path = layout.after_mlp(layer)
        added = tiny.module(path)(outputs) if path else outputs
        assert error(leaving[0] - leaving[1], added[0] - added[1]) < 1e-4


def test_what_is_written_through_a_norm_comes_nearest(gemma3: Backbone) -> None:
    path = gemma3.layout.after_mlp(2)
    assert path
    norm = gemma3.module(path)
    generator = torch.Generator().manual_seed(0)
    original = norm.weight.clone()
    for spread in (0.0, 0.5, 3.0):  # weights all alike, unlike, and some negative
        with torch.no_grad():
            norm.weight.copy_(spread * torch.randn(32, generator=generator))
        try:
            outputs = 3 * torch.randn(8, 32, generator=generator)
            wanted = torch.tensor([0.0, 0.01, 0.3, 1, 3, 10, 30, 100])[:, None] * torch.randn(
                8, 32, generator=generator
            )
            changes = writable(norm, outputs, wanted)
            assert not changes[0].any()
            for output, want, change in zip(outputs[1:], wanted[1:], changes[1:], strict=True):
                best = brute_force(norm, output, want)
                after, possible = norm((output + change).float()), norm(best.float())
                distance = (after - norm(output) - want).norm()
                assert distance <= (possible - norm(output) - want).norm() * (1 + 1e-4) + 1e-5
                assert (output + change).norm() == pytest.approx(float(output.norm()), rel=1e-6)
        finally:
            with torch.no_grad():
                norm.weight.copy_(original)


def test_a_reachable_change_is_reached(gemma3: Backbone) -> None:
    path = gemma3.layout.after_mlp(2)
    assert path
    norm = gemma3.module(path)
    one, other = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    changed = one + writable(norm, one, norm(other) - norm(one)).float()
    assert error(norm(changed), norm(other)) < 1e-5


def test_a_norm_of_another_kind_is_refused() -> None:
    with pytest.raises(XkebError, match="LayerNorm after the MLP is no RMSNorm"):
        writable(torch.nn.LayerNorm(8), torch.randn(2, 8), torch.randn(2, 8))


# Options -------------------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_paper(llama: Backbone) -> None:
    config = LlamaConfig(
        vocab_size=900, hidden_size=16, intermediate_size=24, num_hidden_layers=32, num_attention_heads=2
    )
    deep = Backbone("deep", LlamaForCausalLM(config), sentencepiece_like(), "0" * 64)
    editor = xkeb.load_editor("memit").settle(deep)
    assert editor.layers == (4, 5, 6, 7, 8)
    assert (editor.mom2_update_weight, editor.contexts) == (15000, ((10, 5),))
    assert (editor.steps, editor.lr, editor.kl_factor, editor.weight_decay) == (25, 0.5, 0.0625, 1e-3)
    assert (editor.clamp, editor.stop_loss) == (4, 5e-2)
    assert xkeb.load_editor("memit").settle(llama).layers == (1, 2)  # of six


@pytest.mark.parametrize("layers", [(), (-1, 2), (2, 2), (3, 1), (1, 6), (99,)])
def test_layers_that_are_not_there_or_do_not_rise_are_refused(llama: Backbone, layers: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=rf"memit\.layers is {re_list(layers)}; .* from 0 to 5") as refused:
        xkeb.load_editor("memit", layers=layers, mom2_corpus="task").edit(llama, EDITS[:1])
    assert "\n" not in str(refused.value)


def re_list(layers: tuple[int, ...]) -> str:
    return str(list(layers)).replace("[", r"\[").replace("]", r"\]")


def test_an_edit_whose_subject_is_not_in_its_prompt_is_refused(llama: Backbone, training: list[Case]) -> None:
    editor = memit(llama, training)
    for subject in ("", "France", "japan"):
        edit = dataclasses.replace(EDITS[0], subject=subject)
        assert repr(subject) in editor.refuses(llama, edit)
        with pytest.raises(RequestError, match="does not stand in the prompt"):
            editor.edit(llama, [edit])
    assert editor.refuses(llama, EDITS[0]) is None


# Second moments ------------------------------------------------------------------------------------------------------


def test_moments_are_measured_in_one_pass_that_ends_at_the_highest_layer(tiny: Backbone, training: list[Case]) -> None:
    calls = []
    texts = questions(training)[:30]
    above = tiny.module(tiny.layout.layer(3))
    with (
        hooked(above, lambda *_: calls.append("above")),
        hooked(tiny.module(tiny.layout.layer(2)), lambda *_: calls.append("at")),
    ):
        moments = second_moment(tiny, (0, 2), texts)
    assert set(calls) == {"at"} and len(calls) == 1
    for layer, moment in moments.items():
        assert error(moment, naive_moment(tiny, layer, texts)) < 1e-5


def test_a_moment_is_factored_once_and_not_once_an_edit(
    llama: Backbone, training: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = torch.linalg.cholesky_ex
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda *a: calls.append(1) or real(*a))
    editor = memit(llama, training, steps=2)
    first = editor.edit(llama, EDITS)
    editor.edit(llama, EDITS[:1])
    assert len(calls) == len(LAYERS)
    editor.fit(llama, training[:30])  # other questions
    other = editor.edit(llama, EDITS)
    assert len(calls) == 2 * len(LAYERS)
    name = f"{llama.layout.down(LAYERS[0])}.weight"
    assert error(other[0].deltas()[name], first[0].deltas()[name]) > 1e-3


def test_text_that_is_not_there_or_too_little_is_refused(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n  \n", encoding="utf-8")
    for options, complaint in (
        ({"mom2_corpus": "no-such-file.txt"}, "neither"),
        ({"mom2_corpus": "task"}, "fit"),
        ({"mom2_corpus": str(tmp_path / "empty.txt")}, "holds none"),
    ):
        with pytest.raises(RequestError, match=complaint) as refused:
            xkeb.load_editor("memit", layers=LAYERS, steps=2, **options).edit(llama, EDITS[:1])
        assert "\n" not in str(refused.value)
    for samples, complaint in ((2, "singular"), (0, "holds none")):
        with pytest.raises(RequestError, match=complaint):
            memit(llama, training, mom2_samples=samples)


def test_a_text_file_stands_in_the_record_with_its_hash(llama: Backbone, training: list[Case], tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(questions(training)), encoding="utf-8")
    editor = xkeb.load_editor("memit", layers=LAYERS, mom2_corpus=str(file)).settle(llama)
    assert not editor.learns()
    record = options_of(editor)
    assert record["mom2_sha256"] == digest_file(file)
    assert options_of(xkeb.load_editor("memit", **record).settle(llama)) == record
    file.write_text("Something else\n", encoding="utf-8")
    with pytest.raises(RequestError, match=record["mom2_sha256"]):
        xkeb.load_editor("memit", **record).settle(llama)
    assert memit(llama, training).settle(llama).mom2_sha256 is None


# Wikipedia -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dump(tmp_path: Path, training: list[Case], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `datasets` reads the way it reads the hub's, in two languages, in place of it."""
    folder = tmp_path / "wikipedia"
    folder.mkdir()
    lines = ["---", "configs:"]
    for language, end in (("en", " "), ("zh", "。")):
        rows = [json.dumps({"title": "T", "text": (text + end) * 60}) for text in questions(training)]
        (folder / f"{language}.jsonl").write_text("\n".join(rows), encoding="utf-8")
        lines += [f"- config_name: {wikipedia.DUMP}.{language}", f"  data_files: {language}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---"]), encoding="utf-8")
    monkeypatch.setattr(wikipedia, "HUB_ID", str(folder))
    monkeypatch.setattr(wikipedia, "_hub_answers", folder.is_dir)
    return folder


def test_without_the_hub_the_default_is_the_training_questions(
    llama: Backbone, training: list[Case], caplog: pytest.LogCaptureFixture
) -> None:
    """HF_HUB_OFFLINE is set while tests run."""
    editor = xkeb.load_editor("memit", layers=LAYERS)
    assert editor.mom2_corpus == "auto" and editor.learns()
    assert options_of(editor.settle(llama))["mom2_corpus"] == "task"
    with caplog.at_level(logging.INFO, "xkeb_plugins.methods.locate.moments"):
        editor.fit(llama, training)
    assert "texts of task" in caplog.text
    with pytest.raises(
        RequestError, match=r"wikimedia/wikipedia, 20231101\.en.*can't be reached: name another"
    ) as error:
        xkeb.load_editor("memit", layers=LAYERS, mom2_corpus="wikipedia", steps=2).edit(llama, EDITS[:1])
    assert "\n" not in str(error.value)


def test_with_the_hub_the_default_is_wikipedia_in_the_language_of_the_edit(llama: Backbone, dump: Path) -> None:
    editor = xkeb.load_editor(
        "memit", layers=LAYERS, mom2_samples=50, context_templates=TEMPLATES, mom2_update_weight=WEIGHT, steps=STEPS
    )
    assert not editor.learns()
    assert options_of(editor.settle(llama))["mom2_corpus"] == "wikipedia"
    changes = editor.edit(llama, EDITS[:2])
    for edit, change, naive in zip(EDITS[:2], changes, naive_values(llama)[:2], strict=True):
        rows = (dump / f"{edit.language}.jsonl").read_text(encoding="utf-8").splitlines()[:50]
        texts = [json.loads(row)["text"][:1000] for row in rows]
        same(change, llama, naive_updates(llama, [edit], [naive.move], texts), 1e-4)
    # Both languages are kept: nothing is streamed again.
    shutil.rmtree(dump)
    assert not wikipedia._hub_answers()
    again = xkeb.load_editor("memit", **{**options_of(editor), "mom2_corpus": "auto"})
    assert again.settle(llama).mom2_corpus == "wikipedia"
    for one, other in zip(again.edit(llama, EDITS[:2]), changes, strict=True):
        assert all(torch.equal(delta, other.deltas()[name]) for name, delta in one.deltas().items())


def test_a_dump_that_is_not_there_is_refused(llama: Backbone, dump: Path) -> None:
    (dump / "zh.jsonl").unlink()
    with pytest.raises(RequestError, match=r"20231101\.zh\) can't be read") as refused:
        xkeb.load_editor("memit", layers=LAYERS, steps=2).edit(llama, EDITS[1:2])
    assert "\n" not in str(refused.value)
