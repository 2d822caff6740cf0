"""The settings of `lithops.multiprocessing`, which the standard library's functions have no parameters for.

::

    from lithops.multiprocessing import config
    config.set_parameter(config.STREAM_STDOUT, True)
"""

from __future__ import annotations

from typing import Any

from lithops.exceptions import ConfigError

LITHOPS_CONFIG = "LITHOPS_CONFIG"
"""A configuration as a dict, instead of the file's; None: the file's."""
STREAM_STDOUT = "STREAM_STDOUT"
"""Whether what processes print is shown while they run."""
REDIS_EXPIRY_TIME = "REDIS_EXPIRY_TIME"
"""Seconds after which shared objects that no process uses any more are removed from the server."""
PIPE_CONNECTION_TYPE = "PIPE_CONNECTION_TYPE"
"""How messages of a `Pipe` travel: ``redislist``, or ``direct`` from worker to worker where the network lets them."""
ENV_VARS = "ENV_VARS"
"""Environment variables for processes and pools, as a dict."""
EXPORT_EXECUTION_DETAILS = "EXPORT_EXECUTION_DETAILS"
"""A folder for the measurements and timelines of processes and pools; None: they are not kept."""

_DEFAULTS: dict[str, Any] = {
    LITHOPS_CONFIG: None,
    STREAM_STDOUT: False,
    REDIS_EXPIRY_TIME: 300,
    PIPE_CONNECTION_TYPE: "redislist",
    ENV_VARS: {},
    EXPORT_EXECUTION_DETAILS: None,
}
_CHECKS: dict[str, tuple[Any, str]] = {
    LITHOPS_CONFIG: (lambda value: value is None or isinstance(value, dict), "a dict of sections, or None"),
    STREAM_STDOUT: (lambda value: isinstance(value, bool), "True or False"),
    REDIS_EXPIRY_TIME: (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 30,
        "a whole number of seconds, 30 or more",
    ),
    PIPE_CONNECTION_TYPE: (lambda value: value in ("redislist", "direct"), "'redislist' or 'direct'"),
    ENV_VARS: (
        lambda value: (
            isinstance(value, dict) and all(isinstance(each, str) for pair in value.items() for each in pair)
        ),
        "a dict of strings",
    ),
    EXPORT_EXECUTION_DETAILS: (
        lambda value: value is None or isinstance(value, str),
        "the path of a folder, or None",
    ),
}
_values = dict(_DEFAULTS)


def set_parameter(key: str, value: Any) -> None:
    """Change a setting, for what is made from then on. Raises `ConfigError` for a name or value that is not allowed."""
    _check_name(key)
    allows, allowed = _CHECKS[key]
    if not allows(value):
        raise ConfigError(f"lithops.multiprocessing.config: {key} is {value!r}; allowed is {allowed}")
    _values[key] = value


def get_parameter(key: str) -> Any:
    """A setting as it is now."""
    _check_name(key)
    return _values[key]


def _check_name(key: str) -> None:
    if key not in _DEFAULTS:
        raise ConfigError(
            f"lithops.multiprocessing.config has no parameter {key!r}; there are {', '.join(_DEFAULTS)}"
        )
