"""RayJob deletion strategies that pass the schema and that the operator refuses."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, ray_jobs

ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")


def check(objects: list[Object]) -> Iterator[str]:
    for where, _, job in ray_jobs(objects):
        strategy = job.get("deletionStrategy")
        if strategy is None:
            continue
        rules = strategy.get("deletionRules", [])
        policies = [rule["policy"] for rule in rules]
        policies += [strategy[end].get("policy") for end in ("onSuccess", "onFailure") if end in strategy]
        if rules and job.get("shutdownAfterJobFinishes"):
            yield f"{where}: deletionRules with shutdownAfterJobFinishes"
        if "DeleteWorkers" in policies and job.get("rayClusterSpec", {}).get("enableInTreeAutoscaling"):
            yield f"{where}: DeleteWorkers with the autoscaler"
        if job.get("clusterSelector") and {"DeleteWorkers", "DeleteCluster"} & set(policies):
            yield f"{where}: deletes the cluster that clusterSelector chose"
        yield from (f"{where}: {problem}" for problem in _order(rules))


def _order(rules: list[Object]) -> Iterator[str]:
    seconds: dict[tuple[str, str], int] = {}
    for rule in rules:
        condition = rule["condition"]
        state = condition.get("jobStatus") or condition.get("jobDeploymentStatus")
        if (state, rule["policy"]) in seconds:
            yield f"two rules {rule['policy']} for {state}"
        seconds[state, rule["policy"]] = condition.get("ttlSeconds", 0)
    for state in {state for state, _ in seconds}:
        times = [seconds[state, policy] for policy in ORDER if (state, policy) in seconds]
        if times != sorted(times):
            yield f"deletion rules for {state} go in the wrong order"
