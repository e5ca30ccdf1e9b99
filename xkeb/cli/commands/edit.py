"""xkeb edit: one edit by hand, before and after in every language that is asked in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.cli.completion import complete_registered
from xkeb.cli.options import data_dir_option, device_options, model_args_option
from xkeb.errors import RequestError
from xkeb.types import PROMPT_STYLES
from xkeb.utils.importing import importing

if TYPE_CHECKING:
    from xkeb.editing.changes import Change
    from xkeb.editing.editor import Editor
    from xkeb.models.backbone import Backbone
    from xkeb.types import Edit, Prediction


@click.command("edit")
@click.option("--model", required=True, metavar="M", shell_complete=complete_registered("models"), help="Backbone.")
@model_args_option
@click.option(
    "--method", required=True, metavar="M", shell_complete=complete_registered("methods"), help="Editing method."
)
@click.option("--method-args", metavar="K=V,..", help="Options of the method.")
@click.option("--prompt", required=True, help="The question to answer anew.")
@click.option("--target", required=True, help="Its new answer.")
@click.option("--subject", default="", help="What the question is about, as written in it.")
@click.option("--language", default="en", show_default=True, metavar="L", help="Language of the edit.")
@click.option(
    "--ask",
    multiple=True,
    metavar="L:QUESTION|ANSWER",
    help="Another question, e.g. 'zh:法国的首都是|里昂'. May be given often.",
)
@click.option("--task", metavar="T", help="Task whose training facts a method learns from.  [default: a shipped one]")
@data_dir_option
@device_options
@click.option("--save", type=click.Path(path_type=Path), metavar="DIR", help="Write here what --save-as says.")
@click.option(
    "--prompt-style",
    type=click.Choice(PROMPT_STYLES),
    default="plain",
    show_default=True,
    help="How questions are put.",
)
@click.option(
    "--save-as",
    type=click.Choice(["change", "checkpoint"]),
    default="change",
    show_default=True,
    help="What --save writes: the change, or the edited model as a checkpoint that transformers loads.",
)
def command(**options: Any) -> None:
    """Make one edit by hand and see what the model answers before and after.

    \b
    xkeb edit --model MODEL --method METHOD --subject France \\
      --prompt "The capital of France is" --target Lyon --ask "zh:法国的首都是|里昂"
    """
    with importing():
        from xkeb.cli.output import make_console, make_table
        from xkeb.editing.editor import load_editor
        from xkeb.evaluation.probing import predict_edited
        from xkeb.models.loader import load_backbone
        from xkeb.models.prediction import predict
        from xkeb.registry.manager import get_plugins
        from xkeb.registry.options import parse_options
        from xkeb.types import Edit, Query

    for text, name in ((options["prompt"], "--prompt"), (options["target"], "--target")):
        if not text.strip():
            raise RequestError(f"{name} is empty.")
    get_plugins().languages.get(options["language"])
    extra = [_question(text) for text in options["ask"]]
    editor = load_editor(options["method"], **parse_options(options["method_args"], "--method-args"))
    answers, questions = {options["language"]: options["target"]}, {options["language"]: options["prompt"]}
    for code, question, answer in extra:  # of several in one language, the first
        answers.setdefault(code, answer)
        questions.setdefault(code, question)
    edit = Edit(options["prompt"], options["target"], options["language"], options["subject"], answers, questions)
    queries = [
        Query(edit.prompt, edit.target, edit.language),
        *(Query(question, answer, code) for code, question, answer in extra),
    ]
    backbone = load_backbone(
        options["model"],
        device=options["device"],
        dtype=options["dtype"],
        **parse_options(options["model_args"], "--model-args"),
    ).asked_in(options["prompt_style"])
    before = predict(backbone, queries)
    editor = editor.configure(backbone.spec)
    change = make_change(options["method"], editor, backbone, edit, options["task"], options["data_dir"])
    after = predict_edited(backbone, change, queries)

    out = make_console()
    rows = make_table(None, ["Language", "Question", "Expected", "Before", "After"], out)
    for query, old, new in zip(queries, before, after, strict=True):
        rows.add_row(query.language, query.prompt, query.target, visible(old), visible(new))
    out.print(rows)
    if options["save"]:
        if options["save_as"] == "checkpoint":
            from xkeb.editing.export import export_checkpoint

            made_by = {"method": options["method"], "editor": editor, "edits": [edit]}
            export_checkpoint(change, backbone, options["save"], **made_by)
        else:
            save(change, options["save"])
        out.print(f"Saved the {options['save_as']} in {options['save']}")


def visible(answer: Prediction) -> str:
    """An answer as text; one that is nothing but space is said to be so."""
    return answer.text or "(blank)"


def make_change(
    method: str, editor: Editor, backbone: Backbone, edit: Edit, task: str | None, data_dir: Path | None
) -> Change:
    """The change of one edit, after whatever the method has to learn."""
    from xkeb.editing.editor import make_changes, prepare, why_unsupported
    from xkeb.editing.finite import why_not_finite
    from xkeb.evaluation.job import training_facts
    from xkeb.tasks.task import load_task, shipped_task
    from xkeb.types import Sight

    me = editor.configure(backbone.spec)
    if reason := why_unsupported(me, backbone, edit):
        raise RequestError(f"This edit can't be made: {reason}.")
    if me.needs_training():
        source = load_task(task, data_dir=data_dir) if task else shipped_task()
        if Sight.PARALLEL_TRAINING in me.sees:
            training = source.parallel_training
        else:
            training = source.training if task else source.dataset.training(edit.language)
        me = prepare(me, backbone, training_facts(method, me, training))
    (change,) = make_changes(me, backbone, [edit])
    if reason := why_not_finite(change):
        raise RequestError(f"This edit can't be made: {reason}.")
    return change


def save(change: Change, folder: Path) -> None:
    """Writes the change as data."""
    from xkeb.editing.changes import Savable

    if not isinstance(change, Savable):
        raise RequestError(f"A {type(change).__name__} can't be saved.")
    try:
        change.save(folder)
    except OSError as error:
        raise RequestError(f"Can't write to {folder}: {error.strerror}.") from error


def _question(text: str) -> tuple[str, str, str]:
    """``zh:question|answer`` as (language, question, answer)."""
    from xkeb.registry.manager import get_plugins

    code, colon, rest = text.partition(":")
    question, bar, answer = rest.rpartition("|")
    if not colon or not bar or not question.strip() or not answer.strip():
        raise RequestError(f"--ask takes LANGUAGE:QUESTION|ANSWER, not {text!r}.")
    get_plugins().languages.get(code)
    return code, question, answer
