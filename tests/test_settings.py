"""Settings come from where they should, are shown without secrets, and stop the start if wrong."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mcdrop_service
from mcdrop.cli import app
from mcdrop.errors import InputError
from mcdrop_service.keys import make
from mcdrop_service.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of this machine's."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MCDROP_{name.upper()}", raising=False)


def test_flags_beat_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text("port = 1111\nworkers = 2\ndrain = 7\n[pin]\ndigits = 3\n")
    monkeypatch.setenv("MCDROP_PORT", "2222")
    monkeypatch.setenv("MCDROP_WORKERS", "3")
    found = read_settings(file, port=3333, host=None)
    assert (found.port, found.workers, found.drain, found.host) == (3333, 3, 7, "127.0.0.1")
    assert found.pin == {"digits": 3}
    assert read_settings() == Settings(port=2222, workers=3)


def test_lists_in_the_environment_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [make("a")[1], make("b", 5)[1]]
    monkeypatch.setenv("MCDROP_KEYS", ",".join(lines))
    monkeypatch.setenv("MCDROP_OPEN", "health, docs")
    monkeypatch.setenv("MCDROP_CORS", "https://a.org http://b.org:81")
    monkeypatch.setenv("MCDROP_PIN", '{"digits": 2}')
    found = read_settings()
    assert [key.get_secret_value() for key in found.keys] == lines
    assert found.open == ("health", "docs")
    assert found.cors == ("https://a.org", "http://b.org:81")
    assert found.pin == {"digits": 2}


def test_what_is_shown_holds_no_secret() -> None:
    key, line = make("alice")
    found = read_settings(keys=(line,), pin={"digits": 2})
    for shown in (found.describe(), repr(found), str(found)):
        assert line not in shown
        assert line.split(":")[1] not in shown
        assert key not in shown
    assert "keys=1 hidden" in found.describe()
    assert "pin=digits:2" in found.describe()
    assert "port=8000" in found.describe()
    assert "\n" not in found.describe()


WRONG: dict[str, tuple[dict[str, str], str, dict[str, Any], str]] = {
    "port in a flag": ({}, "", {"port": 80}, "the command line: port: .*1024, got 80"),
    "text in the environment": (
        {"MCDROP_WORKERS": "two"},
        "",
        {},
        "the environment: MCDROP_WORKERS: .*integer.* got 'two'",
    ),
    "typo in the environment": ({"MCDROP_WORKRES": "2"}, "", {}, "wanted MCDROP_WORKERS"),
    "a key that would guard nothing": (
        {"LIT_SERVER_API_KEY": "secret"},
        "",
        {},
        "got LIT_SERVER_API_KEY, wanted MCDROP_KEYS",
    ),
    "typo in the file": ({}, "wrokers = 2", {}, "server.toml: .*'wrokers', wanted 'workers'"),
    "bound in the file": ({}, "deadline = -1", {}, "server.toml: deadline: .*got -1"),
    "no TOML": ({}, "port 80", {}, "is not TOML"),
    "half JSON": ({"MCDROP_PIN": "{"}, "", {}, "the environment"),
    "version": ({}, "[pin]\ndigits = 0", {}, "server.toml: pin.digits: .*got 0"),
    "host": ({}, "", {"host": "example.org"}, "host: .*'127.0.0.1'.*got 'example.org'"),
    "door": ({"MCDROP_OPEN": "health,cellar"}, "", {}, "MCDROP_OPEN.1: .*'docs'.*got 'cellar'"),
    "origin": ({"MCDROP_CORS": "example.org"}, "", {}, "got 'example.org', wanted origins"),
    "level": ({"MCDROP_ADAPTIVE": "0"}, "", {}, "MCDROP_ADAPTIVE: .*greater than 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named_with_its_source(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, text, flags, said = WRONG[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_settings(file, **flags)


def test_every_setting_is_a_flag_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(mcdrop_service, "serve", lambda _root, **flags: given.update(flags))
    monkeypatch.setenv("MCDROP_LOG", "text")
    words = "--port 1111 --set log=json --set deadline=2.5 --set pin.digits=2 --set pin.houses=1"
    words += " --set open=health,docs --set rows=7"
    result = CliRunner().invoke(app, ["serve", *words.split()])
    assert result.exit_code == 0, result.output
    found = read_settings(**given)
    assert (found.port, found.log, found.deadline, found.rows) == (1111, "json", 2.5, 7)
    assert found.pin == {"digits": 2, "houses": 1}
    assert found.open == ("health", "docs")
    CliRunner().invoke(app, ["serve", "--set", "rwos=7"])
    with pytest.raises(InputError, match="the command line: got an unknown setting 'rwos'"):
        read_settings(**given)


@pytest.mark.parametrize("word", ["rows", "=7", "repository=x", "config=y"])
def test_a_flag_that_sets_nothing_is_refused(word: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--set", word])
    assert (result.exit_code, "NAME=VALUE" in result.output) == (2, True)


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.toml cannot be read"):
        read_settings(tmp_path / "none.toml")


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
