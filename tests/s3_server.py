"""An S3 server, of moto, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
import requests

from tests.ray_head import free_ports

SECRET = "the-secret-key-of-this-test"


@dataclass(frozen=True)
class S3Server:
    """A running server with the bucket `bucket`."""

    endpoint: str
    bucket: str = "bucket"
    environment: dict[str, str] = field(default_factory=dict)
    """Of a process that uses it: endpoint, region and credentials."""


@contextmanager
def s3_server(port: int | None = None) -> Iterator[S3Server]:
    """Start a server that takes any credentials; it has ended, and its objects are gone, when the block has."""
    port = port or free_ports(1)[0]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(endpoint)
            environment = {
                "AWS_ENDPOINT_URL": endpoint,
                "AWS_ACCESS_KEY_ID": "the-access-key",
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            server = S3Server(endpoint, environment=environment)
            client(server).create_bucket(Bucket=server.bucket)
            yield server
        finally:
            process.terminate()


def client(server: S3Server) -> Any:
    """boto3's client of it, which shares nothing with what is tested."""
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id="k",
        aws_secret_access_key="s",
        region_name="us-east-1",
    )


def _wait(endpoint: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(requests.RequestException):
            requests.get(endpoint, timeout=5)
            return
        time.sleep(0.2)
    raise AssertionError("the S3 server did not come up")
