"""How a RayJob ends: what the operator refuses about shutdown, time to live and deadlines."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, ray_jobs


def check(objects: list[Object]) -> Iterator[str]:
    for where, _, job in ray_jobs(objects):
        shutdown = job.get("shutdownAfterJobFinishes", False)
        if job.get("ttlSecondsAfterFinished", 0) and not shutdown:
            yield f"{where}: ttlSecondsAfterFinished without shutdownAfterJobFinishes"
        if job.get("suspend") and not shutdown:
            yield f"{where}: suspend without shutdownAfterJobFinishes"
        if not shutdown and not job.get("deletionStrategy"):
            yield f"{where}: its cluster would never end"
        if job.get("activeDeadlineSeconds", 0) <= 0:
            yield f"{where}: no activeDeadlineSeconds, a stuck job would hold its nodes for ever"
        if job.get("backoffLimit", 0) < 0:
            yield f"{where}: negative backoffLimit"
        if job.get("preRunningDeadlineSeconds", 0) >= job.get("activeDeadlineSeconds", 0):
            yield f"{where}: preRunningDeadlineSeconds leaves no time for the job"
