"""What a typed configuration class says of its fields beyond their type.

A backend's `config.py` is a frozen dataclass whose fields are annotated with these, for example
``runtime_timeout: Annotated[int, Between(1, 900)] = 180``. `lithops.config` checks them; nothing here does work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints


@dataclass(frozen=True, slots=True)
class Between:
    """The value lies between `low` and `high`, both included; `high=None` means no upper bound."""

    low: float
    high: float | None = None

    def allows(self, value: Any) -> bool:
        return bool(value >= self.low and (self.high is None or value <= self.high))

    def __str__(self) -> str:
        return f"{self.low:g} or more" if self.high is None else f"from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The value is one of these words."""

    choices: tuple[str, ...]

    def allows(self, value: Any) -> bool:
        return value in self.choices

    def __str__(self) -> str:
        return "one of " + ", ".join(self.choices)


@dataclass(frozen=True, slots=True)
class Like:
    """The value has a form that somebody else asks for; `says` is what a user is told of it."""

    says: str
    holds: Callable[[Any], object]

    def allows(self, value: Any) -> bool:
        return bool(self.holds(value))

    def __str__(self) -> str:
        return self.says


@dataclass(frozen=True, slots=True)
class Secret:
    """The value is a credential: it is masked wherever the configuration is shown."""

    def allows(self, value: Any) -> bool:  # noqa: ARG002 - any text may be a secret
        return True

    def __str__(self) -> str:
        return "a secret"


def is_secret(hint: Any) -> bool:
    """Whether a type annotation, or a part of it, is marked as `Secret`."""
    return isinstance(hint, Secret) or any(is_secret(part) for part in get_args(hint))


def secret_names(cls: type) -> tuple[str, ...]:
    """The fields of a configuration class that are secrets."""
    hints = get_type_hints(cls, include_extras=True)
    return tuple(field.name for field in dataclasses.fields(cls) if is_secret(hints[field.name]))
