"""Take the page's pictures again: ``python -m docs.portraits``, from the repository's root.

Trains the digits where there is no version, serves them, turns a five by 35 degrees in Chromium,
and keeps of each picture 128 colors. The fonts are this machine's.
"""

import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.browser import chromium, opened, wait_for_answer
from tests.serving import serving

FIGURES = Path(__file__).parent / "figures"
SIZE = {"width": 1180, "height": 980}


def main() -> None:
    """Write ``page-light.png`` and ``page-dark.png``."""
    command = [sys.executable, "-m", "mcdrop", "train", "digits", "--if-missing"]
    subprocess.run(command, check=True)  # noqa: S603
    with serving(Path("models")) as url, chromium() as browser:
        for scheme in ("light", "dark"):
            address = f"{url}/#digits/1"
            with opened(browser, address, color_scheme=scheme, viewport=SIZE) as page:
                wait_for_answer(page)
                page.get_by_role("button", name="Sample 3, labeled 5").click()
                page.get_by_label("Rotation").fill("35")
                page.get_by_label("Rotation").blur()
                wait_for_answer(page)
                path = FIGURES / f"page-{scheme}.png"
                page.screenshot(path=path)
            picture = Image.open(path).convert("RGB")
            picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
