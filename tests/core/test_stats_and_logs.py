"""What is measured of each call, and what is kept of its output."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lithops import FunctionExecutor, constants
from lithops.cli.main import main

# The keys that users read: the contract.
KEYS = [
    *("host_job_create_tstamp", "host_job_created_time", "host_job_serialize_time", "host_func_upload_time"),
    *("host_data_upload_time", "host_submit_tstamp", "host_status_done_tstamp", "host_status_query_count"),
    *("host_result_done_tstamp", "host_result_query_count"),
    *("func_data_size_bytes", "func_module_size_bytes", "func_result_size"),
    *("worker_cold_start", "worker_start_tstamp", "worker_end_tstamp", "worker_exec_time"),
    *("worker_func_start_tstamp", "worker_func_end_tstamp", "worker_func_exec_time", "worker_func_cpu_usage"),
    *("worker_func_cpu_user_time", "worker_func_cpu_system_time", "worker_func_sent_net_io"),
    *("worker_func_recv_net_io", "worker_func_rss", "worker_func_vms", "worker_func_uss"),
    *("worker_peak_memory_start", "worker_peak_memory_end", "worker_result_upload_time"),
]


def spin(seconds: float) -> bytes:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return bytes(1_000)


def keep(value: Any) -> Any:
    return value


def test_every_key_is_there_whatever_the_verb(fexec: FunctionExecutor) -> None:
    futures = [
        fexec.call_async(keep, 1),
        *fexec.map(keep, [1, 2]),
        *fexec.map(keep, [1, 2]).map(keep),
        *fexec.map_reduce(keep, [1, 2], keep),
    ]
    for future in futures:
        future.result()
        assert set(KEYS) <= set(future.stats), future
        assert all(isinstance(future.stats[key], int | float) for key in KEYS)


def test_measurements_are_plausible() -> None:
    before = time.time()
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        first, second = futures = fexec.map(spin, [0.05, 0.25])
        fexec.get_result(futures)
    stats = second.stats
    stamps = [
        before,
        *(stats[f"host_{event}_tstamp"] for event in ("job_create", "submit")),
        *(stats[f"worker_{event}_tstamp"] for event in ("start", "func_start", "func_end", "end")),
        *(stats[f"host_{event}_done_tstamp"] for event in ("status", "result")),
        time.time(),
    ]
    assert stamps == sorted(stamps)
    assert 0.25 <= stats["worker_func_cpu_user_time"] + stats["worker_func_cpu_system_time"] < 2
    assert 0.25 <= stats["worker_func_exec_time"] <= stats["worker_exec_time"] < 10
    assert 5 < stats["worker_func_cpu_usage"] <= 110
    assert 1_000 < stats["func_result_size"] < 1_200
    assert 10 < stats["func_data_size_bytes"] < 1_000
    assert 10 < stats["func_module_size_bytes"] < 100_000
    assert 1 << 20 < stats["worker_func_rss"] < stats["worker_func_vms"]
    assert 1 << 20 < stats["worker_peak_memory_start"] <= stats["worker_peak_memory_end"]
    assert first.stats["worker_cold_start"] is True
    assert second.stats["worker_cold_start"] is False
    # A second per job at the most: these are milliseconds on a machine that is not busy.
    times = ("job_created", "job_serialize", "func_upload", "data_upload")
    assert all(0 <= stats[f"host_{name}_time"] < 1 for name in times)


def test_status_gives_the_stats_and_throws(fexec: FunctionExecutor) -> None:
    future = fexec.call_async(keep, 1)
    future.result()
    assert future.status() == future.stats
    failed = fexec.call_async(spin, "no number")
    with pytest.raises(TypeError):
        failed.status()
    status = failed.status(throw_except=False)
    assert status is not None
    assert status["worker_func_exec_time"] >= 0


def test_a_summary_has_one_row_a_job() -> None:
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        fexec.map(keep, [1, 2, 3])
        fexec.call_async(spin, "no number")
        fexec.wait(throw_except=False)
        mapped, single = fexec.job_summary()
    assert (mapped["job_key"], mapped["function"], mapped["calls"]) == (
        f"{fexec.executor_id}-M000",
        "keep",
        3,
    )
    assert (mapped["done"], mapped["failed"]) == (3, 0)
    assert (single["calls"], single["done"], single["failed"]) == (1, 1, 1)
    assert 0 <= mapped["mean_s"] <= mapped["longest_s"] <= mapped["total_s"]


# ---------------------------------------------------------------- output


def talk(number: int) -> None:
    print(f"printed {number}")
    print(f"complained {number}", file=sys.stderr)
    logging.getLogger("users").info("logged %d", number)
    logging.getLogger("users").debug("unheard %d", number)
    os.write(1, f"from below {number}\n".encode())
    subprocess.run([sys.executable, "-c", f"print('a child spoke {number}')"], check=True)


def test_each_call_has_its_own_output(fexec: FunctionExecutor) -> None:
    futures = fexec.map(talk, [1, 2])
    fexec.get_result(futures)
    for number, future in enumerate(futures, start=1):
        for words in ("printed", "complained", "logged", "from below", "a child spoke"):
            assert future.logs.count(f"{words} {number}") == 1
            assert f"{words} {3 - number}" not in future.logs
        assert "unheard" not in future.logs
        assert "\0" not in future.logs
        assert "[INFO] users -- logged" in future.logs


def test_the_output_of_a_call_that_fails(fexec: FunctionExecutor) -> None:
    def print_and_fail() -> None:
        print("last words", end="")
        raise ValueError

    future = fexec.call_async(print_and_fail, ())
    assert isinstance(future.exception(), ValueError)
    assert future.logs == "last words"


def test_of_a_long_output_the_end_is_kept(fexec: FunctionExecutor) -> None:
    def print_much() -> None:
        for number in range(500_000):
            print(f"{number:09}")

    future = fexec.call_async(print_much, ())
    future.result()
    lines = future.logs.splitlines()
    assert lines[-1] == "000499999"
    assert lines[0] == f"[the first {500_000 * 10 - (1 << 20)} bytes of this output were dropped]"
    assert len(future.logs) < 1.1 * (1 << 20)


def test_a_job_s_log_can_be_shown_later(fexec: FunctionExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    futures = fexec.map(talk, [1, 2])
    fexec.get_result(futures)
    silent = fexec.call_async(keep, 1)
    silent.result()
    assert main(["logs", "get", futures[0].job_key]) == 0
    shown = capsys.readouterr().out
    for future in futures:
        assert f"--- {future.call_id} talk returned\n{future.logs}" in shown
    assert main(["logs", "get"]) == 0
    listed = capsys.readouterr().out
    assert futures[0].job_key in listed
    assert silent.job_key not in listed
    assert main(["logs", "get", "no-such-job"]) == 1
    assert "there is no log of a job 'no-such-job'" in capsys.readouterr().err
    assert (Path(constants.LITHOPS_TEMP_DIR) / "logs" / f"{futures[0].job_key}.log").exists()
