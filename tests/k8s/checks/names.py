"""Names that KubeRay refuses: it appends to them, and services and labels end at 63 characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.k8s.objects import Object, key

LONGEST = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36, "CronJob": 52}
"""The operator's limits; a RayCronJob's jobs carry 11 characters more, a CronJob's too (API server)."""

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check(objects: list[Object]) -> Iterator[str]:
    seen: set[tuple[str, str, str]] = set()
    for thing in objects:
        name, kind = thing["metadata"].get("name", ""), thing["kind"]
        if kind in LONGEST:
            if len(name) > LONGEST[kind]:
                yield f"{key(thing)}: {len(name)} characters, at most {LONGEST[kind]}"
            if not DNS_LABEL.fullmatch(name):
                yield f"{key(thing)}: not a DNS label that begins with a letter"
        identity = (kind, thing["metadata"].get("namespace", ""), name)
        if identity in seen:
            yield f"{key(thing)}: twice"
        seen.add(identity)
