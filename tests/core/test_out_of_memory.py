"""A worker that the kernel kills for want of memory: a `MemoryError` of its call alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

LIMIT_BYTES = 256 << 20

PROGRAM = """
import os, sys

# Before anything else: the limit holds for this process and all that it starts.
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))

import lithops
from lithops.exceptions import OutOfMemory

def use(mib):
    return len(bytearray(b"x") * (mib << 20)) >> 20

if __name__ == "__main__":
    with lithops.FunctionExecutor(log_level=None, worker_processes=2) as fexec:
        futures = fexec.map(use, [1, 2_000, 2, 3])
        fexec.wait(futures, throw_except=False)
        assert fexec.get_result(futures, throw_except=False) == [1, None, 2, 3]
        error = futures[1].exception()
        assert type(error) is OutOfMemory and isinstance(error, MemoryError), repr(error)
        print(error)
        assert fexec.call_async(use, 4).result() == 4
"""


@pytest.fixture
def processes_file() -> Iterator[Path]:
    """The file through which a process joins a group with little memory; removed with the group afterwards."""
    name = f"lithops-test-{os.getpid()}"
    candidates = [
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max", "memory.swap.max"),
    ]
    for root, limit, swap in candidates:
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        if not (group / limit).exists():
            group.rmdir()
            continue
        (group / limit).write_text(str(LIMIT_BYTES))
        with suppress(OSError):  # a machine that does not swap has nothing to limit
            (group / swap).write_text(str(LIMIT_BYTES) if "memsw" in swap else "0")
        yield group / "cgroup.procs"
        until = time.monotonic() + 10
        while True:
            try:
                group.rmdir()
                return
            except OSError:  # its processes are still ending
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
    pytest.skip("this user cannot make a control group with a memory limit here")


def test_the_kernel_kills_a_worker(
    processes_file: Path, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    if "oom_kill" not in Path("/proc/vmstat").read_text():
        pytest.skip("this kernel does not count what it kills for want of memory")
    ended = run_program(PROGRAM, str(processes_file))
    assert ended.stdout.startswith(
        "the worker was killed because the machine ran out of memory; use smaller inputs, "
        "or fewer workers at once (localhost: worker_processes)"
    )
