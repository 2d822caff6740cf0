"""Functions and arguments as bytes that a worker can read, and the modules that they will need there."""

from __future__ import annotations

import functools
import io
import pickle
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import cloudpickle

from lithops.exceptions import NotSerializable
from lithops.prepare.culprit import explain
from lithops.prepare.imports import imported_modules
from lithops.wire import pickles
from lithops.wire.arguments import Arguments
from lithops.wire.pickles import Buffer
from lithops.worker.definitions import define, fill, memoize, namespace

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
_PLAIN_ITEMS = 50
"""Containers with more items than this are not worth looking into: the full pickler is as fast for them."""


def serialize_function(function: Callable[..., Any], *, modules_seen: set[str] | None = None) -> bytes:
    """The pickle of `function`.

    What `__main__` or another module without a file defines goes by value, the rest by reference. The names
    of the modules that the function refers to or imports are added to `modules_seen`. Functions with the same
    attribute `namespace`, a text, share their globals on each worker. Raises `NotSerializable` with the way to what
    cannot be pickled.
    """
    seen = set() if modules_seen is None else modules_seen
    try:
        return _dumps(function, modules_seen=seen, namespace_name=getattr(function, "namespace", None))
    except MemoryError:
        raise
    except Exception as error:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        raise NotSerializable(
            f"function '{name}' cannot be sent to a worker: it {explain(function, _failure, error)}. "
            "Create it inside the function, or pass what is needed to create it"
        ) from error


class ArgumentSerializer:
    """Pickles the arguments of a job's calls.

    `modules_seen` gathers the names of the modules whose classes and functions are met. Classes that go by
    value are pickled once for all calls.
    """

    def __init__(self, *, modules_seen: set[str] | None = None) -> None:
        self.modules_seen: set[str] = set() if modules_seen is None else modules_seen
        self._definitions: _Definitions = {}

    def dumps(self, arguments: Arguments, position: int | None = None) -> list[Buffer]:
        """The segments of the arguments' pickle; large buffers share memory with the arguments.

        Raises `NotSerializable` with the element's `position` and the way to what cannot be pickled.
        """
        args, kwargs = arguments
        # Plain pickle would refer to what `__main__` defines, so only exact builtin types may go this way.
        for value in args:
            if type(value) not in _ATOMS and not _is_plain(value, levels=2):
                return self._dump_any(arguments, position)
        for value in kwargs.values():
            if type(value) not in _ATOMS and not _is_plain(value, levels=2):
                return self._dump_any(arguments, position)
        return [pickle.dumps(arguments, 5)]

    def _dump_any(self, arguments: Arguments, position: int | None) -> list[Buffer]:
        dumps = functools.partial(_dumps, modules_seen=self.modules_seen, definitions=self._definitions)
        try:
            return pickles.dump(arguments, dumps)
        except MemoryError:
            raise
        except Exception as error:
            place = "the data" if position is None else f"element {position} of the input data"
            raise NotSerializable(
                f"{place} cannot be sent to a worker: {_explain_arguments(arguments, error)}. "
                "Create it inside the function, or pass what is needed to create it"
            ) from error


