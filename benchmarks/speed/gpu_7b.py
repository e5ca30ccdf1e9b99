"""Seconds a case, the share of the card's peak that this is, and peak memory of all seven methods on a random-weight model in
the shape of LLaMA-2-7B or Baichuan2-7B.

What is measured does not depend on what the weights are. The tokenizer is trained on the shipped questions, so texts are a
little longer in tokens than with the published ones. SERAC's and IKE's own models are random, too, in the defaults' shape.
Operations are counted in a dry run of the heaviest batch (`xkeb.estimation.estimator`), with every step that a method may
make; seconds are of the steps that it made, which with random weights is nearly always all of them.

    python benchmarks/speed/gpu_7b.py [--shape llama2|baichuan2] [--limit 8] [--data-dir DIR]
    python benchmarks/speed/gpu_7b.py --layers 4 --width 64 --vocabulary 2000 --device cpu --limit 2    # a small one
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import xkeb
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.executors.local import run_jobs
from xkeb.evaluation.job import Job
from xkeb.evaluation.planning import plan_run
from xkeb.models.backbone import Backbone
from xkeb.models.device import pick_device, pick_dtype
from xkeb.models.skeleton import Skeleton
from xkeb.registry.manager import get_plugins
from xkeb.results.schema import Result
from xkeb.utils.hashing import digest
from xkeb.utils.progress_bars import show_progress_bars

SHAPES = {"llama2": 55296, "baichuan2": 125696}
"""Vocabularies; the rest is the same."""
NAME = "random-7b"
TEST_SET = 1037
"""Cases of one direction."""
SHORT: dict[str, dict[str, Any]] = {
    "mend": {"steps": 20, "validation": 8, "validate_every": 10},
    "serac": {"steps": 4, "validation": 8, "validate_every": 2},
}
"""Trainings are cut short: their memory is that of a whole one, their seconds a step are told apart from the edits'."""


@dataclass(frozen=True)
class Random:
    """A random LLaMA; the fields are its ``--model-args``."""

    vocabulary: int = 55296
    layers: int = 32
    width: int = 4096
    tokenizer: ClassVar[PreTrainedTokenizerFast]

    def skeleton(self) -> Skeleton:
        return Skeleton(self._model(torch.device("meta"), torch.float32))

    def load(self, device: torch.device, dtype: torch.dtype) -> Backbone:
        model = self._model(device, dtype)
        return Backbone(NAME, model, self.tokenizer, digest([self.vocabulary, self.layers, self.width, str(dtype)]))

    def _model(self, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
        heads = max(1, self.width // 128)
        config = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=round(self.width * 2.6875),
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            tie_word_embeddings=False,
        )
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                return LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)


def texts(tasks: list[str], data_dir: Path | None) -> Iterator[str]:
    for name in tasks:
        for case in xkeb.load_task(name, data_dir=data_dir):
            yield from (case.edit.prompt, case.edit.target, *(probe.prompt for probe in case.probes))


def train_tokenizer(sentences: Iterator[str], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=min(size, 8000), special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def write_encoder(folder: Path, small: bool) -> str:
    """A sentence encoder and scope classifier in the shape of a distilled BERT."""
    folder.mkdir()
    words = sorted({*"abcdefghijklmnopqrstuvwxyz0123456789", *map(chr, range(0x4E00, 0x5E00))})
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"##{word}" for word in words)]),
        encoding="utf-8",
    )
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    width, layers = (32, 2) if small else (768, 6)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=width,
        intermediate_size=2 * width if small else 4 * width,
        num_attention_heads=2 if small else 12,
        num_hidden_layers=layers,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def write_counterfactual(folder: Path, tokenizer: PreTrainedTokenizerFast, small: bool) -> str:
    """SERAC's counterfactual model in the shape of llama-160m: 12 layers of width 768."""
    width, layers = (32, 2) if small else (768, 12)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64),
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def counted(job: Job, device: torch.device, dtype: torch.dtype) -> Cost:
    """What there is to do."""
    assert job.skeleton is not None
    estimator = Estimator(job.skeleton, dtype, Random.tokenizer, str(device), name=NAME)
    return estimator.cost(job.editor, job.cases, job.training() if job.needs_training else ())


