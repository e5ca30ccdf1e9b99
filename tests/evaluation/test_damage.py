"""Damage after edits that stay: each number against plain code on whole logits, and what a run keeps of it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.editing.changes import DenseChange
from xkeb.editing.editor import prepare
from xkeb.editing.session import Session
from xkeb.errors import RequestError
from xkeb.evaluation.planning import plan_run
from xkeb.evaluation.sequences.damage import DamageMeter
from xkeb.models.backbone import Backbone
from xkeb.models.interventions import Delegate, Intervention
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.results.damage import DamageRecord, LanguageDamage, TextLoss, damage_settings, mean_damage, texts_of
from xkeb.results.regime import order_key
from xkeb.results.result import Result
from xkeb.types import Case, Query

Json = dict[str, Any]
LANGUAGES = ("en", "zh")
PASSAGES = {code: get_plugins().languages.get(code).passages[:2] for code in LANGUAGES}


def cases_in_order(n: int) -> list[Case]:
    return sorted(list(xkeb.load_task(TASK))[:n], key=lambda case: order_key(0, case.id))


def few_passages(monkeypatch: pytest.MonkeyPatch, passages: Mapping[str, Sequence[str]] = PASSAGES) -> None:
    languages = get_plugins().languages
    for code, parts in passages.items():
        short: Entry[Any] = Entry(dataclasses.replace(languages.get(code), passages=tuple(parts)), "tests")
        monkeypatch.setitem(languages.entries, code, short)


# Plain code --------------------------------------------------------------------------------------------------------------


def plain_answers(backbone: Backbone, cases: Sequence[Case], language: str) -> list[torch.Tensor]:
    """Of each question of locality, log-probabilities at the answer's positions: from the logits of the whole text, alone."""
    found = []
    for case in cases:
        for probe in case.probes:
            if (probe.property, probe.language) != ("locality", language):
                continue
            encoded = backbone.encode(probe.prompt, probe.reference, language)
            logits = backbone.model(torch.tensor([encoded.ids])).logits[0].double()
            found.append(logits[encoded.target - 1 : len(encoded.ids) - 1].log_softmax(-1))
    return found


