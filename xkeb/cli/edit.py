"""xkeb edit: one edit by hand, before and after in both languages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xkeb.errors import RequestError

if TYPE_CHECKING:
    from xkeb.backbone import Backbone
    from xkeb.types import Edit, Prediction


@click.command("edit")
@click.option("--model", required=True, metavar="M", help="Backbone.")
@click.option("--model-args", metavar="K=V,..", help="Options of the backbone.")
@click.option("--method", required=True, metavar="M", help="Editing method.")
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
@click.option("--task", metavar="T", help="Task whose training facts a method learns from.  [default: bizsre_mini's]")
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where the data sets' folders are.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N", help="Where the model runs."
)
@click.option(
    "--dtype", default="auto", show_default=True, metavar="auto|float32|bfloat16", help="Precision of the weights."
)
@click.option("--save", type=click.Path(path_type=Path), metavar="DIR", help="Write the change here.")
@click.option(
    "--save-as",
    type=click.Choice(["change", "checkpoint"]),
    default="change",
    show_default=True,
    help="What --save writes.",
)
def command(**options: Any) -> None:
    """Make one edit by hand and see what the model answers before and after.

    \b
    xkeb edit --model MODEL --method METHOD --subject France \\
      --prompt "The capital of France is" --target Lyon --ask "zh:法国的首都是|里昂"
    """
    from xkeb.backbone import load_backbone
    from xkeb.cli.show import console, table
    from xkeb.editor import load_editor
    from xkeb.evaluation import alone
    from xkeb.options import parse
    from xkeb.plugins import plugins
    from xkeb.predict import Query, predict
    from xkeb.types import Edit

    for text, name in ((options["prompt"], "--prompt"), (options["target"], "--target")):
        if not text.strip():
            raise RequestError(f"{name} is empty.")
    plugins().languages.get(options["language"])
    asked = [_question(text) for text in options["ask"]]
    editor = load_editor(options["method"], **parse(options["method_args"], "--method-args"))
    answers = {options["language"]: options["target"]}
    edit = Edit(options["prompt"], options["target"], options["language"], options["subject"], answers)
    queries = [
        Query(edit.prompt, edit.target, edit.language),
        *(Query(question, answer, code) for code, question, answer in asked),
    ]
    backbone = load_backbone(
        options["model"],
        device=options["device"],
        dtype=options["dtype"],
        **parse(options["model_args"], "--model-args"),
    )
    before = predict(backbone, queries)
    change = make(options["method"], editor, backbone, edit, options["task"], options["data_dir"])
    after = alone(backbone, change, queries)

    out = console()
    rows = table(None, ["Language", "Question", "Expected", "Before", "After"], out)
    for query, old, new in zip(queries, before, after, strict=True):
        rows.add_row(query.language, query.prompt, query.target, visible(old), visible(new))
    out.print(rows)
    if options["save"]:
        save(change, backbone, options["save"], options["save_as"])
        out.print(f"Saved the {options['save_as']} in {options['save']}")


def visible(answer: Prediction) -> str:
    """An answer as text; one that is nothing but space is said to be so."""
    return answer.text or "(blank)"


def make(method: str, editor: Any, backbone: Backbone, edit: Edit, task: str | None, data_dir: Path | None) -> Any:
    """The change of one edit, after whatever the method has to learn."""
    from xkeb.editor import Choosy, learns, settled
    from xkeb.plan import training_facts
    from xkeb.plugins import plugins
    from xkeb.tasks import load_task

    editor = settled(editor, backbone)
    if isinstance(editor, Choosy) and (reason := editor.refuses(backbone, edit)):
        raise RequestError(f"This edit can't be made: {reason}.")
    if learns(editor):
        if task:
            training = load_task(task, data_dir=data_dir).training
        else:
            training = plugins().datasets.get("bizsre_mini").training(edit.language)
        editor.fit(backbone, training_facts(method, training))
    return editor.edit(backbone, [edit])[0]


def save(change: Any, backbone: Backbone, folder: Path, what: str) -> None:
    """Writes the change as data, or the model as it is under the change."""
    write = getattr(change, "save" if what == "change" else "export", None)
    if write is None:
        raise RequestError(f"A {type(change).__name__} can't be saved as a {what}.")
    try:
        write(folder) if what == "change" else write(backbone, folder)
    except OSError as error:
        raise RequestError(f"Can't write to {folder}: {error.strerror}.") from error


def _question(text: str) -> tuple[str, str, str]:
    """``zh:question|answer`` as (language, question, answer)."""
    from xkeb.plugins import plugins

    code, colon, rest = text.partition(":")
    question, bar, answer = rest.rpartition("|")
    if not colon or not bar or not question.strip() or not answer.strip():
        raise RequestError(f"--ask takes LANGUAGE:QUESTION|ANSWER, not {text!r}.")
    plugins().languages.get(code)
    return code, question, answer
