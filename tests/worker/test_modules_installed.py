"""Archives of modules on a worker: unpacked once, switched between, and never outside their folder."""

from __future__ import annotations

import importlib
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lithops.exceptions import WireError
from lithops.worker import modules
from lithops.worker.definitions import define
from lithops.worker.modules import activate, install


def archive(**texts: str) -> bytes:
    """A zip with a module for each name; two underscores stand for a slash, but not around a name."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as entries:
        for name, text in texts.items():
            path = name.replace("__init__", "\0").replace("__", "/").replace("\0", "__init__")
            entries.writestr(f"{path}.py", text)
    return body.getvalue()


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave this process as it was: its path, its loaded modules and what is installed."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(modules, "_active", "")
    monkeypatch.setattr(modules, "_folders", {})
    monkeypatch.setattr(modules, "_set_aside", {})
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def load(name: str) -> Any:
    return importlib.import_module(name)


def test_installed_modules_can_be_imported_and_come_first(tmp_path: Path) -> None:
    install(
        archive(mine="N = 1", pack____init__="", pack__deep="from . import __name__ as N"),
        "h1",
        parent_folder=str(tmp_path),
    )
    assert load("mine").N == 1
    assert load("pack.deep").N == "pack"
    assert sys.path[0] == str(tmp_path / "h1")


def test_the_same_hash_again_does_nothing(tmp_path: Path) -> None:
    install(archive(mine="N = 1"), "h1", parent_folder=str(tmp_path))
    module, path = load("mine"), list(sys.path)
    install(b"not even read", "h1", parent_folder=str(tmp_path))
    assert load("mine") is module
    assert sys.path == path


def test_an_edited_module_replaces_the_one_before(tmp_path: Path) -> None:
    install(
        archive(mine="N = 1", gone="", pack____init__="", pack__a="N = 1"), "h1", parent_folder=str(tmp_path)
    )
    assert (load("mine").N, load("gone").__name__, load("pack.a").N) == (1, "gone", 1)
    install(archive(mine="N = 2", pack____init__="", pack__a="N = 2"), "h2", parent_folder=str(tmp_path))
    assert (load("mine").N, load("pack.a").N) == (2, 2)
    assert str(tmp_path / "h1") not in sys.path
    with pytest.raises(ModuleNotFoundError):
        load("gone")


def test_jobs_that_take_turns_keep_their_own_modules_and_classes(tmp_path: Path) -> None:
    kinds: dict[str, type] = {}
    for turn in range(3):
        for content_hash in ("h1", "h2"):
            install(
                archive(mine=f"class Kind: name = '{content_hash}'"),
                content_hash,
                parent_folder=str(tmp_path),
            )
            kind = load("mine").Kind
            assert kind.name == content_hash
            assert kinds.setdefault(content_hash, kind) is kind, turn
    activate("h1")
    assert isinstance(pickle.loads(pickle.dumps(kinds["h1"]())), kinds["h1"])
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(kinds["h2"]())


def test_a_job_without_modules_sees_none(tmp_path: Path) -> None:
    install(archive(mine="N = 1"), "h1", parent_folder=str(tmp_path))
    module = load("mine")
    activate("")
    with pytest.raises(ModuleNotFoundError):
        load("mine")
    activate("h1")
    assert load("mine") is module


def test_modules_of_the_same_name_from_elsewhere_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "pack").mkdir(parents=True)
    (elsewhere / "pack" / "__init__.py").write_text("")
    (elsewhere / "pack" / "a.py").write_text("N = 'elsewhere'")
    (elsewhere / "mine.py").write_text("N = 'elsewhere'")
    monkeypatch.syspath_prepend(elsewhere)
    assert load("mine").N == load("pack.a").N == "elsewhere"
    install(archive(mine="N = 1", pack____init__="", pack__b="N = 1"), "h1", parent_folder=str(tmp_path))
    assert load("mine").N == load("pack.b").N == 1
    with pytest.raises(ModuleNotFoundError):
        load("pack.a")
    activate("")
    assert load("mine").N == load("pack.a").N == "elsewhere"


def test_parts_of_a_namespace_are_replaced_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere" / "space"
    elsewhere.mkdir(parents=True)
    (elsewhere / "stays.py").write_text("")
    (elsewhere / "replaced.py").write_text("N = 'elsewhere'")
    monkeypatch.syspath_prepend(elsewhere.parent)
    stays, replaced = load("space.stays"), load("space.replaced")
    install(archive(space__replaced="N = 1", space__new="N = 2"), "h1", parent_folder=str(tmp_path))
    namespace: dict[str, Any] = {}
    exec("from space import stays, replaced, new", namespace)
    assert namespace["stays"] is stays
    assert namespace["replaced"] is not replaced
    assert (namespace["replaced"].N, namespace["new"].N) == (1, 2)
    activate("")
    exec("from space import replaced", namespace)
    assert namespace["replaced"].N == "elsewhere"
    with pytest.raises(ImportError):
        exec("from space import new", namespace)


def test_a_namespace_that_only_the_archive_has_goes_with_it(tmp_path: Path) -> None:
    install(archive(alone__one="N = 1"), "h1", parent_folder=str(tmp_path))
    first = load("alone.one")
    install(archive(alone__two="N = 2"), "h2", parent_folder=str(tmp_path))
    assert load("alone.two").N == 2
    with pytest.raises(ModuleNotFoundError):
        load("alone.one")
    activate("h1")
    assert load("alone.one") is first


def test_the_library_itself_is_never_replaced(tmp_path: Path) -> None:
    before = sys.modules["lithops"]
    install(archive(lithops____init__="", cloudpickle="", other="N = 1"), "h1", parent_folder=str(tmp_path))
    assert sys.modules["lithops"] is before
    assert load("other").N == 1


def test_definitions_are_read_anew_when_the_modules_change(tmp_path: Path) -> None:
    install(archive(mine="def get(): return 1"), "h1", parent_folder=str(tmp_path))
    by_reference = pickle.dumps(load("mine").get)
    assert define(by_reference)() == 1
    assert define(by_reference) is define(by_reference)
    install(archive(mine="def get(): return 2"), "h2", parent_folder=str(tmp_path))
    assert define(by_reference)() == 2


def test_old_archives_are_not_kept_for_ever(tmp_path: Path) -> None:
    for number in range(modules._KEPT + 5):
        install(archive(mine=f"N = {number}"), f"h{number}", parent_folder=str(tmp_path))
        assert number == load("mine").N
    assert len(modules._set_aside) == modules._KEPT
    activate("h0")
    assert load("mine").N == 0


@pytest.mark.parametrize(
    "entry",
    ["../outside.py", "/outside.py", "a/../../outside.py", "a\\..\\outside.py", "c:/outside.py", ".."],
)
def test_entries_that_lead_outside_are_refused(tmp_path: Path, entry: str) -> None:
    parent = tmp_path / "modules"
    with pytest.raises(WireError, match="leads out of its folder"):
        install(_renamed(entry), "h1", parent_folder=str(parent))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(parent.iterdir()) == []


def _renamed(entry: str) -> bytes:
    """A zip with one entry of exactly that name, which the library that writes zips would make harmless."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as entries:
        entries.writestr("x" * len(entry), "planted")
    return body.getvalue().replace(b"x" * len(entry), entry.encode())


