"""How Lambda says no: its errors by name, and the checks of its API that need nothing but the request."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from aws_http import Reply, json_reply

ZIPPED_BYTES = 50 << 20
UNZIPPED_BYTES = 250 << 20
REQUEST_BYTES = 70_167_211
SYNC_BYTES = 6_291_456
EVENT_BYTES = 1_048_576
ENVIRONMENT_BYTES = 4096
RUNTIMES = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14")

_STATUS = {
    "AccessDeniedException": 403,
    "CodeStorageExceededException": 400,
    "InvalidParameterValueException": 400,
    "InvalidRequestContentException": 400,
    "RequestEntityTooLargeException": 413,
    "RequestTooLargeException": 413,
    "ResourceConflictException": 409,
    "ResourceNotFoundException": 404,
    "ServiceException": 500,
    "TooManyRequestsException": 429,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
_RESERVED = re.compile(
    r"AWS_(REGION|DEFAULT_REGION|ACCESS_KEY(_ID)?|SECRET_(ACCESS_)?KEY|SESSION_TOKEN|LAMBDA_.*|EXECUTION_ENV)"
    r"|LAMBDA_(TASK_ROOT|RUNTIME_DIR)|_HANDLER|_X_AMZN_TRACE_ID"
)
_RANGES = {"MemorySize": (128, 10240), "Timeout": (1, 900)}


class Refused(Exception):
    """The request is refused, by the error of that name."""

    def __init__(self, code: str, message: str, **more: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.more = more

    def reply(self) -> Reply:
        status = _STATUS[self.code]
        kind = "User" if status < 500 else "Service"
        reply = json_reply(
            {"Type": kind, "Message": self.message, "message": self.message, **self.more}, status
        )
        reply.headers["x-amzn-ErrorType"] = self.code
        if status == 429:
            reply.headers["Retry-After"] = "1"
        return reply


def invalid(message: str) -> Refused:
    return Refused("InvalidParameterValueException", message)


def _constraint(value: Any, member: str, rule: str) -> Refused:
    return Refused(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must {rule}",
    )


def check_settings(settings: dict[str, Any]) -> None:
    """What is asked of a function, be it new or changed. Raises `Refused`."""
    for name, (low, high) in _RANGES.items():
        _check_range(settings.get(name, low), name[0].lower() + name[1:], low, high)
    _check_range(settings.get("EphemeralStorage", {}).get("Size", 512), "ephemeralStorage.size", 512, 10240)
    for architecture in settings.get("Architectures", []):
        if architecture not in ("x86_64", "arm64"):
            raise _constraint(
                settings["Architectures"], "architectures", "satisfy enum value set: [x86_64, arm64]"
            )
    if settings.get("PackageType", "Zip") == "Zip" and settings.get("Runtime", RUNTIMES[0]) not in RUNTIMES:
        raise _constraint(
            settings["Runtime"], "runtime", "satisfy enum value set: [" + ", ".join(RUNTIMES) + "]"
        )
    if len(settings.get("Description", "")) > 256:
        raise _constraint(settings["Description"], "description", "have length less than or equal to 256")
    _check_environment(settings.get("Environment", {}).get("Variables", {}))
    _check_network(settings)


def check_name(name: str) -> None:
    if not re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", name):
        raise _constraint(
            name, "functionName", "satisfy regular expression pattern: [a-zA-Z0-9-_]+, at most 64"
        )


def check_tags(tags: dict[str, str]) -> None:
    if len(tags) > 50:
        raise invalid("The number of tags exceeds the limit of 50")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise invalid(f"The tag {key!r} is not valid")
        if not re.fullmatch(r"[\w\s+\-=.:/@]*", key + value):
            raise invalid(f"The tag {key!r} has characters that are not allowed")


def _check_range(value: Any, member: str, low: int, high: int) -> None:
    if not isinstance(value, int) or value < low:
        raise _constraint(value, member, f"have value greater than or equal to {low}")
    if value > high:
        raise _constraint(value, member, f"have value less than or equal to {high}")


def _check_environment(variables: dict[str, str]) -> None:
    reserved = [name for name in variables if _RESERVED.fullmatch(name)]
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    for name in variables:
        if not re.fullmatch(r"[a-zA-Z]\w+", name):
            raise _constraint(
                name, "environment.variables", "satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+"
            )
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    if size > ENVIRONMENT_BYTES:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {size} bytes"
        )


def _check_network(settings: dict[str, Any]) -> None:
    network = settings.get("VpcConfig", {})
    if bool(network.get("SubnetIds")) != bool(network.get("SecurityGroupIds")):
        raise invalid("SubnetIds and SecurityIds must coexist or be both empty list.")
    for file_system in settings.get("FileSystemConfigs", []):
        if not re.fullmatch(r"/mnt/[a-zA-Z0-9-_.]+", file_system["LocalMountPath"]):
            raise _constraint(
                file_system["LocalMountPath"], "localMountPath", "satisfy /mnt/[a-zA-Z0-9-_.]+$"
            )
        if not network.get("SubnetIds"):
            raise invalid("Function must be configured to execute in a VPC to reference access point")


def unzipped_bytes(data: bytes) -> int:
    """The size of what a package holds. Raises `Refused`."""
    if len(data) > ZIPPED_BYTES:
        raise Refused("RequestEntityTooLargeException", f"Request must be smaller than {REQUEST_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise invalid(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ) from None
    if size == 0:
        raise invalid("Uploaded file must be a non-empty zip")
    check_unzipped(size)
    return size


def check_unzipped(size: int) -> None:
    if size > UNZIPPED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes")
