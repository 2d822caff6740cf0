"""What Lambda costs: AWS's price list of one day, by groups of regions."""

from __future__ import annotations

from lithops.compute.base import Prices

AS_OF = "2024-12-01"
SOURCE = "https://aws.amazon.com/lambda/pricing/"

_REQUEST = 0.20e-6
_GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
_GB_SECOND_STORAGE = 0.0000000309
_FREE_STORAGE_MB = 512
_DEARER = {"ap-east-1": 1.375, "af-south-1": 1.33, "eu-south-1": 1.17, "me-south-1": 1.24}
"""Regions where all of it costs more, by the factor."""


def prices(region: str, architecture: str, memory_mb: int, ephemeral_storage_mb: int) -> Prices:
    """Without the free tier, and without the discount above six billion GB-seconds a month."""
    factor = _DEARER.get(region, 1.0)
    storage_gb = max(0, ephemeral_storage_mb - _FREE_STORAGE_MB) / 1024
    second = _GB_SECOND[architecture] * memory_mb / 1024 + _GB_SECOND_STORAGE * storage_gb
    return Prices(_REQUEST * factor, second * factor, AS_OF, SOURCE)
