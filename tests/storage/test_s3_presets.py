"""The services that speak S3, each as its provider documents it."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from seaweedfs_server import SeaweedFS

from lithops.config.check import check_section, masked
from lithops.exceptions import AlreadyExists, ConfigError, StorageNoSuchKeyError
from lithops.storage import registry
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AliyunOssConfig
from lithops.storage.client import Storage
from lithops.storage.credentials import VARIABLE

NAMES = ("aws_s3", "minio", "ceph", "ibm_cos", "aliyun_oss", "oracle_oss")
Connect = Callable[..., S3Storage]


@pytest.fixture
def connect(seaweedfs: SeaweedFS) -> Iterator[Connect]:
    opened: list[S3Storage] = []

    def open_storage(name: str, **settings: Any) -> S3Storage:
        config = registry.config_class(name)(**{**seaweedfs.settings, **settings})
        backend = registry.create(name, config)
        assert isinstance(backend, S3Storage)
        opened.append(backend)
        return backend

    yield open_storage
    for backend in opened:
        backend.close()


# ---------------------------------------------------------------- where they are


@pytest.mark.parametrize(
    ("name", "settings", "endpoint"),
    [
        ("aws_s3", {}, None),
        ("aws_s3", {"region": "eu-west-1"}, None),
        ("aws_s3", {"endpoint": "http://127.0.0.1:1/"}, "http://127.0.0.1:1"),
        ("minio", {"endpoint": "http://minio:9000"}, "http://minio:9000"),
        ("ceph", {"endpoint": "https://rgw.example.com"}, "https://rgw.example.com"),
        ("ibm_cos", {"region": "us-south"}, "https://s3.us-south.cloud-object-storage.appdomain.cloud"),
        ("aliyun_oss", {"region": "cn-hangzhou"}, "https://s3.oss-cn-hangzhou.aliyuncs.com"),
        (
            "oracle_oss",
            {"region": "eu-frankfurt-1", "namespace": "axe2"},
            "https://axe2.compat.objectstorage.eu-frankfurt-1.oraclecloud.com",
        ),
        ("ibm_cos", {"region": "us-south", "endpoint": "https://private"}, "https://private"),
    ],
)
def test_endpoints(name: str, settings: dict[str, Any], endpoint: str | None) -> None:
    assert registry.config_class(name)(**settings).endpoint_url() == endpoint


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("minio", {}, r"minio\.endpoint: found nothing"),
        ("ceph", {"region": "default"}, r"ceph\.endpoint: found nothing"),
        ("ibm_cos", {}, r"ibm_cos\.endpoint: found nothing.* or region"),
        ("oracle_oss", {"region": "eu-frankfurt-1"}, r"oracle_oss\.endpoint: .* or namespace and region"),
        ("minio", {"endpoint": "minio:9000"}, r"minio\.endpoint: found 'minio:9000'; allowed is a URL"),
        ("aws_s3", {"endpoint": "ftp://x"}, r"aws_s3\.endpoint: found 'ftp://x'"),
        ("aws_s3", {"endpoint": "http://"}, r"aws_s3\.endpoint"),
    ],
)
def test_endpoints_that_cannot_be(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.create(name, registry.config_class(name)(**settings))


@pytest.mark.parametrize(
    ("name", "settings", "url"),
    [
        ("aws_s3", {"region": "eu-west-1"}, "https://bucket.s3.eu-west-1.amazonaws.com/k"),
        ("aws_s3", {}, "https://bucket.s3.amazonaws.com/k"),
        ("ibm_cos", {"region": "eu-de"}, "https://s3.eu-de.cloud-object-storage.appdomain.cloud/bucket/k"),
        ("aliyun_oss", {"region": "cn-beijing"}, "https://bucket.s3.oss-cn-beijing.aliyuncs.com/k"),
        (
            "oracle_oss",
            {"region": "uk-london-1", "namespace": "ns"},
            "https://ns.compat.objectstorage.uk-london-1.oraclecloud.com/bucket/k",
        ),
    ],
)
def test_how_buckets_are_addressed_and_requests_signed(
    name: str, settings: dict[str, Any], url: str, connect: Connect
) -> None:
    backend = connect(name, endpoint=None, **settings)
    sent: list[Any] = []

    def stop(request: Any, **_: Any) -> Any:
        sent.append(request)
        raise InterruptedError("this test sends nothing")

    backend.client().meta.events.register("before-send.s3.PutObject", stop)
    with pytest.raises(InterruptedError):
        backend.client().put_object(Bucket="bucket", Key="k", Body=b"body")
    assert sent[0].url == url
    headers = {header.lower(): str(value) for header, value in sent[0].headers.items()}
    assert ("AWS testkey:" if name == "aliyun_oss" else "AWS4-HMAC-SHA256") in headers["authorization"]
    assert ("x-amz-checksum-crc32" in headers or "x-amz-trailer" in headers) == (name == "aws_s3")
    if name != "aws_s3":
        assert "content-encoding" not in headers


# ---------------------------------------------------------------- on a real server


@pytest.fixture
def resolved_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name below ``s3.test`` is this machine's, as a provider's name server would have it."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("s3.test") else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("name", NAMES)
def test_each_of_them_works(
    name: str,
    connect: Connect,
    seaweedfs: SeaweedFS,
    resolved_buckets: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = seaweedfs.endpoint
    if name == "aliyun_oss":
        endpoint = endpoint.replace("127.0.0.1", "s3.test")
        # SeaweedFS does not understand the old signatures of requests for buckets.
        monkeypatch.setattr(AliyunOssConfig, "signature", None)
    backend = connect(name, endpoint=endpoint)
    bucket = f"preset-{name.replace('_', '-')}"
    backend.ensure_bucket(bucket)
    backend.put(bucket, "folder/k", b"body")
    backend.put(bucket, "folder/once", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        backend.put(bucket, "folder/once", b"second", if_absent=True)
    assert backend.get(bucket, "folder/k") == b"body"
    assert backend.head(bucket, "folder/k").size == 4
    assert [info.key for info in backend.list(bucket, "folder/")] == ["folder/k", "folder/once"]
    assert list(backend.get_many(bucket, ["folder/once", "folder/k"])) == [b"first", b"body"]
    large = os.urandom(9 << 20)
    backend.put(bucket, "large", large)
    assert backend.get(bucket, "large") == large
    backend.delete(bucket, ["folder/k", "folder/once", "large"])
    with pytest.raises(StorageNoSuchKeyError):
        backend.get(bucket, "folder/k")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "aliyun_oss"])
def test_a_reference_leads_another_process_there(name: str, connect: Connect, seaweedfs: SeaweedFS) -> None:
    backend = connect(name)
    bucket = f"preset-{name.replace('_', '-')}"
    backend.ensure_bucket(bucket)
    backend.put(bucket, "sent", b"from here")
    reference = backend.reference(bucket)
    assert (reference.backend, reference.bucket) == (name, bucket)
    assert seaweedfs.secret_access_key not in repr(reference)
    program = """
