"""What Cloud Functions refuses of a function that is created or changed."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from google_web import Refused

RUNTIMES = ("python310", "python311", "python312", "python313")
_CPUS = (
    (128, 0.083), (256, 0.167), (512, 0.333), (1024, 0.583), (2048, 1.0), (4096, 2.0), (8192, 2.0), (16384, 4.0),
    (32768, 8.0),
)  # fmt: skip
_REGION_CPUS = 200.0
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_RESERVED = re.compile(
    r"X_GOOGLE_.*|K_SERVICE|K_REVISION|K_CONFIGURATION|PORT|FUNCTION_TARGET|FUNCTION_SIGNATURE_TYPE"
)
_VARIABLES_BYTES = 32 << 10


def memory_mib_of(text: str) -> int:
    """``256M``, ``256Mi``, ``2Gi``."""
    found = re.fullmatch(r"(\d+)(Mi|Gi|M|G)", text)
    if found is None:
        raise Refused(400, f"Invalid memory: {text}")
    number, unit = int(found[1]), found[2]
    return number * 1024 if unit in ("Gi", "G") else number


def cpu_of(memory_mib: int) -> float:
    """The processors that come with so much memory, where none are asked for."""
    return next(cpu for memory, cpu in _CPUS if memory_mib <= memory)


def check(function: Mapping[str, Any], *, uploads: Container[str]) -> None:
    """Raises `Refused`."""
    name = function["name"].rpartition("/")[2]
    _demand(bool(_NAME.fullmatch(name)), f"Function name '{name}' is not valid")
    build, service = function.get("buildConfig", {}), function.get("serviceConfig", {})
    _demand(build.get("runtime") in RUNTIMES, f"The runtime {build.get('runtime')} is not valid")
    _demand(bool(build.get("entryPoint")), "entry_point is required")
    source = build.get("source", {}).get("storageSource", {})
    _demand(source.get("object") in uploads, f"Source object {source.get('object')} was not found")
    _check_size(service, has_trigger="eventTrigger" in function)
    _check_labels(function.get("labels", {}))
    variables = service.get("environmentVariables", {})
    for key in variables:
        _demand(not _RESERVED.fullmatch(key), f"The environment variable {key} is reserved")
    total = sum(len(key) + len(value) for key, value in variables.items())
    _demand(total <= _VARIABLES_BYTES, "The total size of environment variables exceeds 32768 bytes")
    trigger = function.get("eventTrigger")
    if trigger is not None:
        _demand(
            trigger.get("eventType") == "google.cloud.pubsub.topic.v1.messagePublished", "unknown event_type"
        )
        _demand(bool(trigger.get("pubsubTopic")), "pubsub_topic is required")


def _check_size(service: Mapping[str, Any], *, has_trigger: bool) -> None:
    memory = memory_mib_of(service.get("availableMemory", "256M"))
    _demand(128 <= memory <= 32768, f"Invalid value for memory: {memory} MiB")
    cpu = float(service.get("availableCpu") or cpu_of(memory))
    _demand(0.08 <= cpu <= 8, f"Invalid value for cpu: {cpu}")
    if cpu < 1:
        _demand(memory <= (512 if cpu < 0.5 else 1024) or cpu >= 0.583, f"{cpu} CPU cannot have {memory} MiB")
        concurrency = service.get("maxInstanceRequestConcurrency", 1)
        _demand(concurrency <= 1, "Total cpu < 1 is not supported with concurrency > 1.")
    else:
        _demand(memory <= cpu * 4096, f"{cpu} CPU cannot have {memory} MiB: at most 4 GiB for each")
    longest = 540 if has_trigger else 3600
    timeout = service.get("timeoutSeconds", 60)
    _demand(
        1 <= timeout <= longest, f"Invalid timeout: {timeout}; it must be between 1 and {longest} seconds"
    )
    instances = service.get("maxInstanceCount", 100)
    most = int(_REGION_CPUS / cpu)
    _demand(
        instances <= most,
        f"Max instances must be set to {most} or fewer in order to set the requested total CPU.",
    )


def _check_labels(labels: Mapping[str, str]) -> None:
    _demand(len(labels) <= 64, "There are more than 64 labels")
    for key, value in labels.items():
        good = _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(value)
        _demand(bool(good), f"Label '{key}': '{value}' is not valid")


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise Refused(400, message)
