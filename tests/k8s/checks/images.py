"""Images are pinned, and the two of ours are of one version."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, of_kind, pods

OURS = ("mtl-ray-cpu", "mtl-ray-cuda")


def check(objects: list[Object]) -> Iterator[str]:
    versions = set()
    for where, image in _images(objects):
        repository, tag, digest = split(image)
        if not digest and tag in ("", "latest"):
            yield f"{where}: {image} is not pinned"
        if repository.rpartition("/")[2] in OURS and not digest:
            versions.add(tag)
    if len(versions) > 1:
        yield f"images of several versions: {', '.join(sorted(versions))}"


def split(image: str) -> tuple[str, str, str]:
    """(repository, tag, digest); what is absent is empty."""
    name, _, digest = image.partition("@")
    repository, colon, tag = name.rpartition(":")
    return (repository, tag, digest) if colon and "/" not in tag else (name, "", digest)


def _images(objects: list[Object]) -> Iterator[tuple[str, str]]:
    for pod in pods(objects):
        for container in pod.containers:
            if container.get("image") is not None:  # the autoscaler takes the head's
                yield f"{pod.where} {container['name']}", container["image"]
            elif container["name"] != "autoscaler":
                yield f"{pod.where} {container['name']}", ""
    for thing in of_kind(objects, "FeatureStore"):
        services, where = thing["spec"]["services"], f"FeatureStore/{thing['metadata']['name']}"
        for service in (services["registry"]["local"], services["onlineStore"], services["offlineStore"]):
            yield where, service["server"].get("image", "")
        yield where, thing["spec"]["cronJob"]["containerConfigs"].get("image", "")
