"""Priority classes that pods name."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, named, pods


def check(objects: list[Object]) -> Iterator[str]:
    known = named(objects, "PriorityClass", "")
    for pod in pods(objects):
        chosen = pod.spec.get("priorityClassName")
        if chosen not in known:
            yield f"{pod.where}: there is no priority class {chosen}"
