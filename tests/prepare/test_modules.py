"""Which local modules a job takes along, and that a worker which lacks them runs with them."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import timeit
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_processes import WorkFailedError, round_trip

from lithops.exceptions import InvalidCall
from lithops.prepare import modules
from lithops.prepare.imports import imported_modules
from lithops.prepare.modules import Captured, capture


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


SPEED = pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer multiplies what code costs")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported; what was imported is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in repr(sys.modules[name]):
            del sys.modules[name]


def held(captured: Captured) -> dict[str, str]:
    """The files in the archive and their texts."""
    assert captured.archive is not None
    with zipfile.ZipFile(io.BytesIO(captured.archive)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


# A worker that lacks the modules runs with them.


def test_a_function_of_a_local_module_brings_the_module(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "FACTOR = 3\ndef times(x): return x * FACTOR"})
    names, results = round_trip(tmp_path, "from mine import times as function; elements = [1, 2]")
    assert (names, results) == (("mine",), [3, 6])


def test_modules_that_main_uses_in_any_way_are_brought(tmp_path: Path) -> None:
    for name in "abcdefg":
        text = f"def get(): return '{name}'\nclass Base:\n  def get(self): return '{name}'"
        write(tmp_path, {f"mod_{name}.py": text})
    names, results = round_trip(
        tmp_path,
        """
import functools
import mod_a
from mod_b import get
import mod_c as in_closure
import mod_d, mod_e, mod_g
def make(module):
    def inner(): return module.get()
    return inner
closure = make(in_closure)
class Derived(mod_d.Base): pass
def work(bound, value):
    import mod_f
    return mod_a.get() + get() + closure() + Derived().get() + bound() + mod_f.get() + value.get()
function = functools.partial(work, mod_e.Base().get)
elements = [mod_g.Base()]
""",
    )
    assert names == tuple(f"mod_{name}" for name in "abcdefg")
    assert results == ["abcdefg"]


def test_packages_go_whole_with_their_relative_and_late_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pack/__init__.py": "",
            "pack/one.py": "from . import two\n"
            "def run(x):\n  from .deep.three import more\n  return more(two.add(x))",
            "pack/two.py": "import top\ndef add(x): return x + top.STEP",
            "pack/deep/__init__.py": "",
            "pack/deep/three.py": "def more(x):\n  import late_one\n  return x * late_one.N",
            "top.py": "STEP = 1",
            "late_one.py": "N = 10",
            "unrelated.py": "",
        },
    )
    names, results = round_trip(tmp_path, "import pack.one; function = pack.one.run; elements = [1, 2]")
    assert names == ("late_one", "pack", "top")
    assert results == [20, 30]


def test_namespace_packages_bring_the_part_that_is_needed(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "space/used/__init__.py": "from space.lone import VALUE\ndef run(x): return x + VALUE",
            "space/lone.py": "VALUE = 5",
            "space/unused/__init__.py": "",
        },
    )
    script = "def function(x):\n  from space import used\n  return used.run(x)\nelements = [1]"
    names, results = round_trip(tmp_path, script)
    assert (names, results) == (("space.lone", "space.used"), [6])


def test_a_main_inside_a_package_can_import_relatively(tmp_path: Path) -> None:
    write(tmp_path, {"app/__init__.py": "", "app/helpers.py": "def double(x): return 2 * x"})
    script = """
from . import helpers
def function(x):
    from .helpers import double
    return double(x)
elements = [4]
"""
    names, results = round_trip(tmp_path, script, module="app.main")
    assert (names, results) == (("app",), [8])


def test_a_module_loaded_under_another_name_than_its_files(tmp_path: Path) -> None:
    write(tmp_path, {"odd-file.1.py": "def run(x): return -x"})
    names, results = round_trip(
        tmp_path,
        """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("renamed", "odd-file.1.py")
module = importlib.util.module_from_spec(spec)
sys.modules["renamed"] = module
spec.loader.exec_module(module)
function, elements = module.run, [3]
""",
    )
    assert (names, results) == (("renamed",), [-3])


def test_excluded_modules_do_not_arrive(tmp_path: Path) -> None:
    write(tmp_path, {"mine.py": "import other\ndef run(x): return x", "other.py": ""})
    script = "from mine import run as function; elements = [1]"
    for options in ({"exclude": ["mine"]}, {"include": None}, {"include": ["other"]}):
        with pytest.raises(WorkFailedError, match="No module named 'mine'"):
            round_trip(tmp_path, script, **options)


def test_included_modules_arrive_though_nothing_refers_to_them(tmp_path: Path) -> None:
    write(
        tmp_path, {"plugin.py": "def run(x): return x + 1", "data/__init__.py": "", "data/table.csv": "a,b"}
    )
    names, results = round_trip(
        tmp_path,
        """
def function(x):
    import importlib, importlib.resources
    module = importlib.import_module("plug" + "in")
    return module.run(x), importlib.resources.files("da" + "ta").joinpath("table.csv").read_text()
