"""From an element of input data to a function's arguments, checked before anything is sent.

What can be decided from the function alone is decided once, when the `Binder` is made: binding an element
then costs less than a microsecond.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any

from lithops.exceptions import InvalidCall
from lithops.wire.arguments import Arguments

RESERVED = ("id", "storage", "obj", "rabbitmq", "ibm_cos")
"""The parameter names that the worker fills in. A value that the user gives for one of them wins."""

_SINGLE = (str, bytes, bytearray, memoryview, dict, tuple)
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def elements(map_iterdata: Any) -> Iterable[Any]:
    """The elements that `map` makes calls of, in order; a generator stays one.

    A str, bytes, dict or tuple is one single element. Any other iterable is a sequence of elements: a list,
    a range, a generator, the rows of an array, the values of a series, a view of a dict.
    """
    if isinstance(map_iterdata, _SINGLE):
        return [map_iterdata]
    try:
        iter(map_iterdata)
    except TypeError:
        given = f"{_short.repr(map_iterdata)} ({type(map_iterdata).__name__})"
        raise InvalidCall(
            f"the input data is {given}, which cannot be iterated over: "
            "pass a list with one element for each call, or use call_async for one call"
        ) from None
    data: Iterable[Any] = map_iterdata
    return data


class Binder:
    """Turns elements into the arguments of `function`.

    - A tuple spreads over the parameters in order, a dict goes by name, anything else is one argument.
    - `extra_args`: a tuple or list is appended to a tuple or a value, a dict is merged in by name.
    - `reserved` parameters are left to the worker, unless a dict names them.
    - A function whose signature cannot be known is not checked: everything passes through.

    Raises `InvalidCall` when `function` cannot be called.
    """

    function: Callable[..., Any]
    function_name: str
    reserved: tuple[str, ...]
    """The reserved parameters that the function declares and the worker fills in."""
    declares_obj: bool
    """Whether elements name data to be partitioned: `bind` then gives it as the keyword argument `obj`."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        extra_args: tuple[Any, ...] | list[Any] | dict[str, Any] | None = None,
    ) -> None:
        _check_callable(function)
        _check_extra(extra_args)
        self.function = function
        self.function_name = _name(function)
        signature, self.reserved = _effective_signature(function)
        self.declares_obj = "obj" in self.reserved
        self._signature = signature
        self._extra_named: dict[str, Any] = dict(extra_args) if isinstance(extra_args, dict) else {}
        self._extra_positional = () if isinstance(extra_args, dict) else tuple(extra_args or ())

        parameters = list(signature.parameters.values()) if signature else []
        withheld = frozenset(self.reserved) - {"obj"}
        data = [each for each in parameters if each.name not in withheld]
        ordered = [each for each in data if each.kind in _BY_POSITION]
        self._names = tuple(each.name for each in ordered)
        self._positional_only = tuple(each.name for each in data if each.kind is Parameter.POSITIONAL_ONLY)
        self._defaults = {each.name: each.default for each in data if each.default is not Parameter.empty}
        self._named = frozenset(each.name for each in parameters if each.kind in _BY_NAME)
        self._required = frozenset(
            each.name
            for each in data
            if each.kind in (*_BY_POSITION, Parameter.KEYWORD_ONLY) and each.default is Parameter.empty
        )
        self._variadic = _name_of_kind(parameters, Parameter.VAR_POSITIONAL)
        self._variadic_named = _name_of_kind(parameters, Parameter.VAR_KEYWORD)
        self._any_name = signature is None or self._variadic_named is not None

        # The worker passes reserved parameters by name, so what follows one of them must go by name as well.
        first_reserved = _index_of_first(parameters, self.reserved)
        before = sum(each.name in self._names for each in parameters[:first_reserved])
        self._split = sys.maxsize if before == len(self._names) and not self._overflows_reserved() else before
        unlimited = signature is None or (self._variadic is not None and self._split == sys.maxsize)
        self._most = sys.maxsize if unlimited else len(self._names)

        # How many positional arguments need no further thought.
        self._simple_least = max(
            (i + 1 for i, name in enumerate(self._names) if name in self._required), default=0
        )
        self._simple_most = min(self._most, self._split)
        if self._extra_named or not self._required.issubset(self._names):
            self._simple_most = -1

    @property
    def placing(self) -> tuple[str, ...]:
        """The parameters that values must go to by name, since reserved ones lie between them; empty if none do."""
        return self._names if self._split < len(self._names) else ()

    def bind(self, element: Any, position: int | None = None) -> Arguments:
        """The positional and keyword arguments of one call; `position` is the element's, for messages.

        Raises `InvalidCall` when the element does not fit the function's parameters.
        """
        kind = type(element)
        if kind is tuple:
            args = element
        elif isinstance(element, dict):
            return self._bind_named(element, position)
        else:
            args = tuple(element) if isinstance(element, tuple) else (element,)
        if self._extra_positional:
            args += self._extra_positional
        if self._simple_least <= len(args) <= self._simple_most:
            return args, {}
        return self._bind_positional(args, position)

    def _bind_positional(self, args: tuple[Any, ...], position: int | None) -> Arguments:
        if len(args) > self._most:
            raise self._too_many(args, position)
        named = dict(self._extra_named)
        filled = self._names[: len(args)]
        twice = [name for name in filled if name in named]
        unknown = self._unknown(named)
        if twice or unknown or self._required.difference(filled, named):
            raise self._misnamed(position, [*filled, *named], twice, unknown)
        if len(args) > self._split:
            named.update(zip(filled[self._split :], args[self._split :], strict=True))
            args = args[: self._split]
        return args, named

    def _bind_named(self, element: Mapping[Any, Any], position: int | None) -> Arguments:
        if self._extra_positional:
            raise InvalidCall(
                f"{_place(position)} is a dict, so extra_args must be a dict as well: "
                f"name the arguments in {_short.repr(self._extra_positional)}"
            )
        named = {**element, **self._extra_named}
        keys = named.keys()
        if self._required <= keys and keys <= self._named:
            return (), named
        spread, twice = self._take_variadic(named)
        unknown = self._unknown(named, also=self._positional_only)
        if twice or unknown or self._required - named.keys():
            raise self._misnamed(position, list(named), twice, unknown)
        return self._place(named, spread, position)

    def _take_variadic(self, named: dict[Any, Any]) -> tuple[tuple[Any, ...], list[str]]:
        """Take out of `named` what goes by the function's own variadic names, such as `args` and `kwargs`."""
        spread: tuple[Any, ...] = ()
        twice: list[str] = []
        if self._variadic is not None and isinstance(named.get(self._variadic), (tuple, list)):
            spread = tuple(named.pop(self._variadic))
        if self._variadic_named is not None and isinstance(named.get(self._variadic_named), dict):
            inner = named.pop(self._variadic_named)
            twice = [name for name in inner if name in named]
            named.update(inner)
        return spread, twice

    def _place(self, named: dict[str, Any], spread: tuple[Any, ...], position: int | None) -> Arguments:
        """Move to their positions the arguments that cannot go by name."""
        if spread:
            count = len(self._names)
        else:
            given = [i for i, name in enumerate(self._positional_only) if name in named]
            count = given[-1] + 1 if given else 0
        args = (
            tuple(named.pop(name) if name in named else self._defaults[name] for name in self._names[:count])
            + spread
        )
        if len(args) > self._most:
            raise self._too_many(args, position)
        return args, named

    def _unknown(self, named: Iterable[Any], also: Iterable[str] = ()) -> list[Any]:
        if self._any_name:
            return [name for name in named if not isinstance(name, str)]
        return [name for name in named if name not in self._named and name not in also]

    def _overflows_reserved(self) -> bool:
        """Whether `*args` comes after a reserved parameter that can also be filled by position."""
        if self._signature is None or self._variadic is None:
            return False
        parameters = self._signature.parameters
        return any(
            name in parameters and parameters[name].kind is Parameter.POSITIONAL_OR_KEYWORD
            for name in self.reserved
        )

    def _call_text(self) -> str:
        text = f"{self.function_name}{self._signature or '(...)'}"
        return text if len(text) <= 300 else f"{text[:297]}..."

    def _too_many(self, args: tuple[Any, ...], position: int | None) -> InvalidCall:
        filled_in = ", ".join(self.reserved)
        note = (
            f"; the worker fills in {filled_in}: to give a value of your own, name it in a dict"
            if filled_in
            else ""
        )
        if self._variadic is not None:
            note += f", or declare it after *{self._variadic}"
        return InvalidCall(
            f"{_place(position)} does not fit {self._call_text()}: it takes {_count(self._most, 'argument')} "
            f"by position from the data, {len(args)} {'was' if len(args) == 1 else 'were'} given: "
            f"{_short.repr(args)}{note}. To pass a tuple whole, wrap it in a tuple of one"
        )

    def _misnamed(
        self, position: int | None, given: list[Any], twice: list[str], unknown: list[Any]
    ) -> InvalidCall:
        allowed = [*self._names, *sorted(self._named.difference(self._names, self.reserved))]
        missing = [name for name in allowed if name in self._required and name not in given]
        problems = {"missing": missing, "unknown": unknown, "given twice": twice}
        said = "; ".join(f"{what}: {_listed(names)}" for what, names in problems.items() if names)
        return InvalidCall(
            f"{_place(position)} does not fit {self._call_text()}. It takes: {_listed(allowed)}; "
            f"given: {_listed(given)}; {said}. To pass a dict or a tuple whole, wrap it in a tuple of one"
        )


