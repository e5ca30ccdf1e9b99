"""Options as text: `parse_options` reads back what `format_options` wrote."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xkeb.registry.formatting import format_options
from xkeb.registry.options import parse_options

NAMES = st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**63, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read_back(options: dict[str, Any]) -> None:
    assert parse_options(format_options(options), "--options") == options


def test_numbers_and_texts_that_yaml_1_1_takes_for_something_else() -> None:
    options = {"a": 1e-5, "b": 1e16, "c": "1e-5", "d": "yes", "e": "", "f": "a\\", "g": 'x",y=1'}
    text = format_options(options)
    assert text.startswith("a=1.0e-05,b=1.0e+16,")
    assert parse_options(text, "--options") == options
