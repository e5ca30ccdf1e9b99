"""Results as records of Every Eval Ever, the shared schema of evaluation results (https://github.com/evaleval/every_eval_ever).

Version 0.3.0 of the schema: an aggregate record a result, with the two metrics of its protocol's tables for every property and
language, and an instance record for each answer that such a mean is of. The schema knows models, not edits of them: the
method stands in the name and among the additional details of the model.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xkeb.errors import RequestError
from xkeb.results.lines import CaseRecord, ProbeRecord
from xkeb.results.reader import open_result
from xkeb.results.result import Result
from xkeb.results.scores import Score
from xkeb.results.settings import headline_metrics
from xkeb.results.spread import LEVEL, RESAMPLES
from xkeb.utils.hashing import digest_file

VERSION = "0.3.0"
BENCHMARK = "xkeb"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Submitter:
    """What a record says that no result does."""

    organization: str
    """Who made the results."""
    relationship: str = "other"
    """Between them and the model's developer: first_party, third_party, collaborative or other."""
    developer: str | None = None
    """Who made the model."""


def export_records(path: Path, output: Path, submitter: Submitter, retrieved: float) -> list[Path]:
    """Writes the two files of each result, as ``data/xkeb/DEVELOPER/MODEL/UUID.json`` and ``UUID_samples.jsonl``.

    Args:
        path: a result.json, or the folder of one.
        output: a folder; records of other results may be there.
        retrieved: seconds since 1970, when the records are made.

    Raises:
        RequestError: the result can't be read whole, or the folder can't be written.
    """
    file, result, cases = open_result(path)
    identity = digest_file(file)
    name = str(
        uuid.UUID(bytes=hashlib.sha256(identity.encode()).digest()[:16], version=4)
    )  # the same for the same file
    developer, model = _model_id(result, submitter).split("/")
    place = Path("data", BENCHMARK, developer, model)
    samples = place / f"{name}_samples.jsonl"
    record = aggregate_record(result, identity, submitter, retrieved)
    lines = [json.dumps(one, ensure_ascii=False, allow_nan=False) for one in instance_records(result, cases, record)]
    content = "".join(f"{line}\n" for line in lines)
    record["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": samples.as_posix(),
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(content.encode()).hexdigest(),
        "total_rows": len(lines),
    }
    written = [output / place / f"{name}.json", output / samples]
    try:
        written[0].parent.mkdir(parents=True, exist_ok=True)
        written[1].write_text(content, encoding="utf-8")
        written[0].write_text(
            json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise RequestError(f"Can't write to {output}: {error.strerror}.") from error
    return written


def aggregate_record(result: Result, identity: str, submitter: Submitter, retrieved: float) -> dict[str, Any]:
    """A result as ``eval.schema.json`` has it, without the file of its answers.

    Args:
        identity: hash of the result's file.
    """
    model_id = _model_id(result, submitter)
    environment = result.environment
    source = {"source_type": "other", "dataset_name": result.task.dataset.name}
    details = {"sha256": result.task.dataset.sha256, "task": result.task.name, "version": str(result.task.version)}
    date = environment.get("date")
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{BENCHMARK}/{model_id}/{retrieved}",
        **({"evaluation_timestamp": str(date)} if date else {}),
        "retrieved_timestamp": str(retrieved),
        "source_metadata": {
            "source_name": "xkeb: cross-lingual knowledge editing",
            "source_type": "evaluation_run",
            "source_organization_name": submitter.organization,
            "evaluator_relationship": submitter.relationship,
            "additional_details": {"result_sha256": identity, "settings": result.settings, "command": result.command},
        },
        "eval_library": {"name": "xkeb", "version": str(environment.get("xkeb") or UNKNOWN)},
        "model_info": {
            "name": f"{result.model.name}, edited by {result.method.name}",
            "id": model_id,
            **({"developer": submitter.developer} if submitter.developer else {}),
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights" if result.model.revision else UNKNOWN,
                "method": result.method.name,
                "method_params": json.dumps(result.method.params, ensure_ascii=False, default=str),
                "method_sees": ", ".join(result.method.sees),
                "dtype": result.model.dtype,
            },
        },
        "evaluation_results": [
            {
                "evaluation_result_id": _result_id(property_, language, metric),
                "evaluation_name": f"{result.task.name}: {property_} in {language}",
                "source_data": {**source, "additional_details": details},
                "metric_config": {
                    "metric_id": f"{BENCHMARK}.{metric}",
                    "metric_name": metric,
                    "metric_unit": "percent",
                    "evaluation_description": f"{property_} of edits in {result.task.source}, asked in {language}",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0,
                    "max_score": 100,
                    "additional_details": {
                        "protocol": result.protocol,
                        "prompt": result.prompt,
                        "group": result.comparable_group,
                    },
                },
                "score_details": _score(score),
            }
            for property_, language, metric, score in _headlines(result)
        ],
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "score": score.mean,
        "uncertainty": {
            "standard_error": {"value": score.stderr, "method": "cluster-robust, by subject"},
            "confidence_interval": {
                "lower": score.ci95[0],
                "upper": score.ci95[1],
                "confidence_level": LEVEL,
                "method": "percentile bootstrap over subjects",
            },
            "num_samples": score.n,
            "num_bootstrap_samples": RESAMPLES,
        },
        "details": {"n_subjects": str(score.n_clusters)},
    }


