"""What a process frees stays with it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, threading
import numpy as np
from mtl_ray.process_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def touch():
    for part in [np.ones(2 * 2**20) for _ in range(8)]:  # 16 MB each
        part += 1
def count():
    touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        touch()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
if sys.argv[2] == "main":
    count()
else:
    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
"""


def page_faults(how: str, thread: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, how, thread], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("thread", ["main", "another"])
def test_pages_are_touched_for_the_first_time_once(thread: str) -> None:
    """Also in a thread beside the main one, in which Ray Train trains."""
    assert page_faults("keep", thread) * 10 < page_faults("give back", thread)
