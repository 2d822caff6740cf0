"""What activations cost, by the price list that is dated below."""

from __future__ import annotations

from lithops.compute.base import Prices

_EXECUTION = 0.40e-6
_GB_SECOND = 0.000026
_MB_PER_GB = 1024


def prices_of(memory_mb: int) -> Prices:
    """On-demand instances of the flex consumption plan, without the free grant of each month.

    Azure counts an activation of less than a second as one of a second, and rounds up to a tenth.
    """
    return Prices(
        activation=_EXECUTION,
        second=_GB_SECOND * memory_mb / _MB_PER_GB,
        as_of="2025-05-22",
        source="https://azure.microsoft.com/pricing/details/functions/",
        unit_s=0.1,
        least_s=1.0,
    )
