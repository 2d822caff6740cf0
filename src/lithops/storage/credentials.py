"""How a storage that is named without credentials gets them back.

References name a place and never hold a secret. In the process that opened a storage with credentials of the
configuration, they are remembered for it; workers that run under no identity of the storage's own cloud find them in
their environment, where the runtime was given them; and another program has a configuration of its own.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from typing import Any

from lithops.settings import secret_names

VARIABLE = "LITHOPS_CREDENTIALS"
"""The environment variable: a JSON object of backends' names to their secret settings."""
_remembered: dict[tuple[str, str], dict[str, Any]] = {}


def public_options(config: Any) -> dict[str, Any]:
    """What a reference says of a storage beside its bucket: all settings that were made, without the secrets."""
    hidden = {*secret_names(type(config)), "storage_bucket"}
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in hidden and getattr(config, field.name) != field.default
    }


def secret_options(config: Any) -> dict[str, Any]:
    """The secrets that the configuration holds."""
    return {
        name: value for name in secret_names(type(config)) if (value := getattr(config, name)) is not None
    }


def remember(name: str, config: Any) -> None:
    """Keep the secrets for references to the same place that this process meets later."""
    secrets = secret_options(config)
    if secrets:
        _remembered[name, repr(public_options(config))] = secrets


def complete(name: str, config: Any, *, from_memory: bool) -> Any:
    """The configuration with secrets filled in, where it holds none and needs some."""
    if not secret_names(type(config)) or secret_options(config):
        return config
    secrets = json.loads(os.environ.get(VARIABLE, "{}")).get(name)
    if secrets is None and from_memory:
        place = name, repr(public_options(config))
        if place not in _remembered:
            _remember_configured(name)
        secrets = _remembered.get(place)
    return dataclasses.replace(config, **secrets) if secrets else config


def _remember_configured(name: str) -> None:
    """Look into this program's configuration, where there is one: in a cloud's functions there is none."""
    if importlib.util.find_spec("lithops.config") is not None:
        # A higher layer, which workers are deployed without.
        settings = importlib.import_module("lithops.config.loader").resolve()
        if settings.storage_name == name:
            remember(name, settings.storage)
