"""Where names are found, what importing them costs, and that it does nothing else."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

import lithops

SOURCE = Path(lithops.__file__).parent
FOLDERS = [str(SOURCE.parent), str(Path(cloudpickle.__file__).parents[1])]

# Import paths that programs in the wild use. They are the contract.
PATHS = {
    "lithops": [
        *("FunctionExecutor", "LocalhostExecutor", "ServerlessExecutor", "StandaloneExecutor"),
        *("RetryingFunctionExecutor", "Storage", "wait", "get_result", "as_completed", "__version__"),
    ],
    "lithops.executors": [
        "FunctionExecutor",
        "LocalhostExecutor",
        "ServerlessExecutor",
        "StandaloneExecutor",
    ],
    "lithops.future": ["ResponseFuture"],
    "lithops.wait": ["wait", "get_result", "ALWAYS", "ANY_COMPLETED", "ALL_COMPLETED"],
    "lithops.retries": ["RetryingFunctionExecutor", "RetryingFuture"],
    "lithops.storage": ["Storage"],
    "lithops.storage.utils": [
        "CloudObject",
        "CloudObjectUrl",
        "CloudObjectLocal",
        "StorageNoSuchKeyError",
    ],
    "lithops.storage.cloud_proxy": ["os", "open", "CloudStorage", "CloudFileProxy"],
    "lithops.utils": ["FuturesList", "setup_lithops_logger"],
    "lithops.config": ["load_config", "default_config"],
    "lithops.constants": ["LITHOPS_TEMP_DIR"],
    "lithops.version": ["__version__"],
    "lithops.multiprocessing": [
        *(
            "Process",
            "Pool",
            "Queue",
            "SimpleQueue",
            "JoinableQueue",
            "Pipe",
            "Manager",
            "Value",
            "Array",
            "RawValue",
        ),
        *(
            "RawArray",
            "Lock",
            "RLock",
            "Semaphore",
            "BoundedSemaphore",
            "Condition",
            "Event",
            "Barrier",
            "cpu_count",
        ),
        *("current_process", "parent_process", "active_children", "get_context", "set_start_method"),
        *("get_start_method", "get_all_start_methods", "DefaultContext", "TimeoutError", "config"),
    ],
    "lithops.concurrent.futures": [
        *("Executor", "FunctionExecutor", "ProcessPoolExecutor", "ThreadPoolExecutor", "LocalhostExecutor"),
        *("ServerlessExecutor", "StandaloneExecutor", "Future", "wait", "as_completed", "FIRST_COMPLETED"),
        *("FIRST_EXCEPTION", "ALL_COMPLETED", "CancelledError", "TimeoutError", "BrokenExecutor"),
    ],
    "lithops.util.joblib": ["register_lithops"],
}
WORKER_MODULES = {
    *(
        "cloudpickle",
        "lithops",
        "lithops.exceptions",
        "lithops.registry",
        "lithops.settings",
        "lithops.version",
    ),
}
WORKER_FOLDERS = ("cloudpickle.", "lithops.wire", "lithops.worker", "lithops.storage")


def run_bare(program: str) -> str:
    """What a program prints that runs in an interpreter with nothing but the library and cloudpickle."""
    start = f"import sys; before = set(sys.modules); sys.path[:0] = {FOLDERS!r}\n"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", start + program], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def modules_after(statement: str) -> set[str]:
    """The modules that a statement loads in a bare interpreter."""
    program = f"import json\n{statement}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    return set(json.loads(run_bare(program)))


def foreign(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PATHS.items() for name in names]
)
def test_import_path(module: str, name: str) -> None:
    assert getattr(importlib.import_module(module), name) is not None


def test_names_are_one_whatever_the_path() -> None:
    for module, names in PATHS.items():
        if module == "lithops.concurrent.futures":
            continue  # executors of the standard library's shape
        for name in names:
            if name in PATHS["lithops"] and name not in ("wait", "__version__"):
                assert getattr(importlib.import_module(module), name) is getattr(lithops, name)


def test_wait_is_a_function_and_a_module() -> None:
    program = """
