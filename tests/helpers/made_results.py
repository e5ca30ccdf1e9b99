"""Results made up in the true format, for the site."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from sealed_lines import sealed_text

from xkeb.results.group import comparable_group
from xkeb.results.result import SCHEMA_VERSION, Result
from xkeb.results.settings import HEADLINES
from xkeb.tasks.asked import RELEASED

Json = dict[str, Any]
Cell = tuple[str, str]

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}{% raw %}${7*7}",
    "../../../x",
    "\"'><b>`",
    "\u202eright to left שלום",
    "</script><script>alert(1)</script>",
    "<a href='javascript:alert(1)'>click</a>",
    "=HYPERLINK(1)",
    "w" * 3000,
    "&lt;b&gt; \u2028 \u0000 \x1b[31m",
)
"""Texts that a page, a table, a file's name or a picture could take for something else."""


def score(mean: float, low: float | None = None, high: float | None = None, n: int = 4) -> Json:
    interval = [mean if low is None else low, mean if high is None else high]
    return {"mean": mean, "stderr": 1.0, "ci95": interval, "n": n, "n_clusters": n}


def released_rules(**changes: Any) -> Json:
    """The options of the paper's protocol, every rule as the released code has it."""
    rules = {**RELEASED, "reliability": "own", "tokenizer": "plus", "tokenizer_sha256": "4" * 64, "scorer": "growing"}
    return rules | changes


def result(
    task: str = "bizsre_en2zh",
    source: str = "en",
    target: str = "zh",
    model: str = "chinese-llama-2-7b",
    method: str = "rome",
    f1: Mapping[Cell, Json] | None = None,
    n_cases: int = 4,
    protocol: str = "teacher_forcing",
    **changes: Any,
) -> Json:
    """A result.json.

    Args:
        f1: scores that differ from 50, with an interval from 40 to 60, in the metric that the protocol's tables call F1.
        changes: of the file's fields.
    """
    cells = [("reliability", source)]
    cells += [(name, code) for name in ("generality", "locality", "portability") for code in (source, target)]

    headline, exact = HEADLINES[protocol]

    def scores(default: float, special: Mapping[Cell, Json]) -> Json:
        found: Json = {}
        for cell in cells:
            metrics = {
                headline: special.get(cell, score(default, default - 10, default + 10)),
                exact: score(default / 2),
            }
            found.setdefault(cell[0], {})[cell[1]] = metrics
        return found

    return {
        "schema_version": SCHEMA_VERSION,
        "task": {
            "name": task,
            "version": 1,
            "source": source,
            "target": target,
            "dataset": {"name": "bizsre", "sha256": "1" * 64, "n_cases": n_cases},
        },
        "model": {
            "name": model,
            "dtype": "float32",
            "n_parameters": 7,
            "sha256": "2" * 64,
            "plugin": model,
            "args": {},
            "revision": None,
        },
        "method": {
            "name": method,
            "params": {"layer": 5},
            "sees": ["source_edit"],
            "training_sha256": None,
            "train_size": None,
        },
        "protocol": protocol,
        "protocol_args": {} if protocol == "teacher_forcing" else released_rules(),
        "prompt": "plain",
        "regime": "single",
        "scorer": f"{headline}+{exact}",
        "comparable_group": f"{task}/{protocol}",
        "metrics": [headline, exact],
        "seed": 0,
        "selection": "all",
        "scores": scores(50.0, f1 or {}),
        "scores_before": scores(20.0, {}),
        "slices": {},
        "slices_before": {},
        "second_turn": {},
        "blank": {},
        "skipped": [],
        "case_ids": [str(i) for i in range(n_cases)],
        "timing": {
            "edit_seconds": 8.0,
            "evaluate_seconds": 4.0,
            "wall_seconds": 14.0,
            "peak_memory_bytes": 5,
            "phases": {"load": 2.0, "before": 1.0, "fit": 0.0, "edit": 8.0, "evaluate": 4.0, "suite": 1.0},
        },
        "environment": {"device": "cpu", "date": "2026-11-22"},
        "command": "xkeb run",
        "settings": "3" * 64,
    } | changes


def case(i: int, after: str = "Lyon", source: str = "en", target: str = "zh", prompt: str = "What is it?") -> Json:
    """A line of cases.jsonl; the edit takes in even cases, and crosses over in those that 10 divides."""
    asked = [("reliability", source)]
    asked += [(name, code) for code in (source, target) for name in ("generality", "locality", "portability")]
    probes = []
    for name, code in asked:
        right = i % 10 == 0 if code != source else i % 2 == 0
        probes.append(
            {
                "property": name,
                "language": code,
                "prompt": f"{prompt} ({i})",
                "reference": "Lyon",
                "before": "Paris",
                "after": after if right else "Paris",
                "scores": {"f1": 1.0 if right else 0.254, "em": float(right)},
                "scores_before": {"f1": 0.0, "em": 0.0},
                "tokens": {"reference": [1], "before": [2], "after": [1]},
                "blank": False,
            }
        )
    return {
        "case_id": str(i),
        "status": "ok",
        "reason": None,
        "edit": {"prompt": prompt, "subject": "it", "target": "Lyon", "language": source},
        "probes": probes,
        "seconds": {"edit": 2.0, "evaluate": 1.0},
        "settings": "3" * 64,
    }


