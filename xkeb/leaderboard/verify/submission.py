"""A folder for a pull request: checked results with their lines, and a note for who reviews it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xkeb.errors import RequestError
from xkeb.leaderboard.verify.check import check_result
from xkeb.leaderboard.verify.source import Sources
from xkeb.results.lines import CASES
from xkeb.results.reader import files_beside, find_result_files
from xkeb.results.result import RESULT, Result
from xkeb.results.untrusted import inline
from xkeb.utils.folders import replacing_folder
from xkeb.utils.hashing import digest_file

README = "README.md"


@dataclass(frozen=True)
class Prepared:
    """A result that passed the check."""

    path: Path
    """Of its result.json, where it was."""
    place: Path
    """The folder that it goes to, below the prepared one."""
    result: Result
    summary: str
    """What the check says of it."""


def prepare_submission(sources: Sequence[Path], output: Path, data: Sources | None = None) -> list[Prepared]:
    """Checks results and copies them, with a README. Writes all or nothing.

    Args:
        sources: files or folders with results.
        output: a folder that is empty, or isn't there.
        data: where the data is looked for.

    Raises:
        RequestError: a result doesn't pass, two would go to one place, or the folder can't be used.
    """
    data = data or Sources()
    paths = list(dict.fromkeys(path.resolve() for source in sources for path in find_result_files(source)))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise RequestError(f"{output} is no empty folder; choose another.")
    prepared: dict[Path, Prepared] = {}
    for path in paths:
        one = _prepare(path, data)
        if (other := prepared.get(one.place)) is not None:
            raise RequestError(
                f"{path.parent} and {other.path.parent} would both go to {one.place}; submit one of them."
            )
        prepared[one.place] = one
    ordered = [prepared[place] for place in sorted(prepared)]
    try:
        with replacing_folder(output) as folder:
            for one in ordered:
                (folder / one.place).mkdir(parents=True)
                for name in (RESULT, *files_beside(one.result)):
                    shutil.copyfile(one.path.with_name(name), folder / one.place / name)
            (folder / README).write_text(_readme(ordered), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"Can't write {output}: {error.strerror}.") from error
    return ordered


def _prepare(path: Path, data: Sources) -> Prepared:
    report = check_result(path, data)
    if report.problems:
        others = len(report.problems) - 1
        more = f" There are {others:,} more: `xkeb leaderboard check` names them." if others else ""
        raise RequestError(f"{path} doesn't pass the check: {report.problems[0]}{more}")
    result = Result.load(path)
    place = Path(result.task.name, result.model.name, _method_folder(path, result))
    return Prepared(path, place, result, report.summary)


def _method_folder(path: Path, result: Result) -> str:
    """As the run named it, which tells protocols and regimes apart, or by the method where it is called otherwise."""
    name, method = path.parent.name, result.method.name
    return name if name == method or name.startswith(f"{method}-") else method


def _readme(prepared: Sequence[Prepared]) -> str:
    several = "results" if len(prepared) > 1 else "result"
    lines = [
        "# Results handed in",
        "",
        f"{len(prepared)} {several}, copied by `xkeb leaderboard submit`; every score was computed again from the answers.",
        "",
        "For the reviewer: `xkeb leaderboard check` on this folder does the same again, with the code that it is run with.",
        "No check finds answers that no model gave; to rule those out, run the command again and compare",
        "(`xkeb leaderboard build --reruns` marks what was).",
    ]
    for one in prepared:
        result = one.result
        skipped = f", {len(result.skipped):,} skipped" if result.skipped else ""
        environment = result.environment
        facts = {
            "Folder": f"`{one.place.as_posix()}`",
            "Cases": f"{len(result.case_ids):,}{skipped}; selected: {result.selection}",
            "Asked": f"{result.protocol}, prompt {result.prompt}",
            "The method sees": ", ".join(result.method.sees) or "nothing of the data",
            "Check": one.summary,
            "Made": inline(f"{environment.get('date', 'no date')}, xkeb {environment.get('xkeb', 'unknown')}"),
            f"sha256 of {RESULT}": f"`{digest_file(one.path)}`",
            f"sha256 of {CASES}": f"`{digest_file(one.path.with_name(CASES))}`",
        }
        lines += ["", f"## {inline(result.title)}", ""]
        lines += [f"- {name}: {text}" for name, text in facts.items()]
        lines += ["", "```sh", result.command.replace("```", ""), "```"]
    return "\n".join(lines) + "\n"
