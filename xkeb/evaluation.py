"""The way of the data: cases -> edits -> changes -> predictions -> scores -> journal -> result."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xkeb.backbone import Backbone
from xkeb.changes import Change, together
from xkeb.clock import Clock
from xkeb.editor import Choosy, learns, load_editor, options_of, settled
from xkeb.environment import environment, peak_memory, today
from xkeb.errors import PluginError
from xkeb.journal import LINES_VERSION, Journal
from xkeb.memory import reusing
from xkeb.plan import AUTO_BATCH, Cell, Request, plan
from xkeb.plugins import plugins
from xkeb.predict import Query, predict
from xkeb.progress import Listener
from xkeb.results import SCHEMA_VERSION, Result, summarise
from xkeb.shortage import in_batches
from xkeb.types import Case, Prediction
from xkeb.utils.hashing import digest
from xkeb.utils.progress import reporting_to


@reusing()
def run_cell(cell: Cell, backbone: Backbone, request: Request, listener: Listener, *, load: float = 0.0) -> Result:
    """Runs what is missing of a cell and writes its result.json. Killed at any moment, it goes on where it was.

    Args:
        load: seconds that loading the backbone took, where it was loaded for this cell.
    """
    clock = Clock(backbone.device, load)
    listener.cell(cell)
    editor = settled(load_editor(cell.method, **cell.options), backbone)
    listener.settled(cell, options_of(editor))
    about = describe(cell, backbone, editor, request)
    with Journal(cell.folder / "cases.jsonl", digest(about), fresh=request.fresh) as journal:
        todo = [case for case in cell.cases if case.id not in journal]
        before = predict_before(cell, backbone, request, listener, clock)
        if todo and learns(editor):
            listener.phase("fit")
            with reporting_to(listener.learning), clock.phase("fit"):
                editor.fit(backbone, cell.training())
        listener.phase("edit", done=len(cell.cases) - len(todo), total=len(cell.cases))
        batches = in_batches(
            refuse(todo, editor, backbone, journal, listener),
            request.batch_size or AUTO_BATCH,
            lambda cases: answer(editor, backbone, cases, clock),
            listener,
            fixed=request.batch_size is not None,
        )
        for cases, (after, seconds) in batches:
            for case, answers in zip(cases, after, strict=True):
                journal.append(score_case(case, before[case.id], answers, backbone, request.metrics, seconds))
                listener.case_done()
        result = conclude(cell, journal, about, backbone, request, clock)
    result.save(cell.folder)
    return result


def answer(
    editor: Any, backbone: Backbone, cases: Sequence[Case], clock: Clock
) -> tuple[list[list[Prediction]], dict[str, float]]:
    """Each case's answers under its own edit, and the seconds of one case. The changes are gone by then, so that those of two
    batches are never alive at once."""
    start = clock.read()
    with clock.phase("edit"):
        changes = edit(editor, backbone, cases)
    with clock.phase("evaluate"):
        after = predict_after(backbone, changes, cases)
    end = clock.read()
    return after, {name: (end[name] - start[name]) / len(cases) for name in ("edit", "evaluate")}


def edit(editor: Any, backbone: Backbone, cases: Sequence[Case]) -> Sequence[Change]:
    """One change for each case."""
    changes: Sequence[Change] = editor.edit(backbone, [case.edit for case in cases])
    if len(changes) != len(cases):
        raise PluginError(f"{type(editor).__name__}.edit returned {len(changes)} changes for {len(cases)} edits.")
    return changes


def predict_before(
    cell: Cell, backbone: Backbone, request: Request, listener: Listener, clock: Clock
) -> dict[str, list[Prediction]]:
    """The untouched model's answers: made once for a model and a task, and shared by every method."""
    about = {
        key: value
        for key, value in describe(cell, backbone, None, request).items()
        if key not in ("method", "metrics", "seed")
    }
    with Journal(cell.folder.parent / "before.jsonl", digest(about), shared=True) as journal:
        todo = [case for case in cell.cases if case.id not in journal]
        if todo:
            listener.phase("before", done=len(cell.cases) - len(todo), total=len(cell.cases))
        for cases in chunks(todo, 2 * AUTO_BATCH):
            with clock.phase("before"):
                answers = iter(predict(backbone, [query for case in cases for query in queries(case, 0)]))
            for case in cases:
                told = itertools.islice(answers, len(case.probes))
                entry = [{"text": a.text, "tokens": a.tokens, "ids": a.ids} for a in told]
                journal.append({"case_id": case.id, "answers": entry})
                listener.case_done()
        return {
            case.id: [
                Prediction(a["text"], tuple(a["tokens"]), tuple(a["ids"])) for a in journal.lines[case.id]["answers"]
            ]
            for case in cell.cases
        }


def predict_after(backbone: Backbone, changes: Sequence[Change], cases: Sequence[Case]) -> list[list[Prediction]]:
    """Each case's answers under its own change: all in one batch where the changes can be applied row by row."""
    asked = [queries(case, row) for row, case in enumerate(cases)]
    rows = together(backbone, changes)
    if rows is None:
        return [alone(backbone, change, probes) for change, probes in zip(changes, asked, strict=True)]
    with rows.applied(backbone):
        answers = iter(predict(backbone, [query for probes in asked for query in probes], rows))
    return [[next(answers) for _ in probes] for probes in asked]


def alone(backbone: Backbone, change: Change, probes: Sequence[Query]) -> list[Prediction]:
    """The answers under one change, applied to the model itself."""
    with change.applied(backbone):
        return predict(backbone, probes)


def queries(case: Case, row: int) -> list[Query]:
    return [Query(probe.prompt, probe.reference, probe.language, row) for probe in case.probes]


