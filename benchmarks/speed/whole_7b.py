"""A whole 7B model on this machine: random weights in the paper's published formats, and `xkeb run` on them from end to end.

The folder has what the release has: a sharded checkpoint in bfloat16 or float16, files of a tokenizer and a configuration. Its
numbers are random, and its pieces are learnt from the tasks' own texts. Each method runs in a process of its own, whose
resident memory and seconds stand beside what a plan says. Trainings are cut short, and MEMIT changes two layers (`SHORT`).

    python benchmarks/speed/whole_7b.py FOLDER --data-dir DIR [--release baichuan2-7b|chinese-llama-2-7b] [--methods M,..]
    python benchmarks/speed/whole_7b.py FOLDER --layers 4 --width 32 --mlp 80 --tasks bizsre_mini_en2zh    # a small one
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

import xkeb
from xkeb.cli.telling import Telling
from xkeb.estimation.estimator import Cost, Estimator
from xkeb.estimation.speed import Speed, measure_speed
from xkeb.evaluation.config import RunConfig
from xkeb.evaluation.planning import plan_run
from xkeb.models.device import pick_device, pick_dtype
from xkeb.registry.options import parse_options

sys.path.extend([str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "tests" / "helpers")])

import upstream
from random_7b import write_encoder

SHARDS = 2
SHORT = {
    "mend": "mend.steps=2,mend.validate_every=1,mend.validation=4",
    "serac": "serac.steps=2,serac.validate_every=1,serac.validation=4,serac.counterfactual=smollm2-135m,"
    "serac.classifier={encoder}",
    "memit": "memit.layers=[7,8],memit.mom2_corpus=task",
}
"""What is cut short, and what has no default that is at hand."""


def write_release(release: str, folder: Path, texts: list[str], width: int, mlp: int, layers: int) -> None:
    """A published folder, a shard at a time: the whole would not fit beside a copy of it."""
    fused = release == "baichuan2-7b"
    config = {**(upstream.BAICHUAN2 if fused else upstream.LLAMA), "hidden_size": width, "intermediate_size": mlp}
    config |= {"num_hidden_layers": layers, "num_attention_heads": max(1, width // 128)}
    config["num_key_value_heads"] = config["num_attention_heads"]
    kind = getattr(torch, config["torch_dtype"])
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for i in range(layers):
        layer = f"model.layers.{i}"
        inner = (
            {"W_pack": (3 * width, width)} if fused else dict.fromkeys(["q_proj", "k_proj", "v_proj"], (width, width))
        )
        shapes |= {f"{layer}.self_attn.{name}.weight": shape for name, shape in inner.items()}
        shapes |= {
            f"{layer}.self_attn.o_proj.weight": (width, width),
            f"{layer}.mlp.gate_proj.weight": (mlp, width),
            f"{layer}.mlp.up_proj.weight": (mlp, width),
            f"{layer}.mlp.down_proj.weight": (width, mlp),
            f"{layer}.input_layernorm.weight": (width,),
            f"{layer}.post_attention_layernorm.weight": (width,),
        }
    shapes |= {"model.norm.weight": (width,), "lm_head.weight": (config["vocab_size"], width)}
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    names = list(shapes)
    placed = {
        name: f"pytorch_model-{1 + i * SHARDS // len(names):05d}-of-{SHARDS:05d}.bin" for i, name in enumerate(names)
    }
    for file in sorted(set(placed.values())):
        tensors = {
            name: torch.ones(shapes[name], dtype=kind)
            if len(shapes[name]) == 1
            else torch.empty(shapes[name], dtype=kind).normal_(0, 0.02)
            for name in names
            if placed[name] == file
        }
        torch.save(tensors, folder / file)
    total = sum(torch.Size(shape).numel() * kind.itemsize for shape in shapes.values())
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    upstream.write_json(folder / "pytorch_model.bin.index.json", index)
    upstream.write_json(folder / "config.json", config)
    token = {
        f"{name}_token": upstream.special(text) for name, text in [("bos", "<s>"), ("eos", "</s>"), ("unk", "<unk>")]
    }
    settings = {"add_bos_token": not fused, "add_eos_token": False, **token}
    settings["tokenizer_class"] = "BaichuanTokenizer" if fused else "LlamaTokenizer"
    pieces = upstream.sentencepieces(texts, 8000 if width >= 1024 else 1400, dummy_prefix=not fused)
    upstream.write_tokenizer(folder, upstream.fill_up(pieces, config["vocab_size"]), settings)


def planned(config: RunConfig) -> tuple[Cost, Speed]:
    """What `xkeb run --plan` says of the first task."""
    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    job = plan_run(config, "estimate").jobs[0]
    assert job.skeleton is not None
    estimator = Estimator(job.skeleton, dtype, device=str(device), name=job.model)
    cost = estimator.cost(job.editor, job.cases, job.training() if job.needs_training else ())
    return cost, measure_speed(device, dtype)


def ran(config: RunConfig, method_args: str) -> list[dict[str, Any]]:
    """The results of `xkeb run` in a process of its own, of one method."""
    assert config.methods
    more = ["--method-args", method_args] if method_args else []
    more += ["--data-dir", str(config.data_dir)] if config.data_dir else []
    command = [
        *(sys.executable, "-c", "from xkeb.cli import main; main()", "run", "--fresh"),
        *("--tasks", ",".join(config.tasks), "--model", config.models[0], "--methods", ",".join(config.methods)),
        *("--model-args", f"path={config.model_args['path']},size=any", "--dtype", config.dtype),
        *("--limit", str(config.limit), "--train-size", str(config.train_size), "--batch-size", "1"),
        *("--output", str(config.output), *more),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{config.methods[0]}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(config.output.rglob("result.json"))]


@click.command(cls=Telling)
@click.argument("folder", type=Path)
@click.option(
    "--release", type=click.Choice(["baichuan2-7b", "chinese-llama-2-7b"]), default="baichuan2-7b", show_default=True
)
@click.option("--methods", default="ft,kn,ike,mend,serac,rome,memit", show_default=True)
@click.option("--tasks", default="bizsre_en2zh,bizsre_zh2en", show_default=True)
@click.option("--limit", default=1, show_default=True, help="Cases of each task.")
@click.option("--train-size", default=800, show_default=True, help="Facts; MEMIT needs more tokens than a key is wide.")
@click.option("--data-dir", type=Path)
@click.option("--width", default=4096, show_default=True)
@click.option("--mlp", default=11008, show_default=True)
@click.option("--layers", default=32, show_default=True)
def main(folder: Path, release: str, methods: str, tasks: str, data_dir: Path | None, **options: Any) -> None:
    shape = {name: options[name] for name in ("width", "mlp", "layers")}
    if not folder.exists():
        cases = [case for name in tasks.split(",") for case in xkeb.load_task(name, data_dir=data_dir)]
        texts = [text for case in cases for text in (*case.edit.questions.values(), *case.edit.translations.values())]
        texts += [probe.prompt for case in cases for probe in case.probes]
        began = time.perf_counter()
        write_release(release, folder, texts, **shape)
        click.echo(f"{release}: written in {time.perf_counter() - began:.0f} s")
    columns = ["method", "load, s", "learn, s", "before, s a case", "edit, s a case: run / plan"]
    columns += ["evaluate, s a case: run / plan", "resident, GB", "plan, GB", "ratio"]
    click.echo(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    with tempfile.TemporaryDirectory() as work:
        encoder = write_encoder(Path(work) / "encoder", small=True)
        for method in methods.split(","):
            args = SHORT.get(method, "").format(encoder=encoder)
            if shape["layers"] < 32:
                args = args.replace("[7,8]", "[1,2]")
            config = RunConfig(
                tasks=tasks.split(","),
                models=[release],
                methods=[method],
                model_args={"path": str(folder), "size": "any"},
                method_args=parse_options(args, "--method-args"),
                limit=options["limit"],
                train_size=options["train_size"],
                batch_size=1,
                data_dir=data_dir,
                device="cpu",
                dtype="bfloat16",
                output=Path(work) / method,
            )
            cost, speed = planned(config)
            results = ran(config, args)
            click.echo(row(method, results, cost, speed))


def row(method: str, results: list[dict[str, Any]], cost: Cost, speed: Speed) -> str:
    """Of the table: seconds are means over the cases of all tasks."""
    phases = [result["timing"]["phases"] for result in results]
    count = sum(len(result["case_ids"]) for result in results)

    def each(name: str) -> float:
        return sum(phase[name] for phase in phases) / count

    resident = max(result["timing"]["peak_memory_bytes"] for result in results) / 1e9
    cells = [
        method,
        f"{phases[0]['load']:.0f}",
        f"{sum(phase['fit'] for phase in phases):.0f}",
        f"{each('before'):.1f}",
    ]
    cells += [f"{each(name):.1f} / {cost.seconds(speed, [name]):.1f}" for name in ("edit", "evaluate")]
    cells += [f"{resident:.1f}", f"{cost.peak / 1e9:.1f}", f"{cost.peak / 1e9 / resident:.2f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