def _headlines(result: Result) -> Iterator[tuple[str, str, str, Score]]:
    metrics = headline_metrics(result.protocol, result.metrics)
    for name, languages in result.scores.items():
        for language, scores in languages.items():
            yield from ((name, language, metric, scores[metric]) for metric in metrics if metric in scores)


def instance_records(
    result: Result, cases: Mapping[str, CaseRecord], aggregate: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The answers as ``instance_level_eval.schema.json`` has them: one for each question and metric."""
    metrics = headline_metrics(result.protocol, result.metrics)
    for case in cases.values():
        for probe in case.probes:
            if not probe.blank:
                yield from (
                    _instance(case, probe, metric, result, aggregate) for metric in metrics if metric in probe.scores
                )


def _instance(
    case: CaseRecord, probe: ProbeRecord, metric: str, result: Result, aggregate: Mapping[str, Any]
) -> dict[str, Any]:
    expected = probe.before if probe.property == "locality" else probe.reference
    said = probe.raw.after if probe.raw else probe.after
    cut = "cut by the protocol" if probe.raw else "none"
    return {
        "schema_version": VERSION,
        "evaluation_id": aggregate["evaluation_id"],
        "model_id": aggregate["model_info"]["id"],
        "evaluation_name": f"{result.task.name}: {probe.property} in {probe.language}",
        "evaluation_result_id": _result_id(probe.property, probe.language, metric),
        "sample_id": case.case_id,
        "sample_hash": hashlib.sha256((probe.prompt + expected).encode("utf-8", "surrogatepass")).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": probe.prompt, "reference": [expected, *(probe.aliases or ())]},
        "output": {"raw": [said]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": probe.after,
                "extraction_method": cut,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": 100 * probe.scores[metric], "is_correct": probe.scores[metric] == 1},
        "metadata": {"edit": case.edit.prompt, "target": case.edit.target, "before": probe.before},
    }


def _result_id(*parts: str) -> str:
    return "/".join(parts)


def _model_id(result: Result, submitter: Submitter) -> str:
    """As the hub names it, where it was read from there; else with its developer."""
    path = str(result.model.args.get("path", ""))
    if result.model.revision and re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        return path
    return f"{_tame(submitter.developer or UNKNOWN)}/{_tame(result.model.name)}"


def _tame(name: str) -> str:
    """What a folder and an address can be called."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".") or UNKNOWN
