"""What a cluster's autoscaler says of nodes that are not there yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.experimental.internal_kv import internal_kv_get_gcs_client
from ray.util import placement_group, remove_placement_group

ANSWER_SECONDS = 20.0
"""For how long its answer is waited for; it looks every five seconds."""

Bundle = dict[str, float]


def scales_itself() -> bool:
    """Whether the cluster that we are connected to adds nodes when somebody asks for more than there is."""
    return bool(is_autoscaler_v2(fetch_from_server=True))


def cannot_grow_for(bundles: Sequence[Bundle]) -> bool:
    """Whether the autoscaler says that it has no nodes for all these resources together, beside what others hold.

    They are asked for as the workers of a training ask, so that nodes that it has begin to come. Its limits are
    nowhere else to be had: Ray's own call for them answers on no open-source cluster. False where it does not answer
    in `ANSWER_SECONDS`.
    """
    group = placement_group(list(bundles), strategy="PACK")
    try:
        asked = _status().cluster_resource_state.cluster_resource_state_version
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            if group.wait(timeout_seconds=0.5):
                return False
            said = _status().autoscaling_state
            if any(group.id.hex() in request.details for request in said.infeasible_gang_resource_requests):
                return True
            if said.last_seen_cluster_resource_state_version > asked:
                return False
        return False
    finally:
        remove_placement_group(group)


def _status() -> Any:
    """The cluster's state and the autoscaler's last answer to one, with their versions."""
    reply = GetClusterStatusReply()
    reply.ParseFromString(internal_kv_get_gcs_client().get_cluster_status(timeout_s=10))
    return reply
