"""How much CPU comes with memory, and what both cost: Google's lists of one day. Pure."""

from __future__ import annotations

from lithops.compute.base import Prices

AS_OF = "2025-09-01"
SOURCE = "https://cloud.google.com/run/pricing"

_CPUS = (
    (128, 0.083), (256, 0.167), (512, 0.333), (1024, 0.583), (2048, 1.0), (4096, 2.0), (8192, 2.0), (16384, 4.0),
    (32768, 8.0),
)  # fmt: skip
_REQUEST = 0.40e-6
_CPU_SECOND = {1: 0.000024, 2: 0.0000336}
_GIB_SECOND = {1: 0.0000025, 2: 0.0000035}
_TIER_2 = frozenset(
    {
        "africa-south1", "asia-east2", "asia-northeast3", "asia-southeast1", "asia-southeast2", "asia-south2",
        "australia-southeast1", "australia-southeast2", "europe-central2", "europe-west10", "europe-west12",
        "europe-west2", "europe-west3", "europe-west6", "me-central1", "me-central2", "northamerica-northeast1",
        "northamerica-northeast2", "southamerica-east1", "southamerica-west1", "us-west2", "us-west3", "us-west4",
    }
)  # fmt: skip
"""Regions where all but requests costs more."""


def cpus(memory_mb: int) -> float:
    """The CPUs of an instance with so many MiB: as Google gives them where none are asked for."""
    return next(cpu for memory, cpu in _CPUS if memory_mb <= memory)


def prices(region: str, memory_mb: int) -> Prices:
    """Without the free tier and discounts. Google rounds each activation up to 100 milliseconds."""
    tier = 2 if region in _TIER_2 else 1
    second = _CPU_SECOND[tier] * cpus(memory_mb) + _GIB_SECOND[tier] * memory_mb / 1024
    return Prices(_REQUEST, second, AS_OF, SOURCE, unit_s=0.1)
