"""Fields of the suite's files, and the records that they stand in: what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from xkeb.results.untrusted import inline, quoted
from xkeb.utils.names import is_label, is_name

_ANY_NAME: ContextVar[bool] = ContextVar("any_name", default=False)
MOST_KNOWN = 100_000


class _Names(dict[str, str]):
    """Texts that were found to be names. A line has some 60, nearly all of them known, and a look-up calls no Python."""

    def __missing__(self, text: str) -> str:
        """Refuses what no run can have written, since the name is that of a folder of its output."""
        if not is_name(text):
            if text and _ANY_NAME.get():
                return text
            raise ValueError("should be a name")
        if len(self) >= MOST_KNOWN:
            self.clear()
        self[text] = text
        return text


def _label(text: str) -> str:
    if not is_label(text) and not (text and _ANY_NAME.get()):
        raise ValueError("should be a label")
    return text


Name = Annotated[str, AfterValidator(_Names().__getitem__)]
Label = Annotated[str, AfterValidator(_label)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=-1e-9, le=100 + 1e-9)]  # a mean may be off by the last digit


class Record(BaseModel):
    """A part of a file: no conversions, no other keys, no infinities, frozen."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False,
        ser_json_inf_nan="constants",  # of what may be anything: refused when it is written, and never made a null
    )  # fmt: skip


class Sparse(Record):
    """Leaves some keys out of the file where they have nothing to say."""

    omitted: ClassVar[frozenset[str]]
    """Those keys; they are None then. A result of two languages has none of what several need."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None or key not in self.omitted}


M = TypeVar("M", bound=Record)


def validated(record: type[M], value: Any, *, any_name: bool = False) -> M:
    """A value as a record.

    Args:
        any_name: names may be any text: the site shows, as text, what can't be the name of a folder.

    Raises:
        ValidationError: it is none.
    """
    token = _ANY_NAME.set(any_name)
    try:
        return record.model_validate(value)
    finally:
        _ANY_NAME.reset(token)


NAMED = 3
"""Things that are wrong with a file, as far as a sentence names them."""


def sentences(error: ValidationError) -> Iterator[str]:
    """What a model refused: the place, what was expected, what stands there."""
    for problem in error.errors(include_url=False, include_context=False):
        place = ".".join(inline(part) for part in problem["loc"]) or "it"
        if problem["type"] == "missing":
            yield f"{place} is missing"
        elif problem["type"] == "extra_forbidden":
            yield f"{place} is not a field of this schema version"
        else:
            expected = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            yield f"{place} {expected}, not {quoted(problem['input'])}"
