"""What the configuration is once it has been read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lithops.config.check import masked
from lithops.settings import Between, OneOf, Secret
from lithops.storage.backends.redis.config import RedisConfig

MODES = ("localhost", "serverless", "standalone")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_FORMAT = "%(asctime)s [%(levelname)s] %(name)s -- %(message)s"


@dataclass(frozen=True, slots=True)
class LithopsSection:
    """The section `lithops`: what holds for every backend."""

    backend: str | None = None
    """The compute backend; none: the one that `mode` implies."""
    storage: str | None = None
    """The storage backend; none: that of the compute backend's cloud, or localhost."""
    mode: Annotated[str, OneOf(MODES)] | None = None
    """What kind of compute backend; none: the one of `backend`."""
    data_cleaner: bool = True
    """Whether an executor removes its jobs' objects from the storage when it is done with them."""
    monitoring: Annotated[str, OneOf(("storage",))] = "storage"
    """Where statuses arrive from, on backends that do not bring them back themselves."""
    monitoring_interval: Annotated[float, Between(0.01)] = 2
    """Seconds between two polls of the storage."""
    data_limit: Annotated[float, Between(0)] | Literal[False] | None = 4
    """The most input data that one job may have, in MiB; false: no limit."""
    execution_timeout: Annotated[float, Between(0.1)] = 1800
    """Seconds after which a call is stopped."""
    include_modules: list[str] | None = field(default_factory=list)
    """Modules to ship with every function; an empty list: those found to be needed; null: none at all."""
    exclude_modules: list[str] = field(default_factory=list)
    """Modules that are never shipped."""
    chunksize: Annotated[int, Between(1)] | None = None
    """Calls per task; none: as the backend prefers."""
    max_concurrency: Annotated[int, Between(1)] | None = None
    """How many calls of an executor run at once, of whatever jobs; none: as many as the backend can take."""
    log_level: Annotated[str, OneOf(LOG_LEVELS)] | None = "INFO"
    """What the `lithops` logger shows; null leaves logging alone."""
    log_format: str = LOG_FORMAT
    log_stream: str = "ext://sys.stderr"
    """Where the log goes: `ext://` and the name of a stream."""
    log_filename: str | None = None
    """A file to log to instead of the stream."""
    telemetry: bool = False
    """Whether executors send metrics."""
    retries: Annotated[int, Between(0)] = 0
    """How often a call that fails is tried again."""


@dataclass(frozen=True, slots=True)
class RabbitmqSection:
    """The section `rabbitmq`: the broker of functions that have a parameter of that name."""

    amqp_url: Annotated[str, Secret()] | None = None
    """Where it is, its user and password included; none: there is no broker."""


@dataclass(frozen=True)
class Settings:
    """The whole configuration, resolved: which backends are used, and how."""

    lithops: LithopsSection
    """With `backend`, `storage` and `mode` filled in."""
    compute_name: str
    compute: Any
    """An instance of the compute backend's own configuration class."""
    storage_name: str
    storage: Any
    """An instance of the storage backend's own configuration class."""
    rabbitmq: RabbitmqSection
    origin: str
    """Which file, variable or argument it came from."""
    raw: dict[str, Any]
    """The complete configuration as a dict of sections, secrets as they are; `resolve` takes it again."""
    redis: RedisConfig = field(default_factory=RedisConfig)
    """The server of the objects that processes share; without a host, a program on this machine starts its own."""

    def shown(self) -> dict[str, dict[str, Any]]:
        """The sections that are used, complete, their secrets masked."""
        sections = {"lithops": masked(self.lithops), self.compute_name: masked(self.compute)}
        storage = masked(self.storage)
        sections[self.storage_name] = {**sections.get(self.storage_name, {}), **storage}
        sections["rabbitmq"] = masked(self.rabbitmq)
        sections["redis"] = masked(self.redis)
        return sections

    def __repr__(self) -> str:
        return f"Settings(origin={self.origin!r}, {self.shown()})"
