"""Broken variants of our own manifests: each is one fault, made in what an overlay renders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.k8s.objects import Object, key


class Rendered:
    """The objects of an overlay, to break."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def __getitem__(self, wanted: str) -> Object:
        """The object called `Kind/name`; a config map also by its name without the hash."""
        found = [thing for thing in self.objects if key(thing) == wanted or key(thing).rpartition("-")[0] == wanted]
        assert len(found) == 1, f"{wanted}: {[key(thing) for thing in found]}"
        return found[0]

    def drop(self, wanted: str) -> None:
        self.objects.remove(self[wanted])

    def job(self, name: str) -> Any:
        return self[f"RayJob/{name}"]["spec"]

    def cluster(self, name: str) -> Any:
        return self.job(name)["rayClusterSpec"]

    def head(self, name: str) -> Any:
        return self.cluster(name)["headGroupSpec"]["template"]["spec"]

    def worker(self, name: str, group: int) -> Any:
        return self.cluster(name)["workerGroupSpecs"][group]["template"]["spec"]

    def submitter(self, name: str) -> Any:
        return self.job(name)["submitterPodTemplate"]["spec"]


@dataclass(frozen=True)
class Variant:
    """A fault, the overlay that it is made in, and the check that must find it."""

    fault: str
    check: str
    make: Callable[[Rendered], object]
    overlay: str = "dev"
    says: str = ""
    """Part of the finding."""


def _rename(rendered: Rendered, wanted: str, name: str) -> None:
    rendered[wanted]["metadata"]["name"] = name


def _deletion(policy: str, **condition: Any) -> Object:
    return {"deletionRules": [{"policy": policy, "condition": {"jobStatus": "FAILED", **condition}}]}


def _no_shutdown(job: Object, strategy: Object) -> None:
    job.update(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0, deletionStrategy=strategy)


