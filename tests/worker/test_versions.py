"""A worker keeps nothing of versions that are gone from the disk."""

import asyncio
import gc
import shutil
import weakref
from pathlib import Path
from typing import Any

from mcdrop_service.backend import Backend
from mcdrop_service.worker import Worker
from tests.models import save_random_classifier
from tests.worker.working import PIXELS, ask, rows_of, run

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"seed": 1, "samples": 20},
    {"samples": "auto"},
    {"passes": True, "samples": 4},
]


def test_versions_that_were_replaced_are_let_go(tmp_path: Path) -> None:
    root = tmp_path / "models"
    save_random_classifier(root)

    async def do(backend: Backend, desk: Worker) -> list["weakref.ref[object]"]:
        seen: list[weakref.ref[object]] = []
        for version in range(1, 5):
            predictor = desk.shelf.find("tiny", None)
            assert predictor.card.version == version
            for fields in QUESTIONS:
                rows_of(await backend.submit(ask(PIXELS, **fields)))
            [reply async for reply in backend.stream(ask(samples=20))]
            posteriors = (predictor._checked(20, 0), predictor._checked(20, 1))
            seen += map(weakref.ref, (predictor, predictor.network, *posteriors))
            del predictor, posteriors
            save_random_classifier(root, seed=version)
            shutil.rmtree(root / "tiny" / str(version))
            await asyncio.wrap_future(desk.shelf.look())
        rows_of(await backend.submit(ask()))  # what was held for others is seen to at the next ask
        return seen

    def kept(seen: list["weakref.ref[object]"]) -> list[object]:
        gc.collect()
        return [each for each in (reference() for reference in seen) if each is not None]

    seen = run(root, do, tmp_path)
    assert len(seen) == 16
    assert not kept(seen)
