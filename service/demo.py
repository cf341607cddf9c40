"""Start the real server, ask it about digits and about what is no upright digit, show the answers.

Run by ``make demo``, or as ``python service/demo.py [REPOSITORY]`` once ``digits`` is trained.
"""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mcdrop.data.sources import raw_split
from mcdrop.errors import McdropError
from mcdrop.recipe import Recipe
from mcdrop.repository import read_card, resolve

START_SECONDS = 120
console = Console(width=100, highlight=False)


def main(repository: Path) -> None:
    """Ask about every test digit, the same digits rotated, and noise; print a few and the means."""
    recipe = read_card(resolve(repository, "digits")).recipe
    if not isinstance(recipe, Recipe):
        sys.exit("the model digits was trained elsewhere: nobody knows its test rows")
    digits, truth = raw_split("digits", "test", seed=recipe.seed, share=recipe.data.test_share)
    rotated = np.rot90(digits, axes=(1, 2))
    noise = np.random.default_rng(0).integers(0, 17, digits.shape)
    console.print("Starting the server ...")
    with serving(repository) as url:
        console.print(f"Asking {url}/predict about {3 * len(digits)} images of 8 x 8 pixels.\n")
        answers = [ask(url, images) for images in (digits, rotated, noise)]
    hardest = min(range(len(digits)), key=lambda i: answers[0][i]["confidence"])
    table = start_table()
    for i in (0, 1, 2, hardest):
        about = "the least certain" if i == hardest else "a"
        add_row(table, f"{about} test digit, a {truth[i]}", answers[0][i])
    table.add_section()
    for i in (0, 1, 2):
        add_row(table, f"that {truth[i]}, rotated by 90°", answers[1][i])
    table.add_section()
    for i in (0, 1):
        add_row(table, "noise", answers[2][i])
    table.add_section()
    for name, rows in zip(("digits", "rotated digits", "noise images"), answers, strict=True):
        add_means(table, f"all {len(rows)} {name}, mean", rows)
    console.print(table)
    console.print(
        "How to read it: each answer stands with its probability. Aleatoric is doubt that lies\n"
        "in the image, epistemic is what the model does not know, both in nats; confidence, from\n"
        "0 to 1, takes both into account. The model has never seen rotated digits or noise:\n"
        "compare their epistemic with that of upright digits.\n\n"
        "[bold]make serve[/] leaves the server running, with a page to try it at "
        "http://127.0.0.1:8000"
    )


@contextlib.contextmanager
def serving(repository: Path) -> Iterator[str]:
    """The base URL of a server of ``repository`` on a free port; stopped when the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mcdrop", "serve", "--repository", str(repository)]
    server = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        code = server.wait(30)
    if code:
        sys.exit(f"the server ended with exit code {code}")


def wait_until_healthy(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Return when the server answers that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended early, with exit code {server.returncode}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health"):  # noqa: S310
            return
        time.sleep(0.1)
    sys.exit(f"the server was not ready after {START_SECONDS} s")


def ask(url: str, images: np.ndarray) -> list[dict[str, Any]]:
    """POST the images; the server's answer for each."""
    body = json.dumps({"model": "digits", "inputs": images.tolist()}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/predict", body, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            rows: list[dict[str, Any]] = json.load(response)["predictions"]
            return rows
    except urllib.error.HTTPError as error:
        sys.exit(f"the server answered {error.code}: {error.read().decode()}")


def start_table() -> Table:
    """The table's head."""
    table = Table()
    table.add_column("image")
    for column in ("without\ndropout", "with\ndropout", "agree", "confi-\ndence", "alea-\ntoric"):
        table.add_column(column, justify="right")
    table.add_column("epi-\nstemic", justify="right")
    return table


def add_row(table: Table, image: str, answer: dict[str, Any]) -> None:
    """One image's answers, each with its probability."""
    fixed = answer["deterministic"]
    table.add_row(
        image,
        *(
            f"{a['prediction']} ({a['probabilities'][a['prediction']]:.3f})"
            for a in (fixed, answer)
        ),
        "yes" if answer["agrees"] else "[bold]no[/]",
        *(f"{answer[name]:.3f}" for name in ("confidence", "aleatoric", "epistemic")),
    )


def add_means(table: Table, images: str, answers: list[dict[str, Any]]) -> None:
    """The means over many images."""
    sure = [[max(a["probabilities"].values()) for a in (x["deterministic"], x)] for x in answers]
    table.add_row(
        images,
        *(f"({mean:.3f})" for mean in np.mean(sure, axis=0)),
        f"{np.mean([answer['agrees'] for answer in answers]):.1%}",
        *(
            f"{np.mean([answer[name] for answer in answers]):.3f}"
            for name in ("confidence", "aleatoric", "epistemic")
        ),
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "models")
    except McdropError as fault:
        sys.exit(f"error: {fault}; `mcdrop train digits` trains it")
