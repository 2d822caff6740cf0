"""What `lithops.multiprocessing` promises on a cloud, whose functions have no memory and no files in common."""

from __future__ import annotations

import itertools
import os
import queue
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from cloud_processes import add_state, echo, fail, fill, hold, nest, prepare, work
from valkey_server import Valkey

import lithops.multiprocessing
from lithops.concurrent.futures import ProcessPoolExecutor, as_completed
from lithops.exceptions import WorkerLost
from lithops.multiprocessing import config, program
from lithops.shared import session as sessions

mp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

PATIENCE_S = 60.0
"""Of a process's end, which may be found out late."""


def run(*processes: Any) -> list[int]:
    """Start them all, and give the exit codes."""
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    return [process.exitcode for process in processes]


class OnACloud:
    """The configuration is that of a fixture `configuration`: one that leads to the cloud, as a dict."""

    section: ClassVar[dict[str, Any]] = {}
    """Keys of the backend's section, for that fixture."""

    @pytest.fixture(autouse=True)
    def on_the_cloud(self, configuration: dict[str, Any], valkey: Valkey) -> Iterator[None]:
        config.set_parameter(config.LITHOPS_CONFIG, {**configuration, "redis": valkey.settings})
        yield
        program.close()
        config.set_parameter(config.LITHOPS_CONFIG, None)


class ProcessesOnACloud(OnACloud):
    """To inherit from: processes, what they share, and how they end."""

    def test_processes_share_queues_locks_and_values(self) -> None:
        todo, done, lock, total = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0)
        workers = [mp.Process(target=work, args=(todo, done, lock, total)) for _ in range(3)]
        for number in range(12):
            todo.put(number)
        for _ in workers:
            todo.put(None)
        assert run(*workers) == [0, 0, 0]
        results = [done.get(timeout=PATIENCE_S) for _ in range(12)]
        assert sorted(square for _, square in results) == [number * number for number in range(12)]
        assert total.value == sum(range(12))
        assert {name for name, _ in results} <= {worker.name for worker in workers}
        with pytest.raises(queue.Empty):
            done.get_nowait()

    def test_pipes_barriers_and_events(self) -> None:
        here, there = mp.Pipe()
        barrier, event = mp.Barrier(2), mp.Event()
        process = mp.Process(target=echo, args=(there, barrier, event))
        process.start()
        there.close()
        barrier.wait(PATIENCE_S)
        assert event.wait(PATIENCE_S)
        here.send({"any": "thing"})
        assert here.poll(PATIENCE_S)
        assert here.recv() == ("echo", {"any": "thing"})
        here.close()
        process.join(PATIENCE_S)
        assert process.exitcode == 0, "it has seen the end of the pipe"

    def test_a_manager_serves_functions(self) -> None:
        with mp.Manager() as manager:
            squares, names = manager.dict(), manager.list()
            processes = [mp.Process(target=fill, args=(squares, names, number)) for number in range(3)]
            assert run(*processes) == [0, 0, 0]
            assert dict(squares) == {0: 0, 1: 1, 2: 4}
            assert sorted(names) == sorted(process.name for process in processes)

    # ------------------------------------------------------------ how processes end

    def test_how_processes_end(self, capfd: pytest.CaptureFixture[str]) -> None:
        failed, ended = run(mp.Process(target=fail), mp.Process(target=os._exit, args=(3,)))
        assert failed == 1
        said = capfd.readouterr().err
        assert "ValueError: as it should" in said
        assert "in fail" in said
        assert ended not in (0, None), "3 where its worker lives on, and knows"

    def test_a_terminated_process_lets_go_of_its_lock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "SLICE_S", 0.1)
        lock, event = mp.Lock(), mp.Event()
        holder = mp.Process(target=hold, args=(lock, event))
        holder.start()
        assert event.wait(PATIENCE_S)
        holder.terminate()
        holder.join(PATIENCE_S)
        assert holder.exitcode < 0
        assert lock.acquire(timeout=PATIENCE_S)
        lock.release()

    def test_functions_start_no_processes(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert run(mp.Process(target=nest)) == [1]
        assert "functions of a cloud start no processes" in capfd.readouterr().err


class PoolsOnACloud(OnACloud):
    """To inherit from: pools, and executors of the standard shape."""

    function_name: ClassVar[str]
    """The environment variable in which functions find their name."""

    def test_a_pool_runs_in_functions_that_its_initializer_has_prepared(self) -> None:
        with mp.Pool(3, prepare, (100,)) as pool:
            assert pool.map(add_state, range(20)) == list(range(100, 120))
            assert pool.apply(os.getenv, (self.function_name,)) is not None
            assert os.getenv(self.function_name) is None, "or it says nothing"
            with pytest.raises(ValueError, match="as it should") as caught:
                pool.map(fail, range(2))
            assert "in fail" in str(caught.value.__cause__), "the remote traceback"
            # The last one, as in the standard library: what comes later has to wait for ever.
            assert list(itertools.islice(pool.imap(add_state, itertools.count()), 5)) == list(range(100, 105))

    def test_executors_of_the_standard_shape(self) -> None:
        chosen = config.get_parameter(config.LITHOPS_CONFIG)
        with ProcessPoolExecutor(3, initializer=prepare, initargs=(5,), config=chosen) as executor:
            assert list(executor.map(add_state, range(10), chunksize=3)) == list(range(5, 15))
            futures = [executor.submit(add_state, number) for number in range(3)]
            assert sorted(each.result() for each in as_completed(futures, timeout=PATIENCE_S)) == [5, 6, 7]
            assert isinstance(executor.submit(fail).exception(PATIENCE_S), ValueError)

    def test_a_pool_outlives_its_workers(self) -> None:
        with mp.Pool(2) as pool:
            with pytest.raises(WorkerLost):
                pool.apply(os._exit, (3,))
            assert pool.map(abs, (-1, -2)) == [1, 2]