def answered(n: int, right: Container[int], cell: Cell = ("generality", "zh"), subjects: int = 10**6) -> list[Json]:
    """Cases whose F1 in one place is 1 in those that are right, else 0. Each `subjects`-th case has the same subject."""
    cases = [case(i) for i in range(n)]
    for i, made in enumerate(cases):
        made["edit"]["subject"] = f"subject {i % subjects}"
        for probe in made["probes"]:
            if (probe["property"], probe["language"]) == cell:
                probe["scores"]["f1"] = float(i in right)
    return cases


def grouped(made: Json) -> Json:
    """With the group that it is comparable in."""
    return made | {"comparable_group": comparable_group(Result.model_validate(made))}


def crossed(source: str, transfers: dict[str, float], method: str = "rome") -> Json:
    """A result of several targets."""
    first, *_ = transfers
    made = result(f"mzsre_{source}2all", source, first, "gemma3-270m", method)
    made["task"] = {key: value for key, value in made["task"].items() if key != "target"} | {"targets": list(transfers)}
    for scores in (made["scores"], made["scores_before"]):
        for name in ("generality", "locality", "portability"):
            scores[name] = dict.fromkeys((source, *transfers), scores[name][source])
    records = {}
    for code, value in transfers.items():
        record = {
            "gain": value / 2,
            "gain_source": 50.0,
            "transfer": value,
            "ci95": None,
            "both": score(max(0, value / 4)),
        }
        records[code] = {"f1": record, "em": record}
    return grouped(made | {"crossing": {"all": records}})


def put(folder: Path, made: Json, cases: Sequence[Json] | None = None) -> Path:
    """Writes both files; cases are made where none are given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(made), encoding="utf-8")
    source, target = made["task"]["source"], made["task"]["target"]
    lines = [case(i, source=source, target=target) for i in range(len(made["case_ids"]))] if cases is None else cases
    (folder / "cases.jsonl").write_text(sealed_text(lines), encoding="utf-8")
    return folder


def put_several(folder: Path, *made: Json) -> Path:
    """Each in a folder of its own; a task may have several targets."""
    for i, one in enumerate(made):
        target = one["task"].setdefault("target", None)  # what `put` makes lines with
        put(folder / str(i), {**one, "task": {**one["task"], "target": target or one["task"]["targets"][0]}})
        text = Result.model_validate({**one, "task": {k: v for k, v in one["task"].items() if v is not None}})
        text.save(folder / str(i))
    return folder


def put_hostile(folder: Path) -> None:
    """A result a text, with the text in every field that takes any."""
    for i, text in enumerate(HOSTILE):
        made = result(
            text,
            f"{text}a",
            f"{text}b",
            text,
            text,
            skipped=[{"case_id": text, "reason": text}],
            command=text,
            metrics=[text],
            slices={},
            comparable_group=text,
            environment={"device": text, "date": text, text: {text: [text]}},
            case_ids=[text, *"123"],
        )
        made["method"]["params"] = {text: text}
        made["slices"] = made["slices_before"] = {f"{kind}={text}": made["scores"] for kind in ("answers", text)}
        agreed = {"both_right": 1, "both_wrong": 1, "judge_only": 0, "metric_only": 0, "percent": 100.0, "kappa": 1.0}
        made["judge"] = {
            "model": text, "endpoint": text, "args": {text: text}, "prompt": text, "prompt_sha256": "5" * 64, "asked": 1,
            "cached": 0, "blank": 0, "itself": 0, "undecided": {text: 1}, "agreement": {text: {text: agreed}},
        }  # fmt: skip
        made["model"] |= {"plugin": text, "args": {text: text}, "revision": text, "dtype": text, "sha256": text}
        made["task"]["dataset"]["name"] = text
        lines = [case(k, text, f"{text}a", f"{text}b", text) for k in range(4)]
        lines[0]["case_id"] = text
        lines[0]["edit"] |= {"target": text, "subject": text}
        for probe in lines[0]["probes"]:
            verdict = {"verdict": "undecided", "reason": text}
            probe |= {"reference": text, "before": text, "judged": {"before": verdict, "after": verdict}}
        put(folder / str(i), made, lines)
