"""What is used of LitServe is there; each fault seen in its stock servers has a test of ours."""

import ast
import inspect
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import litserve  # type: ignore[import-untyped]
import pytest
from litserve.loops import LitLoop  # type: ignore[import-untyped]
from litserve.utils import WorkerSetupStatus  # type: ignore[import-untyped]

from mcdrop_service.loop import SocketLoop
from mcdrop_service.pulse import Patrol, Pulse
from mcdrop_service.server import Server

TESTS = Path(__file__).parent

USED: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "workers are started": (litserve.LitServer.launch_inference_worker, ("lit_api",)),
    "one is started": (
        litserve.LitServer.launch_single_inference_worker,
        ("lit_api", "worker_id"),
    ),
    "their setup is waited for": (litserve.LitServer.verify_worker_status, ()),
    "the server runs": (litserve.LitServer.run, ("host", "port", "log_level", "kwargs")),
    "routes ask for keys": (litserve.LitServer.setup_auth, ()),
    "a worker is set up": (litserve.LitAPI.setup, ("device",)),
    "a loop is chosen": (litserve.LitAPI.__init__, ("loop",)),
}


@pytest.mark.parametrize("what", USED)
def test_what_is_extended_is_there(what: str) -> None:
    function, names = USED[what]
    assert set(names) <= set(inspect.signature(function).parameters)


def test_a_worker_that_died_is_not_reported_as_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long its successor is put off."""
    pulse, now = Pulse(1), 0.0
    pulse.counts[0] = 7  # its last sign of life
    server = object.__new__(Server)
    server.patrol, server.stopping = Patrol(pulse, 5.0, lambda: now), False
    server._starts = deque([time.monotonic()] * 5, maxlen=5)
    found = []

    def sleep(seconds: float) -> None:
        nonlocal now
        for _ in range(int(2 * seconds)):
            now += 0.5
            found.extend(server.patrol.look())

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(litserve.LitServer, "launch_single_inference_worker", lambda *_: "started")
    launched: Any = server.launch_single_inference_worker(None, 0)  # type: ignore[arg-type]
    assert (launched, now, found) == ("started", 10.0, [])


def test_ours_stand_where_theirs_do() -> None:
    for kind, base in ((Server, litserve.LitServer), (SocketLoop, LitLoop)):
        for name, function in vars(kind).items():
            if inspect.isfunction(function) and name in vars(base) and name != "__init__":
                ours, theirs = inspect.signature(function), inspect.signature(getattr(base, name))
                args = [str(number) for number in range(len(theirs.parameters))]
                ours.bind(*args)  # as LitServe calls it, by position


def test_what_is_read_of_a_running_server_is_there() -> None:
    source = inspect.getsource(litserve.LitServer)
    for name in ("workers_setup_status", "inference_workers", "monitor_internal"):
        assert f"self.{name} = " in source
    assert 'f"LitServer-' in source  # names of API processes
    assert "self.uvicorn_graceful_timeout" in source
    assert WorkerSetupStatus.READY == "ready"


FAULTS: dict[str, tuple[str, ...]] = {
    "one bad item in a batch": ("faults::one_bad_item_among_six_fails_alone",),
    "an exception that cannot be pickled": ("worker::what_fails_in_company_is_tried_alone",),
    "malformed JSON, NaN in a body": ("faults::malformed_json_and_nan_are_the_callers_fault",),
    "NaN in an answer": ("worker::an_answer_that_is_not_finite_is_not_sent",),
    "OpenAPI breaks": ("faults::the_openapi_page_stands", "openapi::the_schema_resolves"),
    "binary bodies": ("faults::binary_bodies_and_their_faults",),
    "bodies without bound, streams with one": (
        "faults::an_endless_body_takes_neither_memory_nor_the_loop",
        "faults::a_large_body_is_parsed_away_from_the_loop",
        "gate::large_bodies_do_not_pass",
    ),
    "a flood": ("faults::a_flood_is_refused_and_health_answers",),
    "a timeout of the queue alone": ("faults::no_answer_comes_after_its_deadline",),
    "clients that left": (
        "faults::clients_that_left_cost_nothing_more",
        "faults::a_stream_ends_when_its_client_leaves",
    ),
    "idle connections are counted": ("faults::idle_connections_keep_nobody_out",),
    "a worker is killed": (
        "faults::a_worker_killed_on_the_way_is_replaced_and_its_request_answered",
        "faults::a_worker_that_hangs_is_replaced_and_its_requests_answered",
    ),
    "an API process is killed": ("faults::a_dead_api_process_ends_the_server_with_a_failure",),
    "signals": (
        "faults::sigterm_drains_with_nothing_lost",
        "faults::sigterm_stops_a_server_that_is_the_first_process",
        "service::a_killed_worker_is_replaced_and_ctrl_c_drains",
        "service::a_server_that_is_killed_leaves_nothing_behind",
    ),
    "health says yes too early": (
        "faults::a_worker_killed_on_the_way_is_replaced_and_its_request_answered",
    ),
    "keys for some routes": (
        "settings::a_wrong_setting_is_named_with_its_source",  # LitServe's own key is refused
        "operation::every_route_wants_a_key_but_the_open_ones",
    ),
    "timers of batches": (
        "faults::a_server_without_work_rests_and_a_lone_request_waits_for_no_batch",
    ),
    "a stream that fails midway": ("faults::a_stream_that_breaks_says_so",),
    "callbacks without ids": ("faults::every_answer_names_its_request",),
    "exceptions of callbacks": ("worker::observers_see_every_answer_and_cannot_hurt",),
    "metrics of another process": ("operation::metrics_are_those_of_all_processes",),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_stock_servers_are_tried_on_ours(fault: str) -> None:
    for name in FAULTS[fault]:
        place, _, test = name.partition("::")  # a file, or a folder of some
        paths = [*TESTS.glob(f"test_{place}.py"), *(TESTS / place).glob("test_*.py")]
        trees = [ast.parse(path.read_text(encoding="utf-8")).body for path in paths]
        there = {node.name for body in trees for node in body if isinstance(node, ast.FunctionDef)}
        assert f"test_{test}" in there
