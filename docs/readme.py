"""Put what was measured into the README's tables: part of ``make docs``.

A comment ``<!-- results QUERY -->`` names the table that follows it; `docs/hooks/results.py` says
what a query is.
"""

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "hooks"))

from results import render

_TABLE = re.compile(r"(<!-- results (.+?) -->\n\n)(?:\|.*\n)*")


def filled(text: str) -> str:
    """The README's text with every table as the results have it."""
    return _TABLE.sub(lambda found: f"{found[1]}{render(found[2])}\n", text)


if __name__ == "__main__":
    readme = Path(__file__).parents[1] / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
