"""The operators' Helm values fit what the manifests need of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import feast as feast_package
import ray as ray_package
import yaml

from tests.k8s.objects import K8S, Object, namespace, of_kind, ray_clusters


def values(name: str) -> Any:
    return yaml.safe_load((K8S / "operators" / f"{name}-values.yaml").read_text())


def test_kuberay_watches_and_can_do_what_the_overlays_hold(overlays: dict[str, list[Object]]) -> None:
    kuberay = values("kuberay")
    gates = {gate["name"]: gate["enabled"] for gate in kuberay["featureGates"]}
    for objects in overlays.values():
        assert {namespace(cluster.owner) for cluster in ray_clusters(objects)} <= set(kuberay["watchNamespace"])
        if list(of_kind(objects, "RayCronJob")):
            assert gates["RayCronJob"]


def test_kueue_takes_jobs_of_its_namespace_and_no_clusters_that_stay(overlays: dict[str, list[Object]]) -> None:
    config = yaml.safe_load(values("kueue")["managerConfig"]["controllerManagerConfigYaml"])
    assert config["integrations"]["frameworks"] == ["ray.io/rayjob"]
    (queue,) = of_kind(overlays["prod"], "LocalQueue")
    assert config["managedJobsNamespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == namespace(queue)


def test_prometheus_sees_monitors_without_its_labels() -> None:
    spec = values("kube-prometheus-stack")["prometheus"]["prometheusSpec"]
    assert spec["podMonitorSelectorNilUsesHelmValues"] is spec["ruleSelectorNilUsesHelmValues"] is False


def test_the_readme_names_the_pinned_versions() -> None:
    readme = re.sub(r"\\\n\s*", "", (K8S / "README.md").read_text())
    for file in sorted((K8S / "operators").glob("*-values.yaml")):
        pinned = re.search(r"^# helm chart (\S+) (\d+\.\d+\.\d+), in namespace (\S+)$", file.read_text(), re.MULTILINE)
        assert pinned is not None, file.name
        chart, version, where = pinned.groups()
        command = rf"{re.escape(chart)} --version {re.escape(version)} .*--namespace {where}"
        assert re.search(command, readme), f"{chart} {version}"
        assert file.name in readme


def test_the_alerts_read_metrics_that_there_are(overlays: dict[str, list[Object]]) -> None:
    ray = "".join(file.read_text() for file in (Path(ray_package.__file__).parent / "dashboard/modules").rglob("*.py"))
    feast = (Path(feast_package.__file__).parent / "metrics.py").read_text()
    (rules,) = of_kind(overlays["prod"], "PrometheusRule")
    expressions = " ".join(rule["expr"] for group in rules["spec"]["groups"] for rule in group["rules"])
    of_ray = set(re.findall(r"\bray_(?!io_)\w+", expressions))
    of_feast = set(re.findall(r"\bfeast_\w+", expressions))
    assert len(of_ray) >= 6
    assert of_feast
    # a gauge of a node stands in the source without its prefix
    assert [name for name in sorted(of_ray) if name not in ray and f'"{name.removeprefix("ray_")}"' not in ray] == []
    assert [name for name in sorted(of_feast) if name not in feast] == []


def test_every_alert_leads_to_a_section_of_the_runbook(overlays: dict[str, list[Object]]) -> None:
    readme = (K8S / "README.md").read_text()
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^### (.+)$", readme, re.MULTILINE)}
    (rules,) = of_kind(overlays["prod"], "PrometheusRule")
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    assert len(alerts) >= 8
    assert {alert["annotations"]["runbook"] for alert in alerts} <= sections
