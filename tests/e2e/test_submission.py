"""Jobs on a real Ray head with token authentication: what a user sees of success, failure and mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.forwarder import Forwarder
from tests.ray_head import RayHead, free_ports, ray_head

ROOT = Path(__file__).parents[2]

IMPORT_IN_WORKER = """
import ray, jobs.train, mtl_ray
ray.init(log_to_driver=False)
where = ray.get(ray.remote(lambda: __import__("mtl_ray").__file__).remote())
print("driver", mtl_ray.__file__, "worker", where)
"""

COUNT = """
import time
for number in range(16):
    print("line", number, flush=True)
    time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(num_cpus=2) as head:
        yield head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "settings.txt").write_text("from the working directory\n")
    return folder


def submit(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_job_that_succeeds(head: RayHead, folder: Path) -> None:
    """With the token in a file."""
    (folder.parent / "token").write_text(head.environment["RAY_AUTH_TOKEN"] + "\n")
    by_file = {**outside(), "RAY_ADDRESS": head.dashboard, "RAY_AUTH_TOKEN_PATH": str(folder.parent / "token")}
    command = ["sh", "-c", "cat settings.txt; echo $GREETING"]
    done = submit("--working-dir", str(folder), "--env", "GREETING=good morning", "--", *command, environment=by_file)
    assert done.returncode == 0, done.stderr
    assert "from the working directory\ngood morning\n" in done.stdout
    assert "1 files, 0.0 MiB packed" in done.stderr
    assert "Traceback" not in done.stderr


def test_this_package_travels_to_the_workers(head: RayHead) -> None:
    """By `ray job submit`, as the README has it; modules of the copy are used on the driver and in the workers."""
    ray = Path(sys.executable).parent / "ray"
    done = subprocess.run(
        [ray, "job", "submit", "--working-dir", ".", "--", "python", "-c", IMPORT_IN_WORKER],
        cwd=ROOT,
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("driver ")]
    _, driver, _, worker = line.split()
    assert driver == worker
    assert "working_dir_files" in driver
    sent = Path(driver).parents[1]
    assert (sent / "jobs" / "train.py").is_file()
    assert not [name for name in (".venv/bin", "data/ecommerce", "runs/latest", ".git") if (sent / name).exists()]
    assert sum(file.stat().st_size for file in sent.rglob("*.py")) < 20 * 1024**2


def test_a_job_that_is_killed(head: RayHead, folder: Path) -> None:
    done = submit("--working-dir", str(folder), "--", "sh", "-c", "kill -KILL $$", environment=head.environment)
    assert done.returncode == 128 + signal.SIGKILL


def test_the_exit_status_is_the_jobs(head: RayHead) -> None:
    done = submit("--", "python", "-m", "jobs.train", "--config", "absent.yaml", environment=head.environment)
    assert done.returncode == 2, done.stderr
    assert "absent.yaml" in done.stdout
    assert "exit status 2" in done.stderr


def test_no_cluster_at_the_address(folder: Path) -> None:
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    done = submit("--address", address, "--working-dir", str(folder), "--", "true", environment=outside())
    assert done.returncode == 2
    assert "No cluster answers at this address" in done.stderr
    assert address in done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_address_and_a_wrong_one(folder: Path) -> None:
    done = submit("--working-dir", str(folder), "--", "true", environment=outside())
    assert done.returncode == 2
    assert "No cluster is named" in done.stderr
    done = submit("--address", "ray://127.0.0.1:10001", "--", "true", environment=outside())
    assert done.returncode == 2
    assert "http://HOST:8265" in done.stderr


def test_a_wrong_token_and_none(head: RayHead, folder: Path) -> None:
    wrong = {**head.environment, "RAY_AUTH_TOKEN": "of another cluster"}
    done = submit("--working-dir", str(folder), "--", "true", environment=wrong)
    assert done.returncode == 2
    assert "does not accept the token" in done.stderr
    assert "of another cluster" not in done.stderr
    nothing = {**outside(), "RAY_ADDRESS": head.dashboard, "HOME": str(folder)}
    done = submit("--working-dir", str(folder), "--", "true", environment=nothing)
    assert done.returncode == 2
    assert "there is none" in done.stderr
    assert "RAY_AUTH_TOKEN" in done.stderr


def test_a_token_file_that_is_absent(head: RayHead, folder: Path) -> None:
    absent = {**outside(), "RAY_ADDRESS": head.dashboard, "RAY_AUTH_TOKEN_PATH": str(folder / "absent")}
    done = submit("--working-dir", str(folder), "--", "true", environment=absent)
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


def test_a_working_directory_over_rays_limit(head: RayHead, folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "model.bin").write_bytes(os.urandom(101 * 1024**2))
    done = submit("--working-dir", str(folder), "--", "true", environment=head.environment)
    assert done.returncode == 2
    assert "too large" in done.stderr
    assert "weights/model.bin 101.0 MiB" in done.stderr


def test_ctrl_c_stops_the_job_when_asked(head: RayHead, folder: Path) -> None:
    with started(head.environment, "--stop-on-interrupt", "--working-dir", str(folder)) as job:
        told = interrupted_after_a_line(job)
    assert job.returncode == 130, told
    assert "is stopped" in told
    assert statuses(head)[job_id(told)] == "STOPPED"


def test_ctrl_c_leaves_the_job_running_and_it_is_followed_again(head: RayHead, folder: Path) -> None:
    with started(head.environment, "--working-dir", str(folder)) as job:
        told = interrupted_after_a_line(job)
    assert job.returncode == 130, told
    assert "the job runs on" in told
    done = submit("--follow", job_id(told), environment=head.environment)
    assert done.returncode == 0
    assert lines_of(done.stdout) == [f"line {number}" for number in range(16)]


def test_a_lost_connection_is_picked_up_again(head: RayHead, folder: Path) -> None:
    """Every line once, though the connection breaks in the middle and nothing answers for some seconds."""
    with Forwarder(int(head.dashboard.rsplit(":", 1)[1])) as forwarder:
        environment = {**head.environment, "RAY_ADDRESS": f"http://127.0.0.1:{forwarder.port}"}
        with started(environment, "--working-dir", str(folder)) as job:
            assert job.stdout is not None
            seen = until_a_line(job)
            forwarder.cut(seconds=4)
            seen += job.stdout.read()  # not by communicate, which would lose what is in its buffer
            told = job.communicate(timeout=120)[1]
    assert job.returncode == 0, told
    assert lines_of(seen) == [f"line {number}" for number in range(16)]
    assert "lost the connection" in told
    assert "connected again" in told


def test_a_cluster_that_is_gone_for_good(head: RayHead, folder: Path) -> None:
    with Forwarder(int(head.dashboard.rsplit(":", 1)[1])) as forwarder:
        environment = {**head.environment, "RAY_ADDRESS": f"http://127.0.0.1:{forwarder.port}"}
        with started(environment, "--patience", "3", "--working-dir", str(folder)) as job:
            until_a_line(job)
            forwarder.cut(seconds=600)
            _, told = job.communicate(timeout=120)
    assert job.returncode == 1
    assert "could not be reached again" in told
    assert "--follow mtl-ray-" in told


def outside() -> dict[str, str]:
    """An environment that knows of no Ray."""
    return {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}


def started(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """A job that prints 16 lines in 5 seconds."""
    command = [sys.executable, str(ROOT / "jobs" / "submit.py"), *arguments, "--", "python", "-c", COUNT]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs tests in the background may ignore Ctrl-C, which a process hands down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def until_a_line(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    seen = ""
    while "line " not in seen:
        assert job.poll() is None
        seen += job.stdout.readline()
    return seen


def interrupted_after_a_line(job: subprocess.Popen[str]) -> str:
    until_a_line(job)
    job.send_signal(signal.SIGINT)
    return job.communicate(timeout=120)[1]


def lines_of(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("line ")]


def job_id(told: str) -> str:
    return next(word for word in told.split() if word.startswith("mtl-ray-"))


def statuses(head: RayHead) -> dict[str, str]:
    jobs = requests.get(f"{head.dashboard}/api/jobs/", headers=head.headers(), timeout=30).json()
    return {job["submission_id"]: job["status"] for job in jobs}
