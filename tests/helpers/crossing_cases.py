"""Cases in several languages, with the scores of their generality, and nothing else, said by hand."""

from __future__ import annotations

from collections.abc import Mapping

from xkeb.results.lines import CaseRecord, CaseSeconds, EditRecord, ProbeRecord, Tokens


def case(
    case_id: str, subject: str, scores: Mapping[str, tuple[float, float]], answers: Mapping[str, str] | None = None,
    metric: str = "f1",
) -> CaseRecord:  # fmt: skip
    """A case edited in the first language of `scores`.

    Args:
        scores: by language, before the edit and after it.
        answers: by language; where it says none, one that is no other language's.
    """
    told = {code: (answers or {}).get(code, f"answer in {code}") for code in scores}
    source = next(iter(scores))
    differ = any(text != told[source] for text in told.values())
    return CaseRecord(
        case_id=case_id, status="ok", reason=None,
        edit=EditRecord(prompt="Where is it?", subject=subject, target=told[source], language=source),
        probes=[
            ProbeRecord(
                property="generality", language=code, prompt="Where?", reference=told[code], before="x", after="y",
                scores={metric: after}, scores_before={metric: before},
                tokens=Tokens(reference=[1], before=[2], after=[3]), blank=False,
            )
            for code, (before, after) in scores.items()
        ],
        slices={"answers": "differ" if differ else "equal"}, seconds=CaseSeconds(edit=1.0, evaluate=0.5), settings="s",
    )  # fmt: skip
