"""Tables that are wider than the terminal: pieces below each other, whole words, no number lost."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from made_results import answered, put, result
from terminal import in_terminal

from xkeb.cli.output import PlainConsole, show_columns, show_prose

HEADS = ("Pairs", "A", "B", "B - A", "95% interval", "p", "Holm", "McNemar", "+/=/-")
ROW = (
    "reliability",
    "en",
    "f1_units",
    "1,037",
    "100.00",
    "37.50",
    "-62.50",
    "-70.25 to -55.00",
    "<0.0001",
    "0.0001",
    "0.5",
    "1/2/3",
)

SENTENCE = "A sentence that says what is to be seen, and that is longer than the terminal is wide. "


def printed(width: int, *, terminal: bool = True) -> list[str]:
    out = PlainConsole(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    show_columns(out, ("Property", "In", "Metric"), [ROW, ROW], HEADS)
    show_prose(out, SENTENCE * 2)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "pieces"), [(60, 3), (80, 2), (130, 1)])
def test_a_wide_table_is_in_pieces_that_all_have_the_first_columns(width: int, pieces: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("Property") for line in lines) == pieces
    assert sum(line.startswith("reliability  en  f1_units") for line in lines) == 2 * pieces
    cells = " ".join(lines)
    assert all(cells.count(f" {cell}") >= 2 for cell in ROW[3:]) and all(head in cells for head in HEADS)


def test_a_sentence_is_broken_between_words_on_a_terminal_and_whole_elsewhere() -> None:
    assert " ".join(printed(80)[-3:]).split() == (SENTENCE * 2).split()  # no word is cut
    assert any(line.count(SENTENCE.strip()) == 2 for line in printed(80, terminal=False))


def test_compare_has_no_cut_word_at_80_columns(tmp_path: Path) -> None:
    for name, right in (("a", range(10)), ("b", range(5))):
        put(tmp_path / name, result(n_cases=20, method=name), answered(20, right))
    shown = in_terminal("compare", tmp_path / "a", tmp_path / "b", "--cases", 0)
    assert shown.status == 0, shown.text
    heads = [line for line in shown.lines if line.startswith("Property")]
    assert len(heads) == 2 and "95% interval" in heads[0] and heads[1].endswith("+/=/-")
    assert max(len(line) for line in shown.lines if not line.startswith(("A: ", "B: "))) <= 80


def test_ls_breaks_no_name() -> None:
    for kind, name in (("tasks", "bmike53_wikifactdiff"), ("methods", "easyeditor-memit")):
        shown = in_terminal("ls", kind)
        assert any(line.startswith(f"{name} ") for line in shown.lines), shown.text
        assert max(map(len, shown.lines)) <= 80 and "plugin" not in shown.lines[0]
