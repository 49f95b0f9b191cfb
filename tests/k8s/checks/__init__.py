"""What no schema finds in the manifests: one kind of fault a file, each a `check(objects)` that yields findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.k8s.checks import (
    authentication,
    autoscaling,
    config_maps,
    deletion,
    fault_tolerance,
    gpus,
    images,
    job_end,
    kueue,
    names,
    network,
    pod_security,
    ports,
    priorities,
    ray_version,
    rbac,
    resources,
    schedules,
    secrets,
    selectors,
    service_accounts,
    submission,
    upgrade,
    volumes,
)
from tests.k8s.objects import Object

Check = Callable[[list[Object]], Iterator[str]]

CHECKS: dict[str, Check] = {
    module.__name__.rpartition(".")[2]: module.check
    for module in (
        authentication,
        autoscaling,
        config_maps,
        deletion,
        fault_tolerance,
        gpus,
        images,
        job_end,
        kueue,
        names,
        network,
        pod_security,
        ports,
        priorities,
        ray_version,
        rbac,
        resources,
        schedules,
        secrets,
        selectors,
        service_accounts,
        submission,
        upgrade,
        volumes,
    )
}
"""All checks by the name of their file."""


def findings(objects: list[Object]) -> dict[str, list[str]]:
    """What each check finds; checks that find nothing are left out."""
    found = {name: list(check(objects)) for name, check in CHECKS.items()}
    return {name: problems for name, problems in found.items() if problems}
