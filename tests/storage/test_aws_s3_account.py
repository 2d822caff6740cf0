"""Whose storage it is: credentials, default buckets, processes, and what is left open."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from seaweedfs_server import SeaweedFS

from lithops.exceptions import AccessDenied, ConfigError
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AliyunOssConfig, AwsS3Config, MinioConfig
from lithops.storage.backends.aws_s3.quick import open_store

Connect = Callable[..., S3Storage]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    opened: list[S3Storage] = []
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def open_storage(**settings: Any) -> S3Storage:
        opened.append(S3Storage(AwsS3Config(**settings)))
        return opened[-1]

    yield open_storage
    for storage in opened:
        storage.close()


@pytest.fixture
def keys(seaweedfs: SeaweedFS) -> dict[str, str]:
    return seaweedfs.settings


# ---------------------------------------------------------------- credentials of the SDK's own chain


def test_credentials_of_the_environment(
    connect: Connect, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_access_key)
    storage = connect(endpoint=seaweedfs.endpoint)
    storage.ensure_bucket("account")
    storage.put("account", "k", b"1")
    storage.put("account", "l", b"2")
    assert list(storage.get_many("account", ["k", "l"])) == [b"1", b"2"]


@pytest.mark.parametrize("lone", ["access_key_id", "secret_access_key"])
def test_half_of_the_credentials_is_a_mistake(connect: Connect, lone: str) -> None:
    with pytest.raises(ConfigError, match=f"aws_s3: found {lone} alone; set access_key_id and secret_access"):
        connect(**{lone: "x"})


def test_an_endpoint_of_the_environment_and_the_checksums_of_aws(
    connect: Connect, seaweedfs: SeaweedFS, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", keys.pop("endpoint"))
    storage = connect(**keys)
    assert storage.client().meta.config.request_checksum_calculation == "when_supported"
    body = os.urandom(9 << 20)
    storage.ensure_bucket("account")
    storage.put("account", "large", body)
    assert storage.get("account", "large") == body


@pytest.fixture
def profiles(tmp_path: Path, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "credentials"
    path.write_text(
        f"[mine]\naws_access_key_id = {seaweedfs.access_key_id}\n"
        f"aws_secret_access_key = {seaweedfs.secret_access_key}\n"
        "[other]\naws_access_key_id = other\naws_secret_access_key = other\n"
    )
    return path


def test_credentials_of_a_profile(
    connect: Connect, seaweedfs: SeaweedFS, profiles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = connect(endpoint=seaweedfs.endpoint, config_profile="mine")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    storage.ensure_bucket("account")
    assert storage.bucket_exists("account")
    with pytest.raises(AccessDenied, match="mistyped"):
        connect(endpoint=seaweedfs.endpoint, config_profile="mistyped").bucket_exists("account")


def test_where_there_are_no_profiles_at_all_the_identity_at_hand_is_used(
    connect: Connect, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a worker, which has no files of the user's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_access_key)
    storage = connect(endpoint=seaweedfs.endpoint, config_profile="mine")
    storage.ensure_bucket("account")
    assert storage.reference("account").options["config_profile"] == "mine"


# ---------------------------------------------------------------- the bucket that nobody named


def test_a_default_bucket_is_the_same_for_the_same_account(connect: Connect, keys: dict[str, str]) -> None:
    bucket = connect(**keys).default_bucket()
    assert re.fullmatch(r"lithops-[0-9a-f]{12}", bucket)
    assert connect(**keys).default_bucket() == bucket
    assert connect(**{**keys, "secret_access_key": "changed"}).default_bucket() == bucket
    assert connect(**{**keys, "access_key_id": "other"}).default_bucket() != bucket
    assert connect(**{**keys, "endpoint": "http://elsewhere"}).default_bucket() != bucket
    assert connect(**keys, storage_bucket="named").default_bucket() == "named"


def test_on_aws_it_follows_from_the_account_and_the_region(connect: Connect) -> None:
    secrets = {"access_key_id": "AKIA", "secret_access_key": "secret", "account_id": "123456789012"}
    bucket = connect(**secrets, region="eu-west-1").default_bucket()
    assert re.fullmatch(r"lithops-eu-west-1-[0-9a-f]{12}", bucket)
    other_key = {**secrets, "access_key_id": "AKIB", "region": "eu-west-1"}
    assert connect(**other_key).default_bucket() == bucket
    assert connect(**{**other_key, "account_id": "210987654321"}).default_bucket() != bucket


def test_aws_is_asked_for_the_account_once(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = connect(access_key_id="AKIA", secret_access_key="secret", region="eu-west-1")
    asked: list[str] = []

    def answer(request: Any, **_: Any) -> Any:
        from botocore.awsrequest import AWSResponse

        asked.append(request.url)
        content = (
            b"<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"
            b"<GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>"
            b"</GetCallerIdentityResponse>"
        )
        response = AWSResponse(request.url, 200, {}, None)
        response._content = content
        return response

    storage._connection.session().events.register("before-send.sts", answer)
    known = connect(
        access_key_id="A", secret_access_key="s", region="eu-west-1", account_id="123456789012"
    ).default_bucket()
    assert storage.default_bucket() == storage.default_bucket() == known
    assert asked == ["https://sts.eu-west-1.amazonaws.com/"]


def test_a_bucket_is_made_in_the_region_of_the_client(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for region, expected in (("eu-west-1", {"LocationConstraint": "eu-west-1"}), ("us-east-1", None)):
        storage = connect(access_key_id="AKIA", secret_access_key="secret", region=region)
        made: list[Any] = []

        class Client:
            meta = storage.client().meta

            def head_bucket(self, Bucket: str) -> None:  # noqa: N803 - the SDK's names
                from botocore.exceptions import ClientError

                missing: Any = {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
                raise ClientError(missing, "HeadBucket")

            def create_bucket(self, **arguments: Any) -> None:
                made.append(arguments.get("CreateBucketConfiguration"))  # noqa: B023 - used in this turn

        monkeypatch.setattr(storage._connection, "client", Client)
        storage.ensure_bucket("bucket")
        assert made == [expected]


# ---------------------------------------------------------------- many objects


def test_many_objects_are_read_by_obstore(
    connect: Connect, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = connect(**keys)
    storage.ensure_bucket("account")
    names = [f"quick/{number}" for number in range(20)]
    for name in names:
        storage.put("account", name, name.encode())
    asked: list[str] = []
    monkeypatch.setattr(storage._many, "_get", lambda bucket, key: asked.append(key))
    assert list(storage.get_many("account", names)) == [name.encode() for name in names]
    assert asked == []


def test_obstore_does_not_speak_old_signatures_and_virtual_hosts(keys: dict[str, str]) -> None:
    aliyun, minio = S3Storage(AliyunOssConfig(**keys)), S3Storage(MinioConfig(**keys))
    assert open_store(aliyun._connection, "b") is None
    assert open_store(minio._connection, "b") is not None
    for storage in (aliyun, minio):
        storage.close()


# ---------------------------------------------------------------- what is left open


def sockets() -> int:
    return sum(
        os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
        for number in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{number}")
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are looked up in /proc")
def test_a_closed_storage_holds_no_sockets_and_can_be_used_again(
    connect: Connect, keys: dict[str, str]
) -> None:
    storage = connect(**keys)
    storage.ensure_bucket("account")
    storage.put("account", "k", bytes(1_000_000))
    before = sockets()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda _: storage.get("account", "k"), range(256)))
    stream = storage.open("account", "k")
    stream.read(10)
    stream.close()
    assert sockets() > before
    storage.close()
    assert sockets() <= before
    assert storage.head("account", "k").size == 1_000_000
