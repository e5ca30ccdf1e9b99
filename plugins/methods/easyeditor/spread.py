"""What the bridges to EasyEdit's MEMIT and its kin share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from xkeb.editing.changes import LowRankChange
from xkeb.editing.dry_run import DryRunSession
from xkeb.editing.editor import known
from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.types import Edit
from xkeb_plugins.methods.easyeditor.bridge import TokensBridge
from xkeb_plugins.methods.easyeditor.dry_run import two_for_all
from xkeb_plugins.methods.easyeditor.package import having
from xkeb_plugins.methods.easyeditor.requests import module_paths, request, statistics, templates, unlocatable
from xkeb_plugins.methods.easyeditor.sandbox import sandbox, tuples
from xkeb_plugins.methods.locate.covariance import corpus_texts, key_covariance
from xkeb_plugins.methods.locate.optimize_value import KeyValue
from xkeb_plugins.methods.locate.spread_editor import SpreadEditor

Run = tuple[Any, list[dict[str, str]], Any]
"""Tokenizer, requests and hyper-parameters of a call of its code."""


class SpreadBridge(TokensBridge, SpreadEditor):
    """A method of EasyEdit's that spreads values over a few layers, found and written in one go. `execute` makes one.

    No dataclass: its fields would stand before those of the method whose options a subclass takes over.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stop_loss != 5e-2:
            raise ValueError("stop_loss is 0.05 in EasyEdit's code, whatever is asked for")

    def execute(self, backbone: Backbone, run: Run) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """By parameter name left [d_out, n] and right [n, d_in] of what its code adds."""
        raise NotImplementedError(f"{type(self).__name__} has no execute()")

    def unsupported(self, backbone: Backbone, edit: Edit) -> str | None:
        """An edit whose subject it can't find, or whose texts it can't format."""
        return super().unsupported(backbone, edit) or unlocatable(edit)

    def edit(self, backbone: Backbone, edits: Sequence[Edit]) -> list[LowRankChange]:
        """One change of some down-projections for each edit, one after the other."""
        me = self.configure(backbone.spec)
        return [me._run(backbone, [edit]) for edit in edits]

    def _edit_dry(self, session: DryRunSession, edits: Sequence[Edit]) -> list[LowRankChange]:
        return two_for_all(session, edits, lambda edit: self.edit(session.backbone, [edit])[0])

    def edit_together(self, backbone: Backbone, edits: Sequence[Edit]) -> LowRankChange:
        """One change that makes all the edits."""
        return self.configure(backbone.spec)._run(backbone, edits)

    def find_values(self, backbone: Backbone, edits: Sequence[Edit]) -> list[KeyValue]:
        """Its code finds values and writes them in one go."""
        raise RequestError(f"{self.called} finds values and writes them in one go: use edit_together().")

    def write_values(self, backbone: Backbone, edits: Sequence[Edit], facts: Sequence[KeyValue]) -> LowRankChange:
        """See `find_values`."""
        raise RequestError(f"{self.called} finds values and writes them in one go: use edit_together().")

    def _run(self, backbone: Backbone, edits: Sequence[Edit], **caches: Any) -> LowRankChange:
        """One change.

        Args:
            caches: further names of its main module that are set meanwhile.
        """
        facts = [request(edit, template=True) for edit in edits]
        groups = self._prefixes(backbone)
        prefixes = [prefix for group in groups for prefix in group]
        tokenizer = self.tokenizer(backbone, edits, prefixes, located=True)
        moments = self._moments(backbone, sorted({edit.language for edit in edits}))
        caches |= {
            "CONTEXT_TEMPLATES_CACHE": [templates(group) for group in groups],
            "COV_CACHE": {},
            "layer_stats": statistics(moments),
        }
        written = [f"{backbone.layout.down(layer)}.weight" for layer in known(self.layers)]
        with sandbox(backbone, written), tuples(backbone), having(self.its(self.modules[0]), **caches):
            factors = self.execute(backbone, (tokenizer, facts, self._hyper_parameters(backbone)))
        return LowRankChange(
            {
                name.removesuffix(".weight"): (
                    left.float().to(backbone.device),
                    right.float().to(backbone.device),
                )
                for name, (left, right) in factors.items()
            }
        )

    def _moments(self, backbone: Backbone, languages: Sequence[str]) -> dict[str, torch.Tensor]:
        """The second moments of each edited layer's keys, by module path."""
        layers = known(self.layers)
        texts = corpus_texts(self.mom2_corpus, self._questions, self.mom2_samples, languages)
        moments = key_covariance(backbone, layers, texts)
        return {backbone.layout.down(layer): moment for layer, moment in moments.items()}

    def _hyper_parameters(self, backbone: Backbone) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no _hyper_parameters()")

    def _values(self, backbone: Backbone) -> dict[str, Any]:
        """The hyper-parameters that all of them have."""
        return {
            "layers": list(known(self.layers)),
            "layer_selection": "all",
            "fact_token": "subject_last",
            "v_num_grad_steps": self.steps,
            "v_lr": self.lr,
            "v_loss_layer": backbone.n_layers - 1,
            "v_weight_decay": self.weight_decay,
            "clamp_norm_factor": self.clamp,
            "kl_factor": self.kl_factor,
            "mom2_adjustment": True,
            "mom2_dataset": "",
            "mom2_n_samples": self.mom2_samples,
            "mom2_dtype": "float32",
            "stats_dir": "",
            **module_paths(backbone),
            **self.common(backbone),
        }


def by_side(factors: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Factors of its MEMIT and EMMET, by parameter name keys [d_in, n] and residuals [d_out, n], as left and right."""
    return {name: (residual, keys.T) for name, (keys, residual) in factors.items()}