def score_case(
    case: Case,
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    backbone: Backbone,
    metrics: Sequence[str],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The journal line of a case: its answers and their scores, from 0 to 1."""
    probes = []
    for probe, old, new in zip(case.probes, before, after, strict=True):
        gold = backbone.gold(probe.reference)
        expected = old if probe.judged_by == "before" else gold
        language = plugins().languages.get(probe.language)
        measures = {name: plugins().metrics.get(name) for name in metrics}
        scores = {name: measure(new, expected, language) for name, measure in measures.items()}
        untouched = {name: measure(old, expected, language) for name, measure in measures.items()}
        tokens = {"reference": gold.tokens, "before": old.tokens, "after": new.tokens}
        asked = {name: getattr(probe, name) for name in ("property", "language", "prompt", "reference")}
        found = {"before": old.text, "after": new.text, "scores": scores, "scores_before": untouched, "tokens": tokens}
        probes.append({**asked, **found})
    return {
        "case_id": case.id,
        "status": "ok",
        "reason": None,
        "edit": _edit(case),
        "probes": probes,
        "seconds": dict(seconds),
    }


def refuse(todo: Sequence[Case], editor: Any, backbone: Backbone, journal: Journal, listener: Listener) -> list[Case]:
    """The cases that this editor can run; the others are journaled with the reason."""
    if not isinstance(editor, Choosy):
        return list(todo)
    reasons = {case.id: editor.refuses(backbone, case.edit) for case in todo}
    for case in todo:
        if reasons[case.id]:
            journal.append(
                {"case_id": case.id, "status": "skipped", "reason": reasons[case.id], "edit": _edit(case), "probes": []}
            )
            listener.case_done()
    return [case for case in todo if not reasons[case.id]]


def _edit(case: Case) -> dict[str, str]:
    edit = case.edit
    return {"prompt": edit.prompt, "subject": edit.subject, "target": edit.target, "language": edit.language}


def chunks(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    return (cases[start : start + size] for start in range(0, len(cases), size))


def describe(cell: Cell, backbone: Backbone, editor: Any, request: Request) -> dict[str, Any]:
    """Everything the cases of a cell depend on. Two runs share a journal only where this is the same."""
    task, loaded = cell.task, cell.task.loaded
    facts = {"training_sha256": task.training.sha256, "train_size": len(cell.training())} if learns(editor) else {}
    return {
        "schema_version": LINES_VERSION,
        "task": {
            "name": task.name,
            "version": task.version,
            "source": task.pair.source,
            "target": task.pair.target,
            "dataset": {"name": task.dataset.name, "sha256": loaded.sha256},
        },
        "model": {
            "name": cell.model,
            "dtype": str(backbone.dtype).removeprefix("torch."),
            "n_parameters": backbone.n_parameters,
            "sha256": backbone.sha256,
        },
        "method": {
            "name": cell.method,
            "params": options_of(editor),
            **facts,
        }
        if editor is not None
        else {},
        "protocol": request.protocol,
        "metrics": list(request.metrics),
        "seed": request.seed,
    }


def conclude(
    cell: Cell, journal: Journal, about: Mapping[str, Any], backbone: Backbone, request: Request, clock: Clock
) -> Result:
    """The result of the cases asked for; the journal may hold more."""
    entries = [journal.lines[case.id] for case in cell.cases]
    ran = [entry for entry in entries if entry["status"] == "ok"]
    skipped = [{"case_id": skip.case_id, "reason": skip.reason} for skip in cell.task.loaded.skipped]
    skipped += [
        {"case_id": entry["case_id"], "reason": entry["reason"]} for entry in entries if entry["status"] == "skipped"
    ]
    task = {**about["task"], "dataset": {**about["task"]["dataset"], "n_cases": len(entries)}}
    scores, scores_before = summarise(ran), summarise(ran, "scores_before")
    phases = clock.read()
    timing = {
        "edit_seconds": sum(entry["seconds"]["edit"] for entry in ran),
        "evaluate_seconds": sum(entry["seconds"]["evaluate"] for entry in ran),
        "wall_seconds": sum(phases.values()) - phases["load"],
        "peak_memory_bytes": peak_memory(backbone.device),
        "phases": phases,
    }
    return Result(
        schema_version=SCHEMA_VERSION,
        task=task,
        model=about["model"],
        method=about["method"],
        protocol=about["protocol"],
        metrics=about["metrics"],
        seed=about["seed"],
        scores=scores,
        scores_before=scores_before,
        skipped=skipped,
        case_ids=[entry["case_id"] for entry in ran],
        timing=timing,
        environment={**environment(backbone.device), "date": today()},
        command=request.command,
        settings=digest(about),
    )


def evaluate(
    *,
    tasks: str | Sequence[str],
    model: str | Sequence[str],
    methods: str | Sequence[str] | None = None,
    limit: int | None = None,
    output: Path | str = "results",
    **options: Any,
) -> list[Result]:
    """Runs every cell of ``tasks x model x methods`` and returns their results; what is already on disk is not run again.

    Args:
        tasks, model, methods: names, or a single name. Without `methods`: the paper's methods for each model.
        limit: the first so many cases of each task.
        output: folder of ``<task>/<model>/<method>/result.json`` and ``cases.jsonl``.
        options: any other field of `xkeb.plan.Request`.

    Raises:
        RequestError: the request is wrong; nothing was run.
        CellError: some cells failed; the others are on disk, and in its ``results``.
    """
    from xkeb.executors.local import run

    request = Request(
        tasks=_names(tasks),
        models=_names(model),
        methods=None if methods is None else _names(methods),
        limit=limit,
        output=Path(output),
        **options,
    )
    return run(plan(request), request)


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
