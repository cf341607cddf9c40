"""The demonstration: a real server, a readable table, a clean end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import save_random_classifier

DEMO = Path(__file__).parent.parent / "service" / "demo.py"


@pytest.mark.slow
def test_the_demonstration_runs_and_fits_100_columns(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "digits")
    ran = subprocess.run(
        [sys.executable, DEMO, tmp_path], capture_output=True, text=True, timeout=180, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    for word in ("without", "rotated by 90°", "noise", "How to read it", "make serve", "/docs"):
        assert word in ran.stdout


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, DEMO, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: no trained model 'digits'")
    assert len(ran.stderr.splitlines()) == 1
