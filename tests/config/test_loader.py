"""Where the configuration is found, what is refused, and what it comes to."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lithops.accounts import AwsAccount, AzureAccount, GcpAccount
from lithops.compute import registry as compute_registry
from lithops.compute.backends.localhost.config import LocalhostConfig
from lithops.config import LithopsSection, Settings, default_config, load_config, resolve, resolve_storage
from lithops.config import loader as loader_module
from lithops.config.model import RabbitmqSection
from lithops.config.passing import runtime_environment
from lithops.exceptions import ConfigError
from lithops.settings import Secret
from lithops.storage import registry as storage_registry
from lithops.storage.backends.localhost.config import LocalhostStorageConfig

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"


@pytest.fixture(autouse=True)
def empty_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration anywhere: an empty home, working folder, `/etc` and environment."""
    for folder in ("home/.lithops", "work", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LITHOPS_CONFIG", raising=False)
    monkeypatch.delenv("LITHOPS_CONFIG_FILE", raising=False)
    *files, system_wide = loader_module.DEFAULT_FILES
    assert system_wide == "/etc/lithops/config"
    monkeypatch.setattr(loader_module, "DEFAULT_FILES", (*files, str(tmp_path / "etc/config")))
    monkeypatch.setattr(logging.getLogger("lithops"), "propagate", True)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return str(path)

    return write


@dataclasses.dataclass(frozen=True)
class CloudConfig:
    """A serverless backend, as one of a third party would be."""

    mode: ClassVar[str] = "serverless"
    region: str = "here"
    token: Annotated[str, Secret()] | None = None


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two serverless backends beside localhost."""
    classes = {"localhost": LocalhostConfig, "cloud_a": CloudConfig, "cloud_b": CloudConfig}
    monkeypatch.setattr(compute_registry, "config_class", classes.__getitem__)
    monkeypatch.setattr(compute_registry, "backend_names", lambda: sorted(classes))


def refusal(config: dict[str, Any] | None = None, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        resolve(config, **arguments)
    return str(caught.value)


# ---------------------------------------------------------------- where it is found


def test_nothing_at_all_is_localhost() -> None:
    assert load_config() == {}
    settings = resolve()
    assert (settings.compute_name, settings.storage_name) == ("localhost", "localhost")
    assert settings.compute == LocalhostConfig()
    assert settings.storage == LocalhostStorageConfig()
    expected = LithopsSection(backend="localhost", storage="localhost", mode="localhost")
    assert settings.lithops == expected
    assert settings.origin == "the defaults"


def test_each_place_wins_over_those_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> tuple[int, str]:
        settings = resolve()
        return settings.lithops.retries, settings.origin

    (tmp_path / "etc/config").write_text("lithops: {retries: 1}")
    assert found() == (1, str(tmp_path / "etc/config"))
    (tmp_path / "home/.lithops/config").write_text("lithops: {retries: 2}")
    assert found() == (2, str(tmp_path / "home/.lithops/config"))
    (tmp_path / "work/.lithops_config").write_text("lithops: {retries: 3}")
    assert found() == (3, ".lithops_config")
    (tmp_path / "home/named.yaml").write_text("lithops: {retries: 4}")
    monkeypatch.setenv("LITHOPS_CONFIG_FILE", "~/named.yaml")
    assert found() == (4, str(tmp_path / "home/named.yaml"))
    monkeypatch.setenv("LITHOPS_CONFIG", '{"lithops": {"retries": 5}}')
    assert found() == (5, "LITHOPS_CONFIG")
    assert resolve(config_file=tmp_path / "etc/config").lithops.retries == 1
    assert resolve({}).lithops.retries == 0
    assert resolve({"lithops": {"retries": 6}}).origin == "the argument config"


def test_empty_variables_are_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITHOPS_CONFIG", "")
    monkeypatch.setenv("LITHOPS_CONFIG_FILE", "")
    assert resolve().origin == "the defaults"


def test_load_config_gives_what_is_written(write: Callable[[str], str]) -> None:
    assert load_config(write("lithops: {retries: 1}\nothers: [1]")) == {
        "lithops": {"retries": 1},
        "others": [1],
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "lithops:\nlocalhost:\n", "{}"])
def test_empty_files_and_sections_are_the_defaults(write: Callable[[str], str], text: str) -> None:
    assert resolve(config_file=write(text)).raw == resolve().raw


# ---------------------------------------------------------------- what is refused


def test_config_and_config_file_are_not_given_together() -> None:
    assert refusal({}, config_file="x") == "both config and config_file are given; give one of them"


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "missing.yaml")
    message = f"{missing}: the configuration file cannot be read: No such file or directory"
    assert refusal(config_file=missing) == message
    monkeypatch.setenv("LITHOPS_CONFIG_FILE", missing)
    assert refusal() == f"{message}; LITHOPS_CONFIG_FILE names it"


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    assert refusal(config_file=tmp_path) == (
        f"{tmp_path}: the configuration file cannot be read: Is a directory"
    )


def test_broken_yaml_is_located_and_not_quoted(write: Callable[[str], str]) -> None:
    path = write("lithops:\n  retries: 1\n  log_level: [hush, hush\nlocalhost: {}\n")
    message = refusal(config_file=path)
    assert message.startswith(f"{path}: not YAML, line 4, column 10: ")
    assert "hush" not in message


@pytest.mark.parametrize(
    "text",
    ["a: 2020-99-99", "a: !!int x", "a: !!bool x", "a: !!timestamp x", "a: !python x", "{[1]: 2}", "a: \x07"],
)
def test_yaml_that_cannot_be_used(write: Callable[[str], str], text: str) -> None:
    path = write(text)
    assert refusal(config_file=path).startswith(f"{path}: not ")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_bytes(b"lithops: \xff\xfe")
    assert refusal(config_file=path).startswith(f"{path}: not YAML")


@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}!&*#|>'\"\n 0129", max_size=60).map(str.encode))
def test_any_file_is_a_mapping_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(load_config(path), dict)
    except ConfigError as error:
        message = str(error)
    else:
        return
    assert message.startswith(f"{path}: ")


def test_broken_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITHOPS_CONFIG", '{"lithops": {\n "hush": }}')
    assert refusal() == (
        "LITHOPS_CONFIG: not JSON, line 2, column 10: Expecting value; allowed is a JSON object of sections"
    )
    monkeypatch.setenv("LITHOPS_CONFIG", "[" * 100_000)
    assert refusal().startswith("LITHOPS_CONFIG: not usable JSON: ")


def test_a_top_level_that_is_not_a_mapping(
    write: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = "allowed is a mapping of section names to sections"
    path = write("- lithops\n")
    assert refusal(config_file=path) == f"{path}: found a value of type list; {allowed}"
    monkeypatch.setenv("LITHOPS_CONFIG", "3")
    assert refusal() == f"LITHOPS_CONFIG: found a value of type int; {allowed}"
    wrong: Any = "my.yaml"
    assert refusal(wrong) == f"the argument config: found a value of type str; {allowed}"


@pytest.mark.parametrize("section", ["lithops", "localhost"])
def test_a_section_that_is_not_a_mapping(write: Callable[[str], str], section: str) -> None:
    path = write(f"{section}: [1]")
    assert refusal(config_file=path) == (
        f"{path}: {section}: found a value of type list; "
        "allowed is a section, which is a mapping of keys to values"
    )


def test_wrong_values_name_the_file_the_key_what_was_found_and_what_is_allowed(
    write: Callable[[str], str],
) -> None:
    path = write("lithops: {retries: '3'}")
    assert refusal(config_file=path) == (
        f"{path}: lithops.retries: found the text '3'; allowed is a whole number, 0 or more; "
        "write it without quotes"
    )
    path = write("localhost: {worker_processes: 0}")
    assert refusal(config_file=path) == (
        f"{path}: localhost.worker_processes: found the number 0; "
        "allowed is a whole number, 1 or more, or nothing"
    )
    path = write("localhost: {storage_bucket: 7}")
    assert (
        refusal(config_file=path) == f"{path}: localhost.storage_bucket: found the number 7; allowed is text"
    )


def test_wrong_arguments_are_told_from_the_file() -> None:
    assert refusal(overrides={"max_workers": True}) == (
        "the arguments: localhost.max_workers: found the truth value true; "
        "allowed is a whole number, 1 or more, or nothing"
    )
    assert refusal(monitoring="telepathy") == (
        "the arguments: lithops.monitoring: found the text 'telepathy'; allowed is one of storage"
    )
    assert refusal(log_level="LOUD") == (
        "the arguments: lithops.log_level: found the text 'LOUD'; "
        "allowed is one of DEBUG, INFO, WARNING, ERROR, CRITICAL, or nothing"
    )


def test_unknown_backends_name_the_nearest(write: Callable[[str], str]) -> None:
    path = write("lithops: {backend: localhots}")
    assert refusal(config_file=path).startswith(
        f"{path}: lithops.backend: there is no compute backend 'localhots'; did you mean 'localhost'?"
    )
    assert refusal(storage="localhots").startswith(
        "the arguments: lithops.storage: there is no storage backend 'localhots'; did you mean 'localhost'?"
    )


# ---------------------------------------------------------------- arguments over it


def test_arguments_override_the_configuration() -> None:
    config = {
        "lithops": {"retries": 3, "log_level": "ERROR"},
        "localhost": {"worker_processes": 2, "max_workers": 9},
    }
    settings = resolve(config, log_level="DEBUG", overrides={"worker_processes": 5})
    assert (settings.lithops.retries, settings.lithops.log_level) == (3, "DEBUG")
    assert settings.compute == LocalhostConfig(worker_processes=5, max_workers=9)
    assert resolve(config).lithops.log_level == "ERROR"
    assert resolve(config, log_level=None).lithops.log_level is None


@pytest.mark.parametrize("level", ["debug", "DEBUG", logging.DEBUG])
def test_log_levels_in_every_form(level: str | int) -> None:
    assert resolve(log_level=level).lithops.log_level == "DEBUG"
    assert resolve({"lithops": {"log_level": level}}).lithops.log_level == "DEBUG"


def test_a_shared_section_serves_compute_and_storage(caplog: pytest.LogCaptureFixture) -> None:
    settings = resolve(
        {"localhost": {"worker_processes": 2, "storage_bucket": "mine"}}, overrides={"root": "~/r"}
    )
    assert settings.compute == LocalhostConfig(worker_processes=2)
    assert settings.storage == LocalhostStorageConfig(storage_bucket="mine", root="~/r")
    assert caplog.records == []


def test_unknown_keys_are_warnings(write: Callable[[str], str], caplog: pytest.LogCaptureFixture) -> None:
    path = write("lithops: {retry: 1}\nlocalhost: {worker_proces: 1}\nother_program: {retry: 1}")
    settings = resolve(config_file=path, overrides={"runtim": "x"})
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: lithops.retry: unknown key, left out; did you mean 'retries'?",
        f"{path}: localhost.worker_proces: unknown key, left out; did you mean 'worker_processes'?",
        "the arguments: localhost.runtim: unknown key, left out; did you mean 'runtime'?",
    ]
    assert settings.raw["other_program"] == {"retry": 1}


def test_what_was_resolved_resolves_to_the_same(caplog: pytest.LogCaptureFixture) -> None:
    config = {
        "lithops": {"retries": 3, "data_limit": False, "include_modules": None, "unknown": 1},
        "localhost": {"max_workers": 2, "storage_bucket": "b", "unknown": 2},
        "other": {"a": 1},
    }
    settings = resolve(config)
    caplog.clear()
    again = resolve(settings.raw)
    assert again.raw == settings.raw
    assert (again.lithops, again.compute, again.storage) == (
        settings.lithops,
        settings.compute,
        settings.storage,
    )
    assert caplog.records == []
    assert default_config(config) == settings.raw
    json.dumps(settings.raw)


def test_the_given_dict_is_left_as_it_was() -> None:
    config = {"lithops": {"include_modules": ["a"]}, "localhost": {}}
    before = json.dumps(config)
    settings = resolve(config, overrides={"max_workers": 1})
    settings.raw["lithops"]["include_modules"].append("b")
    settings.raw["localhost"]["max_workers"] = 7
    assert json.dumps(config) == before
    assert settings.lithops.include_modules == ["a"]
    assert settings.compute == LocalhostConfig(max_workers=1)


# ---------------------------------------------------------------- modes


def test_a_mode_without_backends_says_which_there_are(write: Callable[[str], str]) -> None:
    why = "found 'standalone', but no installed backend is of that mode; there are: "
    known = "aws_lambda, azure_functions, gcp_functions, localhost"
    assert refusal(mode="standalone") == f"the arguments: lithops.mode: {why}{known}"
    path = write("lithops: {mode: standalone}")
    assert refusal(config_file=path) == f"{path}: lithops.mode: {why}{known}"


def test_a_mode_whose_backends_have_no_section() -> None:
    assert refusal(mode="serverless") == (
        "the arguments: lithops.mode: found 'serverless', but none of its backends has a section; "
        "there are: aws_lambda, azure_functions, gcp_functions"
    )


def test_an_unknown_mode() -> None:
    assert refusal(mode="orbital") == (
        "the arguments: lithops.mode: found the text 'orbital'; allowed is one of localhost, serverless, "
        "standalone, or nothing"
    )


@pytest.mark.usefixtures("clouds")
def test_the_backend_implies_the_mode() -> None:
    assert resolve(backend="cloud_a").lithops.mode == "serverless"
    assert resolve({"lithops": {"backend": "cloud_a"}}).lithops.mode == "serverless"
    assert resolve({"lithops": {"mode": "localhost"}}, backend="cloud_a").lithops.mode == "serverless"
    assert resolve({"lithops": {"backend": "cloud_a"}}, backend="localhost").lithops.mode == "localhost"


@pytest.mark.usefixtures("clouds")
def test_the_mode_chooses_the_backend() -> None:
    def chosen(config: dict[str, Any]) -> str:
        return resolve(config, mode="serverless").compute_name

    assert chosen({"lithops": {"backend": "cloud_b"}}) == "cloud_b"
    assert chosen({"cloud_a": None}) == "cloud_a"
    assert chosen({"cloud_a": {}, "cloud_b": {}, "lithops": {"backend": "cloud_b"}}) == "cloud_b"
    assert resolve({"lithops": {"backend": "cloud_b"}}, mode="localhost").compute_name == "localhost"
    found = "the arguments: lithops.mode: found 'serverless', but "
    assert (
        refusal(mode="serverless")
        == f"{found}none of its backends has a section; there are: cloud_a, cloud_b"
    )
    assert refusal({"cloud_a": {}, "cloud_b": {}}, mode="serverless") == (
        f"{found}several of its backends have a section; name one as the backend: cloud_a, cloud_b"
    )


@pytest.mark.usefixtures("clouds")
def test_a_mode_that_contradicts_its_backend() -> None:
    message = "lithops.mode: found 'localhost', but the backend 'cloud_a' is of the mode 'serverless'"
    assert message in refusal(mode="localhost", backend="cloud_a")
    assert message in refusal({"lithops": {"mode": "localhost", "backend": "cloud_a"}})


@pytest.mark.usefixtures("clouds")
def test_overrides_are_of_the_backend_that_is_used() -> None:
    settings = resolve(
        backend="cloud_a", overrides={"region": "there"}, storage_overrides={"storage_bucket": "b"}
    )
    assert settings.compute == CloudConfig(region="there")
    assert settings.storage == LocalhostStorageConfig(storage_bucket="b")
    assert (settings.raw["cloud_a"]["region"], settings.raw["localhost"]["storage_bucket"]) == ("there", "b")


@pytest.mark.usefixtures("clouds")
def test_the_storage_part_of_a_shared_section_knows_the_other_parts_keys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    resolve({"localhost": {"worker_processes": 2}}, backend="cloud_a")
    assert caplog.records == []
    resolve({"localhost": {"region": 2}}, backend="cloud_a")
    assert "localhost.region: unknown key" in caplog.text


def test_the_brokers_address_is_a_secret(write: Callable[[str], str]) -> None:
    settings = resolve({"rabbitmq": {"amqp_url": "amqp://me:hush@here"}})
    assert settings.rabbitmq.amqp_url == settings.raw["rabbitmq"]["amqp_url"] == "amqp://me:hush@here"
    assert settings.shown()["rabbitmq"] == {"amqp_url": "***"}
    path = write("rabbitmq: {amqp_url: [hush]}")
    assert refusal(config_file=path) == (
        f"{path}: rabbitmq.amqp_url: found the list ***; allowed is text, a secret, or nothing"
    )


@pytest.mark.usefixtures("clouds")
def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    settings = resolve({"cloud_a": {"token": "hush"}}, backend="cloud_a")
    assert settings.shown()["cloud_a"] == {"region": "here", "token": "***"}
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)
    assert settings.raw["cloud_a"]["token"] == "hush"


# ---------------------------------------------------------------- the storage alone


def test_resolve_storage(tmp_path: Path) -> None:
    section = {"storage_bucket": "mine", "root": str(tmp_path)}

    def bucket(*arguments: Any) -> str:
        backend = resolve_storage(*arguments)
        assert backend.name == "localhost"
        return backend.default_bucket()

    assert bucket({"localhost": section}) == "mine"
    assert bucket({"localhost": section}, "localhost") == "mine"
    assert bucket(None, None, {"backend": "localhost", "bucket": "mine", "localhost": section}) == "mine"
    assert bucket(None, "localhost", {"localhost": section}) == "mine"
    assert bucket(None, "localhost", section) == "mine"
    assert bucket() == LocalhostStorageConfig().storage_bucket


def test_resolve_storage_leaves_the_compute_backend_alone() -> None:
    config = {"lithops": {"backend": "of another release"}, "localhost": {"worker_processes": "wrong"}}
    assert resolve_storage(config).name == "localhost"


def test_resolve_storage_refuses(write: Callable[[str], str]) -> None:
    with pytest.raises(
        ConfigError, match=r"the arguments: lithops\.storage: there is no storage backend 'x'"
    ):
        resolve_storage({}, "x")
    with pytest.raises(
        ConfigError, match=r"the argument storage_config: lithops\.storage: there is no .* 'x'"
    ):
        resolve_storage(None, None, {"backend": "x"})
    with pytest.raises(
        ConfigError, match=r"the argument storage_config: localhost\.root: found the number 1"
    ):
        resolve_storage(None, None, {"backend": "localhost", "localhost": {"root": 1}})
    wrong: Any = ["localhost"]
    with pytest.raises(ConfigError, match="the argument storage_config: found a value of type list"):
        resolve_storage(None, None, wrong)


# ---------------------------------------------------------------- the example, and this machine


def test_the_example_holds_every_key_with_its_default() -> None:
    accounts = (AwsAccount, GcpAccount, AzureAccount)
    defaults: dict[str, dict[str, Any]] = {
        "lithops": dataclasses.asdict(LithopsSection()),
        "rabbitmq": dataclasses.asdict(RabbitmqSection()),
        **{account.account_section: dataclasses.asdict(account()) for account in accounts},
    }
    for registry in (compute_registry, storage_registry):
        for name in registry.backend_names():
            config = registry.config_class(name)()
            inherited = {
                field.name
                for account in accounts
                if isinstance(config, account)
                for field in dataclasses.fields(account)
            }
            own = {key: value for key, value in dataclasses.asdict(config).items() if key not in inherited}
            defaults[name] = {**defaults.get(name, {}), **own}
    assert yaml.safe_load(EXAMPLE.read_text()) == defaults
    assert resolve(config_file=EXAMPLE).shown() == resolve().shown()


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = EXAMPLE.read_text().splitlines()
    for number, line in enumerate(lines):
        key = line.split(":")[0].strip()
        grouped = key == "storage" and "backend:" in lines[number - 1]
        if line.startswith("  ") and not key.startswith("#") and not grouped:
            assert lines[number - 1].strip().startswith("#"), key


def test_processes_follow_the_cpus_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 4}, raising=False)
    assert LocalhostConfig().processes == 3
    assert LocalhostConfig(max_workers=2).processes == 2
    assert LocalhostConfig(worker_processes=8).processes == 8
    assert LocalhostConfig(worker_processes=8, max_workers=5).processes == 5
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert LocalhostConfig().processes == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert LocalhostConfig().processes == 1


def test_settings_are_frozen() -> None:
    settings: Settings = resolve()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.origin = "elsewhere"  # type: ignore[misc]


# ---------------------------------------------------------------- a cloud's functions and its storage


@pytest.mark.parametrize(
    ("backend", "own"),
    [("aws_lambda", "aws_s3"), ("gcp_functions", "gcp_storage"), ("azure_functions", "azure_storage")],
)
def test_a_clouds_functions_use_its_own_storage_unless_another_is_named(backend: str, own: str) -> None:
    assert resolve({}, backend=backend).storage_name == own
    assert resolve({"lithops": {"backend": backend}}).lithops.storage == own
    assert resolve({"redis": {}}, backend=backend, storage="redis").storage_name == "redis"


def test_a_clouds_functions_cannot_reach_the_disk_of_this_machine() -> None:
    config = {"lithops": {"backend": "aws_lambda", "storage": "localhost"}}
    assert refusal(config) == (
        "the argument config: lithops.storage: found 'localhost', but functions of 'aws_lambda' cannot reach this "
        "machine's disk; leave it out for the cloud's own storage, 'aws_s3', or name another"
    )


def test_azures_account_is_named_once() -> None:
    config = {"azure_storage": {"storage_account_name": "account", "storage_account_key": "c2VjcmV0"}}
    settings = resolve(config, backend="azure_functions")
    assert settings.compute.storage_account_name == "account"
    assert settings.compute.storage_account_key == "c2VjcmV0"
    own = {**config, "azure_functions": {"storage_account_name": "another"}}
    assert resolve(own, backend="azure_functions").compute.storage_account_name == "another"


def test_functions_reach_the_storage_of_their_cloud_without_credentials_of_the_program() -> None:
    aws = {"access_key_id": "id", "secret_access_key": "secret"}
    own = resolve({"aws": aws}, backend="aws_lambda")
    assert runtime_environment(own) == {}
    elsewhere = {"minio": {**aws, "endpoint": "https://minio.example.org"}}
    assert "LITHOPS_CREDENTIALS" in runtime_environment(
        resolve(elsewhere, backend="aws_lambda", storage="minio")
    )
