"""Checks a section of the configuration against the frozen dataclass that describes it.

The types are read from the annotations: `bool`, `int`, `float`, `str`, `Any`, `Literal`, `list[...]`,
`dict[..., ...]`, unions of these, and `Annotated` with what `lithops.settings` has. A value is never
converted from one type to another: ``"4"`` is not a number, and ``true`` is not 1.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import reprlib
import types
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lithops.exceptions import ConfigError
from lithops.settings import OneOf, is_secret

MASK = "***"
"""What stands for a secret wherever the configuration is shown."""

_logger = logging.getLogger("lithops.config")

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "nothing",
    Any: "anything",
}

T = TypeVar("T")


def check_section(cls: type[T], values: Mapping[Any, Any], *, section: str, origin: str) -> T:
    """The section as an instance of `cls`.

    `origin` is where the values come from, a file's name for example: messages begin with it. Raises
    `ConfigError` for a value of the wrong type or out of range, and for a required key that is missing. A key
    that `cls` does not have is a warning of the `lithops.config` logger.
    """
    warn_of_unknown_keys(values, known=field_names(cls), section=section, origin=origin)
    return build(
        cls, check_values(cls, values, section=section, origin=origin), section=section, origin=origin
    )


def check_values(cls: type, values: Mapping[Any, Any], *, section: str, origin: str) -> dict[str, Any]:
    """Those of the values that `cls` has a field for, once each is found to be allowed."""
    checked = {}
    for name, hint in _fields(cls).items():
        if name not in values:
            continue
        try:
            checked[name] = _fit(values[name], hint)
        except _Unfit:
            raise ConfigError(_complaint(values[name], hint, f"{origin}: {section}.{name}")) from None
    return checked


def build(cls: type[T], checked: Mapping[str, Any], *, section: str, origin: str) -> T:
    """An instance of `cls` from values that `check_values` has passed; defaults fill the rest."""
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in checked:
            allowed = _describe(_fields(cls)[field.name])
            raise ConfigError(f"{origin}: {section}.{field.name}: found nothing; needed is {allowed}")
    return cls(**checked)


def warn_of_unknown_keys(
    values: Mapping[Any, Any], *, known: Collection[str], section: str, origin: str
) -> None:
    """One warning for each key that is not known; it names the nearest that is."""
    for key in values:
        if key in known:
            continue
        near = _nearest(str(key), known)
        advice = f"did you mean '{near}'?" if near else f"known are {', '.join(sorted(known))}"
        _logger.warning("%s: %s.%s: unknown key, left out; %s", origin, section, key, advice)


def field_names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def masked(config: Any) -> dict[str, Any]:
    """The fields of a configuration class' instance by name, its secrets as `MASK`."""
    hints = _fields(type(config))
    values = dataclasses.asdict(config)
    return {name: MASK if value and is_secret(hints[name]) else value for name, value in values.items()}


def _fields(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in field_names(cls)}


def _nearest(name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), "")


# ---------------------------------------------------------------- does a value fit its type?


class _Unfit(Exception):
    """The value is not of the type, or a constraint forbids it."""


def _fit(value: Any, hint: Any) -> Any:
    """The value, lists and dicts copied; raises `_Unfit`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _fit_constrained(value, hint)
    if origin in (Union, types.UnionType):
        return _fit_any_of(value, get_args(hint))
    if origin is Literal:
        return _only_if(
            any(value == choice and type(value) is type(choice) for choice in get_args(hint)), value
        )
    if origin is list:
        (item,) = get_args(hint)
        return [_fit(element, item) for element in _only_if(isinstance(value, list | tuple), value)]
    if origin is dict:
        key_hint, value_hint = get_args(hint)
        pairs = _only_if(isinstance(value, Mapping), value).items()
        return {_fit(key, key_hint): _fit(element, value_hint) for key, element in pairs}
    return _fit_plain(value, hint)


def _fit_plain(value: Any, hint: Any) -> Any:
    if hint is Any:
        return value
    if hint not in _NAMES:
        raise TypeError(f"a configuration class cannot have a field of type {hint}")
    if hint is float:
        return _only_if(type(value) is int or (isinstance(value, float) and math.isfinite(value)), value)
    return _only_if(isinstance(value, hint) and (hint is bool or not isinstance(value, bool)), value)


def _fit_constrained(value: Any, hint: Any) -> Any:
    base, *constraints = get_args(hint)
    fitted = _fit(value, base)
    return _only_if(fitted is None or all(constraint.allows(fitted) for constraint in constraints), fitted)


def _fit_any_of(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        with suppress(_Unfit):
            return _fit(value, hint)
    raise _Unfit


def _only_if(fits: bool, value: Any) -> Any:
    if not fits:
        raise _Unfit
    return value


# ---------------------------------------------------------------- what is said of one that does not


def _complaint(value: Any, hint: Any, place: str) -> str:
    found = _kind(value) if is_secret(hint) else f"{_kind(value)} {_shown(value)}".rstrip()
    hidden = f" {MASK}" if is_secret(hint) and value is not None else ""
    advice = "; write it without quotes" if isinstance(value, str) and _fits_unquoted(value, hint) else ""
    return f"{place}: found {found}{hidden}; allowed is {_describe(hint)}{advice}"


def _describe(hint: Any) -> str:
    """A type as a user reads it: ``a whole number, from 1 to 900``."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *constraints = get_args(hint)
        words = [] if any(isinstance(each, OneOf) for each in constraints) else [_describe(base)]
        return ", ".join(words + [str(each) for each in constraints])
    if origin in (Union, types.UnionType):
        return ", or ".join(_describe(each) for each in get_args(hint))
    if origin is Literal:
        return " or ".join(_shown(choice) for choice in get_args(hint))
    if origin is list:
        return f"a list of {_describe(get_args(hint)[0])}"
    if origin is dict:
        key, value = get_args(hint)
        return f"a mapping of {_describe(key)} to {_describe(value)}"
    return _NAMES[hint]


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "the truth value"
    if isinstance(value, int | float):
        return "the number"
    if isinstance(value, str):
        return "the text"
    if isinstance(value, list | tuple):
        return "the list"
    if isinstance(value, Mapping):
        return "the mapping"
    return f"a value of type {type(value).__name__}:"


def _shown(value: Any) -> str:
    """The value as YAML has it, cut to one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 200:
        return f"of {value.bit_length()} bits"
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    return short.repr(value)


def _fits_unquoted(text: str, hint: Any) -> bool:
    """Whether the text is a number, or true or false, that would be allowed if it were not quoted."""
    for read in (int, float, {"true": True, "false": False}.__getitem__):
        with suppress(ValueError, KeyError, _Unfit):
            _fit(read(text.lower()), hint)
            return True
    return False