def _check_callable(function: Any) -> None:
    if callable(function):
        return
    kind = type(function)
    said = f"{_short.repr(function)} ({kind.__name__}) cannot be called"
    if kind.__module__ != "builtins":
        said += f": class '{kind.__name__}' has no __call__ method"
    raise InvalidCall(f"{said}. Pass the function itself, a method, a class, or an object that has __call__")


def _check_extra(extra_args: Any) -> None:
    if extra_args is not None and not isinstance(extra_args, (tuple, list, dict)):
        raise InvalidCall(
            f"extra_args is {_short.repr(extra_args)} ({type(extra_args).__name__}): "
            "pass a tuple for arguments by position, or a dict for arguments by name"
        )


def _effective_signature(function: Callable[..., Any]) -> tuple[Signature | None, tuple[str, ...]]:
    """The signature to bind to, and the reserved parameters.

    A wrapper's own signature counts, for it may take other arguments than what it wraps. What it wraps says
    which reserved parameters pass through its `**kwargs`, and, if these come first, where the others stand.
    """
    own = _signature(function, follow_wrapped=False)
    if own is None:
        return None, ()
    wrapped = _signature(function, follow_wrapped=True) or own
    passes_names = any(each.kind is Parameter.VAR_KEYWORD for each in own.parameters.values())
    prebound = function.keywords if isinstance(function, functools.partial) else {}
    declared = _names_of_kinds(own) | (_names_of_kinds(wrapped) if passes_names else set())
    reserved = tuple(name for name in RESERVED if name in declared and name not in prebound)
    behind_wrapper = [name for name in reserved if name not in own.parameters]
    if behind_wrapper and _needs_placing(wrapped, behind_wrapper):
        return wrapped, reserved
    return own, reserved


def _needs_placing(signature: Signature, reserved: Iterable[str]) -> bool:
    parameters = list(signature.parameters.values())
    after = parameters[_index_of_first(parameters, reserved) :]
    return "obj" in reserved or any(each.kind in _BY_POSITION and each.name not in reserved for each in after)


def _signature(function: Callable[..., Any], *, follow_wrapped: bool) -> Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=follow_wrapped)
    except (TypeError, ValueError):
        # Builtins and compiled functions may have none, and what poses as one may not be one.
        return None


def _names_of_kinds(signature: Signature) -> set[str]:
    return {each.name for each in signature.parameters.values() if each.kind in _BY_NAME}


def _name_of_kind(parameters: Iterable[Parameter], kind: Any) -> str | None:
    return next((each.name for each in parameters if each.kind is kind), None)


def _index_of_first(parameters: list[Parameter], names: Iterable[str]) -> int:
    wanted = frozenset(names)
    return next((i for i, each in enumerate(parameters) if each.name in wanted), len(parameters))


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def _place(position: int | None) -> str:
    return "the data" if position is None else f"element {position} of the input data"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names)) or "nothing"


_short = reprlib.Repr()
_short.maxother = _short.maxstring = 80
