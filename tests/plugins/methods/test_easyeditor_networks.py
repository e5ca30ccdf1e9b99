"""The networks of MEND and SERAC against EasyEdit's own, on the same small weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from xkeb_plugins.methods.easyeditor.package import module
from xkeb_plugins.methods.mend.network import GradientTransform, Shape
from xkeb_plugins.methods.serac.scope import Measure, load_encoder

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("easyeditor", "higher")),
    reason="pip install --no-deps easyeditor==0.0.1.dev0 higher; pip install einops",
)

D_IN, D_OUT, MODES, RANK = 6, 4, 3, 5


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_mends_transform(combine: bool, norm: bool) -> None:
    config = SimpleNamespace(
        combine=combine, norm=norm, one_sided=False, x_only=False, delta_only=False,
        mlp_class="IDMLP", n_hidden=1, init="id", act="relu", rank=RANK,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = module("trainer.algs.MEND").GradientTransform(D_IN, D_OUT, config, n_modes=MODES)
    ours = GradientTransform(D_IN, D_OUT, MODES, Shape(RANK, 1, norm, combine), torch.Generator().manual_seed(1))
    columns = [theirs.mlp] if combine else [theirs.mlp1, theirs.mlp2]
    for mine, column in zip(ours.columns, columns, strict=True):
        for layer, other in zip(mine, column.layers, strict=True):  # type: ignore[call-overload]
            for name in ("u", "v", "bias"):
                getattr(layer, name).data.normal_()
                getattr(other, name).data.copy_(getattr(layer, name))
            for name in ("scale", "shift"):
                getattr(layer, name).data.normal_()
                getattr(other, f"mode_{name}").weight.data.copy_(getattr(layer, name))
    seen_u, seen_v = torch.randn(40, D_IN) * 2 + 1, torch.randn(40, D_OUT) / 3
    theirs.train()
    theirs(seen_u, seen_v, param_idx=0)  # it takes its statistics token by token
    theirs.eval()
    ours.observe(seen_u[:13], seen_v[:13])
    ours.observe(seen_u[13:], seen_v[13:])
    u, v = torch.randn(7, D_IN), torch.randn(7, D_OUT)
    for mode in range(MODES):
        for mine, its in zip(ours(u, v, mode), theirs(u, v, param_idx=mode), strict=True):
            assert torch.allclose(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cos", "square", "bound"), [(False, True, False), (True, False, False), (False, False, True)])
def test_seracs_similarity(tiny_bert: Path, cos: bool, square: bool, bound: bool) -> None:
    """``exp(-distance)`` of CLS embeddings, for every pair of a remembered question and a new one."""
    remembered = ["What is the capital of France?", "法国的首都是哪里？"]
    asked = ["Which city is the capital of France?", "Who wrote Hamlet?", "谁写了《哈姆雷特》？"]
    classifier = AutoModel.from_pretrained(tiny_bert)
    classifier.pooler = None
    config = SimpleNamespace(
        device="cpu", cls_name="tiny-bert", dist_heads=1, bound_embeds=bound, cos=cos, square=square
    )
    its: Any = SimpleNamespace(
        classifier=classifier.eval(),
        classifier_tok=AutoTokenizer.from_pretrained(tiny_bert),
        config=config,
        scale=torch.tensor(1.0),
    )
    with torch.no_grad():
        theirs = module("trainer.algs.SERAC").SERAC.embedding_logsim_matrix(its, remembered, asked).exp()
    vectors = load_encoder(str(tiny_bert), torch.device("cpu")).embed([*remembered, *asked])
    measure = Measure(cos, square, bound)
    ours = torch.tensor(
        [[float(torch.exp(-measure.distance(vectors[z], vectors[x]))) for z in remembered] for x in asked]
    )
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert len({round(value, 3) for value in theirs.flatten().tolist()}) > 3


def test_seracs_counterfactual_model_sees_what_its_own_sees() -> None:
    """The edit, then the question: ``z + " " + x``, where z is the edit's question and answer."""
    from xkeb.types import Edit
    from xkeb_plugins.methods.serac.counterfactual import shown

    its: Any = SimpleNamespace(
        model=SimpleNamespace(name_or_path="llama"), cache_inputs=["Who wrote Hamlet? Marlowe"], cache_labels=[""]
    )
    (context,) = module("trainer.algs.SERAC").SERAC.build_rep_cache_contexts(its)
    assert shown(Edit("Who wrote Hamlet?", "Marlowe", "en")) == context
