"""Whether a measured number may stand against a published one: only where protocol and metric are the same."""

from __future__ import annotations

from xkeb.leaderboard.rows.entries import Cell, Entry
from xkeb.tasks.asked import PAPER, RELEASED


def why_incomparable(entry: Entry, place: Cell | None = None) -> str | None:
    """Why a result isn't measured as the published numbers were; None where it is.

    Args:
        place: a column of the table; the published reliability of Chinese edits is scored against the English target.
    """
    if entry.result is None:
        return "it wasn't measured here"
    if entry.protocol != PAPER:
        return f"it was measured under another protocol ({entry.protocol}), and its F1 is another metric"
    if entry.result.selection != "all":
        return f"it is of {len(entry.result.case_ids):,} cases, and the published numbers are of all"
    if entry.regime != "single":
        return f"its regime is {entry.regime}, and the published numbers are of single edits"
    rules = entry.result.protocol_args
    for name, value in RELEASED.items():
        if rules.get(name) != value:
            return f"{name} is {rules.get(name)!r}, and {value!r} in the released code"
    if not rules.get("tokenizer"):
        return "its answers were counted in the model's own tokens, not in those that counted the published ones"
    if place is not None and place[0] == "reliability" and place[1] != "en" and rules.get("reliability") != "english":
        return "published reliability of edits in another language than English is scored against the English target"
    return None
