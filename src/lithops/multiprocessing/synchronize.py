"""The names of `multiprocessing.synchronize`."""

from __future__ import annotations

from lithops.multiprocessing.barrier import Barrier
from lithops.multiprocessing.conditions import Condition, Event
from lithops.multiprocessing.locks import BoundedSemaphore, Lock, RLock, Semaphore, SemLock

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "SemLock", "Semaphore"]