def row(result: Result, cost: Cost, peak: float) -> str:
    """Of the seconds of editing and evaluating; the answers before them are made once for all methods."""
    timing, count = result.timing, len(result.case_ids)
    edit, evaluate = timing.edit_seconds / count, timing.evaluate_seconds / count
    learn = timing.wall_seconds - timing.edit_seconds - timing.evaluate_seconds
    cells = [result.method.name, f"{edit:.2f}", f"{evaluate:.2f}", f"{learn:.0f}"]
    if cost.unknown:
        cells += ["?", "?"]
    else:
        work = sum(cost.works[part].flops for part in ("edit", "evaluate")) / 1e12
        cells += [f"{work:.3g}", f"{100 * work / (edit + evaluate) / peak:.0f}"]
    cells += [f"{TEST_SET * (edit + evaluate) / 60:.1f}", f"{timing.peak_memory_bytes / 1e9:.1f}"]
    return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--shape", type=click.Choice(list(SHAPES)), default="llama2", show_default=True)
@click.option("--methods", default="ft,serac,ike,mend,kn,rome,memit", show_default=True)
@click.option("--task", default="bizsre_mini_en2zh", show_default=True)
@click.option("--limit", default=8, show_default=True)
@click.option("--train-size", default=200, show_default=True)
@click.option("--data-dir", type=Path)
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="bfloat16", show_default=True)
@click.option("--layers", default=32, show_default=True)
@click.option("--width", default=4096, show_default=True)
@click.option("--vocabulary", type=int, help="[default: the shape's]")
@click.option("--peak", default=989.0, show_default=True, help="TFLOP/s of the device in this precision; an H100's.")
def main(
    shape: str,
    methods: str,
    task: str,
    limit: int,
    train_size: int,
    data_dir: Path | None,
    device: str,
    dtype: str,
    layers: int,
    width: int,
    vocabulary: int | None,
    peak: float,
) -> None:
    place = pick_device(device)
    size = vocabulary or SHAPES[shape]
    small = width < 1024
    Random.tokenizer = train_tokenizer(texts([task], data_dir), size)
    get_plugins().models.register(__name__, NAME, Random)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    click.echo(f"{shape}: {layers} layers, width {width}, vocabulary {size:,}, {dtype}, {name}")
    columns = ["method", "edit, s a case", "evaluate, s a case", "the rest, s", "TFLOP a case", "% of the peak"]
    columns += [f"{TEST_SET:,} cases, min", "peak memory, GB"]
    click.echo(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder, show_progress_bars(False):
        encoder = write_encoder(Path(folder) / "encoder", small)
        model = write_counterfactual(Path(folder) / "counterfactual", Random.tokenizer, small)
        chosen = {**SHORT, "ike": {"encoder": encoder}}
        chosen["serac"] = {**SHORT["serac"], "classifier": encoder, "counterfactual": model}
        for method in methods.split(","):
            gc.collect()
            if place.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(place)
            options = {f"{method}.{option}": value for option, value in chosen.get(method, {}).items()}
            config = RunConfig(
                tasks=[task],
                models=[NAME],
                methods=[method],
                model_args={"vocabulary": size, "layers": layers, "width": width},
                method_args=options,
                limit=limit,
                train_size=train_size,
                device=device,
                dtype=dtype,
                data_dir=data_dir,
                output=Path(folder) / "results",
            )
            try:
                (job,) = plan_run(config).jobs
                (result,) = run_jobs([job], config)
                cost = counted(job, place, pick_dtype(dtype, place))
            except xkeb.XkebError as error:  # one method that fails doesn't cost the others' numbers
                click.echo(f"| {method} | {' '.join(str(error).split())} |{' |' * (len(columns) - 2)}")
            else:
                click.echo(row(result, cost, peak))


if __name__ == "__main__":
    main()
