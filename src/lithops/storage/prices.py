"""What requests to storages cost: the public price lists of one day, in US dollars."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestPrices:
    """US dollars for one request of each kind."""

    put: float
    get: float
    """Reading an object, or looking at one without reading it."""
    list: float
    delete: float
    as_of: str
    """The date of the list, as ``2026-11-22``."""
    source: str
    """Where the list is published."""


REQUEST_PRICES = {
    # Standard, us-east-1.
    "aws_s3": RequestPrices(
        put=5e-6, get=4e-7, list=5e-6, delete=0.0, as_of="2025-05-01", source="https://aws.amazon.com/s3/pricing/"
    ),
    # Standard, one region: putting and listing are operations of class A, reading of class B.
    "gcp_storage": RequestPrices(
        put=5e-6, get=4e-7, list=5e-6, delete=0.0, as_of="2025-05-01", source="https://cloud.google.com/storage/pricing"
    ),
    # Block blobs, hot, locally redundant, East US.
    "azure_storage": RequestPrices(
        put=5e-6, get=4e-7, list=5e-6, delete=0.0,
        as_of="2025-05-01", source="https://azure.microsoft.com/pricing/details/storage/blobs/",
    ),
}  # fmt: skip
"""By the names of storage backends. For those that are missing nothing is known."""
