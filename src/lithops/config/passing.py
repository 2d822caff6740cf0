"""What becomes of the configuration beyond the executor: its logger, its runtimes, and executors inside functions."""

from __future__ import annotations

import copy
import json
from typing import Any

from lithops.compute.base import Surroundings
from lithops.config.logs import setup_lithops_logger
from lithops.config.model import LithopsSection, Settings
from lithops.shared.server import PASSWORD_VARIABLE
from lithops.storage.credentials import VARIABLE, secret_options

UNLIMITED_S = 10 * 365 * 86_400.0
"""The standard library's calls and processes have no time limit. Those of a cloud have the cloud's."""


def set_up_logging(settings: Settings, log_level: str | bool | None) -> None:
    """Set up the `lithops` logger, unless `log_level` or the configuration is None."""
    section = settings.lithops
    if log_level is not None and section.log_level is not None:
        setup_lithops_logger(section.log_level, section.log_format, section.log_stream, section.log_filename)


def sections_of_pool(settings: Settings, workers: int | None) -> dict[str, Any]:
    """The configuration for what stands in for the standard library: as silent, unless a log is configured, with no
    limit to the data, and for so many calls at once. The caller's own, to be changed further."""
    sections = copy.deepcopy(settings.raw)
    section = sections["lithops"]
    section["data_limit"] = False
    if settings.lithops.log_level == LithopsSection().log_level:
        section["log_level"] = None
    if workers is not None and settings.compute_name == "localhost":
        sections["localhost"]["worker_processes"] = workers
    elif workers is not None:
        # What is deployed there is the same for any number.
        section["max_concurrency"] = min(workers, settings.lithops.max_concurrency or workers)
    return sections


def surroundings_of(settings: Settings) -> Surroundings:
    """What the compute backend is told, beside its own configuration."""
    shares_state = settings.redis.host is not None
    return Surroundings(settings.storage_name, runtime_environment(settings), shares_state)


def runtime_environment(settings: Settings) -> dict[str, str]:
    """What is set on the runtime itself, since it may be secret, and never travels with a task."""
    url = settings.rabbitmq.amqp_url
    environment = {"LITHOPS_RABBITMQ_URL": url} if url else {}
    if settings.redis.password:
        environment[PASSWORD_VARIABLE] = settings.redis.password
    secrets = secret_options(settings.storage)
    if secrets and not _is_reached_by_role(settings):
        environment[VARIABLE] = json.dumps({settings.storage_name: secrets})
    return environment


def _is_reached_by_role(settings: Settings) -> bool:
    """Whether functions reach the storage under an identity of their own: both are of one cloud."""
    own = getattr(settings.compute, "own_storage", None)
    return settings.storage_name == own and not getattr(settings.storage, "endpoint", None)


def nested_environment(settings: Settings) -> dict[str, str]:
    """Lets executors that functions make find this configuration, secrets left out."""
    sections = {"lithops", "redis", settings.compute_name, settings.storage_name}
    shown = settings.shown()
    public = {
        name: {
            key: value for key, value in settings.raw[name].items() if shown[name].get(key, value) == value
        }
        for name in sorted(sections)
    }
    return {"LITHOPS_CONFIG": json.dumps(public)}
