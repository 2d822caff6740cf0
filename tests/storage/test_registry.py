"""Backends are found by name, loaded when used, and missing ones are told apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lithops.compute.registry
from lithops.exceptions import BackendNotInstalled, ConfigError
from lithops.registry import Registry, Row
from lithops.storage import registry
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.wire.messages import StorageRef

GROUP = "lithops.test_registry"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules and distributions can be imported while the test runs."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("cloud_config", "cloud_backend", "third_party"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def make_third_party(packages: Path, source: str) -> Registry:
    (packages / "third_party.py").write_text(source)
    distribution = packages / "third_party-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(f"[{GROUP}]\nnimbus = third_party:Nimbus\n")
    return Registry("storage", GROUP, {"localhost": Row("builtins:dict", "builtins:list")})


def make_cloud(packages: Path, backend_source: str, extra: str | None = "cloud") -> Registry:
    (packages / "cloud_config.py").write_text("class CloudConfig: ...\n")
    (packages / "cloud_backend.py").write_text(backend_source)
    return Registry(
        "storage", GROUP, {"cloud": Row("cloud_config:CloudConfig", "cloud_backend:Cloud", extra)}
    )


def test_localhost_is_built_in() -> None:
    assert "localhost" in registry.backend_names()
    assert registry.config_class("localhost") is LocalhostStorageConfig
    assert isinstance(registry.create("localhost", LocalhostStorageConfig()), LocalhostStorage)


def test_a_reference_holds_all_that_is_needed(tmp_path: Path) -> None:
    backend = registry.from_reference(StorageRef("localhost", "bucket", {"root": str(tmp_path)}))
    assert backend.default_bucket() == "bucket"
    assert backend.reference("other") == StorageRef("localhost", "other", {"root": str(tmp_path)})


@pytest.mark.parametrize("look_up", [registry.config_class, lithops.compute.registry.config_class])
def test_an_unknown_name_is_answered_with_the_nearest(look_up: object) -> None:
    assert callable(look_up)
    with pytest.raises(
        ConfigError, match=r"'localhots'; did you mean 'localhost'\? known: .*localhost"
    ) as caught:
        look_up("localhots")
    assert not isinstance(caught.value, BackendNotInstalled)
    with pytest.raises(ConfigError, match=r"there is no .* backend 'qqq'; known: "):
        look_up("qqq")


def test_a_missing_sdk_is_answered_with_the_command_that_installs_it(packages: Path) -> None:
    clouds = make_cloud(packages, "import some_missing_sdk.s3\n")
    assert clouds.config_class("cloud").__name__ == "CloudConfig"
    with pytest.raises(BackendNotInstalled, match=r"'some_missing_sdk'.*pip install 'lithops\[cloud\]'"):
        clouds.create("cloud", None)


@pytest.mark.parametrize(
    ("source", "extra"), [("import lithops.missing\n", "cloud"), ("import some_missing_sdk\n", None)]
)
def test_our_own_mistakes_are_not_taken_for_a_missing_sdk(
    packages: Path, source: str, extra: str | None
) -> None:
    with pytest.raises(ModuleNotFoundError):
        make_cloud(packages, source, extra).create("cloud", None)


def test_what_a_kind_of_backend_is_given_is_passed_on(packages: Path) -> None:
    source = "class Cloud:\n    def __init__(self, config, *, slots):\n        self.given = config, slots\n"
    assert make_cloud(packages, source).create("cloud", "configuration", slots=3).given == (
        "configuration",
        3,
    )


def test_a_third_party_is_found_by_its_entry_point(packages: Path) -> None:
    source = """
class NimbusConfig: ...
class Nimbus:
    config_class = NimbusConfig
    def __init__(self, config):
        self.config = config
"""
    backends = make_third_party(packages, source)
    assert backends.names() == ["localhost", "nimbus"]
    config = backends.config_class("nimbus")()
    assert type(config).__name__ == "NimbusConfig"
    assert backends.create("nimbus", config).config is config


def test_a_third_party_that_lacks_something_is_named(packages: Path) -> None:
    backends = make_third_party(packages, "import some_missing_sdk\n")
    with pytest.raises(BackendNotInstalled, match=r"'nimbus' of the package 'third-party'.*some_missing_sdk"):
        backends.config_class("nimbus")


def test_a_built_in_backend_is_not_looked_for_in_other_packages(packages: Path) -> None:
    backends = make_third_party(packages, "raise RuntimeError('imported')\n")
    assert backends.config_class("localhost") is dict
    assert backends.create("localhost", "ab") == ["a", "b"]


def test_what_a_worker_imports_of_storage_is_light() -> None:
    program = """
import sys
before = set(sys.modules)
import lithops.storage.base, lithops.storage.registry
from lithops.wire.messages import StorageRef
lithops.storage.registry.from_reference(StorageRef("localhost", "b", {"root": "/nowhere"}))
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    imported = set(done.stdout.split())
    heavy = {
        "tempfile",
        "shutil",
        "importlib.metadata",
        "email",
        "difflib",
        "asyncio",
        "urllib",
        "mmap",
        "yaml",
    }
    assert not imported & heavy
    assert "lithops.storage.client" not in imported
    assert "lithops.config" not in imported
