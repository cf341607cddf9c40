"""The demonstration: a real server, a readable table, a clean end."""

import os
import shutil
import subprocess
import sys
import time
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
    for word in ("without", "rotated by 90°", "noise", "How to read it", "make serve", "page"):
        assert word in ran.stdout


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, DEMO, tmp_path], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: no trained model 'digits'")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_newer_installation_trains_no_further_version(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(DEMO.parent.parent / name, tmp_path)
    (tmp_path / "models/digits/1").mkdir(parents=True)
    (tmp_path / ".venv").mkdir()
    stamp = tmp_path / ".venv/.installed"
    stamp.touch()
    later = time.time() + 60
    os.utime(stamp, (later, later))
    for goal in ("demo", "serve"):
        planned = subprocess.run(
            ["make", "--dry-run", goal], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "mcdrop train" not in planned.stdout
        assert "pip install" not in planned.stdout
