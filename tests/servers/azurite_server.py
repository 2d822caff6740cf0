"""A server that speaks the protocol of Azure Blob Storage: Azurite, Microsoft's own emulator."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server import answers, free_ports, missing, running

_ACCOUNT = "lithopstests"
_KEY = base64.b64encode(b"the key of the tests' own account").decode()


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running server, which keeps one account's blobs in memory."""

    endpoint: str
    account_name: str
    account_key: str

    @property
    def settings(self) -> dict[str, str]:
        """The section of a configuration that leads here."""
        return {
            "endpoint": self.endpoint,
            "storage_account_name": self.account_name,
            "storage_account_key": self.account_key,
        }


@contextmanager
def running_azurite(folder: Path, *, scheme: str = "http", options: Sequence[str] = ()) -> Iterator[Azurite]:
    """The server while it runs, with more of its own options; its log goes to `folder`."""
    program = shutil.which("azurite-blob")
    if program is None:
        missing("Azurite", "npm install -g azurite")
    (port,) = free_ports(1)
    command = [
        *(program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"),
        # Azurite is released after the versions of Azure that the SDK speaks.
        *("--skipApiVersionCheck", "--disableTelemetry", *options),
    ]
    accounts = {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}
    with running(command, ready=lambda: answers(port), log=folder / "azurite.log", env=accounts):
        yield Azurite(f"{scheme}://127.0.0.1:{port}/{_ACCOUNT}", _ACCOUNT, _KEY)
