"""Finds the configuration, reads it and resolves it: the only reader of YAML and of environment variables.

::

    config= or config_file=
    LITHOPS_CONFIG                       the first that there is
    LITHOPS_CONFIG_FILE            ──►   _Source: sections, and where they came from
    ./.lithops_config                      │
    ~/.lithops/config                      │ arguments over it, each section checked by its own class
    /etc/lithops/config                    ▼
                                         Settings
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lithops.compute import registry as compute_registry
from lithops.config.check import build, check_section, check_values, field_names, warn_of_unknown_keys
from lithops.config.model import LOG_LEVELS, LithopsSection, RabbitmqSection, Settings
from lithops.exceptions import ConfigError
from lithops.storage import registry as storage_registry
from lithops.storage.backends.redis.config import RedisConfig
from lithops.storage.base import StorageBackend

DEFAULT_FILES = (".lithops_config", "~/.lithops/config", "/etc/lithops/config")
_ARGUMENTS = "the arguments"
_NONE: Mapping[str, Any] = {}

FileName = str | os.PathLike[str]


def load_config(config_file: FileName | None = None) -> dict[str, Any]:
    """The configuration as it is written, without defaults: a dict of sections, empty when there is none."""
    return dict(_find(None, config_file).sections)


def default_config(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The complete configuration, with every default, as a dict of sections."""
    return resolve(config).raw


def resolve(
    config: Mapping[str, Any] | None = None,
    *,
    config_file: FileName | None = None,
    mode: str | None = None,
    backend: str | None = None,
    storage: str | None = None,
    monitoring: str | None = None,
    log_level: str | int | bool | None = False,
    overrides: Mapping[str, Any] = _NONE,
    storage_overrides: Mapping[str, Any] = _NONE,
) -> Settings:
    """What to use, and how: checked, and complete.

    `config` replaces the file; the other arguments override it. `log_level=False` leaves it as configured.
    `overrides` are keys of the compute backend's section, `storage_overrides` of the storage backend's.
    Raises `ConfigError` for whatever cannot be used.
    """
    source = _find(config, config_file)
    named = {"mode": mode, "backend": backend, "storage": storage, "monitoring": monitoring}
    given: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    if log_level is not False:
        given["log_level"] = log_level
    configured, given = _check_lithops_section(source, given)

    compute_name = _choose_compute(source, configured, given)
    compute_class = compute_registry.config_class(compute_name)
    storage_name = _choose_storage(source, configured, given, compute_class, compute_name)
    changes: dict[str, dict[str, Any]] = {compute_name: {}, storage_name: {}}
    changes[compute_name].update(overrides)
    changes[storage_name].update(storage_overrides)
    storage_class = storage_registry.config_class(storage_name)
    used = ((compute_name, compute_class), (storage_name, storage_class))
    raw = dict(source.sections)
    for section, values in changes.items():
        raw[section] = _known_part(source, section, values, [cls for name, cls in used if name == section])

    compute = _read_section(compute_class, source, compute_name, changes[compute_name])
    storage_config = _read_section(storage_class, source, storage_name, changes[storage_name])
    names = {"backend": compute_name, "storage": storage_name, "mode": compute_class.mode}
    lithops = build(LithopsSection, {**configured, **given, **names}, section="lithops", origin=source.origin)
    rabbitmq = check_section(
        RabbitmqSection, source.section("rabbitmq"), section="rabbitmq", origin=source.origin
    )
    if storage_name != "redis":
        _known_part(source, "redis", _NONE, [RedisConfig])
    redis = _read_section(RedisConfig, source, "redis", changes.get("redis", _NONE))
    raw.update(lithops=dataclasses.asdict(lithops), rabbitmq=dataclasses.asdict(rabbitmq))
    raw["redis"] = {**raw.get("redis", {}), **dataclasses.asdict(redis)}
    raw[compute_name].update(dataclasses.asdict(compute))
    raw[storage_name].update(dataclasses.asdict(storage_config))
    return Settings(
        lithops, compute_name, compute, storage_name, storage_config, rabbitmq, source.origin, raw, redis
    )


def resolve_storage(
    config: Mapping[str, Any] | None = None,
    backend: str | None = None,
    storage_config: Mapping[str, Any] | None = None,
) -> StorageBackend:
    """The storage backend of the configuration, ready to use; nothing of the compute backend is looked at.

    `backend` overrides the configuration. `storage_config` replaces it: a dict with ``backend`` and a section
    of that name, as `Storage.get_storage_config` gives, or the section alone.
    """
    given = {} if backend is None else {"storage": backend}
    source = _find(config, None) if storage_config is None else _storage_source(storage_config, backend)
    configured, given = _check_lithops_section(source, given)
    name = _name_of_storage(source, configured, given) or "localhost"
    storage_class = storage_registry.config_class(name)
    _known_part(source, name, _NONE, [storage_class])
    return storage_registry.create(name, _read_section(storage_class, source, name, _NONE))


