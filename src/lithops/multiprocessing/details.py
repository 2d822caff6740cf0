"""EXPORT_EXECUTION_DETAILS: measurements and timelines of processes and pools, in a folder that the user names."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence

from lithops.future import ResponseFuture
from lithops.multiprocessing import config


def export(futures: Sequence[ResponseFuture], name: str, *, pictures: bool = False) -> None:
    """Write what was measured of these calls, which have ended, into a file called `name`, and with `pictures` draw
    them, if matplotlib is installed. Nothing happens while the parameter is not set."""
    folder = config.get_parameter(config.EXPORT_EXECUTION_DETAILS)
    if folder is None or not futures:
        return
    os.makedirs(folder, exist_ok=True)
    rows = [{"call": future.call_id, "job": future.job_key, **future.stats} for future in futures]
    with open(os.path.join(folder, f"{name}.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    if pictures and importlib.util.find_spec("matplotlib") is not None:
        from lithops import plots

        plots.draw(futures, os.path.join(folder, name), (10, 6))
