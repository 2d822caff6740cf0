"""How one element of input data becomes a function's arguments: the same rules on the client and on the worker."""

from __future__ import annotations

from typing import Any

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def spread(element: Any, extra: Any = None) -> Arguments:
    """A tuple spreads over the parameters in order, a dict goes by name, anything else is one argument.

    `extra` is appended to a tuple or a value, or merged into a dict.
    """
    if isinstance(element, dict):
        merged = {**element, **extra} if extra else dict(element)
        return (), merged
    args = element if isinstance(element, tuple) else (element,)
    if isinstance(extra, dict):
        return args, dict(extra)
    return (args + tuple(extra), {}) if extra else (args, {})


def place(arguments: Arguments, names: tuple[str, ...]) -> Arguments:
    """The positional arguments as the parameters of these names: those that the worker fills in lie between them."""
    args, kwargs = arguments
    if len(args) > len(names):
        raise TypeError(f"{len(args)} values for the parameters {', '.join(names)}")
    return (), {**dict(zip(names, args, strict=False)), **kwargs}
