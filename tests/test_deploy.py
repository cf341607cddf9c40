"""What deploys the service: valid, and about the server that there is."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import promql_parser
import pytest
import yaml
from dotenv import dotenv_values
from prometheus_client.parser import text_string_to_metric_families

from mcdrop.cli.find import find_recipe
from mcdrop_service.settings import Settings, read_settings
from tests.models import random_pixels, save_random_classifier
from tests.serving import serving

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "service/deploy"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KUSTOMIZATIONS = sorted(DEPLOY.glob("*/kustomization.yaml"))


def manifests() -> dict[str, Any]:
    """What is applied to a cluster, by kind."""
    documents = [
        yaml.safe_load(path.read_text()) for path in (DEPLOY / "kubernetes").glob("*.yaml")
    ]
    return {document["kind"]: document for document in documents}


def defaults(name: str) -> Any:
    return Settings.model_fields[name].default


def pods() -> list[dict[str, Any]]:
    return [manifests()[kind]["spec"]["template"]["spec"] for kind in ("Deployment", "Job")]


@pytest.mark.parametrize("kind", sorted(manifests()))
def test_manifests_hold_to_kubernetes_own_schemas(kind: str) -> None:
    if kind != "Kustomization":  # kubectl's, not the cluster's
        kubernetes_validate.validate(manifests()[kind], "1.30", strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_kustomizations_name_files_that_exist(path: Path) -> None:
    kustomization = yaml.safe_load(path.read_text())
    files = [file for one in kustomization["configMapGenerator"] for file in one.get("files", [])]
    for name in [*kustomization["resources"], *(file.split("=")[1] for file in files)]:
        assert (path.parent / name).exists()


def test_every_manifest_is_applied() -> None:
    applied = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    written = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert written == {"kustomization.yaml", *applied}


@pytest.mark.parametrize("pod", pods(), ids=["serve", "train"])
def test_pods_have_no_privileges(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:" in DOCKERFILE
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("pod", pods(), ids=["serve", "train"])
def test_a_service_of_that_name_sets_no_setting(pod: dict[str, Any]) -> None:
    name = manifests()["Service"]["metadata"]["name"]
    assert f"{name.upper()}_PORT" == f"{Settings.model_config['env_prefix']}PORT"  # the danger
    assert pod["enableServiceLinks"] is False


def test_selectors_find_the_serving_pods_and_no_others() -> None:
    found = manifests()
    common = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["labels"][0]
    assert common["includeTemplates"]
    monitor = yaml.safe_load((DEPLOY / "monitoring/service-monitor.yaml").read_text())
    labels = {
        kind: {**found[kind]["spec"]["template"]["metadata"]["labels"], **common["pairs"]}
        for kind in ("Deployment", "Job")
    }
    for selector in (
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels["Deployment"].items()
        assert not selector.items() <= labels["Job"].items()
    served = found["Service"]["metadata"]["labels"] | common["pairs"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= served.items()
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "mcdrop"


def test_ports_are_the_servers() -> None:
    found, port = manifests(), defaults("port")
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert [p["targetPort"] for p in found["Service"]["spec"]["ports"]] == ["http"]
    assert f"EXPOSE {port}" in DOCKERFILE
    assert COMPOSE["services"]["serve"]["ports"] == [f"127.0.0.1:${{PORT:-{port}}}:{port}"]
    scraped = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())
    assert scraped["scrape_configs"][0]["static_configs"] == [{"targets": [f"serve:{port}"]}]


def test_a_replica_has_the_time_that_its_drain_takes() -> None:
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    wait = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > wait + defaults("drain") + 5
    assert (
        int(COMPOSE["services"]["serve"]["stop_grace_period"].rstrip("s")) > defaults("drain") + 5
    )


def test_environments_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())[
        "configMapGenerator"
    ]
    for literal in config["literals"]:
        monkeypatch.setenv(*literal.split("=", 1))
    settings = read_settings()
    assert set(settings.open) == {"health", "metrics"}
    assert settings.log == "json"


def test_the_environment_file_names_a_recipe_and_what_compose_asks_for() -> None:
    values = dotenv_values(ROOT / ".env")
    asked = re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "compose.yaml").read_text())
    assert dict(asked) == values
    path, _ = find_recipe(values["RECIPE"] or "", ROOT / "models")
    assert path == ROOT / "models" / "digits" / "recipe.toml"


def test_compose_mounts_files_that_exist_and_pins_images() -> None:
    for service in COMPOSE["services"].values():
        assert service["image"] == "mcdrop" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_the_image_is_built_of_files_that_reach_it() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in allowed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that has answered a few hundred rows, a shadow of which has too, and refused one."""
    root = tmp_path_factory.mktemp("models")
    save_random_classifier(root)
    save_random_classifier(root, seed=1)
    with serving(root, shadow='{"tiny": 1}') as url:
        body = {"inputs": random_pixels(300).tolist()}
        httpx.post(f"{url}/predict", json=body, timeout=30).raise_for_status()
        assert httpx.post(f"{url}/predict", json={"inputs": [[1]]}, timeout=30).status_code == 422
        deadline = time.monotonic() + 60
        for name in ("mcdrop_rows_total{", "mcdrop_shadow_rows_total{", "mcdrop_failures_total{"):
            while name not in httpx.get(f"{url}/metrics").text:  # workers count late
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url


def queries() -> dict[str, str]:
    """Every query of the dashboard and of the alerts, by its title."""
    board = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    rules = yaml.safe_load((DEPLOY / "monitoring/alerts.yaml").read_text())["groups"][0]["rules"]
    drawn = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$__rate_interval", "1m")
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    return drawn | {rule["alert"]: rule["expr"] for rule in rules}


def selectors(query: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


@pytest.mark.slow
def test_the_server_exposes_what_dashboard_and_alerts_ask_for(server: str) -> None:
    page = httpx.get(f"{server}/metrics").text
    labels: dict[str, set[str]] = {"up": {"job"}}  # Prometheus' own
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels.setdefault(sample.name, {"instance"}).update(sample.labels)
    for title, query in queries().items():
        asked = selectors(query)
        assert asked, title
        for selector in asked:
            assert selector.name in labels, title
            wanted = {matcher.name for matcher in selector.matchers.matchers}
            grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query))))
            assert wanted | grouped <= labels[selector.name], title


def test_the_dashboard_shows_all_there_is_to_watch() -> None:
    text = " ".join(queries().values())
    for name in ("request_seconds", "requests", "pending", "confidence", "epistemic"):
        assert f"mcdrop_{name}" in text
    for name in ("drift", "abstained", "failures", "worker_restarts"):
        assert f"mcdrop_{name}" in text
    for name in ("shadow_rows", "shadow_disagreements", "shadow_distance"):
        assert f"mcdrop_{name}" in text
    board = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)\{?(\w+)", json.dumps(board["panels"])))
    assert used == variables


@pytest.mark.slow
def test_probes_and_scrapes_are_answered(server: str) -> None:
    (container,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    monitor = yaml.safe_load((DEPLOY / "monitoring/service-monitor.yaml").read_text())
    scraped = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    (checked,) = re.findall(r"127\.0\.0\.1:\d+(/[\w/]+)", DOCKERFILE)
    paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")]
    paths += [container["livenessProbe"]["httpGet"]["path"], checked]
    paths += [monitor["spec"]["endpoints"][0]["path"], scraped[0]["metrics_path"]]
    for path in paths:
        assert httpx.get(f"{server}{path}").status_code == 200, path
