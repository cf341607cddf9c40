"""The command line: what it writes, what it prints, and how it fails."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mcdrop import cli
from mcdrop.cli.find import find_recipe
from mcdrop.predictor import load
from tests.models import random_pixels, save_random_classifier, save_random_regressor

ROOT = Path(__file__).parent.parent


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "command",
    ["", "train", "compare", "search", "serve", "score", "predict", "models", "evaluate", "select"],
)
def test_help_describes_every_option(command: str) -> None:
    code, text = invoke(*([command] if command else []), "--help")
    assert code == 0
    assert "Usage" in text
    for name in ("train", "serve", "score", "predict", "models") if not command else ():
        assert name in text


def test_training_twice_writes_two_versions(tmp_path: Path) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text('[data]\nsource = "digits"\n[training]\nepochs = 1\n')
    for version in ("1", "2"):
        code, text = invoke("train", recipe, "--repository", tmp_path / "models")
        assert code == 0
        assert text.strip().endswith(str(tmp_path / "models" / "quick" / version))
        assert "epoch   1  loss" in text
    history = (tmp_path / "models/quick/2/history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,train_loss,validation_loss")
    assert len(history) == 2


def test_a_model_that_is_there_is_not_trained_again_if_so_asked(tmp_path: Path) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text('[data]\nsource = "digits"\n[training]\nepochs = 1\n')
    command = ("train", recipe, "--repository", tmp_path / "models", "--if-missing")
    trained, again = invoke(*command), invoke(*command)
    assert trained[0] == again[0] == 0
    assert "epoch   1  loss" in trained[1]
    assert "epoch" not in again[1]
    assert "quick has version 1: nothing to train" in again[1]
    folder = tmp_path / "models" / "quick"
    assert again[1].strip().endswith(str(folder / "1"))
    assert [p.name for p in folder.iterdir()] == ["1"]


def test_a_model_is_found_by_name_in_the_repository_or_the_package(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "recipe.toml"
    own.parent.mkdir()
    own.write_text('[data]\nsource = "digits"\n')
    assert find_recipe("mine", tmp_path) == (own, "mine")
    assert find_recipe(str(own.parent), tmp_path) == (own, "mine")
    assert find_recipe(str(own), tmp_path) == (own, "mine")
    assert find_recipe("absent", tmp_path)[0] == tmp_path / "absent" / "recipe.toml"
    shipped, name = find_recipe("digits", tmp_path)
    assert shipped.is_file()
    assert name == "digits"


def test_models_lists_versions_or_says_what_to_do(tmp_path: Path) -> None:
    assert "try `mcdrop train digits`" in invoke("models", "--repository", tmp_path)[1]
    save_random_classifier(tmp_path)
    save_random_classifier(tmp_path)
    text = invoke("models", "--repository", tmp_path)[1]
    assert text.count("tiny ") == 2
    assert "accuracy" in text
    assert "0.1000" in text


def test_predict_answers_for_one_row(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    row = json.dumps(random_pixels(1)[0].tolist())
    code, text = invoke("predict", row, "--repository", tmp_path, "--samples", 20)
    assert code == 0
    for word in ("tiny version 1, 20 passes, seed 0", "confidence", "epistemic", "aleatoric"):
        assert word in text


def test_predict_shows_the_likeliest_classes_and_prints_all_as_json(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    row = random_pixels(1)[0].tolist()
    command = ("predict", json.dumps(row), "--repository", tmp_path, "--samples", 20)
    text, printed = invoke(*command)[1], json.loads(invoke(*command, "--json")[1])
    answer = load(tmp_path / "tiny").predict([row], 20)
    order = np.argsort(-answer.mean[0])
    shown = [f" probability_{i} " in text for i in order]
    assert shown == [True] * 5 + [False] * 5
    assert "and 5 more classes" in text
    assert [printed[f"probability_{i}"] for i in range(10)] == answer.mean[0].tolist()
    assert printed["prediction_set"] == [str(i) for i in np.flatnonzero(answer.prediction_set[0])]


def test_json_of_an_answer_has_no_bare_infinity(tmp_path: Path) -> None:
    folder = save_random_regressor(tmp_path)
    predictor = load(folder)
    few = {"level": 0.999}  # 50 calibration rows give no interval
    card = json.loads((folder / "card.json").read_text())
    card["recipe"]["calibration"] = few
    (folder / "card.json").write_text(json.dumps(card))
    row = json.dumps(random_pixels(1)[0].tolist())
    with pytest.warns(UserWarning, match="too few"):
        text = invoke("predict", row, "--repository", tmp_path, "--json")[1]
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["lower"] is found["upper"] is None
    assert found["mean"] == predictor.predict([json.loads(row)]).mean[0, 0]


def test_predict_takes_as_many_passes_as_it_needs(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    row = json.dumps(random_pixels(1)[0].tolist())
    options = ("--repository", tmp_path, "--samples", "auto", "--tolerance")
    few, many = (invoke("predict", row, *options, size)[1] for size in (0.5, 0.01))
    assert "tiny version 1, 32 passes" in few
    assert int(many.split("version 1, ")[1].split()[0]) > 32
    for bad in ("none", "0", "10001"):
        code, text = invoke("predict", row, "--repository", tmp_path, "--samples", bad)
        assert code == 2
        assert "neither auto nor a number" in " ".join(text.replace("│", " ").split())


def test_score_writes_a_row_per_row(tmp_path: Path) -> None:
    save_random_classifier(tmp_path)
    np.savez(tmp_path / "x.npz", x=random_pixels(7))
    out = tmp_path / "scores.parquet"
    code, _ = invoke("score", tmp_path / "x.npz", "-o", out, "--repository", tmp_path)
    assert code == 0
    table = pq.read_table(out)
    assert table.num_rows == 7
    assert str(table.schema.field("confidence").type) == "double"


def mcdrop(*arguments: object, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mcdrop", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_known_errors_are_one_line_and_exit_code_1(tmp_path: Path) -> None:
    process = mcdrop("score", tmp_path / "no.npz", "-o", "x.csv", "--repository", tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err.startswith("error: no trained model")
    assert "Traceback" not in out + err


LONG = '[data]\nsource = "digits"\n[training]\nepochs = 40\npatience = 0\n'


def training(folder: Path) -> tuple[object, ...]:
    """The arguments that train `LONG`, whose models lie in the folder."""
    (folder / "long.toml").write_text(LONG)
    return "train", folder / "long.toml", "--repository", folder / "models", "--device", "cpu"


def weights(folder: Path) -> bytes:
    return (folder / "models/long/1/model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of `LONG` after a training from end to end."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert invoke(*training(folder))[0] == 0
    return weights(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_broken_off_training_goes_on_to_the_same_weights(
    tmp_path: Path, how: signal.Signals, unbroken: bytes
) -> None:
    command = training(tmp_path)
    process = mcdrop(*command)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch   5"):
            break
    process.send_signal(how)
    _, err = process.communicate(timeout=300)
    left = [str(p.relative_to(tmp_path)) for p in (tmp_path / "models").rglob("*") if p.is_file()]
    assert "models/long/.checkpoint.safetensors" in left
    assert not [path for path in left if "checkpoint" not in path]
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "--resume goes on after the last finished epoch" in err
    code, text = invoke(*command, "--resume")
    assert code == 0
    done = int(text.split("going on after epoch ")[1].split()[0])
    assert 5 <= done < 40
    assert f"epoch {done:3d}  loss" not in text
    assert not list((tmp_path / "models/long").glob(".*"))
    assert weights(tmp_path) == unbroken


def test_resuming_nothing_starts_anew(tmp_path: Path) -> None:
    recipe = tmp_path / "quick.toml"
    recipe.write_text('[data]\nsource = "digits"\n[training]\nepochs = 1\n')
    arguments = ("train", recipe, "--repository", tmp_path / "models", "--resume", "--tensorboard")
    code, text = invoke(*arguments)
    assert code == 0
    assert "nothing to go on from" in text
    assert len(list((tmp_path / "models/quick/tensorboard").glob("*/events*"))) == 1
    assert "quick" in invoke("models", "--repository", tmp_path / "models")[1]


def test_help_of_the_installed_command() -> None:
    out, _ = mcdrop("--help").communicate(timeout=300)
    assert "says how far it can be" in " ".join(out.split())


@pytest.mark.parametrize("name", ["[/b].npz", "[bold]x.npz"])
def test_names_that_look_like_markup_are_told_as_they_are(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random_classifier(tmp_path, fields={"classes": [f"[/a][red]{i}" for i in range(10)]})
    (tmp_path / name).parent.mkdir(exist_ok=True)
    options = ("-o", str(tmp_path / "o.csv"), "--repository", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["mcdrop", "score", str(tmp_path / name), *options])
    monkeypatch.setattr(cli, "console", Console(stderr=True, highlight=False))
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert name in capsys.readouterr().err
    row = json.dumps(random_pixels(1)[0].tolist())
    text = invoke("predict", row, "--repository", tmp_path, "--samples", 2)[1]
    assert "probability_[/a][red]" in text


def test_models_leaves_out_what_cannot_be_read(tmp_path: Path) -> None:
    save_random_classifier(tmp_path, "good")
    (save_random_classifier(tmp_path, "bad") / "card.json").write_text("{")
    code, text = invoke("models", "--repository", tmp_path)
    assert code == 0
    assert "good" in text
    assert "left out: " in text


def test_models_prints_whole_numbers_where_no_terminal_is_too_narrow(tmp_path: Path) -> None:
    scores = {f"a_score_of_many_{i}": i + 0.1234 for i in range(9)}
    save_random_classifier(tmp_path, fields={"metrics": {"served": scores}})
    text = invoke("models", "--repository", tmp_path)[1]
    for name, value in scores.items():
        assert name in text
        assert f"{value:.4f}" in text


def test_info_says_what_computes_on_a_gpu_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "GPU 9000")
    for missing, said in (("no compiler", "engine torch: no compiler"), (None, "engine triton")):
        monkeypatch.setattr("mcdrop.engine.chip.lacking", lambda device, m=missing: m)
        assert f"GPU 9000, {said}" in invoke("info")[1]


def test_info_says_what_computes_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCDROP_ENGINE", "torch")
    code, text = invoke("info")
    assert code == 0
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "torch" in lines["engine"]
    assert "MCDROP_ENGINE=torch" in lines["kernel"]
    assert {"python", "mcdrop", "threads", "features"} <= set(lines)
