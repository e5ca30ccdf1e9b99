"""What was typed wrongly, in a sentence that says what to type: also for whoever comes from another suite."""

from __future__ import annotations

from collections.abc import Mapping

import click

OPTIONS_ELSEWHERE: Mapping[str, str] = {
    "--num-fewshot": "Examples are shown by some methods alone, whose options say how many: xkeb ls methods.",
    "--resume": "There is no need for it: the same command goes on where it stopped.",
    "--continue": "There is no need for it: the same command goes on where it stopped.",
    "--output-path": "Did you mean --output?",
    "--task": "Did you mean --tasks?",
}
"""What other suites have, and what does that here."""
COMMANDS_ELSEWHERE: Mapping[str, str] = {"eval": "run", "evaluate": "run", "list": "ls"}
DISCARDS = "--fresh"
"""An option that discards results: it is no guess to make."""


def usage_sentence(error: click.ClickException) -> str:
    """What is wrong with the command line."""
    if isinstance(error, click.exceptions.NoSuchOption):
        near = [one for one in error.possibilities or () if one != DISCARDS]
        guess = f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
        hint = OPTIONS_ELSEWHERE.get(error.option_name.replace("_", "-"), guess)
        return f"No such option {error.option_name!r}. {hint}".rstrip()
    sentence = " ".join(error.format_message().split()).removesuffix(".")
    context = getattr(error, "ctx", None)
    if sentence.startswith("Got unexpected extra argument") and context is not None:
        names = {parameter.name for parameter in context.command.params}
        if option := next((f"--{name}" for name in ("methods", "tasks") if name in names), None):
            sentence += f". Several names are joined by commas: {option} A,B"
    return f"{sentence}{'' if sentence.endswith('?') else '.'}"