import lithops
assert lithops.wait([]) == ([], [])
import lithops.wait
assert lithops.wait([]) == ([], [])
assert lithops.wait.ALL_COMPLETED == 100
from lithops import wait
from lithops.wait import wait as function
assert wait([]) == function([]) == ([], [])
"""
    run_bare(program)


def test_importing_lithops_is_next_to_nothing() -> None:
    loaded = modules_after("import lithops")
    assert foreign(loaded) == {"lithops", "lithops.version"}
    assert not loaded & {"yaml", "tqdm", "cloudpickle", "asyncio", "concurrent", "logging", "threading"}
    assert len(loaded) < 60


def test_an_executor_loads_nothing_that_it_does_not_need() -> None:
    loaded = modules_after("import lithops; lithops.FunctionExecutor")
    assert not loaded & {"yaml", "tqdm", "asyncio", "multiprocessing", "matplotlib", "numpy", "pika", "mmap"}
    assert {name for name in foreign(loaded) if not name.startswith("lithops")} <= {
        "cloudpickle",
        "cloudpickle.cloudpickle",
    }


@pytest.mark.parametrize("module", ["lithops.worker.handler", "lithops.worker.sandbox"])
def test_a_worker_loads_little_and_only_what_is_allowed(module: str) -> None:
    loaded = modules_after(f"import {module}")
    unexpected = {
        name for name in foreign(loaded) if name not in WORKER_MODULES and not name.startswith(WORKER_FOLDERS)
    }
    assert not unexpected
    total = run_bare(f"import {module}; print(len(sys.modules))")
    assert int(total) < 130


def test_no_import_does_any_work() -> None:
    """Every module of the library is imported under an audit hook, which hears of files, folders and processes."""
    program = r"""
import importlib, logging, os, pkgutil, threading
done, reads = [], []

def listen(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        done.append((event, str(arguments[0])))
    elif event == "open" and isinstance(arguments[0], str) and arguments[1] is None and arguments[2] & os.O_CREAT:
        done.append((event, arguments[0]))
    elif event in WORK:
        done.append((event, str(arguments)))

WORK = {"os.mkdir", "os.remove", "os.rename", "os.putenv", "os.chdir", "os.fork", "os.system", "subprocess.Popen",
        "socket.connect", "socket.getaddrinfo", "tempfile.mkstemp", "tempfile.mkdtemp", "signal.signal"}
# Modules that are an SDK's only importers. What an SDK does when it is imported is its own affair.
SDK = __import__("re").compile(
    r"lithops\.(storage|compute)\.backends\.(?!localhost)\w+\.(?!config$)|"
    r"lithops\.worker\.formats\.(parquet|cog|zarr_arrays|zarr_store|zstd)$|"
    r"lithops\.util\.joblib\.(?!worker$)"
).match
sys.addaudithook(listen)
read = type(os.environ).__getitem__

def note(self, key):
    frame = sys._getframe(1)
    while frame.f_globals["__name__"] in ("os", "_collections_abc"):
        frame = frame.f_back
    reads.append((frame.f_globals["__name__"], key))
    return read(self, key)

type(os.environ).__getitem__ = note

import lithops
names = [module.name for module in pkgutil.walk_packages(lithops.__path__, "lithops.")]
names = [name for name in names if not SDK(name)]
assert len(names) > 60, names
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith("lithops.testing") or str(error.name).startswith("lithops"):
            raise
assert not done, done
assert not [read for read in reads if read[0].partition(".")[0] in ("lithops", "tempfile", "getpass")], reads
assert threading.active_count() == 1, threading.enumerate()
for logger in (logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)):
    assert not logger.handlers, logger
    assert logger.level in (logging.NOTSET, logging.WARNING), logger
"""
    run_bare(program)


def test_every_module_says_what_it_is() -> None:
    for module in pkgutil.walk_packages(lithops.__path__, "lithops."):
        path = SOURCE.parent / Path(*module.name.split("."))
        file = path / "__init__.py" if module.ispkg else path.with_suffix(".py")
        tree = ast.parse(file.read_text())
        if tree.body:
            assert ast.get_docstring(tree), f"{module.name} has no docstring"


def test_types_are_published() -> None:
    assert (SOURCE / "py.typed").exists()


def test_an_unknown_name_is_an_attribute_error() -> None:
    module: ModuleType = lithops
    with pytest.raises(AttributeError, match="module 'lithops' has no attribute 'FunctionExecuter'"):
        module.FunctionExecuter
