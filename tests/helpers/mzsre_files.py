"""Small files in MzsRE's format, of facts of our own: one language beside English in each, with training facts in lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Side = dict[str, Any]
NAMES = ("Ada", "Bo", "Cy", "Dora", "Emil", "Fay")
"""The subjects, written alike in all languages."""
ANSWERS: dict[str, Sequence[str]] = {
    "en": ("Rome", "Paris", "1984", "Vienna", "Lyon", "IBM"),
    "de": ("Rom", "Paris", "1984", "Wien", "Lyon", "IBM"),
    "ru": ("Рим", "Париж", "1984", "Вена", "Лион", "IBM"),
    "th": ("โรม", "ปารีส", "1984", "เวียนนา", "ลียง", "IBM"),
}
WORDS: dict[str, tuple[str, str, str, str]] = {
    "en": ("What does {} have?", "{} has what?", "nq question: what is red", "Where is what {} has?"),
    "de": ("Was hat {}?", "{} hat was?", "was ist rot", "Wo ist, was {} hat?"),
    "ru": ("Что есть у {}?", "У {} есть что?", "что такое красный", "Где то, что у {}?"),
    "th": ("{} มีอะไร?", "อะไรที่ {} มี?", "สีแดงคืออะไร", "สิ่งที่ {} มีอยู่ที่ไหน?"),
}
"""Question, rephrase, locality and portability of a language."""
FILES = {"de": "de", "ru": "ru", "th": "th"}


def side(code: str, i: int, **changes: Any) -> Side:
    """One language of fact `i`."""
    question, rephrase, locality, portability = (text.format(NAMES[i]) for text in WORDS[code])
    return {
        "subject": NAMES[i], "src": question, "rephrase": rephrase, "alt": ANSWERS[code][i],
        "loc": f"{locality} {i}", "loc_ans": ANSWERS[code][-1 - i],
        "portability": {"New Question": portability, "New Answer": ANSWERS[code][i]}, **changes,
    }  # fmt: skip


def records(code: str, chosen: Sequence[int] = range(len(NAMES))) -> list[dict[str, Side]]:
    """The records of a language's file: those facts, in that order."""
    return [{"en": side("en", i), code: side(code, i)} for i in chosen]


def write_test(folder: Path, code: str, content: list[dict[str, Side]] | None = None) -> Path:
    """The test file of a language below a data folder, by default with all facts."""
    path = folder / "mzsre" / f"mzsre_test_duplicate_en{code}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content or records(code), ensure_ascii=False), encoding="utf-8")
    return path


def write_training(folder: Path, n: int, lacking: dict[str, Sequence[int]] | None = None) -> None:
    """Training facts in every language, as upstream has them: line i is the same fact everywhere.

    Args:
        lacking: by language, the facts whose answer is empty there.
    """
    (folder / "bizsre").mkdir(parents=True, exist_ok=True)
    facts = [
        {"subject": f"F{i}", "src": f"What is near F{i}?", "rephrase": f"F{i} is near what?", "alt": f"G{i}",
         "loc": f"nq question: who is H{i}", "loc_ans": f"I{i}"} for i in range(n)
    ]  # fmt: skip
    (folder / "bizsre" / "zsre_mend_train_10000.json").write_text(json.dumps(facts), encoding="utf-8")
    for code, question in {"de": "Was ist bei F{}?", "ru": "Что рядом с F{}?", "th": "อะไรอยู่ใกล้ F{}?"}.items():
        empty = (lacking or {}).get(code, ())
        lines = [f"{question.format(i)}\t{'' if i in empty else f'{code}{i}'}" for i in range(n)]
        path = folder / "mzsre" / f"zsre_mend_train_{code}_10000.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