@pytest.mark.parametrize("content_hash", ["", ".", "..", "a/b", "/a"])
def test_a_hash_that_names_no_folder_of_its_own_is_refused(tmp_path: Path, content_hash: str) -> None:
    modules._active = "another"
    with pytest.raises(WireError, match="must be a hash"):
        install(archive(mine=""), content_hash, parent_folder=str(tmp_path / "modules"))
    assert not (tmp_path / "modules").exists()


def test_a_broken_archive_leaves_everything_as_it_was(tmp_path: Path) -> None:
    install(archive(mine="N = 1"), "h1", parent_folder=str(tmp_path))
    whole = archive(mine="N = 2" * 1000)
    for broken in (b"not a zip", whole[:50], whole[:-40]):
        with pytest.raises(WireError, match="cannot be unpacked"):
            install(broken, "h2", parent_folder=str(tmp_path))
    assert load("mine").N == 1
    assert [path.name for path in tmp_path.iterdir()] == ["h1"]


def test_whatever_byte_of_an_archive_is_damaged_nothing_else_is_raised(tmp_path: Path) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as entries:
        entries.writestr("mine.py", "N = 1\n" * 30)
        entries.writestr("pack/__init__.py", "N = 2\n" * 30)
    whole = body.getvalue()
    refusals = 0
    for place in range(len(whole)):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        try:
            install(damaged, f"h{place}", parent_folder=str(tmp_path))
        except WireError:
            refusals += 1
    assert refusals > len(whole) / 4


def test_many_processes_may_unpack_the_same_archive_at_once(tmp_path: Path) -> None:
    body = archive(mine="N = 7", **{f"pack__m{i}": "x = 1" for i in range(200)})
    code = """
import sys
from lithops.worker.modules import install
body = sys.stdin.buffer.read()
install(body, "h1", parent_folder=sys.argv[1])
import mine, pack.m199
print(mine.N)
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-I", "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(6)
    ]
    # All have started before the first gets its archive's end: they unpack at the same time.
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(body)
        worker.stdin.flush()
    assert [worker.communicate(timeout=60)[0] for worker in workers] == [b"7\n"] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["h1"]


def test_a_worker_that_unpacks_nothing_imports_no_zip_library() -> None:
    code = "import sys, lithops.worker.modules; print({'zipfile', 'tempfile', 'shutil'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == b"set()"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["one", "two", "pack.x", "ns.x"])), max_size=15
    )
)
def test_whatever_the_order_of_jobs_each_sees_its_own_modules(
    tmp_path: Path, steps: list[tuple[str, str]]
) -> None:
    contents = {
        "a": {"one": "W = 'a'", "pack____init__": "", "pack__x": "W = 'a'", "ns__x": "W = 'a'"},
        "b": {"one": "W = 'b'", "two": "W = 'b'", "ns____init__": "", "ns__x": "W = 'b'"},
        "c": {"pack__x": "W = 'c'", "two____init__": "W = 'c'"},
    }
    activate("")
    for content_hash, name in steps:
        install(archive(**contents[content_hash]), content_hash, parent_folder=str(tmp_path))
        if name.replace(".", "__") in contents[content_hash] or f"{name}____init__" in contents[content_hash]:
            assert content_hash == load(name).W
        else:
            with pytest.raises(ModuleNotFoundError):
                load(name)
    activate("")
