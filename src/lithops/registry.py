"""Backends by name: where their classes are, loaded when one is used.

A row costs nothing until its backend is asked for. Names that have no row are looked for among the entry
points of installed packages. Such an entry point's value is the backend's class, which has the class of its
configuration as the attribute `config_class`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lithops.exceptions import BackendNotInstalled, ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Row:
    """Where a built-in backend is."""

    config: str
    """Import path of the configuration's class, ``module:Class``. It needs no SDK."""
    backend: str
    """Import path of the backend's class. It may need an SDK."""
    extra: str | None = None
    """The extra of this package that installs the SDK; None where there is nothing to install."""


class Registry:
    """The backends of one kind: built in by `rows`, third parties' by the entry points of `group`."""

    def __init__(self, kind: str, group: str, rows: Mapping[str, Row]) -> None:
        self.kind = kind
        self.group = group
        self.rows = rows

    def names(self) -> list[str]:
        """Every backend that can be asked for, built in or installed, in alphabetical order."""
        return sorted({*self.rows, *self._entry_points()})

    def config_class(self, name: str) -> type[Any]:
        """The backend's configuration: a frozen dataclass. Its SDK is not imported for a built-in backend."""
        row = self.rows.get(name)
        return _load(row.config) if row else _config_of(self._third_party(name))

    def backend_class(self, name: str) -> type[Any]:
        """Raises `ConfigError` for an unknown name, `BackendNotInstalled` where its SDK is missing."""
        row = self.rows.get(name)
        if row is None:
            return self._third_party(name)
        try:
            return _load(row.backend)
        except ModuleNotFoundError as error:
            if row.extra is None or (error.name or "lithops").partition(".")[0] == "lithops":
                raise
            raise BackendNotInstalled(
                f"{self.kind} backend '{name}' needs the package '{error.name}', which is not installed; "
                f"run: pip install 'lithops[{row.extra}]'"
            ) from error

    def create(self, name: str, config: Any, **kwargs: Any) -> Any:
        """The backend, made of its configuration and what else its kind is given."""
        return self.backend_class(name)(config, **kwargs)

    def _third_party(self, name: str) -> type[Any]:
        entry_point = self._entry_points().get(name)
        if entry_point is None:
            raise ConfigError(self._unknown(name))
        try:
            loaded: type[Any] = entry_point.load()
        except ImportError as error:
            package = entry_point.dist.name if entry_point.dist else entry_point.value
            raise BackendNotInstalled(
                f"{self.kind} backend '{name}' of the package '{package}' cannot be imported: {error}; "
                f"install what it needs, or ask its author"
            ) from error
        return loaded

    def _entry_points(self) -> dict[str, EntryPoint]:
        # Slow to import, and needed for third parties' backends and for error messages alone.
        from importlib.metadata import entry_points

        return {entry_point.name: entry_point for entry_point in entry_points(group=self.group)}

    def _unknown(self, name: str) -> str:
        import difflib

        names = self.names()
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        return f"there is no {self.kind} backend '{name}'; {hint}known: {', '.join(names)}"


def _load(path: str) -> type[Any]:
    module, _, name = path.partition(":")
    loaded: type[Any] = getattr(import_module(module), name)
    return loaded


def _config_of(backend: type[Any]) -> type[Any]:
    config: type[Any] = backend.config_class
    return config
