"""Submit a command to a Ray cluster, show its log, and end as it ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus

from mtl_ray.errors import ClusterError, ConfigError, InterruptedRunError, MtlRayError
from mtl_ray.ray_address import refused
from mtl_ray.submission.client import JobClient, connect
from mtl_ray.submission.follow import LogFollower, Say
from mtl_ray.submission.package import mebibytes, pack

STOPPED = 128 + signal.SIGTERM
"""Exit status for a job that someone has stopped, as a shell gives it."""


def submit(
    entrypoint: Sequence[str],
    address: str | None,
    working_dir: Path,
    environment: Mapping[str, str],
    stop_on_interrupt: bool,
    patience: float,
    say: Say,
) -> int:
    """Run `entrypoint` as a Ray job and write its log to stdout; returns the job's own exit status.

    Args:
        entrypoint: the command and its arguments, run in a copy of the working directory on the cluster.
        address: of the cluster's dashboard; None for the environment's (see `connect`).
        working_dir: the folder that is sent (see `pack`).
        environment: variables for the job. The cluster shows them to whoever may see its jobs: no secrets.
        stop_on_interrupt: whether Ctrl-C stops the job; else it runs on.
        patience: seconds to try for when the connection is lost.
        say: receives a sentence whenever a stage begins.

    Raises:
        UserError: no command, no cluster, a wrong token, a working directory that is too large.
        InterruptedRunError: Ctrl-C.
        MtlRayError: the cluster is lost for good.
    """
    if not entrypoint:
        raise ConfigError(
            "There is no command to run.", where="after --", found="nothing", allowed="-- python -m jobs.train ..."
        )
    _quiet()
    client = connect(address)
    job = f"mtl-ray-{secrets.token_hex(6)}"
    with tempfile.TemporaryDirectory() as scratch:
        package = pack(working_dir, Path(scratch) / "working_dir.zip")
        left_out = f", without {', '.join(package.left_out)}" if package.left_out else ""
        say(f"working directory: {package.files} files, {mebibytes(package.bytes)} packed{left_out}")
        runtime = {"working_dir": str(package.file), "env_vars": dict(environment)}
        try:
            client.submit_job(entrypoint=shlex.join(entrypoint), submission_id=job, runtime_env=runtime)
        except AuthenticationError as error:
            raise refused(client.get_address()) from error
        except (OSError, requests.RequestException, RuntimeError) as error:
            if not _knows(client, job):  # the request may have arrived, though its answer did not
                raise ClusterError(
                    "The cluster did not take the job.",
                    where=client.get_address(),
                    found=str(error).splitlines()[0],
                    fix="look at the cluster's dashboard, then submit again",
                ) from error
    say(f"job {job} at {client.get_address()}: {shlex.join(entrypoint)}")
    return _follow(client, job, stop_on_interrupt, patience, say)


def parse_environment(settings: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE`, each, as a dictionary. Raises ConfigError for one without a name or a value."""
    environment = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise ConfigError("This is no environment variable.", where="--env", found=setting, allowed="NAME=VALUE")
        environment[name] = value
    return environment


def follow(job: str, address: str | None, stop_on_interrupt: bool, patience: float, say: Say) -> int:
    """Write the log of a job that was submitted before, from its beginning; returns its exit status as `submit`."""
    _quiet()
    return _follow(connect(address), job, stop_on_interrupt, patience, say)


def _follow(client: JobClient, job: str, stop_on_interrupt: bool, patience: float, say: Say) -> int:
    follower = LogFollower(client, job, _write, say, patience)
    try:
        return _exit_status(asyncio.run(follower.until_end()), say)
    except KeyboardInterrupt:
        if not stop_on_interrupt:
            raise InterruptedRunError(
                f"Interrupted; the job runs on.\n  to follow it again:  --follow {job}\n"
                f"  to stop it:          ray job stop --address {client.get_address()} {job}"
            ) from None
    say(f"stopping job {job}; Ctrl-C again leaves it to itself")
    try:
        client.stop_job(job)
        details = asyncio.run(follower.until_end())
    except KeyboardInterrupt:
        raise InterruptedRunError(f"Interrupted while job {job} was being stopped.") from None
    except (OSError, requests.RequestException, RuntimeError) as error:
        raise MtlRayError(f"Job {job} could not be stopped: {error}") from error
    if details.status == JobStatus.STOPPED:
        raise InterruptedRunError(f"Interrupted; job {job} is stopped.")
    return _exit_status(details, say)


def _exit_status(details: JobDetails, say: Say) -> int:
    """The status of the job's own process; 1 where it never had one, 128 + signal where a signal ended it."""
    code = details.driver_exit_code
    if details.status == JobStatus.SUCCEEDED:
        say("the job has succeeded")
        return 0
    if details.status == JobStatus.STOPPED:
        say("the job was stopped")
        return STOPPED
    if code is None:
        say(f"the job has failed: {details.message}")
        return 1
    say(f"the job has failed with exit status {code}")
    return 128 - code if code < 0 else code


def _knows(client: JobClient, job: str) -> bool:
    try:
        client.get_job_info(job)
    except (OSError, requests.RequestException, RuntimeError):
        return False
    return True


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _quiet() -> None:
    """Ray's client tells of each upload and connection; we say what matters."""
    for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)
