"""The cluster that RAY_ADDRESS names, asked before Ray joins it: by itself Ray tries for a quarter of an hour."""

from __future__ import annotations

import os
from pathlib import Path

import grpc
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
from ray.exceptions import AuthenticationError

from mtl_ray.errors import ClusterError

PATIENCE = 10.0
"""Seconds for which a head that does not answer may be coming again."""


def check_answers(address: str) -> None:
    """Raise ClusterError where no Ray cluster answers at `address`, a value of RAY_ADDRESS, or refuses the token."""
    if address.startswith(("http://", "https://")):
        raise ClusterError(
            "This address takes jobs; a driver that runs here joins Ray at another one.",
            where="RAY_ADDRESS",
            found=address,
            allowed="HOST:6379 of the cluster's head, or auto on one of its nodes",
            fix="submit the command with jobs/submit.py, or unset RAY_ADDRESS to compute on this machine",
        )
    if address in ("auto", "local") or "://" in address:  # Ray finds these at once or not at all
        return
    try:
        with create_gcs_channel(address) as channel:
            NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=PATIENCE, wait_for_ready=True)
    except AuthenticationError as error:
        raise refused(address) from error
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise refused(address) from error
        late = error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        found = f"no answer in {PATIENCE:.0f} s" if late else error.code().name.lower().replace("_", " ")
        raise no_answer(address, found) from error


def no_answer(address: str, found: str) -> ClusterError:
    """The error for a value of RAY_ADDRESS at which there is no cluster."""
    return ClusterError(
        "No Ray cluster answers at this address.",
        where=f"RAY_ADDRESS = {address}",
        found=found,
        allowed="HOST:6379 of the cluster's head, or auto on one of its nodes",
        fix="start the cluster (ray start --head), correct RAY_ADDRESS, or unset it to compute on this machine",
    )


def token_source() -> str | None:
    """Where the token comes from, in Ray's order: an environment variable or a file; None without one."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return path
    default = Path.home() / ".ray" / "auth_token"
    return str(default) if default.is_file() else None


def refused(address: str) -> ClusterError:
    """The error for a token that the cluster at `address` does not take."""
    sent = token_source()
    return ClusterError(
        "The cluster does not accept the token." if sent else "The cluster asks for a token, and there is none.",
        where=address,
        found=f"a token from {sent}" if sent else "neither RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH nor ~/.ray/auth_token",
        fix="set RAY_AUTH_TOKEN to the token of the cluster (on Kubernetes: the secret that its RayCluster names)",
    )
