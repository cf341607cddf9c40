"""What a process does not need it does not import; what it needs comes when it is asked for."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mcdrop import metrics, repository
from mcdrop.later import importer
from tests.models import save_random_classifier

HEAVY = {
    *("matplotlib", "optuna", "pandas", "ray", "scipy.special", "scipy.stats"),
    *("sklearn", "torch", "torch._dynamo", "torchvision"),
}
HELP = """
import sys
from mcdrop.cli import main
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit as done:
    assert not done.code
"""
BUILD = """
from pathlib import Path
from mcdrop_service.server import build
from mcdrop_service.settings import read_settings
build(read_settings(None, repository=Path("models")), Path())
"""
LIST = """
from pathlib import Path
from mcdrop.cli.models import models
models(Path("models"))
"""


def imported(code: str, folder: Path) -> set[str]:
    """The modules that a process of its own has when it has run ``code``."""
    tell = "import json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    command = [sys.executable, "-c", f"{code}\n{tell}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("name", sorted(HEAVY))
def test_what_must_not_be_imported_is_there(name: str) -> None:
    assert importlib.util.find_spec(name)


@pytest.mark.parametrize(
    ("code", "light"),
    [
        ("import mcdrop", {"numpy", "pydantic", "typer"}),
        ("import mcdrop.cli", {"numpy", "pydantic", "typer"}),  # all that workers import of it
        (HELP, {"numpy", "litserve"}),
        (LIST, {"litserve"}),
        ("import mcdrop.client", {"litserve"}),
        (BUILD, set()),  # nor do API processes, which part from the one that does
    ],
    ids=["package", "command line", "help", "models", "client", "server"],
)
def test_what_is_not_needed_is_not_imported(code: str, light: set[str], tmp_path: Path) -> None:
    save_random_classifier(tmp_path / "models", "tiny")
    assert not imported(code, tmp_path) & (HEAVY | light)


@pytest.mark.parametrize("package", [repository, metrics])
def test_every_name_is_found(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name)
    with pytest.raises(AttributeError, match=r"'mcdrop.*' has no attribute 'nothing'"):
        _ = package.nothing  # type: ignore[attr-defined]


def test_names_come_from_their_homes() -> None:
    find = importer("json", {"JSONDecoder": "decoder"})
    assert find("JSONDecoder") is json.JSONDecoder


def test_garbage_is_looked_for_again_after_imports(tmp_path: Path) -> None:
    code = """
import contextlib, gc, sys
from mcdrop.later import staying
with contextlib.suppress(ImportError), staying():
    assert not gc.isenabled()
    import nothing
assert gc.isenabled() and gc.get_freeze_count()
gc.unfreeze()
sys.modules["torch"] = sys
with staying():
    assert not gc.isenabled()
assert gc.isenabled() and not gc.get_freeze_count()
"""
    assert "mcdrop.later" in imported(code, tmp_path)