import pickle, sys
from lithops.storage.registry import from_reference
reference = pickle.load(sys.stdin.buffer)
storage = from_reference(reference)
sys.stdout.buffer.write(storage.get(reference.bucket, "sent"))
storage.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        input=pickle.dumps(reference),
        env={**os.environ, VARIABLE: json.dumps({name: seaweedfs.secrets})},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"from here", b"")


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_names_them(name: str, seaweedfs: SeaweedFS) -> None:
    section = {**seaweedfs.settings, "storage_bucket": "configured"}
    account = {key: section.pop(key) for key in ("access_key_id", "secret_access_key") if name == "aws_s3"}
    storage = Storage({"lithops": {"storage": name}, name: section, **({"aws": account} if account else {})})
    assert (storage.backend, storage.bucket) == (name, "configured")
    assert seaweedfs.secret_access_key not in str(storage.get_storage_config())
    if name != "aliyun_oss":
        storage.put_object("configured", name, "body")
        assert storage.get_object("configured", name) == b"body"
    storage.storage_handler.close()


@pytest.mark.parametrize("name", NAMES)
def test_secrets_are_masked_and_types_are_checked(name: str) -> None:
    cls = registry.config_class(name)
    shown = masked(cls(access_key_id="AKIA", secret_access_key="hidden", region="here"))
    assert (shown["access_key_id"], shown["secret_access_key"], shown["region"]) == ("***", "***", "here")
    assert cls.name == name
    with pytest.raises(ConfigError, match=f"{name}.region"):
        check_section(cls, {"region": 1}, section=name, origin="here")
