"""What `ResponseFuture.stats` must hold of a call that has returned and whose result has been read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

STATS = (
    *("host_job_create_tstamp", "host_job_created_time", "host_job_serialize_time", "host_func_upload_time"),
    *("host_data_upload_time", "host_submit_tstamp", "host_status_done_tstamp", "host_status_query_count"),
    *("host_result_done_tstamp", "host_result_query_count", "func_data_size_bytes", "func_module_size_bytes"),
    *(
        "func_result_size",
        "worker_cold_start",
        "worker_start_tstamp",
        "worker_end_tstamp",
        "worker_exec_time",
    ),
    *("worker_func_start_tstamp", "worker_func_end_tstamp", "worker_func_exec_time", "worker_func_cpu_usage"),
    *("worker_func_cpu_user_time", "worker_func_cpu_system_time", "worker_func_sent_net_io"),
    *("worker_func_recv_net_io", "worker_func_rss", "worker_func_vms", "worker_func_uss"),
    *("worker_peak_memory_start", "worker_peak_memory_end", "worker_result_upload_time"),
)
"""The keys that users read."""

_HOST_STAMPS = (
    "host_job_create_tstamp",
    "host_submit_tstamp",
    "host_status_done_tstamp",
    "host_result_done_tstamp",
)
_WORKER_STAMPS = (
    "worker_start_tstamp",
    "worker_func_start_tstamp",
    "worker_func_end_tstamp",
    "worker_end_tstamp",
)
_SKEW_S = 60.0
"""How far the clocks of clients and workers may lie apart."""
_MEMORY_BYTES = 1 << 40


def check_stats(
    stats: Mapping[str, Any], *, began_at: float, ended_at: float, busy_s: float, result_bytes: int
) -> None:
    """Every key is there, and says what can be true of a call that computed for `busy_s` seconds in that time."""
    missing = [name for name in STATS if name not in stats]
    assert not missing, f"missing: {missing}"
    not_numbers = [name for name in STATS if not isinstance(stats[name], bool | int | float)]
    assert not not_numbers, f"no numbers: {not_numbers}"
    negative = [name for name in STATS if stats[name] < 0]
    assert not negative, f"less than nothing: {negative}"
    _check_times(stats, began_at, ended_at, busy_s)
    assert isinstance(stats["worker_cold_start"], bool)
    assert stats["host_status_query_count"] >= 1
    assert stats["host_result_query_count"] >= 1
    assert result_bytes <= stats["func_result_size"] <= result_bytes + 1000
    assert stats["func_module_size_bytes"] > 0
    assert 0 < stats["worker_func_uss"] <= stats["worker_func_rss"] <= stats["worker_func_vms"]
    assert stats["worker_func_rss"] < _MEMORY_BYTES
    assert 0 < stats["worker_peak_memory_start"] <= stats["worker_peak_memory_end"] < _MEMORY_BYTES


def _check_times(stats: Mapping[str, Any], began_at: float, ended_at: float, busy_s: float) -> None:
    for stamps in (_HOST_STAMPS, _WORKER_STAMPS):
        for earlier, later in pairwise(stamps):
            assert stats[earlier] <= stats[later], f"{earlier} is after {later}"
    for name in _HOST_STAMPS:
        assert began_at <= stats[name] <= ended_at, name
    for name in _WORKER_STAMPS:
        assert began_at - _SKEW_S <= stats[name] <= ended_at + _SKEW_S, name
    elapsed_s = ended_at - began_at
    exec_s = stats["worker_func_exec_time"]
    cpu_s = stats["worker_func_cpu_user_time"] + stats["worker_func_cpu_system_time"]
    assert busy_s <= exec_s <= stats["worker_exec_time"] <= elapsed_s
    assert 0.9 * busy_s <= cpu_s <= stats["worker_exec_time"] * 1.5
    assert stats["worker_func_cpu_usage"] > 0
    for name in (
        "host_job_created_time",
        "host_job_serialize_time",
        "host_func_upload_time",
        "host_data_upload_time",
    ):
        assert stats[name] <= elapsed_s, name
    assert stats["worker_result_upload_time"] <= elapsed_s
