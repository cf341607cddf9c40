"""The floors of the house: a module imports only from floors below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"errors", "held", "later"},
    {"uncertainty", "arguments", "chain"},
    {
        "recipe",
        "metrics",
        "checkpoint",
        "schedules",
        "conformal",
        "abstention",
        "predictions",
        "drift",
        "adaptive",
        "batchbald",
    },
    {
        "network",
        "adopted",
        "regularization",
        "objective",
        "sweep",
        "data",
        "masks",
        "plan",
        "augmentation",
        "feed",
    },
    {"engine", "loop", "layers"},
    {"posterior", "moments", "training", "tensorboard", "plots", "calibration", "corrections"},
    {"card", "many", "assessment"},
    {"repository"},
    {"predictor", "model_card", "packing", "worth"},
    {"scoring", "pipeline", "evaluation", "client"},
    {"compare", "search", "selection", "adoption"},
    {"cli", "mcdrop_service"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ENTRANCES = {"__init__", "__main__"}
# The command line starts the service, and imports it only then.
ALLOWED = {("cli", "mcdrop_service")}


def sources() -> list[Path]:
    return [*(ROOT / "mcdrop").rglob("*.py"), *(ROOT / "service/mcdrop_service").rglob("*.py")]


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "mcdrop_service" if parts[0] == "service" else parts[1].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                pytest.fail(f"{path} has a relative import")
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            top, *rest = name.split(".")
            if top == "mcdrop_service":
                rooms.add(top)
            elif top == "mcdrop" and rest:
                rooms.add(rest[0])
    return rooms


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    here = room(path)
    if here in ENTRANCES:
        return
    for there in imported_rooms(path) - {here}:
        if (here, there) in ALLOWED:
            continue
        assert FLOOR[there] < FLOOR[here], f"{here} (floor {FLOOR[here]}) imports {there}"


def test_the_library_needs_no_server() -> None:
    for path in (ROOT / "mcdrop").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            text = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
            assert "litserve" not in text, path
            assert "mcdrop_service" not in text, path


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), path


BANNED_IMPORTS = {"pickle", "cloudpickle", "dill", "joblib", "random"}
BANNED_CALLS = {
    *("torch.load", "torch.save", "torch.seed", "torch.cuda.manual_seed_all"),
    *("np.random.seed", "numpy.random.seed", "logging.basicConfig"),
    *("torch.set_default_dtype", "torch.set_float32_matmul_precision"),
}


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_pickled_and_no_global_state_is_set(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & BANNED_IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in BANNED_IMPORTS
        elif isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in BANNED_CALLS
        elif isinstance(node, ast.Assert):
            pytest.fail(f"line {node.lineno} validates with assert")


def test_nothing_seeds_torch_globally() -> None:
    assert not [p.name for p in sources() if "torch.manual_seed(" in p.read_text()]