def plain_loss(backbone: Backbone, passages: Sequence[str]) -> float:
    """Mean over all tokens, from the loss that transformers computes of each passage."""
    total, tokens = 0.0, 0
    for text in passages:
        ids = torch.tensor([backbone.tokenizer(text)["input_ids"]])
        total += float(backbone.model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    return total / tokens


def plain_damage(old: Sequence[torch.Tensor], new: Sequence[torch.Tensor], backbone: Backbone) -> tuple[float, int]:
    kls = [float((p.exp() * (p - q)).sum(-1).mean()) for p, q in zip(old, new, strict=True)]
    texts = [[backbone.decode(one.argmax(-1).tolist()).text for one in own] for own in (old, new)]
    return sum(kls) / len(kls), sum(a != b for a, b in zip(*texts, strict=True))


def check(found: LanguageDamage, kl: float, changed: int, n: int, losses: tuple[float, float]) -> None:
    assert (found.n, found.n_kl, found.changed) == (n, n, changed)
    assert found.text is not None
    assert found.kl == pytest.approx(kl, rel=1e-4, abs=1e-6)
    assert (found.text.loss_before, found.text.loss) == pytest.approx(losses, rel=1e-5)


@torch.inference_mode()
def test_a_sequence_against_plain_code(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1 and 4 edits, each added to the weights by hand."""
    few_passages(monkeypatch)
    cases = cases_in_order(4)
    with torch.inference_mode(False):
        config = make_config(tiny_folders, tmp_path, ["ft"], method_args=FT, regime="sequential:4", damage=True)
        ((result,), _) = run_jobs(llama, config)
        editor = prepare(xkeb.load_editor("ft", lr=0.05, steps=3), llama)
    folder = tmp_path / TASK / "llama" / "ft-sequential-4"
    written = [DamageRecord.model_validate(line) for line in lines(folder / "damage.jsonl")]
    assert [line.edits for line in written] == [1, 4]
    before = {code: plain_answers(llama, cases, code) for code in LANGUAGES}
    losses = {code: plain_loss(llama, PASSAGES[code]) for code in LANGUAGES}
    kept = {name: parameter.detach().clone() for name, parameter in llama.model.named_parameters()}
    changes = 0
    try:
        for number, case in enumerate(cases, 1):
            with torch.inference_mode(False):
                (change,) = editor.edit(llama, [case.edit])
                for name, delta in change.deltas().items():  # type: ignore[attr-defined]
                    llama.parameter(name).data.add_(delta)
            if number not in (1, 4):
                continue
            for code in LANGUAGES:
                kl, changed = plain_damage(before[code], plain_answers(llama, cases, code), llama)
                line = written[0 if number == 1 else 1].languages[code]
                after = plain_loss(llama, PASSAGES[code])
                check(line, kl, changed, 4, (losses[code], after))
                changes += changed
                assert result.damage is not None
                score = result.damage.after[str(number)].languages[code]
                assert score.kl == pytest.approx(line.kl)
                assert score.changed == 25 * changed
                assert score.perplexity is not None
                assert (score.perplexity.before, score.perplexity.after) == pytest.approx(
                    (math.exp(losses[code]), math.exp(after)), rel=1e-4
                )
    finally:
        for name, parameter in llama.model.named_parameters():
            parameter.data.copy_(kept[name])
    assert changes  # edits so coarse are seen
    assert result.damage is not None and result.damage.texts == texts_of(PASSAGES)
    assert Result.load(folder / "result.json").damage == result.damage


@torch.inference_mode()
def test_a_change_of_the_head_is_measured_from_both_heads(tiny: Backbone) -> None:
    """Families with tied and untied heads, with and without a BOS token."""
    cases, layout = cases_in_order(3), tiny.layout
    meter = DamageMeter(tiny, PASSAGES)
    unrelated = meter.questions(cases)
    nothing = meter.measure(DenseChange({}), unrelated)
    for code in LANGUAGES:
        found, loss = nothing[code], plain_loss(tiny, PASSAGES[code])
        assert (found.kl, found.changed) == (0.0, 0)
        assert found.text is not None and found.text.loss == found.text.loss_before == pytest.approx(loss, rel=1e-5)
    shape = tiny.parameter(f"{layout.head}.weight").shape
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    change = DenseChange({f"{layout.head}.weight": 0.05 * noise})
    measured = meter.measure(change, unrelated)
    for code in LANGUAGES:
        old = plain_answers(tiny, cases, code)
        losses = [plain_loss(tiny, PASSAGES[code])]
        with change.applied(tiny):
            new = plain_answers(tiny, cases, code)
            losses.append(plain_loss(tiny, PASSAGES[code]))
        kl, changed = plain_damage(old, new, tiny)
        check(measured[code], kl, changed, 3, (losses[0], losses[1]))


class Asking:
    """A change that has another model answer Chinese questions."""

    def __init__(self, other: Backbone) -> None:
        self.other = other

    @contextmanager
    def applied(self, backbone: Backbone) -> Iterator[None]:
        other = self.other

        class Routing(Intervention):
            def delegates(self, queries: Sequence[Query]) -> list[Delegate | None]:
                return [Delegate(other, "") if query.language == "zh" else None for query in queries]

        with Routing().installed(backbone):
            yield


def test_an_answer_of_another_model_has_no_divergence(llama: Backbone, tiny_folders: dict[str, Path]) -> None:
    other = xkeb.load_backbone("hf", path=str(tiny_folders["gpt2"]), device="cpu")
    meter = DamageMeter(llama, {"en": PASSAGES["en"], "zh": ()})
    found = meter.measure(Asking(other), meter.questions(cases_in_order(3)))
    assert (found["en"].n_kl, found["en"].kl, found["en"].changed) == (3, 0.0, 0)
    assert (found["zh"].n, found["zh"].n_kl, found["zh"].kl) == (3, 0, None)
    assert found["zh"].changed == 3  # a random model of another family says something else
    assert found["zh"].text is None  # a language without a text


# What a run keeps ----------------------------------------------------------------------------------------------------------


def without_times(path: Path) -> list[Json]:
    return [{key: value for key, value in line.items() if key not in ("seconds", "chain")} for line in lines(path)]


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    pass


def stopping(monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str, count: int) -> None:
    """The call after so many raises."""
    original, calls = getattr(owner, name), [0]

    def call(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] > count:
            raise Stopped
        return original(*arguments)

    monkeypatch.setattr(owner, name, call)


def test_a_stopped_sequence_measures_the_same(
    tiny_folders: dict[str, Path], llama: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it edits, and between its questions and the damage. Not asked for, no other line is different."""
    few_passages(monkeypatch)
    options: Json = {"method_args": FT, "regime": "sequential:4", "evaluate": "after_each", "limit": 4}
    plain = make_config(tiny_folders, tmp_path / "plain", ["ft"], **options)
    run_jobs(llama, plain)
    run_jobs(llama, make_config(tiny_folders, tmp_path / "whole", ["ft"], damage=True, **options))
    stopped = make_config(tiny_folders, tmp_path / "stopped", ["ft"], damage=True, **options)
    places: list[tuple[type[Any], str, int]] = [(Session, "edit", 2), (DamageMeter, "measure", 1)]
    for owner, name, count in places:
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stopping(patch, owner, name, count)
            run_jobs(llama, stopped)
    run_jobs(llama, stopped)
    name = f"{TASK}/llama/ft-sequential-4-after_each"
    folders = [tmp_path / which / name for which in ("plain", "whole", "stopped")]
    files = ("cases.jsonl", "retention-1.jsonl", "retention-4.jsonl")
    for file in files:
        assert without_times(folders[0] / file) == without_times(folders[1] / file) == without_times(folders[2] / file)
    damage = [without_times(folder / "damage.jsonl") for folder in folders[1:]]
    assert damage[0] == damage[1] and [line["edits"] for line in damage[0]] == [1, 2, 3, 4]
    # Asked for later, it is measured, and the answers that are there stay.
    first = (folders[0] / "cases.jsonl").read_bytes()
    assert "damage" not in json.loads((folders[0] / "result.json").read_text(encoding="utf-8"))
    run_jobs(llama, dataclasses.replace(plain, damage=True))
    assert (folders[0] / "cases.jsonl").read_bytes() == first
    assert without_times(folders[0] / "damage.jsonl") == damage[0]
    assert json.loads((folders[0] / "result.json").read_text(encoding="utf-8"))["damage"]["after"].keys() == {*"1234"}
    # Another text is another measure.
    few_passages(monkeypatch, {"en": ("Something else is said here.",)})
    with pytest.raises(RequestError, match="holds points made with other settings or data"):
        run_jobs(llama, dataclasses.replace(plain, damage=True))


def test_single_edits_are_refused(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--regime single takes each edit back; --regime sequential:1 measures"):
        plan_run(make_config(tiny_folders, tmp_path, ["ft"], damage=True))


def line(sequence: str, kl: float | None, n_kl: int, changed: int, losses: tuple[float | None, float]) -> DamageRecord:
    text = TextLoss(tokens=7, loss=losses[0], loss_before=losses[1])
    own = LanguageDamage(n=4, changed=changed, n_kl=n_kl, kl=kl, text=text)
    other = LanguageDamage(n=0, changed=0, n_kl=0, kl=None, text=None)
    return DamageRecord(sequence=sequence * 64, edits=2, languages={"en": own, "xx": other}, seconds=1.0, settings="s")


def test_means_by_hand() -> None:
    """Two sequences: (4 · 0.1 + 2 · 0.4) / 6 nats, 3 of 8 answers, the root of 4 · 9 as perplexity."""
    texts = {"en": "0" * 64}
    found = mean_damage(
        [line("a", 0.1, 4, 1, (math.log(4), 0.0)), line("b", 0.4, 2, 2, (math.log(9), 0.0))], texts
    ).after["2"]
    score = found.languages["en"]
    assert (found.sequences, score.n, score.n_kl, score.changed) == (2, 8, 6, 37.5)
    assert score.kl == pytest.approx(0.2)
    assert score.perplexity is not None
    assert (score.perplexity.tokens, score.perplexity.before) == (7, 1.0)
    assert score.perplexity.after == pytest.approx(6.0)
    empty = found.languages["xx"]
    assert (empty.n, empty.changed, empty.kl, empty.perplexity) == (0, None, None, None)
    broken = mean_damage([line("a", None, 4, 4, (None, 0.0)), line("b", 0.4, 2, 2, (900.0, 0.0))], texts)
    score = broken.after["2"].languages["en"]
    assert score.kl is None and score.perplexity is not None and score.perplexity.after is None
    assert damage_settings("s", texts) != damage_settings("s", {}) != damage_settings("t", {})


def test_the_texts_say_the_same_and_are_short() -> None:
    languages = {code: get_plugins().languages.get(code) for code in get_plugins().languages}
    texts = {code: language.passages for code, language in languages.items() if language.passages}
    assert {"de", "en", "ru", "th", "zh"} <= texts.keys()
    assert {len(parts) for parts in texts.values()} == {10}
    for code, parts in texts.items():
        assert 1500 < sum(len(part.encode()) for part in parts) < 6000, code
        # Byte by byte they still fit in the 1,024 positions of the smallest models.
        assert all(part == part.strip() and len(part.encode()) < 700 for part in parts), code