def _add_service(rendered: Rendered, upgrade: str) -> None:
    spec = {"rayClusterConfig": rendered.cluster("train"), "upgradeStrategy": {"type": upgrade}}
    metadata = {"name": "ranking", "namespace": "mtl-ray-dev"}
    rendered.objects.append({"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata, "spec": spec})


VARIANTS = (
    # what only the operator finds
    Variant(
        "a RayJob's name is too long", "names", lambda r: _rename(r, "RayJob/train", "t" * 48), says="48 characters"
    ),
    Variant("a RayCluster's name is too long", "names", lambda r: _rename(r, "RayCluster/development", "d" * 54)),
    Variant("a RayJob's name begins with a digit", "names", lambda r: _rename(r, "RayJob/train", "1-train")),
    Variant("ttl without shutdown", "job_end", lambda r: r.job("train").update(shutdownAfterJobFinishes=False)),
    Variant("no deadline", "job_end", lambda r: r.job("train").pop("activeDeadlineSeconds")),
    Variant(
        "deletionRules with shutdown",
        "deletion",
        lambda r: r.job("train").update(deletionStrategy=_deletion("DeleteCluster")),
        says="with shutdownAfterJobFinishes",
    ),
    Variant(
        "DeleteWorkers with the autoscaler",
        "deletion",
        lambda r: _no_shutdown(r.job("train"), _deletion("DeleteWorkers")),
        says="with the autoscaler",
    ),
    Variant("token mode without rayVersion", "authentication", lambda r: r.cluster("train").pop("rayVersion")),
    Variant("no token", "authentication", lambda r: r.cluster("tune").pop("authOptions"), says="not token"),
    Variant(
        "a Ray with known holes",
        "authentication",
        lambda r: r.cluster("train").update(rayVersion="2.54.0"),
        says="known holes",
    ),
    Variant("another Ray than the image's", "ray_version", lambda r: r.cluster("train").update(rayVersion="2.61.0")),
    Variant(
        "RAY_REDIS_ADDRESS by environment",
        "fault_tolerance",
        lambda r: r.head("train")["containers"][0].update(env=[{"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}]),
    ),
    Variant("a misspelt submissionMode", "submission", lambda r: r.job("train").update(submissionMode="K8sJobmode")),
    Variant("KubeRay's own submitter", "submission", lambda r: r.job("train").pop("submitterPodTemplate")),
    Variant(
        "two commands in one entrypoint",
        "submission",
        lambda r: r.job("train").update(entrypoint="python -m jobs.build_training_set && python -m jobs.train"),
        says="shell",
    ),
    Variant(
        "a job that there is not", "submission", lambda r: r.job("train").update(entrypoint="python -m jobs.trian")
    ),
    Variant("a misspelt upgrade type of a service", "upgrade", lambda r: _add_service(r, "NewClusterr")),
    Variant(
        "a misspelt upgrade type of a cluster",
        "upgrade",
        lambda r: r.cluster("train").update(upgradeStrategy={"type": "recreate"}),
    ),
    Variant(
        "a GPU key that Ray does not see",
        "gpus",
        lambda r: r.worker("train", 1)["containers"][0]["resources"].update(
            limits={"memory": "32Gi", "ephemeral-storage": "50Gi", "nvidia.com/mig-1g.10gb": "1"}
        ),
        says="Ray would see no GPU",
    ),
    Variant(
        "num-gpus other than the pod's",
        "gpus",
        lambda r: r.cluster("train")["workerGroupSpecs"][1].update(rayStartParams={"num-gpus": "2"}),
    ),
    Variant(
        "more workers than GPUs can come",
        "gpus",
        lambda r: r.cluster("train")["workerGroupSpecs"][1].update(maxReplicas=1),
        says="can grow to 1",
    ),
    Variant("no toleration of GPU nodes", "gpus", lambda r: r.worker("tune", 1).pop("tolerations")),
    Variant("autoscaler v1", "autoscaling", lambda r: r.cluster("train")["autoscalerOptions"].update(version="v1")),
    Variant("a head that restarts under v2", "autoscaling", lambda r: r.head("train").update(restartPolicy="Always")),
    Variant(
        "more replicas than the most",
        "autoscaling",
        lambda r: r.cluster("train")["workerGroupSpecs"][0].update(replicas=9),
    ),
    # names that lead nowhere
    Variant("a service account that is not", "service_accounts", lambda r: r.drop("ServiceAccount/ray-worker")),
    Variant(
        "a token of the API in a worker",
        "service_accounts",
        lambda r: r.worker("train", 1).update(automountServiceAccountToken=True),
    ),
    Variant(
        "a token of the API in the driver",
        "service_accounts",
        lambda r: r.head("train")["containers"][0]["volumeMounts"].append(
            {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        ),
        says="mounts a token",
    ),
    Variant(
        "a secret that nobody is told to make",
        "secrets",
        lambda r: r.head("train")["containers"][0]["envFrom"].append({"secretRef": {"name": "wandb"}}),
        says="wandb",
    ),
    Variant(
        "a password written out",
        "secrets",
        lambda r: r.worker("train", 0)["containers"][0].update(env=[{"name": "REDIS_PASSWORD", "value": "hunter2"}]),
        says="written out",
    ),
    Variant(
        "a secret in the repository",
        "secrets",
        lambda r: r.objects.append(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}}
        ),
    ),
    Variant("a config map that is not", "config_maps", lambda r: r.drop("ConfigMap/training-config")),
    Variant(
        "a config map's hash that did not reach the pods",
        "config_maps",
        lambda r: r.head("train")["volumes"][3].update(configMap={"name": "training-config"}),
    ),
    Variant(
        "a key that the config map lacks",
        "config_maps",
        lambda r: r["ConfigMap/feature-store"].update(data={"feature-store.yaml": ""}),
        says="has no key feature_store.yaml",
    ),
    Variant("a volume that is not", "volumes", lambda r: r.worker("train", 0)["volumes"].pop(1), says="no volume tmp"),
    Variant("a claim that is not", "volumes", lambda r: r.drop("PersistentVolumeClaim/storage"), says="no claim"),
    Variant(
        "no writable home on a read-only root",
        "volumes",
        lambda r: r.submitter("train")["containers"][0]["volumeMounts"].pop(1),
        says="/home/ray is not writable",
    ),
    Variant(
        "a service's port that no pod has",
        "ports",
        lambda r: r["Service/redis"]["spec"]["ports"][0].update(targetPort="redis-tls"),
    ),
    Variant(
        "a monitor's port that no pod has",
        "ports",
        lambda r: r["PodMonitor/ray-head"]["spec"]["podMetricsEndpoints"][0].update(port="metric"),
    ),
    Variant(
        "a policy's port that no pod has",
        "ports",
        lambda r: r["NetworkPolicy/ray-submitter"]["spec"]["egress"][0]["ports"][0].update(port=8256),
    ),
    Variant(
        "a policy for pods that are called otherwise",
        "selectors",
        lambda r: r["NetworkPolicy/ray-internal"]["spec"].update(
            podSelector={"matchLabels": {"ray.io/is-ray-node": "true"}}
        ),
    ),
    Variant(
        "a policy that opens to pods that are called otherwise",
        "selectors",
        lambda r: r["NetworkPolicy/ray-dashboard"]["spec"]["ingress"][0]["from"][0].update(
            podSelector={"matchLabels": {"app.kubernetes.io/component": "submitter"}}
        ),
    ),
    Variant(
        "a service for pods that are called otherwise",
        "selectors",
        lambda r: r["Service/feast-server"]["spec"].update(selector={"app": "feast"}),
    ),
    Variant(
        "a monitor in a namespace that is not",
        "selectors",
        lambda r: r["NetworkPolicy/ray-metrics"]["spec"]["ingress"][0]["from"][0].update(
            namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "prometheus"}}
        ),
    ),
    Variant("a priority class that is not", "priorities", lambda r: r.drop("PriorityClass/mtl-ray-batch")),
    # security
    Variant("no default deny", "network", lambda r: r.drop("NetworkPolicy/default-deny"), says="denies everything"),
    Variant(
        "the dashboard open to everybody",
        "network",
        lambda r: r["NetworkPolicy/ray-dashboard"]["spec"]["ingress"][0].pop("from"),
        says="opens everything",
    ),
    Variant(
        "the dashboard open to a namespace",
        "network",
        lambda r: r["NetworkPolicy/ray-dashboard"]["spec"]["ingress"][0]["from"].append({"namespaceSelector": {}}),
        says="opens the dashboard",
    ),
    Variant(
        "the metadata service within reach",
        "network",
        lambda r: r["NetworkPolicy/ray-autoscaler"]["spec"]["egress"][0]["to"][0]["ipBlock"].pop("except"),
        says="metadata",
    ),
    Variant(
        "a load balancer",
        "network",
        lambda r: r["Service/feast-server"]["spec"].update(type="LoadBalancer"),
        says="opens it to the outside",
    ),
    Variant(
        "a submitter that cannot reach the head",
        "network",
        lambda r: r.drop("NetworkPolicy/ray-submitter"),
        says="cannot reach the dashboard",
    ),
    Variant(
        "a bucket that no policy opens",
        "network",
        lambda r: r.drop("NetworkPolicy/object-store"),
        "prod",
        says="holds object-store",
    ),
    Variant("root", "pod_security", lambda r: r.worker("train", 1)["securityContext"].pop("runAsNonRoot")),
    Variant(
        "no seccomp profile", "pod_security", lambda r: r.submitter("tune")["securityContext"].pop("seccompProfile")
    ),
    Variant(
        "privilege escalation",
        "pod_security",
        lambda r: r.head("train")["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    Variant(
        "capabilities",
        "pod_security",
        lambda r: r.worker("train", 0)["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_PTRACE"]),
    ),
    Variant(
        "a writable root",
        "pod_security",
        lambda r: r["Deployment/feast-server"]["spec"]["template"]["spec"]["containers"][0]["securityContext"].update(
            readOnlyRootFilesystem=False
        ),
    ),
    Variant(
        "an autoscaler without a security context",
        "pod_security",
        lambda r: r.cluster("train")["autoscalerOptions"].pop("securityContext"),
        says="autoscaler",
    ),
    Variant("the host's network", "pod_security", lambda r: r.worker("train", 1).update(hostNetwork=True)),
    Variant(
        "a folder of the host",
        "pod_security",
        lambda r: r.worker("train", 1)["volumes"].append({"name": "data", "hostPath": {"path": "/data"}}),
    ),
    Variant(
        "a namespace without restricted pod security",
        "pod_security",
        lambda r: r["Namespace/mtl-ray-dev"]["metadata"].pop("labels"),
    ),
    Variant("no requests", "resources", lambda r: r.worker("train", 0)["containers"][0].pop("resources")),
    Variant(
        "more than the quota",
        "resources",
        lambda r: r.cluster("train")["workerGroupSpecs"][0].update(maxReplicas=40),
        says="the quota has",
    ),
    Variant(
        "the latest image",
        "images",
        lambda r: r.worker("train", 1)["containers"][0].update(image="registry.example.com/mtl-ray-cuda:latest"),
    ),
    Variant(
        "two versions of the image",
        "images",
        lambda r: r.worker("train", 1)["containers"][0].update(image="registry.example.com/mtl-ray-cuda:0.2.0"),
    ),
    Variant(
        "a role that reads secrets",
        "rbac",
        lambda r: r["Role/observer"]["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
    ),
    Variant("a binding to no role", "rbac", lambda r: r.drop("Role/job-submitter")),
    # Kueue and schedules
    Variant(
        "the autoscaler under Kueue", "kueue", lambda r: r.cluster("train").update(enableInTreeAutoscaling=True), "prod"
    ),
    Variant("a queue that is not", "kueue", lambda r: r.drop("LocalQueue/default"), "prod", says="no queue default"),
    Variant(
        "a resource that no queue has",
        "kueue",
        lambda r: r["ClusterQueue/mtl-ray"]["spec"]["resourceGroups"].pop(1),
        "prod",
        says="nvidia.com/gpu",
    ),
    Variant("a flavor that is not", "kueue", lambda r: r.drop("ResourceFlavor/gpu-spot"), "prod"),
    Variant(
        "a schedule that is none",
        "schedules",
        lambda r: r["CronJob/feast-materialize"]["spec"].update(schedule="15 25 * * *"),
    ),
    Variant(
        "runs that meet",
        "schedules",
        lambda r: r["RayCronJob/retrain"]["spec"].update(schedule="0 */6 * * *"),
        "prod",
        says="may meet",
    ),
)
