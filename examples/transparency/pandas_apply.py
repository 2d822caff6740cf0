"""pandarallel's `parallel_apply` on any backend: its import of `multiprocessing` is replaced, and nothing else.

python examples/transparency/pandas_apply.py [--rows NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import sys

import pandas as pd

from lithops.util.substitution import standard_library_replaced

with standard_library_replaced():
    from pandarallel import pandarallel


def distance_km(row: pd.Series) -> float:
    """From Tarragona, along a great circle."""
    # pandarallel pickles functions by itself, without what they refer to: as its own documentation says of Windows.
    import math

    latitude, longitude = math.radians(41.1189), math.radians(1.2445)
    there = math.radians(row.latitude), math.radians(row.longitude)
    cosine = math.sin(latitude) * math.sin(there[0])
    cosine += math.cos(latitude) * math.cos(there[0]) * math.cos(there[1] - longitude)
    return 6371.0 * math.acos(min(1.0, cosine))


def main() -> int:
    parser = argparse.ArgumentParser(description="Distances of places, computed by pandarallel.")
    parser.add_argument("--rows", type=int, default=5_000, metavar="NUMBER", help="how many places")
    parser.add_argument("--check", action="store_true", help="fail unless pandas alone gives the same")
    args = parser.parse_args()

    places = pd.DataFrame(
        {"latitude": [-90 + 180 * i / args.rows for i in range(args.rows)],
         "longitude": [(i * 137.5) % 360 - 180 for i in range(args.rows)]}
    )  # fmt: skip
    pandarallel.initialize(nb_workers=4, progress_bar=False, use_memory_fs=False, verbose=1)
    distances = places.parallel_apply(distance_km, axis=1)
    print(f"{len(distances):,} places, {distances.mean():,.0f} km away on average")
    if args.check and not distances.equals(places.apply(distance_km, axis=1)):
        print("pandas alone gives something else", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
