"""One measurement of one peer, in a process of its own: ``measure.py PEER NAME PARAMETERS FILE``.

PARAMETERS is JSON, and so is what is written to FILE: numbers by name, with the unit in the name.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers import PEERS
from peers.base import Function, Peer
from processes import DescendantPeaks, peak_bytes, resident_bytes
from workload import absorb, echo, load_numpy, make, nap, noop, produce, touch

WORKERS = 2
WARM_CALLS = 10
LONG_S = 2.0
SHORT_S = 0.001
LOAD_S = 0.2
LOOK_EVERY_S = 0.005

Numbers = dict[str, float]


def map_calls(peer: Peer, *, calls: int) -> Numbers:
    """A `map` of no-ops and all of its results; then, futures still held, what the client has grown by."""
    gc.collect()
    before_bytes = resident_bytes()
    started = time.perf_counter()
    handles = peer.map(noop, range(calls))
    results = peer.gather(handles)
    elapsed_s = time.perf_counter() - started
    _check(results == list(range(calls)))
    del results
    gc.collect()
    grown_bytes = resident_bytes() - before_bytes
    return {"us_per_call": elapsed_s / calls * 1e6, "rss_bytes_per_call": grown_bytes / calls}


def traced_memory(peer: Peer, *, calls: int) -> Numbers:
    """What Python has allocated in the client for a `map`, with the results had and the futures held."""
    gc.collect()
    tracemalloc.start()
    handles = peer.map(noop, range(calls))
    _check(peer.gather(handles) == list(range(calls)))
    gc.collect()
    held_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"traced_bytes_per_call": held_bytes / calls}


def round_trip(peer: Peer, *, calls: int) -> Numbers:
    """One call after another, each sent when the result of the last is there."""
    elapsed_ms = sorted(_time_ms(lambda: peer.call(noop, 0)) for _ in range(calls))
    return {"median_ms": statistics.median(elapsed_ms), "p99_ms": elapsed_ms[int(len(elapsed_ms) * 0.99) - 1]}


def arrays(peer: Peer, *, size_bytes: int, calls: int) -> Numbers:
    """An array there and back, there only, back only; every page is read on each side that gets it."""
    _load_numpy(peer)
    items = size_bytes // 8
    both_ms = [_send_ms(peer, echo, items, turn) for turn in range(calls)]
    argument_ms = [_send_ms(peer, absorb, items, turn) for turn in range(calls)]
    result_ms = [_time_ms(lambda: touch(peer.call(produce, (items, 1.0)))) for _ in range(calls)]
    return {
        "both_ms": statistics.median(both_ms),
        "argument_ms": statistics.median(argument_ms),
        "result_ms": statistics.median(result_ms),
    }


def array_memory(peer: Peer, *, size_bytes: int, calls: int) -> Numbers:
    """What an array there and back costs in memory at the highest, in the client and in a worker."""
    _load_numpy(peer)
    # Some workers live no longer than their call, so they are looked at while it runs.
    with DescendantPeaks(every_s=LOOK_EVERY_S) as workers:
        for turn in range(calls):
            _send_ms(peer, echo, size_bytes // 8, turn)
    return {"client_peak_mb": peak_bytes() / 1e6, "worker_peak_mb": workers.largest_bytes / 1e6}


def straggler(peer: Peer, *, calls: int) -> Numbers:
    """How long short calls take, alone and with one long call at the head of the same `map`."""
    shorts = [SHORT_S] * calls
    return {
        "alone_s": _until_short_done(peer, shorts),
        "behind_s": _until_short_done(peer, [LONG_S, *shorts]),
    }


def _until_short_done(peer: Peer, naps: list[float]) -> float:
    short = naps.count(SHORT_S)
    started = time.perf_counter()
    done_s = 0.0
    for slept in peer.completions(nap, naps):
        if slept == SHORT_S:
            short -= 1
            done_s = time.perf_counter() - started
    _check(short == 0)
    return done_s


def _load_numpy(peer: Peer) -> None:
    naps = [LOAD_S] * 2 * WORKERS
    _check(peer.gather(peer.map(load_numpy, naps)) == naps)


def _send_ms(peer: Peer, function: Function, items: int, turn: int) -> float:
    # Another value each time: nothing can be had from the last one.
    array = make(items, float(turn + 1))
    expected = touch(array)
    started = time.perf_counter()
    result = peer.call(function, array)
    total = result if function is absorb else touch(result)
    elapsed_ms = (time.perf_counter() - started) * 1e3
    _check(total == expected)
    return elapsed_ms


def _time_ms(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def _check(right: bool) -> None:
    if not right:
        raise SystemExit("a peer gave a wrong result: the measurement means nothing")


MEASUREMENTS: dict[str, Callable[..., Numbers]] = {
    measurement.__name__: measurement
    for measurement in (map_calls, traced_memory, round_trip, arrays, array_memory, straggler)
}


def main(peer_name: str, measurement: str, parameters: str, result_file: str) -> None:
    peer = PEERS[peer_name]
    peer.start(WORKERS)
    try:
        _check(peer.gather(peer.map(noop, range(WARM_CALLS))) == list(range(WARM_CALLS)))
        peer.call(noop, 0)
        chosen: Any = MEASUREMENTS[measurement]
        numbers = chosen(peer, **json.loads(parameters))
    finally:
        peer.stop()
    Path(result_file).write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(*sys.argv[1:])
