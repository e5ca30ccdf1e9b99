"""What the cases of a job depend on, as its journal and its result state it."""

from __future__ import annotations

from collections.abc import Sequence

from xkeb.editing.editor import Editor, options_of
from xkeb.evaluation.job import Job
from xkeb.evaluation.protocols import Protocol
from xkeb.models.backbone import Backbone
from xkeb.results.lines import CaseRecord
from xkeb.results.result import MissingRecord
from xkeb.results.settings import DatasetRecord, MethodRecord, ModelSettings, RunSettings, TaskSettings
from xkeb.tasks.task import Task
from xkeb.utils.secrets import without_secrets


def run_settings(
    job: Job, backbone: Backbone, editor: Editor, protocol: Protocol, metrics: Sequence[str], seed: int
) -> RunSettings:
    """Of the cases. Two runs share a journal only where this is the same."""
    return RunSettings(
        task=_task(job),
        model=_model(job, backbone, protocol),
        method=method_record(job, editor),
        protocol=protocol.name,
        protocol_args=protocol.options,
        prompt=job.prompt,
        regime=str(job.regime),
        metrics=list(metrics),
        seed=seed,
    )


def baseline_settings(job: Job, backbone: Backbone, protocol: Protocol) -> RunSettings:
    """Of the answers before any edit, which all methods share."""
    return RunSettings(
        task=_task(job),
        model=_model(job, backbone, protocol),
        method=None,
        protocol=protocol.name,
        protocol_args=protocol.options,
        prompt=job.prompt,
        metrics=[],
        seed=0,
    )


def method_record(job: Job, editor: Editor) -> MethodRecord:
    """The method, its options and what it sees and learns from."""
    learns = editor.needs_training()
    return MethodRecord(
        name=job.method,
        params=without_secrets(options_of(editor)),
        sees=sorted(editor.sees),
        training_sha256=job.training_split.sha256 if learns else None,
        train_size=len(job.training()) if learns else None,
    )


def _task(job: Job) -> TaskSettings:
    task = job.task
    dataset = DatasetRecord(name=task.dataset.name, sha256=task.test.sha256)
    targets = list(task.pair.targets)
    return TaskSettings(
        name=task.name,
        version=task.version,
        source=task.pair.source,
        target=targets[0] if len(targets) == 1 else None,
        targets=None if len(targets) == 1 else targets,
        dataset=dataset,
    )


def missing_languages(task: Task, ran: Sequence[CaseRecord]) -> list[MissingRecord] | None:
    """The languages that cases of a task with several targets lack; None of one or two languages."""
    if len(task.pair.targets) < 2:
        return None
    case_ids = {record.case_id for record in ran}
    return [
        MissingRecord(case_id=one.case_id, language=one.language, reason=one.reason)
        for one in task.test.missing
        if one.case_id in case_ids
    ]


def _model(job: Job, backbone: Backbone, protocol: Protocol) -> ModelSettings:
    return ModelSettings(
        name=job.model,
        dtype=str(backbone.dtype).removeprefix("torch."),
        n_parameters=backbone.n_parameters,
        sha256=backbone.sha256,
        template_sha256=backbone.template_sha256,
        ends=protocol.ends(backbone),
    )
