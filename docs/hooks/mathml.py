"""TeX between dollars becomes MathML, which browsers draw by themselves.

Knows what `pymdownx.arithmatex` marks. No script and no font is loaded when a page is read.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

__all__ = ["on_page_content"]

_MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page's HTML with every formula as MathML."""
    return _MATH.sub(_formula, content)


def _formula(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return convert(html.unescape(found[2]).strip(), display=display)
