"""What MEMIT and its kin share: values at the subject's last token, written by the down-projections of a few layers, each of
which closes a share of what is missing (Meng et al., 2023, Algorithm 1). How a layer writes its share is each method's own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import PositiveInt

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import Editor, known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.models.spec import ModelSpec
from xkeb.types import Case, Edit, Sight
from xkeb_plugins.methods.locate.context_templates import as_prefixes, context_prefixes
from xkeb_plugins.methods.locate.covariance import (
    check_corpus_hash,
    cholesky_factor,
    corpus_files,
    corpus_texts,
    key_covariance,
)
from xkeb_plugins.methods.locate.dry_run import dry_run_moments
from xkeb_plugins.methods.locate.optimize_value import KeyValue, ValueOptions, optimize_values
from xkeb_plugins.methods.locate.placeholders import placeholder_prefixes
from xkeb_plugins.methods.locate.reachability import why_unreachable
from xkeb_plugins.methods.locate.spread import Factors, Share, Target, spread
from xkeb_plugins.methods.tuned import tuned_settings

VALUES_AT_ONCE = 8
"""Edits whose values are optimised in one batch, where many facts go into one change."""


@dataclass
class SpreadEditor(Editor):
    """A method that spreads values over a few layers. `write_share` and the usual options make one."""

    name: ClassVar[str]
    """What its messages and tuned settings go by."""
    learns_from_any_text: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.SOURCE_EDIT, Sight.SOURCE_TRAINING})

    layers: tuple[int, ...] | None = None
    """Edited layers, from low to high. None: the tuned ones, or as deep as layers 4 to 8 of LLaMA-7B's 32."""
    steps: PositiveInt = 25
    """Most Adam steps of a value."""
    lr: float = 0.5
    kl_factor: float = 0.0625
    weight_decay: float = 1e-3
    clamp: float = 4.0
    """Largest norm of the value's change, in norms of the value."""
    stop_loss: float = 5e-2
    """The value is good enough below this loss."""
    contexts: tuple[tuple[int, int], ...] | None = None
    """(tokens, how many) of the sampled prefixes. None: the tuned ones, or ((10, 5),) as in the released code."""
    context_templates: tuple[str, ...] | None = None
    """Prefixes to use instead of sampled ones, such as ``"In short. "``, or with EasyEdit's ``{}`` for the prompt,
    ``"In short. {}"``; the bare prompt is always among them."""
    mom2_corpus: str = "task"
    """Text for the second moments: ``task`` (its training questions), ``wikipedia`` (in the languages of the edits; the
    authors' setting, which is streamed from the hub), a data set, or a file with one text a line."""
    mom2_samples: int = 3000
    """Most texts of that corpus."""
    mom2_sha256: str | None = None
    """Hash that a text file given as `mom2_corpus` must have. None: of what it holds; the result says which."""
    seed: int = 0
    """Of the sampled prefixes."""

    _questions: Sequence[Case] | None = field(default=None, init=False, repr=False, compare=False)
    _statistics: dict[tuple[Any, ...], dict[int, torch.Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def usual(self, spec: ModelSpec) -> dict[str, Any]:
        """The options where nothing is given or tuned."""
        layers = tuple(sorted({spec.scale_layer(layer, of=32) for layer in range(4, 9)}))
        return {"layers": layers, "contexts": ((10, 5),)}

    def task_texts(self, facts: Sequence[Case] | None) -> list[str]:
        """The texts of training facts that the second moments are taken over, where the corpus is the task."""
        return corpus_texts("task", facts, self.mom2_samples, ())

    def write_share(self, share: Share, statistic: torch.Tensor) -> Factors:
        """The update of one layer that writes its share.

        Args:
            statistic: what `digest_moment` made of the layer's second moment, on the backbone's device.
        """
        raise NotImplementedError(f"{type(self).__name__} has no write_share()")

    def digest_moment(self, moment: torch.Tensor, n_texts: int) -> torch.Tensor:
        """What is kept of the second moment of a layer's keys over so many texts: [d_in, d_in] float64."""
        return cholesky_factor(moment, n_texts)

    def configure(self, spec: ModelSpec) -> Self:
        corpus_hash = check_corpus_hash(self.mom2_corpus, self.mom2_sha256)
        me = self.filled(self.usual(spec) | tuned_settings(self.name, spec) | {"mom2_sha256": corpus_hash})
        layers = known(me.layers)
        rising = all(low < high for low, high in itertools.pairwise(layers))
        if not layers or not rising or not 0 <= layers[0] <= layers[-1] < spec.n_layers:
            raise RequestError(
                f"{self.name}.layers is {list(layers)}; layers of {spec.name!r}, from 0 to {spec.n_layers - 1}, were "
                f"expected, each above the one before."
            )
        return me

    def reads(self) -> list[Path]:
        """The files of a corpus of its own."""
        return corpus_files(self.mom2_corpus)

    def needs_training(self) -> bool:
        """Whether training questions are needed, for the second moments."""
        return self.mom2_corpus == "task"

    def fit(self, backbone: Backbone, cases: Sequence[Case]) -> None:
        """Measures the second moments over the training questions."""
        self._questions = cases
        self._statistics.clear()
        self.configure(backbone.spec)._digested(backbone, sorted({case.edit.language for case in cases}))

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject can't be located, or whose answer the last edited layer can't reach from there."""
        return why_unreachable(backbone, edit, known(self.configure(backbone.spec).layers)[-1])

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of some down-projections for each edit, of rank one each, as if it were the only one."""
        me = self.configure(backbone.spec)
        return me._write(backbone, edits, me._find(backbone, edits), [[i] for i in range(len(edits))])

    def dry_run(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        me = dataclasses.replace(self, mom2_corpus="task", mom2_sha256=None).configure(session.backbone.spec)
        if me.context_templates is None:
            me.context_templates = placeholder_prefixes(session.backbone, known(me.contexts))
        with session.phase("fit"):
            facts = dry_run_moments(session, known(me.layers), self.mom2_corpus, self.mom2_samples, me.task_texts)
            me.fit(session.backbone, facts)
        session.retained.append(me)

        def edit(steps: int) -> list[LowRankChange]:
            me.steps = steps
            return me._edit_dry(session, edits)

        return session.in_steps(me.steps, edit)

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return self.edit(session.backbone, edits)

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits."""
        return self.write_values(backbone, edits, self.find_values(backbone, edits))

    def find_values(self, backbone: Backbone, edits: Sequence[Edit]) -> list[KeyValue]:
        """The values that `write_values` writes."""
        me = self.configure(backbone.spec)
        chunks = (edits[start : start + VALUES_AT_ONCE] for start in range(0, len(edits), VALUES_AT_ONCE))
        return [fact for chunk in chunks for fact in me._find(backbone, chunk)]

    def write_values(self, backbone: Backbone, edits: Sequence[Edit], facts: Sequence[KeyValue]) -> LowRankChange:
        """One change that makes all the edits, each with its value as it was found."""
        me = self.configure(backbone.spec)
        (change,) = me._write(backbone, edits, facts, [range(len(edits))])
        return change

    def _prefixes(self, backbone: Backbone) -> list[tuple[str, ...]]:
        """The prefixes, in the groups over which keys are averaged: the empty one, then those of each length."""
        if self.context_templates is not None:
            return [group for group in (("",), as_prefixes(self.context_templates)) if group]
        contexts = known(self.contexts)
        texts = context_prefixes(backbone, contexts, self.seed)
        groups, start = [texts[:1]], 1
        for _, count in contexts:
            groups.append(texts[start : start + count])
            start += count
        return [group for group in groups if group]

    def _find(self, backbone: Backbone, edits: Sequence[Edit]) -> list[KeyValue]:
        """Each edit's value at the output of the last edited layer, with delta of Eq. 16 added.

        Behind a norm on the MLP's output the value is that of the down-projection, before the norm, so that the last layer
        can write by itself whatever is found. In the stream the same steps get nowhere, since its norm is in the thousands
        there, and with longer ones (lr 10) fewer edits hold and fewer carry over to other wordings.
        """
        last = known(self.layers)[-1]
        prefixes = [prefix for group in self._prefixes(backbone) for prefix in group]
        options = ValueOptions(self.steps, self.lr, self.kl_factor, self.weight_decay, self.clamp, self.stop_loss)
        normed = backbone.layout.after_mlp(last) is not None
        module = backbone.layout.down(last) if normed else backbone.layout.layer(last)
        return optimize_values(backbone, edits, last, prefixes, options, module)

    def _write(
        self,
        backbone: Backbone,
        edits: Sequence[Edit],
        facts: Sequence[KeyValue],
        groups: Sequence[Sequence[int]],
        write_share: Callable[[Share, torch.Tensor], Factors] | None = None,
    ) -> list[LowRankChange]:
        """One change for each group of edits.

        Args:
            write_share: instead of the method's own.
        """
        held: dict[tuple[int, tuple[str, ...]], torch.Tensor] = {}

        def write(share: Share) -> Factors:
            place = (share.layer, share.languages)
            if place not in held:
                for other in [other for other in held if other[0] != share.layer]:
                    del held[other]  # a gigabyte on a card, and the layer is done
                held[place] = self._digested(backbone, share.languages)[share.layer].to(backbone.device)
            return (write_share or self.write_share)(share, held[place])

        targets = [Target(edit, fact) for edit, fact in zip(edits, facts, strict=True)]
        return spread(backbone, known(self.layers), targets, self._prefixes(backbone), groups, write)

    def _digested(self, backbone: Backbone, languages: Sequence[str]) -> dict[int, torch.Tensor]:
        """Of each layer's second moment of keys, on the host: made once for a backbone and a corpus. On a card they would
        take a gigabyte a layer of a 7B model."""
        layers = known(self.layers)
        spoken = tuple(languages) if self.mom2_corpus == "wikipedia" else ()
        key = (backbone.sha256, backbone.dtype, backbone.device, layers, spoken)
        if key not in self._statistics:
            if self.mom2_corpus == "task":
                texts = self.task_texts(self._questions)
            else:
                texts = corpus_texts(self.mom2_corpus, None, self.mom2_samples, spoken)
            moments = key_covariance(backbone, layers, texts)
            self._statistics[key] = {
                layer: self.digest_moment(moment.to(backbone.device), len(texts)).cpu()
                for layer, moment in moments.items()
            }
        return self._statistics[key]
