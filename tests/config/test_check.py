"""A section against its class: a valid instance, or a `ConfigError` that says what to change."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.config.check import MASK, check_section, masked
from lithops.config.model import LithopsSection
from lithops.exceptions import ConfigError
from lithops.settings import Between, OneOf, Secret

T = TypeVar("T")


@dataclass(frozen=True)
class Cloud:
    region: str
    memory_mb: Annotated[int, Between(128, 10240)] = 256
    ratio: float = 0.5
    share: Annotated[float, Between(0, 1)] = 1
    limit: Annotated[int, Between(1)] | Literal[False] = 4
    trigger: Annotated[str, OneOf(("https", "pub/sub"))] = "https"
    token: Annotated[str, Secret()] | None = None
    keys: Annotated[dict[str, str], Secret()] | None = None
    enabled: bool = True
    names: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    anything: Any = None


def check(**values: Any) -> Cloud:
    return check_section(Cloud, {"region": "here", **values}, section="cloud", origin="my.yaml")


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check(**values)
    return str(caught.value)


@pytest.fixture(autouse=True)
def lithops_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages reach `caplog` even after an executor set the logger up."""
    monkeypatch.setattr(logging.getLogger("lithops"), "propagate", True)


def test_values_and_defaults() -> None:
    cloud = check(
        memory_mb=128, ratio=2, names=["a"], tags={"a": "b"}, token="t", limit=False, anything={1: [2]}
    )
    assert cloud == Cloud(
        "here", 128, 2, names=["a"], tags={"a": "b"}, token="t", limit=False, anything={1: [2]}
    )
    assert check() == Cloud("here")


def test_lists_and_dicts_are_copies() -> None:
    names, tags = ["a"], {"k": "v"}
    cloud = check(names=names, tags=tags)
    names.append("b")
    tags["l"] = "w"
    assert (cloud.names, cloud.tags) == (["a"], {"k": "v"})
    assert check(names=("a", "b")).names == ["a", "b"]


MEMORY = "a whole number, from 128 to 10240"
LIMIT = "a whole number, 1 or more, or false"


@pytest.mark.parametrize(
    ("key", "value", "found", "allowed"),
    [
        ("memory_mb", 64, "the number 64", MEMORY),
        ("memory_mb", "256", "the text '256'", f"{MEMORY}; write it without quotes"),
        ("memory_mb", "64", "the text '64'", MEMORY),
        ("memory_mb", 256.5, "the number 256.5", MEMORY),
        ("memory_mb", True, "the truth value true", MEMORY),
        ("memory_mb", None, "nothing", MEMORY),
        pytest.param("memory_mb", 1 << 99_999, "the number of 100000 bits", MEMORY, id="many bits"),
        ("ratio", True, "the truth value true", "a number"),
        ("ratio", "0.5", "the text '0.5'", "a number; write it without quotes"),
        ("ratio", float("nan"), "the number nan", "a number"),
        ("ratio", float("inf"), "the number inf", "a number"),
        ("share", 1.01, "the number 1.01", "a number, from 0 to 1"),
        ("limit", True, "the truth value true", LIMIT),
        ("limit", 0, "the number 0", LIMIT),
        ("limit", "False", "the text 'False'", f"{LIMIT}; write it without quotes"),
        ("trigger", "http", "the text 'http'", "one of https, pub/sub"),
        ("trigger", ["https"], "the list ['https']", "one of https, pub/sub"),
        ("enabled", 1, "the number 1", "true or false"),
        ("enabled", "true", "the text 'true'", "true or false; write it without quotes"),
        ("names", "a", "the text 'a'", "a list of text"),
        ("names", ["a", 1], "the list ['a', 1]", "a list of text"),
        ("tags", {"a": 1}, "the mapping {'a': 1}", "a mapping of text to text"),
        ("tags", ["a"], "the list ['a']", "a mapping of text to text"),
        ("region", 3, "the number 3", "text"),
        ("region", {1}, "a value of type set: {1}", "text"),
    ],
)
def test_refused(key: str, value: Any, found: str, allowed: str) -> None:
    assert refusal(**{key: value}) == f"my.yaml: cloud.{key}: found {found}; allowed is {allowed}"


def test_a_required_key_is_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        check_section(Cloud, {}, section="cloud", origin="my.yaml")
    assert str(caught.value) == "my.yaml: cloud.region: found nothing; needed is text"


def test_a_long_value_is_cut() -> None:
    message = refusal(memory_mb="x" * 10_000)
    assert "xxx...xxx" in message
    assert len(message) < 250


def test_secrets_are_never_shown() -> None:
    assert refusal(token=12345678) == (
        "my.yaml: cloud.token: found the number ***; allowed is text, a secret, or nothing"
    )
    message = refusal(keys={"a": 12345678})
    assert "12345678" not in message
    assert "found the mapping ***" in message
    shown = masked(check(token="hush", keys={"a": "hush"}))
    assert (shown["token"], shown["keys"], shown["region"]) == (MASK, MASK, "here")
    assert masked(check())["token"] is None


def test_an_unknown_key_is_a_warning_that_names_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    assert check(memory=512, zzz=1, **{"7": 1}) == Cloud("here")
    assert [record.name for record in caplog.records] == ["lithops.config"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    first, second, _ = (record.getMessage() for record in caplog.records)
    assert first == "my.yaml: cloud.memory: unknown key, left out; did you mean 'memory_mb'?"
    assert second.startswith("my.yaml: cloud.zzz: unknown key, left out; known are anything, enabled, keys,")


def test_the_value_of_an_unknown_key_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    check(tokem="hush")
    assert "did you mean 'token'?" in caplog.text
    assert "hush" not in caplog.text


def test_a_field_of_another_type_is_its_authors_error() -> None:
    @dataclass(frozen=True)
    class Wrong:
        value: set  # type: ignore[type-arg]

    with pytest.raises(TypeError, match="cannot have a field of type"):
        check_section(Wrong, {"value": {1}}, section="wrong", origin="my.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def sections(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from([each.name for each in fields(cls)]) | st.text(max_size=8)
    return st.dictionaries(names, json_values, max_size=8)


def outcome(cls: type[T], values: dict[str, Any]) -> T | ConfigError:
    try:
        return check_section(cls, values, section="cloud", origin="my.yaml")
    except ConfigError as error:
        return error


@given(sections(Cloud))
def test_json_gives_an_instance_or_a_config_error(values: dict[str, Any]) -> None:
    cloud = outcome(Cloud, values)
    if isinstance(cloud, ConfigError):
        assert str(cloud).startswith("my.yaml: cloud.")
        assert "\n" not in str(cloud)
        return
    assert type(cloud.region) is str
    assert type(cloud.memory_mb) is int
    assert 128 <= cloud.memory_mb <= 10240
    assert type(cloud.ratio) in (int, float)
    assert cloud.limit is False or (type(cloud.limit) is int and cloud.limit >= 1)
    assert cloud.trigger in ("https", "pub/sub")
    assert all(type(name) is str for name in cloud.names)
    for each in fields(Cloud):
        if each.name in values:
            assert getattr(cloud, each.name) == values[each.name]


@given(sections(LithopsSection))
def test_any_json_in_our_own_section(values: dict[str, Any]) -> None:
    section = outcome(LithopsSection, values)
    if isinstance(section, ConfigError):
        assert str(section).startswith("my.yaml: cloud.")
        return
    assert type(section.retries) is int
    assert section.retries >= 0
    assert type(section.data_cleaner) is bool
