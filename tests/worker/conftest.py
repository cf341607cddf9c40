"""A repository of two models, and a look at what is evaluated."""

from pathlib import Path
from typing import Any

import pytest

from mcdrop_service import answers
from mcdrop_service.job import Job
from tests.models import save_random_classifier


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    save_random_classifier(folder)
    save_random_classifier(folder, "other", seed=1)
    return folder


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were evaluated, each time that some were."""
    sizes, evaluate = [], answers.evaluate

    def spy(job: Job, x: Any) -> Any:
        sizes.append(len(x))
        return evaluate(job, x)

    monkeypatch.setattr(answers, "evaluate", spy)
    return sizes
