"""Calls on Google Cloud Functions, 2nd generation.

::

    deploy   Deployer ──► Cloud Functions, Cloud Run: who may call
    request  Caller ──HTTPS──► function ──► statuses          why it died: Records ◄── Cloud Logging
    invoke   Caller ──► Pub/Sub ──► function ──► storage      dead()
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lithops.clock import Clock, SystemClock
from lithops.compute.backends.gcp_functions import sizes
from lithops.compute.backends.gcp_functions.calling import Caller
from lithops.compute.backends.gcp_functions.config import GcpFunctionsConfig
from lithops.compute.backends.gcp_functions.connection import Connection
from lithops.compute.backends.gcp_functions.deploying import Deployer
from lithops.compute.backends.gcp_functions.errors import translated
from lithops.compute.backends.gcp_functions.naming import (
    REQUIREMENTS_VARIABLE,
    Wanted,
    default_runtime,
    info_of,
    is_ours,
    own_python,
    wanted,
)
from lithops.compute.backends.gcp_functions.records import Entry, Records
from lithops.compute.backends.gcp_functions.rights import policy
from lithops.compute.base import Finding, Limits, Prices, Response, RuntimeInfo, Surroundings
from lithops.exceptions import ComputeError
from lithops.wire.messages import Failure, Task

_STARTUP_S = 120.0
_PUBLISHERS = 32
_INLINE_BYTES = 256 << 10
_PAYLOAD_BYTES = 12 << 20
# An event may have 512 KB after it was wrapped in base64 twice, with function, modules and extra arguments.
_EVENT_INLINE_BYTES = 48 << 10
_EVENT_PAYLOAD_BYTES = 96 << 10
_LOG_ENTRIES = 1000

_logger = logging.getLogger(__name__)


class GcpFunctions:
    """Implements `ComputeBackend`, `SupportsResponses`, `SupportsHealth`, `SupportsBuild`, `SupportsPricing` and
    `SupportsDiagnosis`."""

    name = "gcp_functions"

    def __init__(
        self, config: GcpFunctionsConfig, surroundings: Surroundings, *, clock: Clock | None = None
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._clock = clock or SystemClock()
        self._events = config.trigger == "pub/sub"
        self.limits = _limits(config)
        self._lock = threading.Lock()
        self._deploying = threading.Lock()
        self._parts: _Parts | None = None
        self._deployed: dict[RuntimeInfo, tuple[str, str]] = {}
        """The ids and URLs of functions that are ready."""
        self._warned = False
        self._published: dict[str, float] = {}
        """When each event was published that may not have ended yet."""

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002 - the configuration's
        memory_mb = memory_mb or self._config.runtime_memory
        if not 128 <= memory_mb <= 32768:
            raise ComputeError(
                f"a function of Google cannot have {memory_mb} MB; runtime_memory is from 128 to 32768"
            )
        with self._deploying:
            python = own_python()
            name = runtime or default_runtime(python)
            info = RuntimeInfo(name, memory_mb, python)
            if info not in self._deployed:
                self._ensure(self._specify(name, memory_mb))
            return info

    def build(self, runtime: str, file: Path) -> str:
        """Make a custom runtime of a ``requirements.txt``."""
        if file.name.startswith("Dockerfile") or file.suffix == ".dockerfile":
            raise ComputeError(
                f"Google Cloud Functions is built of sources and takes no image, so {file} cannot be used; name the "
                "Python packages in a requirements.txt: lithops runtime build -b gcp_functions -f requirements.txt "
                f"{runtime}"
            )
        python = own_python()
        if not runtime or runtime.startswith("python3"):
            raise ComputeError(
                f"a runtime cannot be called '{runtime}', for Google's own are; give it another name"
            )
        text = file.read_text()
        with self._deploying:
            function = self._ensure(self._make(runtime, self._config.runtime_memory, text))
        return (
            f"runtime {runtime} for Python {python} in {self._region}, of {file}: function "
            f"{function.name.rpartition('/')[2]}"
        )

    def describe(self) -> Mapping[str, Any]:
        config = self._config
        return {
            "region": config.region,
            "project": config.project_name,
            "trigger": config.trigger,
            "memory_mb": config.runtime_memory,
            "cpus": sizes.cpus(config.runtime_memory),
            "timeout_s": config.runtime_timeout,
            "max_workers": config.max_workers,
        }

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return sorted(
            {info_of(each.labels) for each in self._ours()}, key=lambda info: (info.name, info.memory_mb)
        )

    def remove(self, runtime: str) -> None:
        """Remove all functions of the runtime, whatever their memory."""
        found = [each for each in self._ours() if info_of(each.labels).name == runtime]
        if not found:
            names = ", ".join(sorted({info.name for info in self.runtimes()})) or "none"
            raise ComputeError(f"there is no runtime '{runtime}' in {self._region}; there are: {names}")
        for function in found:
            self._part.deployer.remove(function)
        with self._deploying:
            self._deployed = {info: where for info, where in self._deployed.items() if info.name != runtime}

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        function_id, _ = self._where(runtime)
        if not self._events:
            return self.request(task, runtime).activation_id
        began = time.time()
        topic = self._part.deployer.topic(function_id)
        activation_id = self._part.caller.publish(task, topic=topic, startup_s=_STARTUP_S)
        with self._lock:
            self._published[activation_id] = began
        return activation_id

    def request(self, task: Task, runtime: RuntimeInfo) -> Response:
        function_id, url = self._where(runtime)
        timeout_s = self._config.runtime_timeout
        return self._part.caller.request(task, service=function_id, url=url, timeout_s=timeout_s)

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        """Events whose instance died."""
        with self._lock:
            # Of the others nobody asks any more.
            self._published = {
                each: self._published[each] for each in activation_ids if each in self._published
            }
            began = min(self._published.values(), default=None)
            services = [function_id for function_id, _ in self._deployed.values()]
        if began is None:
            return {}
        try:
            return self._part.records.dead_events(services, began, activation_ids)
        except ComputeError as error:
            if not self._warned:
                self._warned = True
                _logger.warning("events that die are found by their timeout alone: %s", error)
            return {}

    def prices(self, runtime: RuntimeInfo) -> Prices:
        return sizes.prices(self._region, runtime.memory_mb)

    def policy(self) -> Mapping[str, Any]:
        return policy(self._config)

    def diagnose(self) -> Iterator[Finding]:
        try:
            part = self._part
        except ComputeError as error:
            yield Finding("identity", False, str(error))
            return
        yield Finding("identity", True, f"{part.connection.who()}, project {part.connection.project}")
        yield _look("region", lambda: self._check_region(part.connection))
        yield _look("functions", lambda: f"{len(self._ours())} of this library in {self._region}")
        yield _look("logs", lambda: f"{len(self._read_logs('severity>=ERROR', limit=1))} read")

    def close(self) -> None:
        with self._lock:
            parts, self._parts = self._parts, None
        if parts is not None:
            parts.connection.close()

    # ---------------------------------------------------------------- what is deployed

    def _ensure(self, function: Wanted) -> Any:
        """The function, which is deployed if it is not there."""
        deployer = self._part.deployer
        found = deployer.find(function.id) or deployer.create(function)
        self._deployed[function.info] = function.id, found.service_config.uri
        return found

    def _specify(self, name: str, memory_mb: int) -> Wanted:
        """What the runtime of this name is to be."""
        python = own_python()
        if name == default_runtime(python):
            return self._make(name, memory_mb, "")
        if name.startswith("python3"):
            raise ComputeError(
                f"runtime {name} is another Python than this program's {python}, whose functions it could not read; "
                f"leave `runtime` out, or set it to {default_runtime(python)}"
            )
        made = [each for each in self._ours() if info_of(each.labels).name == name]
        ours = [each for each in made if info_of(each.labels).python == python]
        if not ours:
            others = ", ".join(sorted({info_of(each.labels).python for each in made}))
            what = f"runtime '{name}' is for Python {others}, and this program runs on {python}" if made else (
                f"there is no runtime '{name}' in {self._region}"
            )  # fmt: skip
            raise ComputeError(
                f"{what}; make it with this Python: lithops runtime build -b gcp_functions -f requirements.txt {name}"
            )
        latest = max(ours, key=lambda each: each.update_time)
        return self._make(name, memory_mb, latest.service_config.environment_variables[REQUIREMENTS_VARIABLE])

    def _make(self, name: str, memory_mb: int, requirements: str) -> Wanted:
        project = self._part.connection.project
        return wanted(self._config, self._surroundings, project, name, memory_mb, requirements)

    def _ours(self) -> Sequence[Any]:
        return [each for each in self._part.deployer.all() if is_ours(each.labels, self._config.namespace)]

    def _where(self, runtime: RuntimeInfo) -> tuple[str, str]:
        where = self._deployed.get(runtime)
        if where is None:
            self.deploy(runtime.name, runtime.memory_mb, 0.0)
            where = self._deployed[runtime]
        return where

    # ---------------------------------------------------------------- what is made when it is first needed

    @property
    def _part(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                with translated("Google Cloud cannot be asked for anything"):
                    connection = Connection(self._config)
                records = Records(self._read_logs, self._clock)
                caller = Caller(connection, records)
                deployer = Deployer(connection, caller, self._read_logs, self._clock)
                self._parts = _Parts(connection, records, caller, deployer)
            return self._parts

    @property
    def _region(self) -> str:
        return self._config.region or ""

    def _check_region(self, connection: Connection) -> str:
        with translated(f"what {connection.parent} offers cannot be read"):
            offered = connection.functions.list_runtimes(request={"parent": connection.parent})
        runtime = default_runtime(own_python())
        if runtime not in {each.name for each in offered.runtimes}:
            raise ComputeError(f"region {connection.region} has no {runtime}; choose another `region`")
        return f"{connection.region} has {runtime}"

    def _read_logs(self, condition: str, limit: int = _LOG_ENTRIES) -> Sequence[Entry]:
        connection = self._part.connection
        asked: dict[str, Any] = {
            "resourceNames": [f"projects/{connection.project}"],
            "filter": condition,
            "orderBy": "timestamp asc",
            "pageSize": limit,
        }
        entries: list[Entry] = []
        with translated("Google's logs cannot be read"):
            while True:
                page = connection.call("POST", "logging", "v2/entries:list", asked)
                entries += page.get("entries", ())
                if "nextPageToken" not in page or len(entries) >= limit:
                    return entries
                asked["pageToken"] = page["nextPageToken"]


class _Parts:
    """What talks to Google."""

    def __init__(self, connection: Connection, records: Records, caller: Caller, deployer: Deployer) -> None:
        self.connection = connection
        self.records = records
        self.caller = caller
        self.deployer = deployer


def _limits(config: GcpFunctionsConfig) -> Limits:
    if config.trigger == "pub/sub":
        return Limits(
            max_activations=config.max_workers,
            inline_bytes=_EVENT_INLINE_BYTES,
            payload_bytes=_EVENT_PAYLOAD_BYTES,
            startup_s=_STARTUP_S,
            invoke_threads=_PUBLISHERS,
            calls_at_once=config.worker_processes,
        )
    return Limits(
        max_activations=config.max_workers,
        inline_bytes=_INLINE_BYTES,
        payload_bytes=_PAYLOAD_BYTES,
        startup_s=_STARTUP_S,
        invoke_threads=config.max_workers,
        connections=config.max_workers,
        calls_at_once=config.worker_processes,
    )


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except ComputeError as error:
        return Finding(what, False, str(error))
