"""What mkdocs does with a page besides: generated parts are filled in, formulae become MathML, marks for the tests go."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

sys.path.insert(0, str(Path(__file__).parent))

from generated import PARTS

_PART = re.compile(r"^<!-- generated: ([\w .-]+) -->$", re.MULTILINE)
_MARK = re.compile(r"^ *<!-- (?:not run|run with|run quickly with): .+ -->\n\n?", re.MULTILINE)
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Before a page is rendered. An unknown part is a `KeyError`: the build fails."""
    return _PART.sub(lambda match: PARTS[match[1]](), _MARK.sub("", markdown))


def on_page_content(content: str, **_: Any) -> str:
    """After it is: LaTeX as MathML, which browsers show by themselves."""
    content = _BLOCK.sub(lambda match: f'<div class="formula">{_mathml(match[1], "block")}</div>', content)
    return _INLINE.sub(lambda match: _mathml(match[1], "inline"), content)


def _mathml(latex: str, display: str) -> str:
    return str(convert(html.unescape(latex).strip(), display=display))
