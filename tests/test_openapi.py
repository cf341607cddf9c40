"""Whatever fits the OpenAPI page, and much that does not, is answered without a failure of ours."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error

from tests.models import PEOPLE, SIZES, save_random_classifier, save_table_model
from tests.serving import serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("repository")
    save_random_classifier(root)
    save_table_model(root, "people", PEOPLE, classes=("no", "yes"))
    save_table_model(root, "sizes", SIZES, targets=("mass", "price"))
    with serving(
        root, feedback=root.parent / "feedback.db", adaptive=0.01, open="repository"
    ) as address:
        yield address


@pytest.fixture
def page(url: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_makes_the_server_fail(
    page: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    """Requests that fit the page, and requests that do not, for every operation."""
    asked = 0
    for found in page.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=20,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def check(case: Case) -> None:
            nonlocal asked
            answer = case.call(timeout=30)
            asked += 1
            case.validate_response(answer, checks=[not_a_server_error])
            assert "Traceback" not in answer.text

        with contextlib.suppress(Unsatisfiable):  # nothing about it can be wrong
            check()
    assert asked > 150


def test_every_route_is_on_the_page(page: schemathesis.BaseSchema) -> None:
    paths = set(page.raw_schema["paths"])
    assert {
        *("/predict", "/predict/stream", "/models", "/health", "/metrics", "/feedback"),
        *("/models/{model}/card", "/models/{model}/drift", "/models/{model}/feedback"),
        *("/v2", "/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"),
        *("/v2/repository/index", "/v2/repository/models/{model}/load"),
    } <= paths
    for path, operations in page.raw_schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), (method, path)


def test_the_schema_resolves(page: schemathesis.BaseSchema, url: str, tmp_path: Path) -> None:
    assert len([*page.get_all_operations()]) >= 18
    page.validate()
