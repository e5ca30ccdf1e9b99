"""How often the released code's way of joining text gives other tokens than the ids of the whole text.

The released code predicts token i of an answer from the text ``prompt + " " + decode(t1..ti-1)`` (without the space for
portability), tokenised anew each time. Here the ids of prompt and answer are tokenised once. The two ask the same where
each of those texts tokenises to the beginning of those ids.

    python benchmarks/truth/joining.py --data-dir DIR [--model M[,M]]
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

import xkeb
from xkeb.cli.telling import Telling
from xkeb.models.backbone import Backbone
from xkeb.models.tokenization import encode
from xkeb.registry.manager import get_plugins
from xkeb.types import Probe


def same_tokens(backbone: Backbone, probe: Probe, separator: str) -> bool:
    """Whether every growing text tokenises to the beginning of the ids of the whole."""
    tokenizer = backbone.tokenizer
    whole = encode(tokenizer, probe.prompt, probe.reference, separator)
    given = encode(tokenizer, probe.prompt).ids
    # A token that holds nothing but the separator is given, not predicted; the released code doesn't have it at first.
    if given != whole.ids[: len(given)] or whole.target - len(given) not in (0, 1):
        return False
    for i in range(1, len(whole.target_ids)):
        answer = str(tokenizer.decode(list(whole.target_ids[:i]), clean_up_tokenization_spaces=False)).lstrip(" ")
        if encode(tokenizer, probe.prompt + separator + answer).ids != whole.ids[: whole.target + i]:
            return False
    return True


def same_answer(backbone: Backbone, probe: Probe, separator: str) -> bool:
    """Whether another separator gives the answer the same ids as the language's own."""
    ours = backbone.encode(probe.prompt, probe.reference, probe.language)
    return ours.target_ids == encode(backbone.tokenizer, probe.prompt, probe.reference, separator).target_ids


@click.command(cls=Telling)
@click.option("--model", default="gemma3-270m,smollm2-135m", show_default=True)
@click.option("--data-dir", type=Path)
def main(model: str, data_dir: Path | None) -> None:
    for name in model.split(","):
        backbone = xkeb.load_backbone(name, device="cpu")
        counts: Counter[tuple[str, str]] = Counter()
        for case in xkeb.load_task("bizsre_en2zh", data_dir=data_dir):
            for probe in case.probes:
                counts[probe.language, "probes"] += 1
                released = "" if probe.property == "portability" else " "
                own = get_plugins().languages.get(probe.language).separator
                counts[probe.language, "growing texts keep their tokens, released joiner"] += same_tokens(
                    backbone, probe, released
                )
                counts[probe.language, "growing texts keep their tokens, our joiner"] += same_tokens(
                    backbone, probe, own
                )
                counts[probe.language, "answer has the same ids with either joiner"] += same_answer(
                    backbone, probe, released
                )
        for (language, what), count in sorted(counts.items()):
            click.echo(f"{name}  {language}  {what}: {count}")


if __name__ == "__main__":
    main()
