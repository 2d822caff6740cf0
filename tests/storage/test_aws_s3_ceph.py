"""A second opinion: the gateway of a real Ceph cluster, whose keys are no paths. Run when asked for: `-m ceph`."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ceph_server import Ceph, running_ceph

from lithops.exceptions import AlreadyExists
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AliyunOssConfig, CephConfig
from lithops.testing.storage import StorageConformance

pytestmark = pytest.mark.ceph


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with running_ceph(tmp_path_factory.mktemp("ceph")) as server:
        yield server


class TestConformance(StorageConformance):
    server: Ceph

    @pytest.fixture(autouse=True)
    def use_server(self, ceph: Ceph) -> None:
        self.server = ceph

    def make_backend(self, tmp_path: Path) -> S3Storage:
        return self._make(self.server.access_key_id, self.server.secret_access_key)

    def make_stranger_backend(self, tmp_path: Path) -> S3Storage:
        return self._make(self.server.access_key_id, "not the secret")

    def credentials(self) -> Mapping[str, Any]:
        return {
            "access_key_id": self.server.access_key_id,
            "secret_access_key": self.server.secret_access_key,
        }

    def _make(self, access_key_id: str, secret_access_key: str) -> S3Storage:
        return S3Storage(
            CephConfig(
                endpoint=self.server.endpoint,
                access_key_id=access_key_id,
                secret_access_key=secret_access_key,
            )
        )


def test_old_signatures_and_buckets_in_the_host(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Alibaba Cloud has it."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("s3.test") else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    backend = S3Storage(
        AliyunOssConfig(
            endpoint=ceph.endpoint.replace("127.0.0.1", "s3.test"),
            access_key_id=ceph.access_key_id,
            secret_access_key=ceph.secret_access_key,
        )
    )
    backend.ensure_bucket("old-signatures")
    backend.put("old-signatures", "ü /k", b"body", if_absent=True)
    with pytest.raises(AlreadyExists):
        backend.put("old-signatures", "ü /k", b"other", if_absent=True)
    backend.put("old-signatures", "large", bytes(9 << 20))
    assert backend.get("old-signatures", "ü /k") == b"body"
    assert [info.key for info in backend.list("old-signatures")] == ["large", "ü /k"]
    backend.delete("old-signatures", ["large", "ü /k"])
    backend.close()
