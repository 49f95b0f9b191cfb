"""Service accounts that pods name, and tokens of the API where none is needed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, named, of_kind, pods


def check(objects: list[Object]) -> Iterator[str]:
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName")
        if account is None:
            yield f"{pod.where}: runs as the namespace's default account"
        elif account not in named(objects, "ServiceAccount", pod.namespace):
            yield f"{pod.where}: there is no service account {account}"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where}: automountServiceAccountToken is not false"
        for container in pod.containers:
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            if container["name"] != "autoscaler" and mounted & _token_volumes(pod.spec):
                yield f"{pod.where} {container['name']}: mounts a token of the API"
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount/{account['metadata']['name']}: automountServiceAccountToken is not false"


def _token_volumes(spec: Object) -> set[str]:
    return {
        volume["name"]
        for volume in spec.get("volumes", ())
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", ()))
    }
