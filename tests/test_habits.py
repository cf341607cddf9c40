"""The files by which people work together: valid, and saying what is so."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from mcdrop_service import limits
from mcdrop_service.settings import Settings

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
GOALS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

SCHEMAS = {
    "citation-file-format": "CITATION.cff",
    "compose-spec": "*compose*.yaml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "github-workflows": ".github/workflows/*.yml",
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_hold_to_the_schemas_of_those_who_read_them(schema: str) -> None:
    paths = [*ROOT.glob(SCHEMAS[schema]), *(ROOT / "service/deploy").glob(SCHEMAS[schema])]
    assert paths
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    ran = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout


def test_every_place_names_the_same_version() -> None:
    version = PROJECT["project"]["version"]
    changes = re.findall(r"^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert changes[0] == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


def test_hooks_are_local_and_run_what_development_installs() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", path], check=True)
    installed = {re.split(r"[<>=\[]", name)[0] for name in development()}
    for repo in yaml.safe_load(path.read_text())["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["entry"].split()[0].removeprefix(".venv/bin/") in installed


def development() -> list[str]:
    return list(PROJECT["project"]["optional-dependencies"]["dev"])


def test_the_workflow_and_the_guide_name_goals_that_exist() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    runs = re.findall(r"run: make ([a-z-]+)", text)
    assert "test" in runs
    assert {*runs, *re.findall(r"make ([a-z-]+)", CONTRIBUTING)} <= GOALS


def test_the_guide_names_files_and_marks_that_exist() -> None:
    for name in re.findall(r"(?:mcdrop|tests|benchmarks)/[\w/]+\.?\w*", CONTRIBUTING):
        assert (ROOT / name).exists() or "NAME" in name, name
    marks = {mark.split(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    assert set(re.findall(r"^\| `(\w+)` \|", CONTRIBUTING, flags=re.MULTILINE)) == marks


def test_the_threat_model_names_the_bounds_there_are() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)`.*\| ([\d.]+) \|(.*)\|$", SECURITY, flags=re.MULTILINE)
    assert len(rows) > 8
    for name, value, setting in rows:
        assert str(getattr(limits, name)) == value, name
        for field in re.findall(r"\w+", setting):
            assert Settings.model_fields[field].default == getattr(limits, name)
    for field in ("open", "cors", "feedback"):
        assert field in Settings.model_fields
        assert f"`{field}`" in SECURITY
