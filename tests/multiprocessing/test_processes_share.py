"""What processes have in common, wherever they run: the programs of the documentation, in small."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from lambda_processes import echo, fill, work


def test_queues_locks_and_values(mp: Any) -> None:
    todo, done, lock, total = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0)
    workers = [mp.Process(target=work, args=(todo, done, lock, total)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for number in range(12):
        todo.put(number)
    for _ in workers:
        todo.put(None)
    results = [done.get(timeout=30) for _ in range(12)]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(square for _, square in results) == [number * number for number in range(12)]
    assert total.value == sum(range(12))
    assert {name for name, _ in results} <= {worker.name for worker in workers}
    with pytest.raises(queue.Empty):
        done.get_nowait()
    for each in (todo, done):
        each.close()
        each.join_thread()


def test_pipes_barriers_and_events(mp: Any) -> None:
    here, there = mp.Pipe()
    barrier, event = mp.Barrier(2), mp.Event()
    process = mp.Process(target=echo, args=(there, barrier, event))
    process.start()
    there.close()
    barrier.wait(30)
    assert event.wait(30)
    here.send({"any": "thing"})
    assert here.poll(30)
    assert here.recv() == ("echo", {"any": "thing"})
    here.close()
    process.join(30)
    assert process.exitcode == 0


def test_managers(mp: Any) -> None:
    with mp.Manager() as manager:
        shared, names = manager.dict(), manager.list()
        processes = [mp.Process(target=fill, args=(shared, names, key)) for key in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert dict(shared) == {0: 0, 1: 1, 2: 4}
        assert len(names) == 3
