"""A cloud that exists only in this process: on a clock of its own, with faults, and the same again for the same seed.

::

    cloud = SimulatedCloud(seed=7, faults=Faults(killed_during=0.1))
    with cloud.executor(retries=20) as executor:
        assert executor.map(function, range(10)).get_result() == [...]

The client is the real one, without its thread; the workers are the real ones, in this process; what lies between them
crosses as bytes. One thread does everything, so a seed that failed fails again, with the same `cloud.trace`.
"""

from __future__ import annotations

from lithops.testing.simulation.clock import SimulatedClock
from lithops.testing.simulation.cloud import SimulatedCloud
from lithops.testing.simulation.faults import Fate, Faults, Outages
from lithops.testing.simulation.history import Delivery, History

__all__ = ["Delivery", "Fate", "Faults", "History", "Outages", "SimulatedClock", "SimulatedCloud"]
