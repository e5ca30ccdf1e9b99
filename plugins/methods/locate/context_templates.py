"""Context prefixes: short texts sampled from the model, before which an edited fact must hold as well.

ROME (Meng et al., 2022, Section 3.1 and Appendix E.5) averages keys and losses over them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from xkeb.errors import RequestError
from xkeb.models.backbone import Backbone
from xkeb.utils.artifacts import cached_tensors

OPENINGS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5


def context_prefixes(backbone: Backbone, lengths: Sequence[tuple[int, int]], seed: int) -> tuple[str, ...]:
    """What stands before the prompt: nothing, and sampled beginnings, each ending in ``". "``.

    Args:
        lengths: (tokens, how many) of the sampled texts, ``((5, 10), (10, 10))`` for ROME's own twenty.
        seed: of the generator they are drawn from. They are kept under the backbone's hash, so an edit made again in
            another process, or on another device, has the same ones.
    """
    key = {
        "backbone": backbone.sha256,
        "lengths": [list(pair) for pair in lengths],
        "seed": seed,
        "top_k": TOP_K,
        "dtype": str(backbone.dtype),
    }
    tensors = cached_tensors("contexts", key, functools.partial(_sample_all, backbone, lengths, seed))
    texts = [
        str(backbone.tokenizer.decode(tensors[name].tolist(), skip_special_tokens=True)) for name in sorted(tensors)
    ]
    return ("", *(f"{text.strip()}. " for text in texts))


def _sample_all(backbone: Backbone, lengths: Sequence[tuple[int, int]], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows: list[torch.Tensor] = []
    for n_tokens, count in lengths:
        rows += [_sample(backbone, OPENINGS[i % len(OPENINGS)], n_tokens, generator) for i in range(count)]
    return {f"{i:03d}": row for i, row in enumerate(rows)}


@torch.inference_mode()
def _sample(backbone: Backbone, opening: str, n_tokens: int, generator: torch.Generator) -> torch.Tensor:
    """`opening` and what follows it, `n_tokens` in all (special ones aside), from the `TOP_K` likeliest at each step."""
    ids = list(backbone.encode(opening).ids)
    length = len(ids) + n_tokens - 1
    while len(ids) < length:
        logits = backbone.logits(backbone.hidden(torch.tensor([ids], device=backbone.device))[:, -1])
        top = logits.float().cpu().squeeze(0).topk(TOP_K)
        choice = torch.multinomial(top.values.softmax(-1), 1, generator=generator)
        ids.append(int(top.indices[choice]))
    return torch.tensor(ids)


def as_prefixes(templates: Sequence[str]) -> tuple[str, ...]:
    """Prefixes of templates that may be written as EasyEdit writes them, with ``{}`` where the prompt goes.

    Raises:
        RequestError: something stands after the prompt.
    """
    prefixes = []
    for template in templates:
        before, place, after = template.partition("{}")
        if place and after:
            raise RequestError(
                f"The context template {template!r} goes on after the prompt; only what stands before it can."
            )
        prefixes.append(before)
    return tuple(prefixes)
