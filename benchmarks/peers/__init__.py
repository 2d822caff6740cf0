"""The peers, one module each. None imports its library before it is started."""

from __future__ import annotations

from peers.base import Peer
from peers.dask_distributed import DaskDistributed
from peers.lithops_3 import Lithops3
from peers.lithops_here import LithopsHere
from peers.loky_executor import LokyExecutor
from peers.multiprocessing_pool import MultiprocessingPool
from peers.process_pool import ProcessPool
from peers.ray_tasks import RayTasks

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        LithopsHere(),
        ProcessPool(),
        MultiprocessingPool(),
        LokyExecutor(),
        DaskDistributed(),
        RayTasks(),
        Lithops3(),
    )
}
"""By name, in the order of the table's columns."""
