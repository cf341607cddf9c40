"""Make the documentation's figures again: ``make figures``.

Runs the commands that pages name beside their figures, and keeps of each picture 48 colors, which
line drawings do not miss. Needs Fashion-MNIST and MNIST, downloaded unless ``--data-root`` names
them, and some ten minutes.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FIGURES = Path(__file__).parent / "figures"
COMPARED = ("linear-decay", "curve-decay", "line-sparse")
REPORTED = "fashion-mnist-tuned"
SHOWN = ("corruption.png", "reliability.png", "t_curve.png", "uncertainty.png")


def main(arguments: list[str]) -> None:
    """Make every figure; ``arguments`` go to the commands that read data."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in COMPARED:
            run("compare", name, "--out", str(scratch / name))
            shutil.copy(scratch / name / "compare.md", FIGURES / name)
            shrink(scratch / name / "compare.png", FIGURES / name)
        run("train", REPORTED, "--if-missing", *arguments)
        report = str(scratch / "report")
        run("evaluate", REPORTED, "--ood", "mnist", "--out", report, *arguments)
        for name in SHOWN:
            shrink(scratch / "report" / "figures" / name, FIGURES / REPORTED)


def run(*words: str) -> None:
    """Run ``mcdrop WORDS``."""
    subprocess.run([sys.executable, "-m", "mcdrop", *words], check=True)  # noqa: S603


def shrink(source: Path, folder: Path) -> None:
    """Put a picture into ``folder`` with few colors."""
    few = Image.open(source).convert("RGB").quantize(48, dither=Image.Dither.NONE)
    few.save(folder / source.name, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