# ---------------------------------------------------------------- find and read


@dataclass(frozen=True)
class _Source:
    """Sections as they were written, and where."""

    sections: Mapping[str, Any]
    origin: str

    def section(self, name: str) -> Mapping[str, Any]:
        """One section; one that is missing or empty has no keys."""
        values = self.sections.get(name)
        if values is None:
            return _NONE
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{self.origin}: {name}: found a value of type {type(values).__name__}; "
                "allowed is a section, which is a mapping of keys to values"
            )
        return values


def _find(config: Mapping[str, Any] | None, config_file: FileName | None) -> _Source:
    if config is not None and config_file is not None:
        raise ConfigError("both config and config_file are given; give one of them")
    if config is not None:
        return _source(config, "the argument config")
    if config_file is not None:
        return _read_file(os.path.expanduser(config_file))
    if text := os.environ.get("LITHOPS_CONFIG"):
        return _source(_parse_json(text, "LITHOPS_CONFIG"), "LITHOPS_CONFIG")
    if name := os.environ.get("LITHOPS_CONFIG_FILE"):
        return _read_file(os.path.expanduser(name), advice="; LITHOPS_CONFIG_FILE names it")
    for name in map(os.path.expanduser, DEFAULT_FILES):
        if os.path.isfile(name):
            return _read_file(name)
    return _Source({}, "the defaults")


def _source(content: Any, origin: str) -> _Source:
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{origin}: found a value of type {type(content).__name__}; "
            "allowed is a mapping of section names to sections"
        )
    return _Source(content, origin)


def _storage_source(storage_config: Mapping[str, Any], backend: str | None) -> _Source:
    origin = "the argument storage_config"
    name = backend or _source(storage_config, origin).sections.get("backend") or "localhost"
    if "backend" in storage_config or name in storage_config:
        return _Source({"lithops": {"storage": name}, name: storage_config.get(name)}, origin)
    return _Source({"lithops": {"storage": name}, name: storage_config}, origin)


def _read_file(name: str, *, advice: str = "") -> _Source:
    try:
        with open(name, "rb") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: the configuration file cannot be read: {reason}{advice}") from error
    content = _parse_yaml(text, name)
    return _source({} if content is None else content, name)


