"""The public names: all exported, typed and documented, with the signatures of the contract."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lithops
from lithops import FunctionExecutor, RetryingFunctionExecutor
from lithops.future import ResponseFuture
from lithops.retries import RetryingFuture
from lithops.utils import FuturesList

EXECUTORS = ["FunctionExecutor", "LocalhostExecutor", "ServerlessExecutor", "StandaloneExecutor"]
CLASSES: list[type[Any]] = [
    *(getattr(lithops, name) for name in [*EXECUTORS, "RetryingFunctionExecutor", "Storage"]),
    *(ResponseFuture, RetryingFuture, FuturesList),
]
FUNCTIONS = [importlib.import_module("lithops.wait").wait, lithops.get_result, lithops.as_completed]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(lithops.__path__, "lithops.")
    if not module.name.startswith("lithops.testing")
]

SETTINGS = "config=None, config_file=None"
COMMON = "extra_env=None, runtime_memory=None"
CHUNKS = "obj_chunk_size=None, obj_chunk_number=None, obj_newline='\\n'"
MODULE_LISTS = "include_modules=[], exclude_modules=[]"
WAITING = "timeout=None, threadpool_size=64, wait_dur_sec=None, show_progressbar=True"
# What a program of 3.x may rely on: names, order and defaults. Keyword-only arguments may be added after it.
SIGNATURES = {
    "FunctionExecutor": f"mode=None, {SETTINGS}, backend=None, storage=None, monitoring=None, log_level=False",
    "LocalhostExecutor": f"{SETTINGS}, storage=None, monitoring=None, log_level=False",
    "ServerlessExecutor": f"{SETTINGS}, backend=None, storage=None, monitoring=None, log_level=False",
    "StandaloneExecutor": f"{SETTINGS}, backend=None, storage=None, monitoring=None, log_level=False",
    "FunctionExecutor.call_async": f"func, data, {COMMON}, timeout=None, {MODULE_LISTS}",
    "FunctionExecutor.map": "map_function, map_iterdata, chunksize=None, extra_args=None, "
    f"{COMMON}, {CHUNKS}, timeout=None, {MODULE_LISTS}",
    "FunctionExecutor.map_reduce": "map_function, map_iterdata, reduce_function, chunksize=None, "
    "extra_args=None, extra_args_reduce=None, extra_env=None, map_runtime_memory=None, "
    f"reduce_runtime_memory=None, timeout=None, {CHUNKS}, "
    f"obj_reduce_by_key=False, spawn_reducer=20, {MODULE_LISTS}",
    "FunctionExecutor.wait": f"fs=None, throw_except=True, return_when=100, download_results=False, {WAITING}",
    "FunctionExecutor.get_result": f"fs=None, throw_except=True, {WAITING}",
    "FunctionExecutor.plot": "fs=None, dst=None, figsize=(10, 6)",
    "FunctionExecutor.clean": "fs=None, cs=None, clean_cloudobjects=True, clean_fn=False, force=False, "
    "on_exit=False",
    "FunctionExecutor.job_summary": "cloud_objects_n=0",
    "wait.wait": f"fs, throw_except=True, return_when=100, download_results=False, {WAITING}",
    "wait.get_result": f"fs, throw_except=True, {WAITING}",
    "future.ResponseFuture.status": "throw_except=True, internal_storage=None, check_only=False, "
    "wait_dur_sec=1",
    "future.ResponseFuture.result": "throw_except=True, internal_storage=None, retries=10, wait_dur_sec=1",
    "Storage": "config=None, backend=None, storage_config=None",
    "Storage.get_object": "bucket, key, stream=False, extra_get_args={}",
    "Storage.list_objects": "bucket, prefix=None, match_pattern=None",
}


def find(path: str) -> Any:
    found: Any = lithops
    for name in path.split("."):
        found = getattr(found, name) if hasattr(found, name) else importlib.import_module(f"lithops.{name}")
    return found


def public_methods(kind: type[Any]) -> list[tuple[str, Any]]:
    """What the class itself, or one of this library that it is made of, offers beyond a plain object."""
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("lithops"):
            members.update(vars(base))
    found = []
    for name, member in members.items():
        if name.startswith("_"):
            continue
        function = member.fget if isinstance(member, property) else member
        if inspect.isroutine(function):
            plain = inspect.unwrap(getattr(function, "__func__", function))
            found.append((f"{kind.__qualname__}.{name}", plain))
    return found


def test_exported_names_are_all() -> None:
    assert set(lithops.__all__) <= set(dir(lithops))
    assert len(lithops.__all__) == len(set(lithops.__all__))
    for name in lithops.__all__:
        assert getattr(lithops, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(lithops.__file__).read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == set(lithops.__all__) - {"__version__"}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_is_there(name: str) -> None:
    if name.startswith("lithops.worker.formats.zarr"):
        pytest.importorskip("zarr", reason="zarr 3 needs Python 3.11")
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.{exported}"


@pytest.mark.parametrize("path", SIGNATURES)
def test_signature_is_the_contract_s(path: str) -> None:
    parameters = inspect.signature(find(path)).parameters.values()
    shown = []
    for parameter in parameters:
        if parameter.name == "self" or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            continue
        default = parameter.default
        if default is parameter.empty:
            shown.append(parameter.name)
        else:
            # An empty mapping is shown as one, of whatever kind it is.
            plain = dict(default) if isinstance(default, Mapping) else default
            shown.append(f"{parameter.name}={plain!r}")
    given = ", ".join(shown)
    assert given == SIGNATURES[path] or given.startswith(SIGNATURES[path] + ", ")


@pytest.mark.parametrize("name", EXECUTORS)
def test_executors_take_keys_of_the_backend(name: str) -> None:
    parameters = inspect.signature(getattr(lithops, name)).parameters.values()
    assert any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def test_verbs_share_their_options() -> None:
    for verb in (FunctionExecutor.call_async, FunctionExecutor.map, FunctionExecutor.map_reduce):
        keywords = {
            parameter.name: parameter.default
            for parameter in inspect.signature(verb).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        assert {"retries": None, "retry_on": None, "backoff": 0.0}.items() <= keywords.items()
    assert "retries" in inspect.signature(RetryingFunctionExecutor.map).parameters


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_public_class_is_typed_and_documented(kind: type[Any]) -> None:
    assert inspect.getdoc(kind)
    methods = public_methods(kind)
    assert methods
    for name, method in [*methods, (f"{kind.__qualname__}.__init__", kind.__init__)]:
        check_types(name, method)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_public_function_is_typed_and_documented(function: Any) -> None:
    assert inspect.getdoc(function)
    check_types(function.__name__, function)


def check_types(name: str, function: Any) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty, f"{name} does not say what it returns"
    for parameter in signature.parameters.values():
        if parameter.name not in ("self", "cls"):
            assert parameter.annotation is not parameter.empty, f"{name}: {parameter.name} has no type"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_public_method_is_documented(kind: type[Any]) -> None:
    plain = {
        "executor_id",
        "job_id",
        "job_key",
        "function_name",
        "success",
        "error",
        "cancelled",
        "done",
        "stats",
    }
    undocumented = {
        name
        for name, method in public_methods(kind)
        if not method.__doc__ and name.rpartition(".")[2] not in plain
    }
    assert not undocumented
