"""The RADOS gateway of a real Ceph cluster, for tests: one monitor, one storage daemon in memory, one gateway."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import answers, free_ports, missing, running

_COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Ceph:
    """A gateway that runs, and the identity that it knows."""

    endpoint: str
    access_key_id: str = "testkey"
    secret_access_key: str = "testsecret"


@contextmanager
def running_ceph(folder: Path) -> Iterator[Ceph]:
    """The gateway while it runs, with all that belongs to it in `folder`."""
    for program in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph"):
        if shutil.which(program) is None:
            missing("Ceph", "apt-get install radosgw ceph-mon ceph-osd ceph-common")
    monitor_port, gateway_port = free_ports(2)
    cluster = _Cluster(folder, monitor_port, gateway_port)
    with ExitStack() as stack:
        cluster.start_monitor(stack)
        cluster.start_storage(stack)
        server = Ceph(f"http://127.0.0.1:{gateway_port}")
        cluster.make_identity(server)
        cluster.start_gateway(stack)
        yield server


class _Cluster:
    def __init__(self, folder: Path, monitor_port: int, gateway_port: int) -> None:
        self._folder = folder
        self._monitor_port = monitor_port
        self._gateway_port = gateway_port
        self._id = str(uuid.uuid4())
        self._config = folder / "ceph.conf"
        self._config.write_text(self._settings())

    def _settings(self) -> str:
        return f"""
[global]
fsid = {self._id}
mon host = [v2:127.0.0.1:{self._monitor_port}]
mon initial members = a
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
; The gateway would ask for encryption, which there is none of without keys.
ms mon client mode = crc
run dir = {self._folder}
admin socket = {self._folder}/$name.$pid.asok
crash dir = {self._folder}
log file =
log to stderr = true
err to stderr = true
keyring = {self._folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data = {self._folder}/mon
mon data avail warn = 1
mon data avail crit = 1
osd data = {self._folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
rgw data = {self._folder}/rgw
rgw dns name = s3.test
rgw enable apis = s3
rgw frontends = beast endpoint=127.0.0.1:{self._gateway_port} tcp_nodelay=1
"""

    def start_monitor(self, stack: ExitStack) -> None:
        monitors = self._folder / "monmap"
        address = f"[v2:127.0.0.1:{self._monitor_port}]"
        self._run("monmaptool", "--create", "--fsid", self._id, "--addv", "a", address, str(monitors))
        (self._folder / "mon").mkdir()
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monitors), *self._conf)
        self._start(stack, ["ceph-mon", "-f", "-i", "a"], self._monitor_port)

    def start_storage(self, stack: ExitStack) -> None:
        own_id = str(uuid.uuid4())
        self._run("ceph", *self._conf, "osd", "new", own_id)
        (self._folder / "osd").mkdir()
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", own_id, *self._conf)
        self._start(stack, ["ceph-osd", "-f", "-i", "0"], None)

    def make_identity(self, server: Ceph) -> None:
        self._run(
            "radosgw-admin", *self._conf, "user", "create", "--uid=admin", "--display-name=admin",
            f"--access-key={server.access_key_id}", f"--secret-key={server.secret_access_key}",
        )  # fmt: skip

    def start_gateway(self, stack: ExitStack) -> None:
        (self._folder / "rgw").mkdir()
        self._start(stack, ["radosgw", "-f", "-n", "client.rgw"], self._gateway_port)

    @property
    def _conf(self) -> list[str]:
        return ["-c", str(self._config)]

    def _start(self, stack: ExitStack, command: list[str], port: int | None) -> None:
        def is_there() -> bool:
            """A daemon without a port is there when the cluster says so."""
            if port is not None:
                return answers(port)
            return '"num_up_osds":1' in self._run("ceph", *self._conf, "osd", "stat", "-f", "json")

        log = self._folder / f"{command[0]}.log"
        process = stack.enter_context(running([*command, *self._conf], ready=is_there, log=log))
        # Whatever it has is thrown away: there is nothing to end in order.
        stack.callback(process.kill)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return done.stdout
