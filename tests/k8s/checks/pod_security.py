"""The restricted pod security standard, and a root file system that is read-only, for every container."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, Pod, namespace, of_kind, pods

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
ENFORCE = "pod-security.kubernetes.io/enforce"


def check(objects: list[Object]) -> Iterator[str]:
    profiles = {
        thing["metadata"]["name"]: thing["metadata"].get("labels", {}).get(ENFORCE)
        for thing in of_kind(objects, "Namespace")
    }
    for pod in pods(objects):
        if profiles.get(pod.namespace) != "restricted":
            yield f"{pod.where}: namespace {pod.namespace} does not enforce restricted pod security"
        yield from (f"{pod.where}: {problem}" for problem in _of_pod(pod))
        for container in pod.containers:
            yield from (f"{pod.where} {container['name']}: {problem}" for problem in _of_container(container))
    for thing in of_kind(objects, "FeatureStore"):
        context = thing["spec"]["services"].get("securityContext", {})
        if context.get("runAsNonRoot") is not True or "seccompProfile" not in context:
            yield f"FeatureStore/{thing['metadata']['name']}: securityContext lacks runAsNonRoot or seccompProfile"
        if profiles.get(namespace(thing)) not in ("baseline", "restricted"):
            yield f"FeatureStore/{thing['metadata']['name']}: its namespace enforces no pod security"


def _of_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if not context.get("runAsUser"):
        yield "runs as root or as whatever the image says"
    if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.spec.get(name):
            yield f"{name} is on"
    for volume in pod.spec.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']} is a {', '.join(sorted(kinds))}"


def _of_container(container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if context.get("privileged"):
        yield "privileged"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", ()) or capabilities.get("add"):
        yield "capabilities are not all dropped"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield "runs as root"
    if context.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "no seccomp profile"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "a port of the host"