elements = [1]
""",
        include=["plugin", "data/"],
    )
    assert (names, results) == (("data", "plugin"), [(2, "a,b")])


# What is captured, and what is not.


def test_nothing_is_captured_of_what_every_worker_or_runtime_has() -> None:
    seen = {
        "json.decoder",
        "numpy",
        "numpy.linalg",
        "sys",
        "_thread",
        "cloudpickle.cloudpickle",
        "builtins",
        "pytest",
    }
    seen |= {
        "lithops.worker.definitions",
        "__main__",
        "__mp_main__",
        "does_not_exist",
        "does.not.exist",
        "zipfile",
    }
    assert capture(seen) == Captured((), None, "")
    assert np.__file__


def test_looking_finds_modules_without_importing_them(project: Path) -> None:
    write(project, {"never_loaded.py": "raise SystemExit", "space/inner.py": "raise SystemExit"})
    assert set(held(capture({"never_loaded", "space.inner.name"}))) == {"never_loaded.py", "space/inner.py"}
    assert not {"never_loaded", "space"} & set(sys.modules)


def test_a_local_module_may_have_the_name_of_one_of_the_standard_library(project: Path) -> None:
    write(project, {"antigravity.py": "local = True"})
    assert held(capture({"antigravity"})) == {"antigravity.py": "local = True"}


def test_what_was_put_into_a_loaded_module_is_followed(project: Path) -> None:
    write(
        project,
        {"holder.py": "plugin = __import__('importlib').import_module('plug' + 'in_x')", "plugin_x.py": ""},
    )
    __import__("holder")
    assert capture({"holder"}).names == ("holder", "plugin_x")


def test_only_code_is_taken_of_a_package_without_caches_and_environments(project: Path) -> None:
    kept = {
        "pack/__init__.py": "",
        "pack/fast.so": "elf",
        "pack/sub/inner.py": "",
        "pack/template.py": "not {python}",
    }
    left = [
        "pack/big.bin",
        "pack/__pycache__/x.py",
        "pack/.git/hook.py",
        "pack/venv/pyvenv.cfg",
        "pack/venv/lib/y.py",
    ]
    write(project, kept)
    write(project, dict.fromkeys(left, ""))
    captured = capture({"pack.sub.inner"})
    assert held(captured) == kept
    assert captured.names == ("pack",)


def test_modules_of_installed_packages_are_not_local_wherever_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("site-packages", "dist-packages"):
        folder = tmp_path / "lib" / kind
        write(folder, {f"installed_{kind[:4]}.py": ""})
        monkeypatch.syspath_prepend(folder)
        assert capture({f"installed_{kind[:4]}"}).names == ()
        assert capture(set(), include=[f"installed_{kind[:4]}"]).names == (f"installed_{kind[:4]}",)


def test_a_namespace_brings_its_local_parts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"site-packages/space/there.py": "", "src/space/here.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path / "src")
    assert set(held(capture({"space.here", "space.there"}))) == {"space/here.py"}
    assert set(held(capture({"space"}))) == {"space/here.py"}


def test_modules_without_a_file_or_not_modules_at_all_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "by_hand", types.ModuleType("by_hand"))
    monkeypatch.setitem(sys.modules, "blocked", None)
    monkeypatch.setitem(sys.modules, "posing", object())
    assert capture({"by_hand", "by_hand.x", "blocked", "posing"}) == Captured()


def test_exclude_takes_out_packages_submodules_and_what_only_they_import(project: Path) -> None:
    write(
        project,
        {
            "pack/__init__.py": "import needed_always",
            "pack/sub/__init__.py": "import needed_by_sub",
            "pack/subway.py": "",
            "needed_by_sub.py": "",
            "needed_always.py": "",
        },
    )
    captured = capture({"pack"}, exclude=["pack.sub"])
    assert set(held(captured)) == {"pack/__init__.py", "pack/subway.py", "needed_always.py"}
    assert capture({"pack"}, exclude=["pack"]) == Captured()
    assert capture({"pack"}, exclude=["needed_always.py", "needed_by_sub"]).names == ("pack",)


def test_include_takes_names_files_and_folders_and_only_these(project: Path) -> None:
    write(
        project,
        {
            "pack/__init__.py": "import other",
            "pack/one.py": "",
            "pack/deep/__init__.py": "",
            "pack/deep/two.py": "",
            "other.py": "",
            "files/lone.py": "lone",
            "files/fast.cpython-311-x86_64-linux-gnu.so": "elf",
            "files/lib.so.1": "elf",
        },
    )
    assert set(held(capture({"other"}, include=["pack"]))) == {
        "pack/__init__.py",
        "pack/one.py",
        "pack/deep/__init__.py",
        "pack/deep/two.py",
    }
    assert set(held(capture((), include=["pack.one"]))) == {"pack/__init__.py", "pack/one.py"}
    assert set(held(capture((), include=["pack.deep"]))) == {
        "pack/__init__.py",
        "pack/deep/__init__.py",
        "pack/deep/two.py",
    }
    paths = sorted(str(path) for path in (project / "files").iterdir())
    assert set(held(capture((), include=paths))) == {
        "lone.py",
        "fast.cpython-311-x86_64-linux-gnu.so",
        "lib.so.1",
    }
    assert set(held(capture((), include=[str(project / "files") + os.sep]))) == {
        "files/lone.py",
        "files/fast.cpython-311-x86_64-linux-gnu.so",
        "files/lib.so.1",
    }


def test_include_passes_over_what_every_worker_has(project: Path) -> None:
    assert capture((), include=["math", "json.decoder", "sys", "lithops", "cloudpickle"]) == Captured()
    write(project, {"antigravity.py": "local = True"})
    assert capture((), include=["antigravity"]).names == ("antigravity",)


def test_include_says_what_was_not_found(project: Path) -> None:
    write(project, {"pack/__init__.py": ""})
    with pytest.raises(InvalidCall, match="'missing', but no module 'missing' was found"):
        capture((), include=["missing"])
    with pytest.raises(InvalidCall, match=r"'pack\.missing', but no module 'pack\.missing' was found"):
        capture((), include=["pack.missing"])
    with pytest.raises(InvalidCall, match=r"names 'missing\.py', but there is no such file"):
        capture((), include=["missing.py"])


def test_what_is_too_large_belongs_into_a_runtime(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {"large.py": "# " + "x" * 2**20, "small.py": ""})
    monkeypatch.setattr(modules, "SIZE_LIMIT", 2**20)
    with pytest.raises(
        InvalidCall, match=r"at most 1 MiB .* 'large' alone is 1\.0 MiB\. Install it in the runtime"
    ):
        capture({"large", "small"})
    assert capture({"large", "small"}, exclude=["large"]).names == ("small",)


# The archive.


def test_the_same_content_gives_the_same_bytes_whatever_its_place_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = []
    for place, stamp in (("a", 10**9), ("b", 2 * 10**9)):
        files = {"stable/__init__.py": "", "stable/one.py": "N = 1"}
        write(tmp_path / place, dict(sorted(files.items(), reverse=place == "b")))
        os.utime(tmp_path / place / "stable/one.py", (stamp, stamp))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / place)
            archives.append(capture({"stable"}))
    assert archives[0] == archives[1]
    assert archives[0].content_hash


def test_a_changed_file_gives_another_archive(project: Path) -> None:
    write(project, {"edited.py": "N = 1"})
    first = capture({"edited"})
    write(project, {"edited.py": "N = 22\nimport newly"})
    write(project, {"newly.py": ""})
    importlib.invalidate_caches()
    second = capture({"edited"})
    assert first.content_hash != second.content_hash
    assert held(second) == {"edited.py": "N = 22\nimport newly", "newly.py": ""}


# What code imports.


names = st.sampled_from(["alpha", "beta", "gamma.delta"])
statements = st.one_of(
    names.map(lambda name: (f"import {name}", {name})),
    st.tuples(names, names).map(lambda two: (f"import {two[0]}, {two[1]} as x", set(two))),
    names.map(lambda name: (f"from {name} import y, z", {f"{name}.y", f"{name}.z"})),
    st.just(("from . import y", {"pack.sub.y"})),
    st.just(("from ..up import y", {"pack.up.y"})),
    st.just(("x = [alpha.beta for alpha in ()]", set())),
)
wrappers = st.sampled_from(
    [
        "{}",
        "def f():\n  {}",
        "class C:\n  {}",
        "def f():\n  class C:\n    {}",
        "if x:\n  {}",
        "try:\n  {}\nfinally: pass",
    ]
)


@given(st.lists(st.tuples(statements, wrappers)), st.integers(0, 600))
def test_every_import_in_code_is_found(parts: Any, constants: int) -> None:
    # Many constants and names make the compiler use its wide form of instructions.
    filling = "\n".join(f"v{i} = {i}.5" for i in range(constants))
    source = "\n".join([filling, *(wrapper.format(text) for (text, _), wrapper in parts)])
    expected = set().union(*(found for (_, found), _ in parts))
    assert imported_modules(compile(source, "code", "exec"), "pack.sub") == expected


def test_relative_imports_without_a_package_are_left_out() -> None:
    assert imported_modules(compile("from . import y\nimport z\nfrom w import *", "code", "exec")) == {
        "z",
        "w",
    }


# Cost.


@SPEED
def test_capturing_nothing_costs_next_to_nothing() -> None:
    seen = {
        "json",
        "numpy",
        "numpy.linalg",
        "os.path",
        "collections",
        "builtins",
        "__main__",
        "pytest",
        "hypothesis",
    }
    cost_ms = min(timeit.repeat(lambda: capture(seen), number=10, repeat=10)) / 10 * 1e3
    assert cost_ms < 2
