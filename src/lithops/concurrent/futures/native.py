"""The native executor behind one that was made without."""

from __future__ import annotations

from typing import Any

from lithops.config.loader import resolve
from lithops.config.model import LithopsSection
from lithops.config.passing import UNLIMITED_S, sections_of_pool
from lithops.exceptions import InvalidCall
from lithops.executors import FunctionExecutor

_NAMED = ("config", "config_file", "mode", "backend", "storage", "monitoring", "log_level")
"""The arguments of an executor that are not keys of its compute backend's section."""


def make_native(
    workers: int | None, calls_per_worker: int | None, options: dict[str, Any]
) -> FunctionExecutor:
    """A native executor for so many calls at once, made with its own arguments.

    Unless these or the configuration say otherwise, it is silent; it takes data of any size. Raises `ConfigError` for
    a configuration that cannot be used.
    """
    named = {name: options[name] for name in _NAMED if name in options}
    overrides = {name: value for name, value in options.items() if name not in named}
    settings = resolve(**named, overrides=overrides)
    on_this_machine = settings.compute_name == "localhost"
    if calls_per_worker is not None and not on_this_machine:
        raise InvalidCall(
            f"max_tasks_per_child is {calls_per_worker}, but {settings.compute_name} decides by itself when it "
            "replaces a worker: leave it out"
        )
    # A limit to the data bounds a job, and which calls share a job is chance here.
    sections = sections_of_pool(settings, workers)
    if on_this_machine and settings.lithops.execution_timeout == LithopsSection().execution_timeout:
        sections["lithops"]["execution_timeout"] = UNLIMITED_S
    if calls_per_worker is not None:
        sections["localhost"]["calls_per_worker"] = calls_per_worker
    return FunctionExecutor(config=sections)
