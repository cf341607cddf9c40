"""The wheel: builds, holds two packages and the recipes, installs into a fresh environment."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.serving import serving

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_top_level_names_are_exactly_the_two_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mcdrop", "mcdrop_service"}
    assert not [name for name in names if name.endswith((".safetensors", "card.json"))]
    assert {"mcdrop/py.typed", "mcdrop_service/py.typed"} <= set(names)
    page = ROOT / "service/mcdrop_service/page"
    assert {f"mcdrop_service/page/{path.name}" for path in page.iterdir()} <= set(names)
    recipes = {path.parent.name for path in ROOT.glob("models/*/recipe.toml")}
    assert {f"mcdrop/recipes/{name}.toml" for name in recipes} <= set(names)


@pytest.mark.slow
def test_an_installed_wheel_trains_and_serves(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own; only the dependencies are borrowed from this one."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    subprocess.run(
        ["uv", "pip", "install", "--quiet", "--no-deps", "--python", python, wheel],
        check=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    site = next((place / "lib").glob("python*/site-packages"))
    borrowed = next(p for p in sys.path if p.endswith("site-packages"))
    (site / "borrowed.pth").write_text(f"import sys; sys.path.append({borrowed!r})\n")

    where = "import mcdrop, mcdrop_service; print(mcdrop.__file__, mcdrop_service.__file__)"
    command = [python, "-c", where]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.count(str(place)) == 2

    mcdrop = place / "bin" / "mcdrop"
    subprocess.run([mcdrop, "train", "digits"], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "models/digits/1/card.json").is_file()
    with serving(tmp_path / "models", command=[mcdrop]) as url:
        answer = httpx.post(f"{url}/predict", json={"inputs": [[0.0] * 64]}, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["model"] == "digits"