def _is_plain(value: Any, levels: int) -> bool:
    """Whether `value` is made of exact builtin types alone, as far as it is worth finding out."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if not levels or kind not in (tuple, list, dict) or len(value) > _PLAIN_ITEMS:
        return False
    if kind is dict and not all(type(key) in _ATOMS for key in value):
        return False
    parts: Iterable[Any] = value.values() if kind is dict else value
    return all(_is_plain(part, levels - 1) for part in parts)


def _explain_arguments(arguments: Arguments, error: Exception) -> str:
    args, kwargs = arguments
    named = {f"argument {i}": value for i, value in enumerate(args)}
    named.update((f"argument '{name}'", value) for name, value in kwargs.items())
    for name, value in named.items():
        cause = _failure(value)
        if cause is not None:
            return f"{name if len(named) > 1 else 'it'} {explain(value, _failure, cause)}"
    return f"its arguments can be pickled one by one, but not together ({error})"


def _failure(value: Any) -> Exception | None:
    """What pickling `value` raises."""
    try:
        _dumps(value, modules_seen=set(), buffer_callback=lambda _: None)
    except Exception as error:  # noqa: BLE001 - a user's own reduction may raise anything
        return error
    return None


_Definitions = dict[int, tuple[type, bytes]]
"""The classes that go by value and their pickles, by identity: a class may be made unhashable."""

_registry_lock = threading.Lock()
_registry_users: Counter[str] = Counter()
"""How many pickles in the making need each module registered: they are made in many threads at once."""


def _dumps(
    value: Any,
    *,
    modules_seen: set[str],
    definitions: _Definitions | None = None,
    namespace_name: str | None = None,
    protocol: int = 5,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> bytes:
    with io.BytesIO() as file, _ByValue() as by_value:
        pickler = _Pickler(file, protocol, buffer_callback, modules_seen, by_value, definitions)
        pickler.namespace_name = namespace_name
        pickler.dump(value)
        return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle has no types
    """cloudpickle, with note taken of the modules that are met on the way."""

    def __init__(
        self,
        file: io.BytesIO,
        protocol: int,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None,
        modules_seen: set[str],
        by_value: _ByValue,
        definitions: _Definitions | None,
    ) -> None:
        super().__init__(file, protocol=protocol, buffer_callback=buffer_callback)
        self._modules_seen = modules_seen
        self._by_value = by_value
        self._definitions = definitions
        self.namespace_name: str | None = None
        """Where functions that go by value find their globals; None: each pickle has globals of its own."""

    def reducer_override(self, value: Any) -> Any:
        is_module = isinstance(value, types.ModuleType)
        name = value.__name__ if is_module else getattr(value, "__module__", None)
        if type(name) is str:
            self._by_value.meet(name)
            self._modules_seen.add(name)
        if isinstance(value, type):
            return self._reduce_class(value)
        if isinstance(value, functools._lru_cache_wrapper) and not self._by_value.is_importable(value):
            return memoize, (value.__wrapped__, *value.cache_parameters().values())
        reduced = super().reducer_override(value)
        if reduced is not NotImplemented and isinstance(value, types.FunctionType):
            package = value.__globals__.get("__package__")
            self._modules_seen |= imported_modules(value.__code__, package)
            if isinstance(self.namespace_name, str):
                return _in_namespace(reduced, f"{self.namespace_name}:{value.__module__}")
        return reduced

    def _reduce_class(self, value: type) -> Any:
        if (
            "ctypes" in sys.modules
            and type(value).__module__ == "_ctypes"
            and not self._by_value.is_importable(value)
        ):
            from lithops.wire.structures import STRUCTURES, ByParts

            if isinstance(value, STRUCTURES):
                return ByParts(value).__reduce__()
        if self._definitions is None or self._by_value.is_importable(value):
            return super().reducer_override(value)
        if id(value) not in self._definitions:
            # Without definitions of its own: classes may refer to each other in circles.
            self._definitions[id(value)] = value, _dumps(value, modules_seen=self._modules_seen)
        return define, (self._definitions[id(value)][1],)


class _Globals(dict[str, Any]):
    """A function's globals, which are looked up on the worker."""

    def __init__(self, name: str, special: dict[str, Any]) -> None:
        super().__init__(special)
        self._name = name

    def __reduce__(self) -> Any:
        return functools.partial(
            namespace, self._name, **{k: v for k, v in self.items() if isinstance(v, str)}
        ), ()


def _in_namespace(reduced: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """How cloudpickle makes a function, but with globals that it shares with others."""
    make, (code, special, *rest), state, items, pairs, set_state = reduced
    return (
        make, (code, _Globals(name, special), *rest), state, items, pairs, functools.partial(fill, set_state)
    )  # fmt: skip


class _ByValue:
    """While entered, cloudpickle sends by value what is defined in modules that no worker could import."""

    def __init__(self) -> None:
        self._registered: dict[str, types.ModuleType] = {}

    def __enter__(self) -> _ByValue:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._registered:
            return
        with _registry_lock:
            for name, module in self._registered.items():
                _registry_users[name] -= 1
                if not _registry_users[name]:
                    cloudpickle.unregister_pickle_by_value(module)

    def meet(self, name: str) -> None:
        """Register the module, or the package that it is in, if it has no file."""
        top = name.partition(".")[0]
        module = sys.modules.get(top)
        if module is None or top in self._registered or not _lacks_file(module):
            return
        with _registry_lock:
            if not _registry_users[top]:
                if top in cloudpickle.list_registry_pickle_by_value():
                    return
                cloudpickle.register_pickle_by_value(module)
            _registry_users[top] += 1
            self._registered[top] = module

    def is_importable(self, value: Any) -> bool:
        """Whether a worker can find the class or function by its name."""
        module_name, name = value.__module__, getattr(value, "__qualname__", None)
        if module_name == "__main__" or module_name not in sys.modules or name is None:
            return False
        registered = cloudpickle.list_registry_pickle_by_value()
        if registered and not registered.isdisjoint(_with_parents(module_name)):
            return False
        found: Any = sys.modules[module_name]
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is value


def _lacks_file(module: types.ModuleType) -> bool:
    if module.__name__ == "__mp_main__":
        return True
    return (
        module.__name__ != "__main__"
        and getattr(module, "__spec__", None) is None
        and getattr(module, "__file__", None) is None
    )


def _with_parents(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))
