"""The cluster's job server: its address, its token, and what goes wrong on the way to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from mtl_ray.errors import ClusterError
from mtl_ray.ray_address import refused, token_source

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables with the cluster's address, in Ray's order."""

TIMEOUT = (5, 60)
"""Seconds to connect and to wait for an answer. Ray's own client waits for ever."""


class JobClient(JobSubmissionClient):
    """Ray's client with a limit to each of its waits."""

    def _do_request(self, method: str, endpoint: str, **options: Any) -> requests.Response:
        return super()._do_request(method, endpoint, timeout=TIMEOUT, **options)

    def node_state(self, node: str) -> str | None:
        """ALIVE or DEAD, of a node by its id; None where the cluster does not know it."""
        only = {"filter_keys": "node_id", "filter_predicates": "=", "filter_values": node}
        answer = self._do_request("GET", "/api/v0/nodes", params=only)
        answer.raise_for_status()
        found = answer.json()["data"]["result"]["result"]
        return str(found[0]["state"]) if found else None


def connect(address: str | None) -> JobClient:
    """A client of the job server at `address`, else at the one that the environment names.

    The token is the environment's, as for every client of Ray: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH
    names, or ~/.ray/auth_token; none of them with RAY_AUTH_MODE=disabled.

    Raises ClusterError where nothing answers, something else than Ray does, or the token is not the cluster's.
    """
    address = _address(address)
    token = _token()
    headers = {"Authorization": f"Bearer {token}"} if token else None
    before = {name: os.environ.pop(name) for name in ADDRESSES if name in os.environ}  # Ray lets them win over ours
    try:
        return JobClient(address, headers=headers)
    except AuthenticationError as error:
        raise refused(address) from error
    except (OSError, requests.RequestException) as error:
        raise _no_answer(address, error) from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise ClusterError(
            "What answers at this address is no Ray cluster that takes jobs.",
            where=address,
            found=str(error).splitlines()[0],
            allowed="the dashboard of a Ray cluster, of this version of Ray or near it",
            fix="correct the address: the dashboard's port is 8265 unless it was set",
        ) from error
    finally:
        os.environ.update(before)


def _address(given: str | None) -> str:
    names = [name for name in ADDRESSES if os.environ.get(name)]
    address = given or (os.environ[names[0]] if names else None)
    where = "--address" if given or not names else names[0]
    if address is None:
        raise ClusterError(
            "No cluster is named.",
            where="--address",
            found="nothing, and RAY_ADDRESS is not set",
            allowed="the address of the cluster's dashboard, such as http://127.0.0.1:8265",
            fix="give --address, or set RAY_ADDRESS; on Kubernetes forward the head service's port 8265 first",
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ClusterError(
            "Jobs are submitted to the dashboard, by HTTP.",
            where=where,
            found=address,
            allowed="http://HOST:8265 or https://HOST",
        )
    return address.rstrip("/")


def _no_answer(address: str, error: Exception) -> ClusterError:
    return ClusterError(
        "No cluster answers at this address.",
        where=address,
        found=str(error.__cause__ or error).splitlines()[0],
        fix="start the cluster (ray start --head), forward its port 8265, or correct --address / RAY_ADDRESS",
    )


def _token() -> str | None:
    source = token_source()
    if source is None:
        return None
    if source == "RAY_AUTH_TOKEN":
        return os.environ[source].strip()
    try:
        return Path(source).read_text().strip()
    except OSError as error:
        raise ClusterError(
            "The file with the cluster's token cannot be read.",
            where="RAY_AUTH_TOKEN_PATH",
            found=f"{source}: {error.strerror}",
            fix="name a readable file, or set RAY_AUTH_TOKEN",
        ) from error
