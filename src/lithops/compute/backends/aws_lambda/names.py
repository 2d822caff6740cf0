"""What is deployed, by name. Pure.

A function's name says what it is: its runtime and memory, and a digest of everything else. So whoever needs a function
of just that content and these settings finds it by its name, and nobody else does.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lithops.exceptions import ComputeError
from lithops.version import __version__

PREFIX = "lithops-"
_NAME_LENGTH = 64
_DIGEST_LENGTH = 12
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Those that Lambda has."""
TAG = "lithops:runtime"
"""Marks the functions that this library has made."""


def own_python() -> str:
    """The Python of this program, which functions need too."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def lambda_python() -> str:
    """The same, of Lambda's own. Raises `ComputeError` where it has none such."""
    version = own_python()
    if version not in PYTHONS:
        raise ComputeError(
            f"AWS Lambda has no Python {version}, which this program runs on; run it with one of {', '.join(PYTHONS)}, "
            "or build an image of your own with: lithops runtime build -b aws_lambda -f Dockerfile NAME"
        )
    return version


def default_runtime(python: str) -> str:
    return f"python{python}"


def is_image_uri(runtime: str) -> bool:
    """Whether the runtime names an image of a registry, rather than what `lithops runtime build` made."""
    return ".dkr.ecr." in runtime


def slug(text: str, length: int) -> str:
    """The text as a part of a name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:length].strip("-")


def own_slug(text: str, length: int) -> str:
    """The text as a part of a name that no other text has."""
    short = slug(text, length)
    return short if short == text else f"{short[: length - 7]}-{digest(text)[:6]}".strip("-")


def digest(*parts: Any) -> str:
    """Names the content of what JSON can carry."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def function_name(namespace: str | None, runtime: str, memory_mb: int, content: str) -> str:
    """``lithops-NAMESPACE-RUNTIME-MEMORY-CONTENT``, at most 64 characters of which the runtime gives way."""
    start = PREFIX + (f"{namespace}-" if namespace else "")
    end = f"-{memory_mb}-{content}"
    return start + slug(runtime, _NAME_LENGTH - len(start) - len(end)) + end


def resource_name(namespace: str | None, runtime: str, python: str, architecture: str) -> str:
    """The name of a layer."""
    parts = ("lithops", namespace, own_slug(runtime, 60), slug(f"py{python}", 8), slug(architecture, 8))
    return "-".join(filter(None, parts))


def repository_name(namespace: str | None, runtime: str) -> str:
    """The name of a repository of images. They have small letters only."""
    names = [own_slug(name, 60) for name in (namespace, runtime) if name]
    return "/".join(
        ["lithops", *(name if name.islower() else f"{name.lower()}-{digest(name)[:6]}" for name in names)]
    )


@dataclass(frozen=True, slots=True)
class About:
    """What a function's description says: who it is for."""

    runtime: str
    python: str
    namespace: str = ""
    version: str = __version__

    def to_text(self) -> str:
        return (
            f"Lithops {self.version}: runtime={self.runtime} python={self.python} namespace={self.namespace}"
        )


def about(configuration: Mapping[str, Any]) -> About | None:
    """What a function of the account is, if this library has made it."""
    if not str(configuration["FunctionName"]).startswith(PREFIX):
        return None
    found = re.fullmatch(
        r"Lithops (\S+): runtime=(\S+) python=(\S+) namespace=(\S*)", configuration.get("Description", "")
    )
    if found is None:
        return None
    version, runtime, python, namespace = found.groups()
    return About(runtime, python, namespace, version)