def _parse_json(text: str, origin: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(
            f"{origin}: not JSON, {place}: {error.msg}; allowed is a JSON object of sections"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{origin}: not usable JSON: {error}") from None


def _parse_yaml(text: bytes, origin: str) -> Any:
    import yaml

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Not the error itself: it quotes the file, which may hold secrets.
        raise ConfigError(f"{origin}: not YAML{place}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not YAML: {error}") from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # What the loader raises for a date, a number or a tag that cannot be read.
        raise ConfigError(f"{origin}: not usable YAML: {type(error).__name__}: {error}") from None


# ---------------------------------------------------------------- the section lithops


def _check_lithops_section(
    source: _Source, given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is configured and what the arguments give, each checked on its own: messages tell them apart."""
    configured = source.section("lithops")
    known = field_names(LithopsSection)
    warn_of_unknown_keys(configured, known=known, section="lithops", origin=source.origin)
    return (
        check_values(LithopsSection, _with_level_name(configured), section="lithops", origin=source.origin),
        check_values(LithopsSection, _with_level_name(given), section="lithops", origin=_ARGUMENTS),
    )


def _with_level_name(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Log levels are also taken in small letters and as the logging module's numbers."""
    level = values.get("log_level")
    if isinstance(level, int) and not isinstance(level, bool):
        level = logging.getLevelName(level)
    if isinstance(level, str) and level.upper() in LOG_LEVELS:
        return {**values, "log_level": level.upper()}
    return values


def _choose_compute(source: _Source, configured: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    for values, origin in ((given, _ARGUMENTS), (configured, source.origin)):
        backend, mode = values.get("backend"), values.get("mode")
        if backend is not None:
            implied = _config_class(compute_registry, backend, f"{origin}: lithops.backend").mode
            if mode not in (None, implied):
                raise ConfigError(
                    f"{origin}: lithops.mode: found '{mode}', but the backend '{backend}' is of the mode "
                    f"'{implied}'; leave one of the two out"
                )
            return str(backend)
        if mode is not None:
            return _backend_of_mode(mode, source, configured.get("backend"), f"{origin}: lithops.mode")
    return "localhost"


def _backend_of_mode(mode: str, source: _Source, preferred: str | None, place: str) -> str:
    """The preferred backend if it is of this mode, else the one that has a section; localhost needs none."""
    if preferred is not None and compute_registry.config_class(preferred).mode == mode:
        return preferred
    if mode == "localhost":
        return "localhost"
    names = compute_registry.backend_names()
    of_mode = [name for name in names if compute_registry.config_class(name).mode == mode]
    configured = [name for name in of_mode if name in source.sections]
    if len(configured) == 1:
        return configured[0]
    if not of_mode:
        why = f"no installed backend is of that mode; there are: {', '.join(names)}"
    elif not configured:
        why = f"none of its backends has a section; there are: {', '.join(of_mode)}"
    else:
        why = f"several of its backends have a section; name one as the backend: {', '.join(configured)}"
    raise ConfigError(f"{place}: found '{mode}', but {why}")


def _choose_storage(
    source: _Source,
    configured: Mapping[str, Any],
    given: Mapping[str, Any],
    compute_class: type[Any],
    compute_name: str,
) -> str:
    """The storage that is named, else the cloud's own, else this machine's, which no cloud's functions can reach."""
    name = _name_of_storage(source, configured, given)
    own: str | None = getattr(compute_class, "own_storage", None)
    if name == "localhost" and own is not None:
        raise ConfigError(
            f"{source.origin}: lithops.storage: found 'localhost', but functions of '{compute_name}' cannot reach this "
            f"machine's disk; leave it out for the cloud's own storage, '{own}', or name another"
        )
    return name or own or "localhost"


def _name_of_storage(source: _Source, configured: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    for values, origin in ((given, _ARGUMENTS), (configured, source.origin)):
        name = values.get("storage")
        if name is not None:
            _config_class(storage_registry, name, f"{origin}: lithops.storage")
            return str(name)
    return None


# ---------------------------------------------------------------- the backends' sections


def _config_class(registry: ModuleType, name: str, place: str) -> Any:
    try:
        return registry.config_class(name)
    except ConfigError as error:
        raise type(error)(f"{place}: {error}") from None


def _read_section(cls: type[Any], source: _Source, section: str, changes: Mapping[str, Any]) -> Any:
    account = {**_read_account(cls, source), **_read_neighbours(cls, source)}
    configured = check_values(cls, source.section(section), section=section, origin=source.origin)
    changed = check_values(cls, changes, section=section, origin=_ARGUMENTS)
    return build(cls, {**account, **configured, **changed}, section=section, origin=source.origin)


def _read_account(cls: type[Any], source: _Source) -> dict[str, Any]:
    """The values of the provider's section, for a backend of a provider that has one."""
    section = getattr(cls, "account_section", None)
    if section is None:
        return {}
    account = next(base for base in reversed(cls.__mro__) if hasattr(base, "account_section"))
    values = source.section(section)
    warn_of_unknown_keys(values, known=field_names(account), section=section, origin=source.origin)
    return check_values(account, values, section=section, origin=source.origin)


def _read_neighbours(cls: type[Any], source: _Source) -> dict[str, Any]:
    """Keys that a backend shares with others, from their sections: they need not be written twice."""
    shared: Mapping[str, Sequence[str]] = getattr(cls, "shared_keys", {})
    values: dict[str, Any] = {}
    for section, keys in shared.items():
        given = source.section(section)
        part = {key: given[key] for key in keys if key in given}
        values.update(check_values(cls, part, section=section, origin=source.origin))
    return values


def _known_part(
    source: _Source, section: str, changes: Mapping[str, Any], classes: Sequence[type]
) -> dict[str, Any]:
    """The section without the keys that nothing knows; there is a warning for each of these."""
    configured = source.section(section)
    known = {name for cls in classes for name in field_names(cls)}
    if not known.issuperset([*configured, *changes]):
        known.update(_keys_of_namesakes(section))
    warn_of_unknown_keys(configured, known=known, section=section, origin=source.origin)
    warn_of_unknown_keys(changes, known=known, section=section, origin=_ARGUMENTS)
    return {key: value for key, value in configured.items() if key in known}


def _keys_of_namesakes(section: str) -> set[str]:
    """The keys of every backend of that name: a compute and a storage backend may share a section."""
    registries = (compute_registry, storage_registry)
    namesakes = [registry for registry in registries if section in registry.backend_names()]
    classes = [registry.config_class(section) for registry in namesakes]
    return {name for cls in classes for name in field_names(cls)}
