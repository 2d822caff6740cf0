"""The simulated cloud itself: what its executors, activations and storage have in common."""

from __future__ import annotations

import itertools
import random
from typing import Any

from lithops.compute.base import Limits
from lithops.config.model import LithopsSection, RabbitmqSection, Settings
from lithops.executors import FunctionExecutor
from lithops.testing.memory import MemoryStorage
from lithops.testing.simulation.capture import InProcessCapture
from lithops.testing.simulation.clock import SimulatedClock
from lithops.testing.simulation.compute import ConnectedCompute, SimulatedCompute
from lithops.testing.simulation.faults import Faults, Outages
from lithops.testing.simulation.history import History
from lithops.testing.simulation.storage import StorageView
from lithops.worker.handler import Worker

_STATUSES = "/status/"


class SimulatedCloud:
    """Runs tasks with the real worker on a simulated clock; for one seed always in the same way.

    `client_outages` is when the client cannot read from the storage, `worker_outages` when workers cannot use it at
    all. `connected`: statuses come back over a connection, else through the storage. Sizes in bytes.
    """

    def __init__(
        self, seed: int = 0, *, faults: Faults | None = None, client_outages: Outages | None = None,
        worker_outages: Outages | None = None, connected: bool = False, max_activations: int = 4,
        inline_bytes: int = 1 << 16, payload_bytes: int = 1 << 20, startup_s: float = 30.0,
    ) -> None:  # fmt: skip
        self.clock = SimulatedClock()
        self.history = History(self.clock.now)
        self.faults = faults or Faults()
        self.randomness = random.Random(seed)
        self.capture = InProcessCapture()
        self.refusals = 0
        self.storage = MemoryStorage(clock=self.clock.now)
        """The storage as it is, whoever is cut off from it."""
        self.client_outages = client_outages or Outages()
        self.worker_outages = worker_outages or Outages()
        self.client_storage = StorageView(self.storage, self._refuses_client)
        self.worker_storage = StorageView(self.storage, self._refuses_worker)
        self._seed = seed
        self._compute = ConnectedCompute if connected else SimulatedCompute
        self._limits = Limits(max_activations, inline_bytes, payload_bytes, startup_s)
        self._idle: list[Worker] = []
        self._numbers = itertools.count()

    @property
    def trace(self) -> list[str]:
        """Everything that happened, one line an event."""
        return self.history.trace

    def executor(self, **section: Any) -> FunctionExecutor:
        """A client of this cloud. `section` is the section `lithops` of its configuration.

        Wait for its calls without `timeout=`, which is real time.
        """
        # Functions need no modules: client and workers are one process.
        defaults: dict[str, Any] = {"mode": "serverless", "include_modules": None, "execution_timeout": 60}
        settings = Settings(
            lithops=LithopsSection(backend="simulated", storage="memory", **{**defaults, **section}),
            compute_name="simulated",
            compute=None,
            storage_name="memory",
            storage=None,
            rabbitmq=RabbitmqSection(),
            origin="a simulation",
            raw={},
        )
        executor = FunctionExecutor.over(
            self._compute(self, self._limits), self.client_storage, settings, clock=self.clock, threaded=False
        )
        executor.invoker.randomness.seed(self._seed)
        self.clock.drive(executor.job_monitor.step)
        return executor

    def run_out(self) -> None:
        """Let time pass until nothing more can happen: activations, outages and deadlines are over."""
        rest_s = 2 * self._limits.startup_s
        while self.clock.busy_until > self.clock.now() or self.client_outages.covers(self.clock.now()):
            until = max(self.clock.busy_until, self.client_outages.end, self.worker_outages.end)
            self.clock.sleep(until - self.clock.now() + rest_s)

    # ------------------------------------------------------------ for its activations

    def next_activation_id(self) -> str:
        return f"activation-{next(self._numbers)}"

    def draw_start_s(self) -> float:
        """How long the next activation takes to start."""
        faults, randomness = self.faults, self.randomness
        start_s = randomness.uniform(*(faults.warm_start_s if self._idle else faults.cold_start_s))
        return start_s + (randomness.uniform(*faults.slow_s) if randomness.random() < faults.slow else 0.0)

    def take_worker(self, activation_id: str) -> Worker:
        """A warm worker, or a new one."""
        if not self._idle:
            return Worker(activation_id, lambda _: self.worker_storage, self.capture)
        worker = self._idle.pop()
        worker.activation_id = activation_id
        return worker

    def give_back(self, worker: Worker) -> None:
        """This worker is warm, and has nothing to do."""
        self._idle.append(worker)

    def _refuses_client(self, operation: str, key: str) -> bool:
        if operation not in ("get", "open", "list"):
            return False
        # Only statuses are read by one thread alone, so that chance stays the seed's.
        by_chance = _STATUSES in key and self.randomness.random() < self.faults.refused
        return by_chance or self.client_outages.covers(self.clock.now())

    def _refuses_worker(self, operation: str, key: str) -> bool:  # noqa: ARG002
        refuses = (
            self.worker_outages.covers(self.clock.now()) or self.randomness.random() < self.faults.refused
        )
        if refuses:
            self.refusals += 1
            self.history.note(f"a worker is refused '{operation}'")
        return refuses
