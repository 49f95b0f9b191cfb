"""How a RayJob's command is submitted: modes that the operator knows, and commands that this repository has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests.k8s.objects import K8S, Object, ray_jobs

MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")


def check(objects: list[Object]) -> Iterator[str]:
    for where, _, job in ray_jobs(objects):
        mode = job.get("submissionMode", "K8sJobMode")
        if mode not in MODES:
            yield f"{where}: unknown submissionMode {mode}"
        if mode == "K8sJobMode" and not job.get("submitterPodTemplate"):
            yield f"{where}: KubeRay's own submitter has no securityContext; give submitterPodTemplate"
        if mode == "SidecarMode" and ("submitterPodTemplate" in job or "submitterConfig" in job):
            yield f"{where}: SidecarMode takes no submitter"
        if mode == "InteractiveMode" and job.get("backoffLimit", 0):
            yield f"{where}: InteractiveMode takes no backoffLimit"
        restart = job.get("submitterPodTemplate", {}).get("spec", {}).get("restartPolicy")
        if mode == "K8sJobMode" and restart not in ("Never", "OnFailure"):
            yield f"{where}: the submitter's restartPolicy is {restart}, a Job takes Never or OnFailure"
        yield from (f"{where}: {problem}" for problem in _command(job.get("entrypoint", "")))


def _command(entrypoint: str) -> Iterator[str]:
    if re.search(r"[;&|<>`$\n]", entrypoint):
        yield "the entrypoint holds a character that the submitter's shell would read"
        return
    words = shlex.split(entrypoint)
    if words[:2] != ["python", "-m"] or len(words) < 3:
        yield f"the entrypoint is not python -m jobs.NAME: {entrypoint!r}"
        return
    package, _, name = words[2].partition(".")
    known = {file.stem for file in (K8S.parent / "jobs").glob("*.py")}
    if package != "jobs" or name not in known:
        yield f"there is no {words[2]}"
